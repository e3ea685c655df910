"""Key and chords from pitch-class profiles."""

from __future__ import annotations

import numpy as np

from m2ugen.score.beats import Beats
from m2ugen.score.plan import CHORDS_PER_BAR, Chord

# Temperley, "What's Key for Key?" (1999): how well each degree fits a key.
PROFILES = {
    "major": np.array([5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0]),
    "minor": np.array([5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0]),
}
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
TEMPLATES: dict[str, tuple[float, dict[int, float]]] = {  # quality → cost, weight of each interval
    "maj": (0.0, {0: 1.0, 4: 0.9, 7: 0.8}),
    "min": (0.0, {0: 1.0, 3: 0.9, 7: 0.8}),
    "7": (0.04, {0: 1.0, 4: 0.9, 7: 0.7, 10: 0.7}),
    "maj7": (0.05, {0: 1.0, 4: 0.9, 7: 0.7, 11: 0.7}),
    "min7": (0.05, {0: 1.0, 3: 0.9, 7: 0.7, 10: 0.7}),
    "dim": (0.08, {0: 1.0, 3: 0.9, 6: 0.9}),
    "sus4": (0.1, {0: 1.0, 5: 0.9, 7: 0.8}),
}
CHANGE_COST = 0.12  # of a new chord, in units of template similarity
OUTSIDE_COST = 0.05  # for each chord tone outside the scale
BASS_WEIGHT = 0.25
# What a lone tune is harmonised with: (root, quality) → cost, by mode. It names no chord outright, so usage decides.
USUAL_CHORDS: dict[str, dict[tuple[int, str], float]] = {
    "major": {
        (0, "maj"): 0.0, (5, "maj"): 0.06, (7, "maj"): 0.06, (9, "min"): 0.12, (2, "min"): 0.14, (4, "min"): 0.25,
    },
    "minor": {
        (0, "min"): 0.0, (5, "min"): 0.06, (7, "maj"): 0.1, (8, "maj"): 0.12, (10, "maj"): 0.12, (3, "maj"): 0.12,
    },
}  # fmt: skip
HOME_BONUS = 0.15  # for the tonic's chord where a lone tune begins and ends
LONE = 1.15  # pitch classes that sound together on average, up to which a tune is alone
MIN_ENERGY = 0.02  # of the loudest slot, below which there is no chord


def estimate_key(chroma: np.ndarray, bass: np.ndarray | None = None) -> tuple[int, str, float]:
    """Tonic (0-11), mode and confidence (0-1) of a pitch-class profile: float [12] or [frames, 12].

    Correlation with Temperley's key profiles; ``bass`` (as ``chroma``) favours the pitch class that it rests on.
    """
    total = np.atleast_2d(chroma).sum(axis=0)
    if total.sum() <= 0:
        return 0, "major", 0.0
    ground = np.zeros(12) if bass is None else np.atleast_2d(bass).sum(axis=0)
    ground = ground / max(float(ground.sum()), 1e-9)
    scores = {
        (tonic, mode): float(np.corrcoef(np.roll(profile, tonic), total)[0, 1]) + 0.5 * float(ground[tonic])
        for mode, profile in PROFILES.items()
        for tonic in range(12)
    }
    ranked = sorted(scores, key=lambda key: scores[key], reverse=True)
    margin = scores[ranked[0]] - scores[ranked[1]]
    return ranked[0][0], ranked[0][1], float(np.clip(margin / 0.3, 0.0, 1.0))


def slot_times(beats: Beats, bars: int) -> np.ndarray:
    """Bounds in seconds of the plan's chord slots (half bars; whole bars in 3/4), float64 [slots + 1]."""
    slots = CHORDS_PER_BAR[beats.metre]
    places = beats.downbeat + np.arange(bars * slots + 1) * beats.beats_per_bar / slots
    return np.asarray(beat_time(beats, places))


def beat_time(beats: Beats, places: np.ndarray) -> np.ndarray:
    """Seconds of fractional beat indices; extrapolated evenly beyond the ends."""
    period = 60.0 / beats.tempo
    times = np.interp(places, np.arange(len(beats.times)), beats.times)
    times = times + np.minimum(places, 0.0) * period + np.maximum(places - (len(beats.times) - 1), 0.0) * period
    return np.asarray(times)


def beat_place(beats: Beats, seconds: np.ndarray) -> np.ndarray:
    """Inverse of beat_time."""
    period = 60.0 / beats.tempo
    places = np.interp(seconds, beats.times, np.arange(len(beats.times)))
    places = places + np.minimum(seconds - beats.times[0], 0.0) / period
    return np.asarray(places + np.maximum(seconds - beats.times[-1], 0.0) / period)


def estimate_chords(
    chroma: np.ndarray,
    frame_seconds: float,
    beats: Beats,
    key: tuple[int, str],
    bars: int,
    bass: np.ndarray | None = None,
) -> tuple[Chord | None, ...]:
    """The chord of every slot of ``bars`` bars from the first downbeat, relative to the tonic of ``key``.

    ``chroma`` and ``bass`` (the low notes only) are float [frames, 12], ``frame_seconds`` apart. Templates with a
    Viterbi search that prefers staying on a chord and chords of the key; a tune without accompaniment gets USUAL_CHORDS
    that hold its notes. None where nothing sounds.
    """
    bounds = slot_times(beats, bars)
    profile = _slot_means(chroma, frame_seconds, bounds)
    ground = _slot_means(bass if bass is not None else np.zeros_like(chroma), frame_seconds, bounds)
    if not len(profile):
        return ()
    energy = profile.sum(axis=1)
    chords, costs, templates = _vocabulary(*key)
    if _is_lone(chroma):
        usual = np.array([USUAL_CHORDS[key[1]].get((chord.root, chord.quality), 1.0) for chord in chords])
        fit = (profile / (energy[:, None] + 1e-9)) @ (templates.T > 0) - usual  # share of the tune that a chord holds
        fit[0, usual == 0.0] += HOME_BONUS
        fit[-1, usual == 0.0] += HOME_BONUS
    else:
        unit = profile / (np.linalg.norm(profile, axis=1, keepdims=True) + 1e-9)
        low = ground / (ground.max(axis=1, keepdims=True) + 1e-9)
        roots = np.array([(key[0] + chord.root) % 12 for chord in chords])
        fit = unit @ templates.T + BASS_WEIGHT * low[:, roots] - costs  # [slots, chords]
    best = _viterbi(fit, CHANGE_COST)
    quiet = energy < MIN_ENERGY * max(float(energy.max()), 1e-9)
    return tuple(None if silent else chords[k] for k, silent in zip(best, quiet, strict=True))


def _is_lone(chroma: np.ndarray) -> bool:
    """Whether hardly more than one pitch class sounds at a time in float [frames, 12]."""
    loudest = chroma.max(axis=1, keepdims=True)
    sounding = (loudest[:, 0] > 0.1 * float(loudest.max(initial=0.0))) & (loudest[:, 0] > 0)
    return bool(sounding.any()) and float((chroma[sounding] > 0.5 * loudest[sounding]).sum(axis=1).mean()) <= LONE


def _vocabulary(tonic: int, mode: str) -> tuple[list[Chord], np.ndarray, np.ndarray]:
    """Chords relative to the tonic, their costs [chords], and their sounding templates [chords, 12] of unit length."""
    chords, costs, rows = [], [], []
    scale = set(SCALES[mode]) | ({11} if mode == "minor" else set())  # the dominant of minor has a leading note
    for root in range(12):
        for quality, (cost, weights) in TEMPLATES.items():
            row = np.zeros(12)
            for interval, weight in weights.items():
                row[(tonic + root + interval) % 12] = weight
            outside = sum((root + interval) % 12 not in scale for interval in weights)
            chords.append(Chord(root, quality))
            costs.append(cost + OUTSIDE_COST * outside)
            rows.append(row / np.linalg.norm(row))
    return chords, np.array(costs), np.array(rows)


def _slot_means(chroma: np.ndarray, frame_seconds: float, bounds: np.ndarray) -> np.ndarray:
    sums = np.concatenate([np.zeros((1, 12)), np.cumsum(chroma, axis=0)])
    places = np.clip(np.round(bounds / frame_seconds).astype(int), 0, len(chroma))
    return np.asarray((sums[places[1:]] - sums[places[:-1]]) / np.maximum(np.diff(places), 1)[:, None])


def _viterbi(fit: np.ndarray, change_cost: float) -> list[int]:
    """The path of highest total ``fit`` [slots, states] when every change of state costs ``change_cost``."""
    score = fit[0].copy()
    back = np.zeros(fit.shape, dtype=int)
    for slot in range(1, len(fit)):
        leader = int(score.argmax())
        moved = score[leader] - change_cost
        back[slot] = np.where(score >= moved, np.arange(len(score)), leader)
        score = np.maximum(score, moved) + fit[slot]
    path = [int(score.argmax())]
    for slot in range(len(fit) - 1, 0, -1):
        path.append(int(back[slot, path[-1]]))
    return path[::-1]
