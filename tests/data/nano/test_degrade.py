"""What is done to renderings keeps their length and what they play."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.data.nano.degrade import MOST_DRIFT, STEPS, degrade

RATE = 16000


def tune() -> np.ndarray:
    """Two seconds of A4 that swell and fade."""
    time = np.arange(2 * RATE) / RATE
    return (0.4 * np.sin(2 * np.pi * 440 * time) * np.sin(np.pi * time / 2) ** 2).astype(np.float32)


@pytest.mark.parametrize("step", [step for _, step in STEPS], ids=lambda step: step.__name__)
def test_every_step_changes_the_sound_and_keeps_the_pitch(step) -> None:  # type: ignore[no-untyped-def]
    before = tune().astype(np.float64)
    after = step(before, RATE, np.random.default_rng(3))
    assert len(after) == len(before) and np.isfinite(after).all()
    assert np.abs(after - before).max() > 1e-4
    strongest = np.abs(np.fft.rfft(after)).argmax() / 2
    assert strongest == pytest.approx(440, rel=2 * MOST_DRIFT)


def test_degraded_sound_is_one_for_each_seed() -> None:
    first, again, other = (degrade(tune(), RATE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.dtype == np.float32 and len(first) == len(tune()) and np.abs(first).max() <= 1
    assert np.array_equal(first, again) and not np.array_equal(first, other)
