"""Python's collector rests while a program starts, and comes back as it was."""

from __future__ import annotations

import gc

import pytest

from m2ugen.startup import nothing_collected


def _fail() -> None:
    assert not gc.isenabled()
    raise ValueError("no model")


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_comes_back_as_it_was(on: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if on else gc.disable()
        with pytest.raises(ValueError, match="no model"):
            nothing_collected()(_fail)()
        assert gc.isenabled() is on
    finally:
        gc.enable() if before else gc.disable()
