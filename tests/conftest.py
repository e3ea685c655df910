"""What the tests share: one seed for each of them, and nano itself, loaded once."""

from __future__ import annotations

import pytest
import torch

from m2ugen.pipeline import M2UGen


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seeds what constructors draw, before any fixture of the test: tiny models are the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def nano() -> M2UGen:
    """The packaged model."""
    return M2UGen.from_pretrained("nano")
