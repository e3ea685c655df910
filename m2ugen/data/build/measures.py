"""What makes a recording unfit: silence, clipping, noise. All measured on mono float32 [samples]."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

RATE = 16_000  # Hz, at which noise and speech are measured
FRAME = 0.05  # seconds over which loudness is looked at
QUIET = 1e-3  # RMS (-60 dBFS) below which a frame is silent
FULL = 0.999  # of full scale
RUN = 3  # samples in a row at full scale that count as clipped
FFT, HOP = 2048, 1024
EDGES = np.concatenate([np.arange(8, 64, 8), np.round(np.geomspace(64, 900, 12)).astype(int)])  # of the bands, in bins
MEDIAN_OF_NOISE = float(np.log(2))  # median of noise power in a bin, in units of its mean
MAX_SNR = 60.0


def silent_share(mono: np.ndarray, sample_rate: int) -> float:
    """Share of the time in which nothing can be heard, 0 to 1."""
    size = max(round(FRAME * sample_rate), 1)
    frames = mono[: len(mono) // size * size].reshape(-1, size) if len(mono) >= size else mono[None]
    return float((np.sqrt((frames**2).mean(axis=1)) < QUIET).mean())


def clipped_share(samples: np.ndarray) -> float:
    """Share of samples [channels, n] in runs at full scale, 0 to 1; of the worst channel."""
    full = np.abs(samples) >= FULL
    if not full.any():
        return 0.0
    padded = np.pad(full, ((0, 0), (RUN - 1, RUN - 1)))
    runs = np.lib.stride_tricks.sliding_window_view(padded, RUN, axis=1).all(axis=2)  # a run starts here
    inside = np.lib.stride_tricks.sliding_window_view(runs, RUN, axis=1).any(axis=2)
    return float(inside.mean(axis=1).max())


def signal_to_noise(mono: np.ndarray) -> float:
    """Decibels by which music stands above its noise, at most MAX_SNR; ``mono`` at RATE.

    Noise is what is there all the time (the quietest tenth of the frames) or between the partials (the median of a
    band's bins): hiss has neither gaps in time nor in frequency, music has one or the other.
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(mono, (0, max(FFT - len(mono), 0))), FFT)[::HOP]
    power = np.abs(np.fft.rfft(windows * np.hanning(FFT).astype(np.float32), axis=1)) ** 2  # [frames, bins]
    signal = noise = 0.0
    for low, high in pairwise(EDGES):
        band = power[:, low:high]
        over_time = float(np.percentile(band.mean(axis=1), 10))
        between = float(np.median(np.median(band, axis=1))) / MEDIAN_OF_NOISE
        signal += float(band.mean()) * (high - low)
        noise += min(over_time, between, float(band.mean())) * (high - low)
    if signal <= 0:
        return 0.0
    return float(min(10 * np.log10(max(signal - noise, 1e-12 * signal) / max(noise, 1e-12 * signal)), MAX_SNR))
