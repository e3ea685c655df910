"""Voice leading: chords that would jump as a whole are turned into the inversion that lies nearest to the one before.

The network draws every chord's notes by itself, so now and then all voices of a chord leap the same way, which real
accompaniments avoid. The chord stays what it is: pitch classes, rhythm and loudness are kept.
"""

from __future__ import annotations

import numpy as np

from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import ONSET, PART, PITCH
from m2ugen.score.plan import Plan

LED = ("chords", "pad")  # roles
FREE_HANDS = ("guitar",)  # families whose shapes move along the neck as they are
SMALLEST_CHORD = 3  # notes
STEP = 2  # semitones that all voices may move the same way
DRIFT = 5.0  # semitones that a chord of another size may lie higher or lower
OCTAVE = 12


def with_led_voices(notes: np.ndarray, plan: Plan) -> np.ndarray:
    """``notes`` int32 [n, 5], by onset, in which chords of keyboards, strings and the like follow one another closely.
    What is heard of a chord depends on what came before it alone.
    """
    notes = notes.copy()
    for index, part in enumerate(plan.parts):
        instrument = INSTRUMENTS[INSTRUMENT_INDEX[part.instrument]]
        if part.role in LED and instrument.family not in FREE_HANDS:
            places = np.flatnonzero(notes[:, PART] == index)
            _lead(notes, places, instrument.low, instrument.high, plan.bar_ticks)
    return notes


def _lead(notes: np.ndarray, places: np.ndarray, low: int, high: int, bar_ticks: int) -> None:
    """Move the pitches of one part's notes, those at ``places``, in place."""
    written = np.empty(0, dtype=np.int64)  # the chord before, as it was written and as it sounds
    before, when = written, 0
    onsets = notes[places, ONSET]
    for onset in np.unique(onsets).tolist():
        group = places[onsets == onset]
        if len(group) < SMALLEST_CHORD:
            continue
        group = group[np.argsort(notes[group, PITCH], kind="stable")]
        chord = notes[group, PITCH].astype(np.int64)
        led = chord
        if np.array_equal(chord, written):
            led = before
        elif len(before) and onset - when <= bar_ticks and _jumps(before, chord):
            led = min(_inversions(chord, low, high), key=lambda other: _distance(before, other))
        notes[group, PITCH] = led
        written, before, when = chord, led, onset


def _jumps(before: np.ndarray, chord: np.ndarray) -> bool:
    """Whether all voices move the same way, and far."""
    if len(before) != len(chord):
        return abs(before.mean() - chord.mean()) > DRIFT
    moves = chord - before
    return bool((moves > STEP).all() or (moves < -STEP).all())


def _inversions(chord: np.ndarray, low: int, high: int) -> list[np.ndarray]:
    """``chord`` and those that come of it by moving its lowest notes up or its highest down, within the range."""
    found = [chord]
    for direction in (1, -1):
        turned = chord
        for _ in range(2 * len(chord)):
            moved = turned[0] + OCTAVE if direction > 0 else turned[-1] - OCTAVE
            rest = turned[1:] if direction > 0 else turned[:-1]
            if not low <= moved <= high or moved in rest:
                break
            turned = np.sort(np.append(rest, moved))
            found.append(turned)
    return found


def _distance(before: np.ndarray, chord: np.ndarray) -> float:
    """How far the voices move, in semitones; between chords of different sizes, each voice to the nearest."""
    if len(before) == len(chord):
        return float(np.abs(chord - before).sum())
    apart = np.abs(chord[:, None] - before[None])
    return float(apart.min(axis=0).sum() + apart.min(axis=1).sum())
