"""Keys and chords: estimation from notes, reading of chord labels, and the change between major and minor.

Chords are relative to the tonic (m2ugen.score.plan.Chord); notes are in C unless a tonic is given.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from m2ugen.score.keys import pitch_class_weights
from m2ugen.score.notes import ONSET, PITCH
from m2ugen.score.plan import BAR_TICKS, CHORD_QUALITIES, CHORDS_PER_BAR, Chord

SCALES = {"major": frozenset({0, 2, 4, 5, 7, 9, 11}), "minor": frozenset({0, 2, 3, 5, 7, 8, 10, 11})}
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
LABEL_QUALITIES = {"": "maj", "maj9": "maj7", "min9": "min7", "11": "9", "13": "9", "minmaj7": "min",
                   "sus4(b7)": "sus4"}  # fmt: skip
# Qualities that estimation may choose, with the price of a fourth note (passing notes look like sevenths).
ESTIMATED = {"maj": 0.0, "min": 0.0, "7": 0.08, "min7": 0.16, "maj7": 0.22, "dim": 0.02, "dim7": 0.08, "hdim7": 0.12}
# How welcome a degree is where only a tune is given and its harmony must be guessed.
DEGREES = {
    "major": {(0, "maj"): 0.35, (7, "maj"): 0.22, (7, "7"): 0.24, (5, "maj"): 0.22, (9, "min"): 0.08, (2, "min"): 0.08},
    "minor": {
        (0, "min"): 0.35,
        (7, "maj"): 0.20,
        (7, "7"): 0.20,
        (5, "min"): 0.20,
        (8, "maj"): 0.10,
        (3, "maj"): 0.10,
        (10, "maj"): 0.10,
    },
}
TO_MINOR = {4: 3, 9: 8, 11: 10}
TO_MAJOR = {3: 4, 8: 9, 10: 11}


def parse_pitch_class(name: str) -> int:
    """Pitch class of a note name such as ``F#`` or ``Bb``."""
    return (LETTERS[name[0]] + name.count("#") - name.count("b")) % 12


def parse_chord(label: str, tonic: int) -> Chord | None:
    """A label such as ``B:min7/b3`` relative to ``tonic``; None for ``N`` and for what cannot be read."""
    match = re.match(r"([A-G][b#]*):?([^/]*)", label)
    if not match:
        return None
    quality = LABEL_QUALITIES.get(match[2], match[2])
    if quality not in CHORD_QUALITIES:
        quality = "min" if quality.startswith("min") else "maj"
    return Chord((parse_pitch_class(match[1]) - tonic) % 12, quality)


def share_in_key(notes: np.ndarray, mode: str) -> float:
    """Share of sounding time on the scale of C major or (natural plus harmonic) C minor."""
    weights = pitch_class_weights(notes)
    return float(weights[list(SCALES[mode])].sum() / max(weights.sum(), 1e-9))


def slot_weights(notes: np.ndarray, metre: str, bars: int) -> tuple[np.ndarray, np.ndarray]:
    """Sounding time per chord slot and pitch class [slots, 12], and each slot's lowest pitch [slots] (-1: none)."""
    ticks = BAR_TICKS[metre] // CHORDS_PER_BAR[metre]
    slots = bars * CHORDS_PER_BAR[metre]
    weights, lowest = np.zeros((slots, 12)), np.full(slots, 1 << 20)
    for onset, _, pitch, duration, _ in notes.tolist():
        for slot in range(onset // ticks, min((onset + duration - 1) // ticks + 1, slots)):
            overlap = min(onset + duration, (slot + 1) * ticks) - max(onset, slot * ticks)
            weights[slot, pitch % 12] += overlap
            if overlap >= 3:
                lowest[slot] = min(lowest[slot], pitch)
    return weights, np.where(lowest == 1 << 20, -1, lowest)


@lru_cache(maxsize=1)
def _templates() -> tuple[list[Chord], np.ndarray]:
    chords = [Chord(root, quality) for root in range(12) for quality in ESTIMATED]
    table = np.array([[pc in chord.pitch_classes() for pc in range(12)] for chord in chords], dtype=np.float64)
    return chords, table


def estimate_chords(
    notes: np.ndarray, metre: str, bars: int, mode: str, melody_only: bool = False
) -> tuple[Chord | None, ...]:
    """The likeliest chord of every slot by template matching and dynamic programming over the whole stretch.

    With ``melody_only`` the degrees of the key weigh more, since a tune leaves the chord open, and the last slot
    wants the tonic. A slot without notes continues the chord before it.
    """
    chords, table = _templates()
    weights, lowest = slot_weights(notes, metre, bars)
    total = weights.sum(axis=1, keepdims=True)
    share = weights / np.maximum(total, 1e-9)
    scores = share @ (2 * table - 1).T  # [slots, chords]: time inside minus time outside the chord
    roots = np.array([chord.root for chord in chords])
    absent = ((share[:, None, :] < 0.04) * table).sum(axis=2)  # notes of the chord that do not sound
    scores += 0.15 * share[:, roots] - np.where(total > 0, 0.06 * absent, 0.0)
    scores -= np.array([ESTIMATED[chord.quality] for chord in chords])
    if melody_only:
        scores += np.array([DEGREES[mode].get((c.root, c.quality), -0.8) for c in chords])
        scores[-1] += 0.5 * np.array([c.root == 0 for c in chords])
    else:
        scores += 0.2 * (lowest[:, None] % 12 == roots) * (lowest[:, None] >= 0)
        scores += 0.14 * np.array([chord.pitch_classes() <= SCALES[mode] for chord in chords])
    change = np.full(len(scores), 0.25 if melody_only else 0.12)
    if CHORDS_PER_BAR[metre] == 2:
        change[1::2] += 0.3 if melody_only else 0.08  # chords rather change with the bar
    best, back = scores[0].copy(), np.zeros(scores.shape, dtype=np.int64)
    for slot in range(1, len(scores)):
        jump = best.argmax()
        stays = best >= best[jump] - change[slot]
        back[slot] = np.where(stays, np.arange(len(chords)), jump)
        best = np.where(stays, best, best[jump] - change[slot]) + scores[slot]
    path = [int(best.argmax())]
    for slot in range(len(scores) - 1, 0, -1):
        path.append(int(back[slot, path[-1]]))
    heard = np.flatnonzero(total[:, 0] > 0)
    first = int(heard[0]) if len(heard) else len(path)
    return tuple(None if slot < first else chords[index] for slot, index in enumerate(reversed(path)))


def parallel_chord(chord: Chord, mode: str) -> Chord:
    """A diatonic chord of ``mode`` in the parallel mode (C major's E minor becomes C minor's E flat major)."""
    change = TO_MINOR if mode == "major" else TO_MAJOR
    root = change.get(chord.root, chord.root)
    wanted = frozenset((change.get(pc, pc) - root) % 12 for pc in chord.pitch_classes())
    fits = {q: frozenset(i % 12 for i in intervals) for q, intervals in CHORD_QUALITIES.items()}
    return Chord(root, max(fits, key=lambda q: len(fits[q] & wanted) - 0.9 * len(fits[q] ^ wanted)))


def is_diatonic(chord: Chord | None, mode: str) -> bool:
    """Whether all notes of the chord belong to the scale (no chord counts as belonging)."""
    return chord is None or chord.pitch_classes() <= SCALES[mode]


def to_parallel(
    arrays: tuple[np.ndarray, ...], chords: tuple[Chord | None, ...], metre: str, mode: str, keep_dominant: bool
) -> tuple[tuple[np.ndarray, ...], tuple[Chord | None, ...]]:
    """Notes and chords changed from ``mode`` into the parallel one by moving the degrees 3, 6 and 7.

    With ``keep_dominant`` a major dominant stays major in minor, and the leading tone with it. Slots whose chord is
    not of the key keep chord and notes, so that borrowed chords stay consonant.
    """
    change = TO_MINOR if mode == "major" else TO_MAJOR
    ticks = BAR_TICKS[metre] // CHORDS_PER_BAR[metre]
    maps, changed = np.zeros((len(chords) + 1, 12), dtype=np.int64), []
    for slot, chord in enumerate(chords):
        dominant = mode == "major" and keep_dominant and chord is not None and chord.root == 7
        if not is_diatonic(chord, mode):
            changed.append(chord)
            continue
        for old, new in change.items():
            if not (dominant and old == 11):
                maps[slot, old] = new - old
        keeps = dominant and chord is not None and 11 in chord.pitch_classes()
        changed.append(chord if keeps or chord is None else parallel_chord(chord, mode))
    moved = []
    for notes in arrays:
        notes = notes.copy()
        slots = np.minimum(notes[:, ONSET] // ticks, len(chords))
        notes[:, PITCH] += maps[slots, notes[:, PITCH] % 12].astype(notes.dtype)
        moved.append(notes)
    return tuple(moved), tuple(changed)
