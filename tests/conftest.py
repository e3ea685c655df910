"""What the tests share: nano itself, loaded once."""

from __future__ import annotations

import pytest

from m2ugen.pipeline import M2UGen


@pytest.fixture(scope="session")
def nano() -> M2UGen:
    """The packaged model."""
    return M2UGen.from_pretrained("nano")
