"""The key that notes are in."""

from __future__ import annotations

import numpy as np

from m2ugen.score.notes import DURATION, PITCH

# Krumhansl and Kessler's probe-tone profiles (Psychological Review 89, 1982).
PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


def pitch_class_weights(notes: np.ndarray) -> np.ndarray:
    """Sounding time per pitch class of notes [n, 5], float64 [12]."""
    return np.bincount(notes[:, PITCH] % 12, weights=notes[:, DURATION], minlength=12)


def key_scores(weights: np.ndarray) -> dict[tuple[int, str], float]:
    """Correlation of pitch-class weights [12] with the profile of each of the 24 keys (tonic, mode)."""
    return {
        (tonic, mode): float(np.corrcoef(np.roll(profile, tonic), weights)[0, 1])
        for mode, profile in PROFILES.items()
        for tonic in range(12)
    }


def key_of_weights(weights: np.ndarray) -> tuple[int, str]:
    """The key (tonic, mode) whose profile correlates best with pitch-class weights [12]."""
    scores = key_scores(weights)
    return max(scores, key=lambda key: scores[key])
