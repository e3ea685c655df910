"""Twelve-bar blues songs: the blues progression under phrases whose contour comes from real tunes.

The collections hold no blues, and a blues band over pop chords does not sound like one. Each song sings A A' B over
four bars each: phrases of another song, moved to the notes of the blues scale.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from m2ugen.data.nano.songs import Song, cut_notes, monophonic
from m2ugen.score.notes import DURATION, ONSET, PITCH, empty_notes, sort_notes
from m2ugen.score.plan import BAR_TICKS, CHORDS_PER_BAR, Chord

MAX_SONGS = 500
SCALES = {"minor": (0, 3, 5, 7, 10), "major": (0, 2, 3, 4, 7, 9)}
FORMS = {  # a letter per bar
    "plain": "1111 4411 5411",
    "quick change": "1411 4411 5415",
    "minor": "1111 4411 6511",
}
CHORDS = {
    "major": {"1": Chord(0, "7"), "4": Chord(5, "7"), "5": Chord(7, "7")},
    "minor": {"1": Chord(0, "min7"), "4": Chord(5, "min7"), "5": Chord(7, "7"), "6": Chord(8, "7")},
}


def make_blues(songs: list[Song]) -> list[Song]:
    """Up to MAX_SONGS blues of two choruses, at most one per given song; the work's name stays the given song's."""
    made: list[Song] = []
    seen: set[str] = set()
    pop = [song for song in songs if song.source == "pop909"] or songs
    for song in pop:
        if len(made) == MAX_SONGS or song.work in seen or song.metre == "3/4":
            continue
        rng = np.random.default_rng(len(made))
        blues = _blues(song, rng)
        if blues is not None:
            seen.add(song.work)
            made.append(blues)
    return made


def _blues(song: Song, rng: np.random.Generator) -> Song | None:
    mode = "minor" if rng.random() < 0.5 else "major"
    shape = "minor" if mode == "minor" else str(rng.choice(["plain", "quick change"]))
    phrases = list(_phrases(song))
    if len(phrases) < 4:
        return None
    picked = [phrases[int(i)] for i in rng.choice(len(phrases), 4, replace=False)]
    bars = [CHORDS[mode][letter] for letter in FORMS[shape].replace(" ", "")]
    chords = tuple(chord for chord in bars for _ in range(CHORDS_PER_BAR[song.metre]))
    ticks = BAR_TICKS[song.metre]
    rows = []
    for chorus in range(2):
        order = (picked[2 * chorus], picked[2 * chorus], picked[2 * chorus + 1])
        for index, phrase in enumerate(order):
            moved = phrase.copy()
            moved[:, ONSET] += (12 * chorus + 4 * index) * ticks
            rows.append(moved)
    melody = sort_notes(np.concatenate(rows))
    melody[:, PITCH] = _to_scale(melody, SCALES[mode], chords, ticks // CHORDS_PER_BAR[song.metre])
    melody = monophonic(melody)
    last = (chords * 2)[-1]
    melody[-1, PITCH] += (last.root - melody[-1, PITCH] + 6) % 12 - 6  # close on the last chord's root
    return Song(song.work, "blues", song.metre, mode, 100.0, melody, empty_notes(), chords * 2)


def _phrases(song: Song) -> Iterator[np.ndarray]:
    """Four-bar phrases that leave room at their end, as blues singers do, and are neither empty nor crowded."""
    for start in range(0, song.bars - 4, 2):
        phrase = cut_notes(song.melody, start * song.bar_ticks, (start + 4) * song.bar_ticks)
        phrase = phrase[phrase[:, ONSET] < 3.25 * song.bar_ticks]
        if 8 <= len(phrase) <= 26 and np.ptp(phrase[:, PITCH]) >= 5:
            phrase[:, DURATION] = np.minimum(phrase[:, DURATION], song.bar_ticks)
            yield phrase


def _to_scale(notes: np.ndarray, scale: tuple[int, ...], chords: tuple[Chord, ...], ticks: int) -> np.ndarray:
    """Every pitch moved to the nearest note of the scale; on the chord's third where the major one would clash."""
    moved = []
    for onset, pitch in notes[:, [ONSET, PITCH]].tolist():
        allowed = set(scale)
        if 4 in allowed and chords[(onset // ticks) % len(chords)].root != 0:
            allowed.discard(4)  # the major third belongs to the tonic chord only
        near = sorted((abs((pitch - pc + 6) % 12 - 6), -((pitch - pc + 6) % 12 - 6)) for pc in allowed)[0]
        moved.append(pitch + near[1])
    return np.array(moved, dtype=notes.dtype)
