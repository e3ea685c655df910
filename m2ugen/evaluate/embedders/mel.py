"""Mel filter banks as the published taggers compute them: triangles on HTK's mel scale, 1127 ln(1 + f / 700)."""

from __future__ import annotations

import numpy as np


def mel(hertz: np.ndarray | float) -> np.ndarray:
    """Mels of frequencies in hertz."""
    return np.asarray(1127.0 * np.log(1.0 + np.asarray(hertz, dtype=np.float64) / 700.0))


def mel_filters(bins: int, width: float, bands: int, low: float, high: float) -> np.ndarray:
    """Weights float64 [bins, bands] of spectrum bins ``width`` Hz apart (the first at 0) for ``bands`` triangles whose
    edges are evenly spaced in mels between ``low`` and ``high`` Hz. The bin at 0 Hz counts for nothing.
    """
    edges = np.linspace(float(mel(low)), float(mel(high)), bands + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    places = mel(np.arange(bins) * width)[:, None]
    rising, falling = (places - left) / (centre - left), (right - places) / (right - centre)
    weights = np.maximum(np.minimum(rising, falling), 0.0)
    weights[0] = 0.0
    return np.asarray(weights)


def frames(mono: np.ndarray, length: int, hop: int) -> np.ndarray:
    """All whole frames of float [samples]: float64 [n, length]; one frame, filled up with zeros, for shorter input."""
    if len(mono) < length:
        mono = np.pad(mono, (0, length - len(mono)))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(mono.astype(np.float64), length)[::hop])
