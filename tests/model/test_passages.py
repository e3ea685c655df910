"""Questions about places in the music are answered by what is measured there."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.media.audio import Audio
from m2ugen.model.passages import Passage, answer, chord_symbol, read_passage
from m2ugen.processor import LoadedMedia
from m2ugen.reply import Reply
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import sort_notes
from m2ugen.score.plan import Chord, Part, Plan, Section
from m2ugen.score.synthesis import render

RATE = 22_050
ROOTS = ((0, "maj"), (9, "min"), (5, "maj"), (7, "maj"))
CHORDS = tuple(Chord(*ROOTS[slot // 2]) for slot in range(8))
PLAN = Plan(
    120.0, "4/4", 0, "major", "pop", 2, (Part("chords", "piano"), Part("drums", "drums")),
    (Section("A", 4, 2, CHORDS), Section("B", 4, 2, CHORDS), Section("A", 4, 2, CHORDS)),
).validated()  # fmt: skip


class Ear:
    """Hears drums from the eighth second on, and one false start before."""

    sample_rate = RATE

    def over_time(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        times = np.arange(len(waveform) // RATE).astype(float)
        heard = np.zeros((len(times), len(INSTRUMENTS)))
        heard[:, INSTRUMENT_INDEX["drums"]] = (times >= 8) | (times == 2)
        heard[:, INSTRUMENT_INDEX["piano"]] = 0.9
        return times, heard


@pytest.fixture(scope="module")
def composed() -> Reply:
    piano = [
        (slot * 24, 0, 48 + octave + (chord.root + step) % 12, 22, 90)
        for slot, chord in enumerate(CHORDS * 3)
        for octave, step in ((0, 0), (12, 0), (12, 3 if chord.quality == "min" else 4), (12, 7))
    ]
    drums = [(tick, 1, 36 if tick % 24 == 0 else 42, 3, 100) for tick in range(192, 576, 6)]
    notes = sort_notes(np.array(piano + drums, dtype=np.int32))
    audio, stems = render(notes, PLAN, sample_rate=RATE)
    return Reply("", audio, RATE, PLAN, notes, stems)


def media(reply: Reply, known: bool) -> LoadedMedia:
    audio, rate = reply.sound
    return LoadedMedia(music=Audio(audio, rate), reply=reply if known else None)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("When do the drums enter?", "The drums enter at about 0:08."),
        ("where does the drum come in?", "at about 0:08"),
        ("When does the piano start?", "The piano plays from the beginning."),
        ("at what time does the flute begin", "I hear no flute in it."),
        ("Which chords are in bars 1 to 4?", "Bars 1 to 4, in C major: C | Am | F | G"),
        ("what are the chords of the first two bars?", "Bars 1 to 2, in C major: C | Am."),
        ("Which chord is in bar 90?", "bars only"),
    ],
)
def test_places_in_composed_and_in_recorded_music(question: str, said: str, known: bool, composed: Reply) -> None:
    told = answer(question, media(composed, known), Ear())
    assert told is not None and said in told


def test_the_form_is_told_where_it_is_known(composed: Reply) -> None:
    question = "What is the structure of this piece?"
    told = answer(question, media(composed, True), Ear())
    assert told == "Its sections are A at 0:00 (4 bars), B at 0:08 (4 bars) and A at 0:16 (4 bars)."
    assert answer(question, media(composed, False), Ear()) is None


@pytest.mark.parametrize("question", ["Are there drums?", "How fast is it?", "make a waltz", "add drums in bar 3", ""])
def test_other_questions_are_left_to_the_language_model(question: str, composed: Reply) -> None:
    assert answer(question, media(composed, False), Ear()) is None
    assert answer("When do the drums enter?", LoadedMedia(), Ear()) is None
    assert answer("When do the drums enter?", media(composed, False), object()) is None


@pytest.mark.parametrize(
    ("text", "passage"),
    [
        ("bars 3 to 5", Passage(3, 5)), ("measure 7", Passage(7, 7)), ("the last two bars", Passage(11, 12)),
        ("from 0:08 to 0:16", Passage(5, 8)), ("between 4 and 6 seconds", Passage(3, 3)), ("all", Passage(1, 8)),
    ],
)  # fmt: skip
def test_passages(text: str, passage: Passage) -> None:
    assert read_passage(text, np.arange(13) * 2.0) == passage


def test_chord_symbols() -> None:
    pairs = ((0, "min"), (5, "maj"), (7, "7"), (11, "hdim7"))
    assert [chord_symbol(Chord(*pair), 2) for pair in pairs] == ["Dm", "G", "A7", "Dbm7b5"]
