"""Distances in closed form: Gaussians whose distance is known, distributions whose divergence is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import entropy

from m2ugen.evaluate.metrics.distances import (
    extrapolated_distance,
    frechet_distance,
    kernel_distance,
    kl_divergence,
    log_spectral_distance,
    retrieval_ranks,
    set_figure,
    system_ranks,
)


def test_frechet_distance_is_the_formula_with_a_matrix_root() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)), 1.0 + 2.0 * rng.normal(size=(150, 6))
    first, second = np.cov(one.T), np.cov(other.T)
    apart = np.square(one.mean(0) - other.mean(0)).sum()
    expected = apart + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))


def test_frechet_distance_of_gaussians_is_what_theory_says() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0.0, 1.0, (20_000, 4)), rng.normal(0.5, 3.0, (20_000, 4))
    # four dimensions: squared distance of the means and of the standard deviations in each
    assert frechet_distance(one, other) == pytest.approx(4 * (0.5**2 + (3 - 1) ** 2), rel=0.02)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-8)


def test_frechet_distance_with_fewer_clips_than_dimensions() -> None:
    rng = np.random.default_rng(2)
    one = rng.normal(size=(5, 40))
    assert frechet_distance(one, one + 2.0) == pytest.approx(40 * 4.0)  # moved, and not otherwise changed
    assert np.isnan(frechet_distance(one[:1], one))


def test_extrapolation_takes_off_the_bias_of_few_clips() -> None:
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(20_000, 8))
    plain, extrapolated = [], []
    for trial in range(12):
        clips = [rng.normal(size=(1, 8)) for _ in range(60)]
        plain.append(frechet_distance(np.concatenate(clips), reference))
        extrapolated.append(extrapolated_distance(reference, clips, seed=trial))
    assert np.mean(plain) > 0.2  # the same distribution, and yet far from zero
    assert abs(np.mean(extrapolated)) < 0.4 * np.mean(plain)
    assert np.isnan(extrapolated_distance(reference, [reference[:1]] * 7))


def test_kernel_distance_is_zero_on_average_for_one_distribution() -> None:
    rng = np.random.default_rng(4)
    same = [kernel_distance(rng.normal(size=(12, 5)), rng.normal(size=(40, 5))) for _ in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)
    assert kernel_distance(rng.normal(3.0, 1.0, (12, 5)), rng.normal(size=(40, 5))) > 0.3


def test_kernel_distance_by_pairs() -> None:
    one, other = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    width = 4.0  # the only distance within the reference, squared

    def kernel(x: float, y: float) -> float:
        return float(np.exp(-((x - y) ** 2) / width))

    cross = np.mean([kernel(x, y) for x in (0, 1) for y in (0, 2)])
    assert kernel_distance(one, other) == pytest.approx(kernel(0, 1) + kernel(0, 2) - 2 * cross)


def test_set_figure_holds_the_value_and_an_interval() -> None:
    rng = np.random.default_rng(5)
    clips, reference = ([rng.normal(size=(3, 4)) + shift for _ in range(10)] for shift in (1.0, 0.0))
    figure = set_figure(frechet_distance, clips, reference)
    assert figure is not None and figure.count == 10 and figure.low < figure.value < figure.high
    assert figure.value == pytest.approx(frechet_distance(np.concatenate(clips), np.concatenate(reference)))


def test_kl_is_scipys_and_has_a_direction() -> None:
    p, q = np.array([[0.7, 0.2, 0.1]]), np.array([[0.1, 0.3, 0.6]])
    assert kl_divergence(p, q) == pytest.approx([entropy(p[0], q[0])])
    assert kl_divergence(q, p) == pytest.approx([entropy(q[0], p[0])])
    assert kl_divergence(p, q)[0] != pytest.approx(kl_divergence(q, p)[0])
    assert kl_divergence(p, 5 * p) == pytest.approx([0.0], abs=1e-9)


def test_log_spectral_distance_of_a_change_of_level() -> None:
    noise = np.random.default_rng(6).normal(0, 0.1, 30_000)
    assert log_spectral_distance(noise, noise) == 0.0
    # ten times the amplitude is a hundred times the power: two decades in every bin
    assert log_spectral_distance(noise, 10 * noise) == pytest.approx(2.0)
    assert np.isnan(log_spectral_distance(noise[:100], noise))


def test_ranks() -> None:
    similarities = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.3, 0.3]])
    assert retrieval_ranks(similarities).tolist() == [1.0, 0.5, 0.5]
    assert system_ranks(np.array([[0.9, 0.8], [0.1, 0.8], [0.5, 0.1]])).tolist() == [1.25, 2.25, 2.5]
