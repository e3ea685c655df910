"""Distances between sets of music: Fréchet, kernel and Kullback-Leibler, spectra, and rankings by similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from m2ugen.evaluate.metrics.statistics import Figure, bootstrap_figure

EXTRAPOLATION_SIZES = 8  # numbers of clips from which FAD∞ is extrapolated
EXTRAPOLATION_DRAWS = 4  # subsets of each size
LSD_FFT, LSD_HOP = 2048, 512
FLOOR = 1e-10


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Fréchet distance between Gaussians fitted to two sets of embeddings, [n, dim] and [m, dim].

    |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½). The trace of the root is the sum of the singular values of A·Bᵀ where
    Σ₁ = AᵀA and Σ₂ = BᵀB are the centred data themselves: exact for any number of clips, also fewer than dimensions,
    where a matrix root is not.
    """
    if len(one) < 2 or len(other) < 2:
        return float("nan")
    first, second = _centred(one), _centred(other)
    if len(first) > first.shape[1]:  # as many rows as dimensions say the same
        first = np.asarray(np.linalg.qr(first, mode="r"))
    if len(second) > second.shape[1]:
        second = np.asarray(np.linalg.qr(second, mode="r"))
    root = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    apart = float(np.square(one.mean(axis=0) - other.mean(axis=0)).sum())
    return max(apart + float(np.square(first).sum() + np.square(second).sum() - 2.0 * root), 0.0)


def extrapolated_distance(reference: np.ndarray, clips: Sequence[np.ndarray], seed: int = 0) -> float:
    """FAD∞ (Gui et al., arXiv 2311.01616): the Fréchet distance of ever more clips, continued to infinitely many.

    The distance falls linearly in 1/n; a line through random subsets of several sizes gives its value at 1/n = 0.
    NaN for fewer than eight clips.
    """
    if len(clips) < 8:
        return float("nan")
    rng, sizes, values = np.random.default_rng(seed), [], []
    for size in np.unique(np.linspace(len(clips) // 2, len(clips), EXTRAPOLATION_SIZES).astype(int)):
        for _ in range(EXTRAPOLATION_DRAWS):
            chosen = rng.choice(len(clips), int(size), replace=False)
            rows = np.concatenate([clips[k] for k in chosen])
            sizes.append(1.0 / len(rows))
            values.append(frechet_distance(rows, reference))
    return float(np.polyfit(sizes, values, 1)[1])


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Squared maximum mean discrepancy, unbiased, with a Gaussian kernel as wide as the median distance within
    ``other`` (the reference): the kernel audio distance (arXiv 2502.15602). Zero on average for two samples of one
    distribution, however small they are.
    """
    if len(one) < 2 or len(other) < 2:
        return float("nan")
    inside = _squared(other, other)
    width = float(np.median(inside[np.triu_indices(len(other), 1)]))

    def kernel(distances: np.ndarray) -> np.ndarray:
        return np.exp(-distances / max(width, FLOOR))

    first, second = kernel(_squared(one, one)), kernel(inside)
    n, m = len(one), len(other)
    within = (first.sum() - np.trace(first)) / (n * (n - 1)) + (second.sum() - np.trace(second)) / (m * (m - 1))
    return float(within - 2.0 * kernel(_squared(one, other)).mean())


def set_figure(
    distance: Callable[[np.ndarray, np.ndarray], float],
    clips: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    seed: int = 0,
) -> Figure | None:
    """``distance`` between the frames of ``clips`` and those of ``reference`` (each clip [frames, dim]), with an
    interval over resampled clips.
    """
    target = np.concatenate(list(reference))
    return bootstrap_figure(
        lambda chosen: distance(np.concatenate([clips[k] for k in chosen]), target), len(clips), seed, samples=100
    )


def kl_divergence(reference: np.ndarray, found: np.ndarray) -> np.ndarray:
    """KL(reference ‖ found) in nats for each row of two tables of class probabilities [n, classes]."""
    p, q = (np.clip(table, FLOOR, None) for table in (reference, found))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return np.asarray((p * (np.log(p) - np.log(q))).sum(axis=-1))


def log_spectral_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square difference of two log power spectra in decades, mean over time.

    ``one`` and ``other`` are mono float [samples] at the same rate; the longer one is cut. NaN when one is too short.
    """
    length = min(len(one), len(other))
    if length < LSD_FFT:
        return float("nan")
    spectra = [np.log10(np.maximum(_power(np.asarray(x[:length], dtype=np.float64)), FLOOR)) for x in (one, other)]
    return float(np.sqrt(np.square(spectra[0] - spectra[1]).mean(axis=1)).mean())


def retrieval_ranks(similarities: np.ndarray) -> np.ndarray:
    """For each row of [queries, candidates], whose own candidate is on the diagonal: the share of the other
    candidates that it beats (1 = best of all, 0.5 = chance); ties count half.
    """
    own = np.diag(similarities)[:, None]
    others = similarities.shape[1] - 1
    if others < 1:
        return np.full(len(similarities), np.nan)
    beaten = (similarities < own).sum(axis=1) + 0.5 * ((similarities == own).sum(axis=1) - 1)
    return np.asarray(beaten / others)


def system_ranks(similarities: np.ndarray) -> np.ndarray:
    """Mean rank (1 = best) of each system over items, from similarities [systems, items]: the paper's ImageBind
    ranking. Ties share their ranks.
    """
    from scipy.stats import rankdata

    return np.asarray(rankdata(-similarities, axis=0).mean(axis=1))


def _centred(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    return (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)


def _squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [n, m]."""
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return np.maximum(np.square(one).sum(1)[:, None] + np.square(other).sum(1) - 2.0 * one @ other.T, 0.0)


def _power(mono: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(mono, LSD_FFT)[::LSD_HOP] * np.hanning(LSD_FFT)
    return np.asarray(np.abs(np.fft.rfft(frames, axis=1)) ** 2)
