"""What the training tests share: small sets in the published layouts, twins of the paper's models, one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.data.paper.sets import write_all


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published sets, each in a folder of its name; ``features`` beside them is for their features."""
    folder = tmp_path_factory.mktemp("sets")
    write_all(folder)
    return folder


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preset musicgen in tiny sizes."""
    from tests.test_twins import save_twin

    return save_twin("musicgen", tmp_path_factory.mktemp("twin"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Bits are equal only where sums are split alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
