"""What the tests of evaluation share: a small benchmark, made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from m2ugen.evaluate.benchmark.build import Recipe, build_benchmark
from m2ugen.evaluate.benchmark.items import Benchmark

LIMIT = 4


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """Four items of every task."""
    return build_benchmark(tmp_path_factory.mktemp("evaluation") / "benchmark", Recipe(LIMIT))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Embeddings of the tests are kept apart from the user's."""
    from m2ugen.evaluate.embedders import base

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr(base, "cache_folder", lambda: folder)
        yield
