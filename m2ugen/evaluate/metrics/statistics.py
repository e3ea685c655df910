"""Figures with their uncertainty: bootstrap intervals, and tests whether two systems differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SAMPLES = 1000  # bootstrap resamples of a mean
LEVEL = 95.0  # per cent of the resamples between the bounds


@dataclass(frozen=True)
class Figure:
    """A number, the bounds of its 95 % bootstrap interval, and the number of cases behind it."""

    value: float
    low: float
    high: float
    count: int


def mean_figure(values: Sequence[float] | np.ndarray, seed: int = 0, samples: int = SAMPLES) -> Figure | None:
    """Mean of ``values`` (NaN is left out) with a percentile bootstrap interval; None without a value."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if not len(array):
        return None
    chosen = np.random.default_rng(seed).integers(len(array), size=(samples, len(array)))
    low, high = np.percentile(array[chosen].mean(axis=1), _bounds())
    return Figure(float(array.mean()), float(low), float(high), len(array))


def bootstrap_figure(
    statistic: Callable[[np.ndarray], float], count: int, seed: int = 0, samples: int = 200
) -> Figure | None:
    """``statistic`` of the item indices 0 … ``count`` - 1, with an interval from resampled indices.

    Statistics of distributions are biased, and more so on resamples, which hold duplicates. So the resamples give the
    spread only: the interval is their percentiles moved by the distance of their median from the value itself.
    None where the statistic is not finite.
    """
    if not count:
        return None
    value = float(statistic(np.arange(count)))
    if not np.isfinite(value):
        return None
    rng = np.random.default_rng(seed)
    drawn = np.array([statistic(rng.integers(count, size=count)) for _ in range(samples)], dtype=np.float64)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Figure(value, value, value, count)
    low, middle, high = np.percentile(drawn, (_bounds()[0], 50.0, _bounds()[1]))
    return Figure(value, float(value + low - middle), float(value + high - middle), count)


def correlation_figure(one: Sequence[float], other: Sequence[float], seed: int = 0) -> Figure | None:
    """Pearson correlation of paired values with a bootstrap interval over the pairs; None where one is constant."""
    pairs = np.array([one, other], dtype=np.float64)

    def correlation(chosen: np.ndarray) -> float:
        left, right = pairs[:, chosen]
        if np.ptp(left) < 1e-12 or np.ptp(right) < 1e-12:
            return float("nan")
        return float(np.corrcoef(left, right)[0, 1])

    value, count = correlation(np.arange(pairs.shape[1])), pairs.shape[1]
    if not np.isfinite(value):
        return None
    rng = np.random.default_rng(seed)
    drawn = [correlation(chosen) for chosen in rng.integers(count, size=(SAMPLES, count))]
    low, high = np.nanpercentile([value, *drawn], _bounds())
    return Figure(value, float(low), float(high), count)


def paired_p_value(one: Sequence[float], other: Sequence[float], seed: int = 0, samples: int = 10_000) -> float:
    """Two-sided p of equal means of two systems' scores on the same items: sign-flip permutation test."""
    difference = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    observed = abs(difference.mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(samples, len(difference)))
    extreme = np.abs((signs * difference).mean(axis=1)) >= observed - 1e-12
    return float((extreme.sum() + 1) / (samples + 1))


def unpaired_p_value(one: Sequence[float], other: Sequence[float], seed: int = 0, samples: int = 10_000) -> float:
    """Two-sided p of equal means where the items differ: permutation of the labels."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    both, rng = np.concatenate([first, second]), np.random.default_rng(seed)
    observed = abs(first.mean() - second.mean())
    hits = 0
    for _ in range(samples):
        mixed = rng.permutation(both)
        hits += abs(mixed[: len(first)].mean() - mixed[len(first) :].mean()) >= observed - 1e-12
    return float((hits + 1) / (samples + 1))


def _bounds() -> tuple[float, float]:
    tail = (100.0 - LEVEL) / 2
    return tail, 100.0 - tail
