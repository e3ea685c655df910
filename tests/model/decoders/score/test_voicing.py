"""Chords follow one another closely, and stay the chords they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ugen.model.decoders.score.voicing import with_led_voices
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import ONSET, PITCH
from m2ugen.score.plan import Chord, Part, Plan, Section

C, F_ABOVE, G_ABOVE = (60, 64, 67), (65, 69, 72), (67, 71, 74)


def plan_of(instrument: str = "piano", role: str = "chords") -> Plan:
    chords = (Chord(0, "maj"), Chord(5, "maj"))
    return Plan(96.0, "4/4", 0, "major", "pop", 2, (Part(role, instrument),), (Section("A", 4, 2, chords * 4),))


def played(*chords: tuple[int, ...], apart: int = 24) -> np.ndarray:
    rows = [(k * apart, 0, pitch, 12, 70) for k, chord in enumerate(chords) for pitch in chord]
    return np.array(rows, dtype=np.int32)


def heard(notes: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(sorted(notes[notes[:, ONSET] == t, PITCH].tolist())) for t in np.unique(notes[:, ONSET])]


def test_a_leap_of_all_voices_becomes_an_inversion() -> None:
    found = heard(with_led_voices(played(C, F_ABOVE, F_ABOVE, G_ABOVE, C), plan_of()))
    assert found == [C, (60, 65, 69), (60, 65, 69), (62, 67, 71), C]


def test_what_moves_little_or_apart_stays() -> None:
    for chords in ((C, (60, 65, 69)), (C, (62, 66, 69)), (C, (57, 64, 72)), (C, (72,), (40, 47))):
        assert heard(with_led_voices(played(*chords), plan_of())) == list(chords)
    late = played(C, F_ABOVE, apart=60)  # more than a bar later: a new beginning
    assert np.array_equal(with_led_voices(late, plan_of()), late)


@pytest.mark.parametrize(("instrument", "role"), [("acoustic guitar", "chords"), ("piano", "arpeggio")])
def test_shapes_on_a_neck_and_other_roles_stay(instrument: str, role: str) -> None:
    notes = played(C, F_ABOVE)
    assert np.array_equal(with_led_voices(notes, plan_of(instrument, role)), notes)


piano = INSTRUMENTS[INSTRUMENT_INDEX["piano"]]
chords = st.lists(st.integers(piano.low, piano.high), min_size=1, max_size=5, unique=True).map(tuple)


@settings(max_examples=80, deadline=None)
@given(st.lists(chords, min_size=1, max_size=8), st.integers(1, 7))
def test_the_chords_stay_what_they_are(written: list[tuple[int, ...]], known: int) -> None:
    notes = played(*[tuple(sorted(chord)) for chord in written], apart=12)
    led = with_led_voices(notes, plan_of())
    assert np.array_equal(np.delete(led, PITCH, axis=1), np.delete(notes, PITCH, axis=1))
    for before, after in zip(heard(notes), heard(led), strict=True):
        assert sorted(p % 12 for p in before) == sorted(p % 12 for p in after) and len(set(after)) == len(after)
        assert all(piano.low <= pitch <= piano.high for pitch in after)
    beginning = notes[notes[:, ONSET] < known * 12]  # what is heard does not depend on what follows
    assert np.array_equal(with_led_voices(beginning, plan_of()), led[: len(beginning)])
