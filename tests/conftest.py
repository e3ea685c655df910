"""What the tests share: nano itself, loaded once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from m2ugen.pipeline import M2UGen


@pytest.fixture(scope="session")
def nano() -> Iterator[M2UGen]:
    """The packaged model."""
    yield M2UGen.from_pretrained("nano")
