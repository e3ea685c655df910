"""Figures about composed music: key, harmony, melody, rhythm, repetition, and copied material.

All take a note array (see m2ugen.score.notes) and its plan; shares are between 0 and 1, and NaN where a piece has
nothing to measure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from m2ugen.score.keys import key_of_weights, pitch_class_weights
from m2ugen.score.notes import ONSET, PART, PITCH
from m2ugen.score.plan import BEAT_TICKS, TICKS_PER_BEAT, Plan

MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 9, 10, 11)  # natural, with the raised sixth and seventh of the melodic form


def role_notes(notes: np.ndarray, plan: Plan, *roles: str) -> np.ndarray:
    """The notes of the named roles; all pitched roles when none is named."""
    wanted = [index for index, part in enumerate(plan.parts) if (part.role in roles if roles else part.role != "drums")]
    return notes[np.isin(notes[:, PART], wanted)]


def key_of(notes: np.ndarray, plan: Plan) -> tuple[int, str]:
    """Tonic and mode heard in the pitched notes, by correlation with the probe-tone profiles."""
    weights = pitch_class_weights(role_notes(notes, plan))
    return key_of_weights(weights) if weights.any() else (plan.tonic, plan.mode)


def musicality(notes: np.ndarray, plan: Plan) -> dict[str, float]:
    """All figures of one piece by name."""
    pitched, melody, bass = role_notes(notes, plan), role_notes(notes, plan, "melody"), role_notes(notes, plan, "bass")
    scale = [(plan.tonic + step) % 12 for step in (MAJOR_SCALE if plan.mode == "major" else MINOR_SCALE)]
    intervals = np.abs(np.diff(melody[:, PITCH]))
    intervals = intervals[np.diff(melody[:, ONSET]) > 0]
    return {
        "in_key": _mean(np.isin(pitched[:, PITCH] % 12, scale)),
        "chord_tones_on_strong_beats": _mean(_chord_tones(_on_strong_beats(pitched, plan), plan)),
        "bass_on_root_at_changes": _mean(_bass_roots(bass, plan)),
        "pitch_class_entropy": _entropy(pitched[:, PITCH] % 12),
        "note_range": float(np.ptp(pitched[:, PITCH])) if len(pitched) else float("nan"),
        "groove_consistency": groove_consistency(notes, plan),
        "notes_per_bar": len(notes) / plan.bars,
        "melody_notes_per_bar": len(melody) / plan.bars,
        "melody_steps": _mean(intervals <= 2),
        "melody_leaps": _mean(intervals > 7),
        "bar_similarity": bar_similarity(notes, plan),
        "parts_silent": float(sum(not (notes[:, PART] == index).any() for index in range(len(plan.parts)))),
    }


def bar_similarity(notes: np.ndarray, plan: Plan) -> float:
    """Mean Jaccard similarity of the (part, place) onsets of each bar with those of the bar before."""
    bars: list[set[tuple[int, int]]] = [set() for _ in range(plan.bars)]
    for onset, part in notes[:, [ONSET, PART]].tolist():
        bar, place = divmod(onset, plan.bar_ticks)
        if bar < plan.bars:
            bars[bar].add((part, place))
    pairs = [(a, b) for a, b in itertools.pairwise(bars) if a or b]
    return float(np.mean([len(a & b) / len(a | b) for a, b in pairs])) if pairs else float("nan")


def groove_consistency(notes: np.ndarray, plan: Plan) -> float:
    """One minus the mean share of places in which the onset patterns of neighbouring bars differ (Wu and Yang,
    arXiv 2008.01307); places are ticks, of which silent ones agree too.
    """
    bars = np.zeros((plan.bars, plan.bar_ticks), dtype=bool)
    inside = notes[notes[:, ONSET] < plan.ticks]
    bars[inside[:, ONSET] // plan.bar_ticks, inside[:, ONSET] % plan.bar_ticks] = True
    return float(1.0 - (bars[1:] != bars[:-1]).mean()) if plan.bars > 1 else float("nan")


def melody_steps(notes: np.ndarray, plan: Plan) -> list[tuple[int, int]]:
    """The melody as (interval in semitones, ticks to the next onset), which no transposition changes."""
    melody = role_notes(notes, plan, "melody")
    return list(zip(np.diff(melody[:, PITCH]).tolist(), np.diff(melody[:, ONSET]).tolist(), strict=True))


class MelodyIndex:
    """Finds the longest run of melody notes that also stands in a collection of melodies."""

    def __init__(self, melodies: Iterable[list[tuple[int, int]]], length: int = 4) -> None:
        self.length = length
        self.melodies = list(melodies)
        self.places: dict[tuple[tuple[int, int], ...], list[tuple[int, int]]] = {}
        for number, melody in enumerate(self.melodies):
            for start in range(len(melody) - length + 1):
                self.places.setdefault(tuple(melody[start : start + length]), []).append((number, start))

    def longest_run(self, melody: list[tuple[int, int]]) -> int:
        """Number of notes of the longest passage of ``melody`` that a collected melody has exactly."""
        best = 0
        for start in range(len(melody) - self.length + 1):
            for number, place in self.places.get(tuple(melody[start : start + self.length]), ()):
                other, run = self.melodies[number], self.length
                while (
                    start + run < len(melody) and place + run < len(other) and melody[start + run] == other[place + run]
                ):
                    run += 1
                best = max(best, run + 1)
        return best


def _on_strong_beats(notes: np.ndarray, plan: Plan) -> np.ndarray:
    strong = 2 * BEAT_TICKS[plan.metre] if plan.metre == "4/4" else plan.bar_ticks
    return notes[notes[:, ONSET] % strong == 0]


def _chord_tones(notes: np.ndarray, plan: Plan) -> list[bool]:
    found = []
    for onset, pitch in notes[:, [ONSET, PITCH]].tolist():
        chord = plan.chord_at(onset)
        if chord is not None:
            found.append(pitch % 12 in chord.pitch_classes(plan.tonic))
    return found


def _bass_roots(bass: np.ndarray, plan: Plan) -> list[bool]:
    """For every bass note at a chord change: is it the chord's root?"""
    found = []
    for onset, pitch in bass[:, [ONSET, PITCH]].tolist():
        chord = plan.chord_at(onset)
        changes = chord is not None and onset % (TICKS_PER_BEAT // 2) == 0 and plan.chord_at(onset - 1) != chord
        if chord is not None and changes:
            found.append((pitch - plan.tonic - chord.root) % 12 == 0)
    return found


def _mean(values: object) -> float:
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()) if array.size else float("nan")


def _entropy(pitch_classes: np.ndarray) -> float:
    share = np.bincount(pitch_classes, minlength=12) / max(len(pitch_classes), 1)
    return float(-(share[share > 0] * np.log2(share[share > 0])).sum())
