"""What goes together: keys, harmony, neighbours; and the edits' and benchmark's small print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from m2ugen.data.build import pairs
from m2ugen.data.build.pairs import MIN_BEATS, harmony_similarity, nearest, related_keys


def test_keys_are_related_in_both_directions() -> None:
    c_major = (0, "major")
    assert {key for key in range(12) if related_keys(c_major, (key, "major"))} == {0, 5, 7}
    assert {key for key in range(12) if related_keys(c_major, (key, "minor"))} == {0, 9}
    for tonic in range(12):
        for mode in ("major", "minor"):
            other = (tonic, mode)
            assert related_keys(c_major, other) == related_keys(other, c_major)


def test_harmony_is_compared_where_it_fits() -> None:
    rng = np.random.default_rng(0)
    song = (rng.random((40, 12)) < 0.3).astype(np.float32)
    assert harmony_similarity(song, song) == pytest.approx(1, abs=1e-5)
    assert harmony_similarity(song[13:30], song) == harmony_similarity(song, song[13:30]) == pytest.approx(1, abs=1e-5)
    other = np.roll(song, 6, axis=1)
    assert harmony_similarity(song, other) < harmony_similarity(song, song[5:]) - 0.1
    assert harmony_similarity(song[: MIN_BEATS - 1], song) == 0


def test_neighbours_are_the_same_with_and_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    plain = nearest(vectors, 5)
    monkeypatch.setattr(pairs, "MANY", 10)
    assert np.array_equal(nearest(vectors, 5), plain)
    assert plain.shape == (50, 5) and not any(index in row for index, row in enumerate(plain))
    assert nearest(vectors[:3], 5).shape == (3, 2)


def test_the_benchmark_explains_itself() -> None:
    script = Path(__file__).resolve().parents[3] / "benchmarks" / "datasets.py"
    told = subprocess.run([sys.executable, str(script), "--help"], check=True, capture_output=True, text=True)
    assert "cpu_ratio" in told.stdout
