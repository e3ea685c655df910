"""What the tests of the builders share."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2ugen.data.build import understanding
from m2ugen.pipeline import M2UGen
from tests.data.build.media import write_songs


@pytest.fixture
def model(nano: M2UGen, monkeypatch: pytest.MonkeyPatch) -> M2UGen:
    """nano, loaded already where builders look for it."""
    monkeypatch.setitem(understanding._LOADED, ("m2ugen", "nano"), nano)
    return nano


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three songs."""
    return write_songs(tmp_path_factory.mktemp("songs"))
