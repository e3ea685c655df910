"""Notes as integer arrays, and their way to and from MIDI.

A note array is int32 [notes, 5] with the columns ONSET and DURATION in ticks (TICKS_PER_BEAT per quarter note),
PART (index into plan.parts), PITCH (MIDI, sounding; General MIDI percussion key for drums) and VELOCITY (1-127),
sorted by onset, then part, then pitch.
"""

from __future__ import annotations

import numpy as np
from symusic import Note, Score, Tempo, TimeSignature, Track

from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.plan import BEAT_TICKS, TICKS_PER_BEAT, Plan

ONSET, PART, PITCH, DURATION, VELOCITY = range(5)
COLUMNS = 5


def empty_notes() -> np.ndarray:
    """A note array without notes, int32 [0, 5]."""
    return np.zeros((0, COLUMNS), dtype=np.int32)


def sort_notes(notes: np.ndarray) -> np.ndarray:
    """The same notes in canonical order (onset, part, pitch)."""
    return notes[np.lexsort((notes[:, PITCH], notes[:, PART], notes[:, ONSET]))]


def notes_to_score(notes: np.ndarray, plan: Plan) -> Score:
    """A symusic Score with one named track per part of the plan, tempo and metre included."""
    score = Score(TICKS_PER_BEAT)
    quarter_tempo = plan.tempo * BEAT_TICKS[plan.metre] / TICKS_PER_BEAT
    score.tempos.append(Tempo(0, qpm=quarter_tempo))
    numerator, denominator = map(int, plan.metre.split("/"))
    score.time_signatures.append(TimeSignature(0, numerator, denominator))
    for index, part in enumerate(plan.parts):
        instrument = INSTRUMENTS[INSTRUMENT_INDEX[part.instrument]]
        track = Track(name=part.role, program=max(instrument.program, 0), is_drum=part.role == "drums")
        for onset, _, pitch, duration, velocity in notes[notes[:, PART] == index].tolist():
            track.notes.append(Note(onset, duration, pitch, velocity))
        score.tracks.append(track)
    return score
