"""Intervals cover what they should, and tests find differences that are there and none that are not."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.evaluate.metrics.statistics import (
    bootstrap_figure,
    correlation_figure,
    mean_figure,
    paired_p_value,
    unpaired_p_value,
)


def test_interval_of_a_mean_has_the_width_that_theory_gives() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    figure = mean_figure(values)
    assert figure is not None and figure.count == 400
    assert figure.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(400)
    assert figure.high - figure.value == pytest.approx(half, rel=0.12)
    assert figure.value - figure.low == pytest.approx(half, rel=0.12)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        figure = mean_figure(rng.normal(0.0, 1.0, 40), seed=trial, samples=300)
        assert figure is not None
        covered += figure.low <= 0.0 <= figure.high
    assert 0.88 <= covered / 200 <= 0.99


def test_nan_is_left_out_and_nothing_is_none() -> None:
    figure = mean_figure([1.0, float("nan"), 3.0])
    assert figure is not None and (figure.value, figure.count) == (2.0, 2)
    assert mean_figure([float("nan")]) is None
    assert bootstrap_figure(lambda chosen: float("nan"), 5) is None


def test_interval_of_a_biased_statistic_stays_about_its_value() -> None:
    values = np.random.default_rng(2).normal(size=30)
    figure = bootstrap_figure(lambda chosen: float(len(np.unique(chosen)) + values[chosen].mean()), 30)
    assert figure is not None and figure.low <= figure.value <= figure.high


def test_correlation() -> None:
    x = np.linspace(0, 1, 50)
    noise = np.random.default_rng(3).normal(0, 0.3, 50)
    figure = correlation_figure(x, x + noise)
    assert figure is not None
    assert figure.value == pytest.approx(np.corrcoef(x, x + noise)[0, 1])
    assert -1.0 <= figure.low < figure.value < figure.high <= 1.0
    assert correlation_figure(x, np.ones(50)) is None


def test_paired_test_sees_a_small_shift_that_the_unpaired_one_misses() -> None:
    rng = np.random.default_rng(4)
    items = rng.normal(0, 5, 30)
    one, other = items + rng.normal(0, 0.2, 30), items + 0.3 + rng.normal(0, 0.2, 30)
    assert paired_p_value(one, other) < 0.001
    assert unpaired_p_value(one, other, samples=2000) > 0.3


def test_p_values_are_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(5)
    values = [paired_p_value(*rng.normal(size=(2, 20)), samples=400) for _ in range(100)]
    assert 0.01 <= np.mean(np.array(values) < 0.1) <= 0.22
    assert paired_p_value([1.0] * 6, [1.0] * 6) == 1.0
    assert unpaired_p_value([0.0] * 10, [1.0] * 10, samples=2000) < 0.01
