"""What marks the form of a piece: introductions in which some rest, and drums that lead from section to section."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.errors import InputError
from m2ugen.model.decoders.score.config import SamplingConfig
from m2ugen.model.decoders.score.fills import CRASH, KICK, with_fills
from m2ugen.model.decoders.score.note_engine import NoteEngine
from m2ugen.model.decoders.score.performer import perform
from m2ugen.model.decoders.score.plan_sampler import INTRO_BARS, RETURN_SECONDS, with_intro
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH
from m2ugen.score.plan import CHORDS_PER_BAR, Chord, Part, Plan, Section
from tests.model.decoders.score.helpers import tiny_player

HAT = 42


def plan_of(*sections: tuple[str, int], metre: str = "4/4", energy: int = 2, **changes: object) -> Plan:
    chords = (Chord(0, "maj"), Chord(7, "maj"))[: CHORDS_PER_BAR[metre]]
    parts = (Part("melody", "flute"), Part("bass", "electric bass"), Part("drums", "drums"))
    built = tuple(Section(letter, bars, energy, chords * bars) for letter, bars in sections)
    return Plan(96.0, metre, 0, "major", "pop", 2, parts, built, **changes).validated()  # type: ignore[arg-type]


def groove(plan: Plan) -> np.ndarray:
    """A hat on every eighth, a bass drum on every bar's first beat, and one note of the tune per bar."""
    hats = [(tick, 2, HAT, 3, 60) for tick in range(0, plan.ticks, 6)]
    kicks = [(tick, 2, KICK, 3, 80) for tick in range(0, plan.ticks, plan.bar_ticks)]
    tune = [(tick, 0, 72, 12, 70) for tick in range(0, plan.ticks, plan.bar_ticks)]
    return np.array(sorted(hats + kicks + tune), dtype=np.int32)


@pytest.mark.parametrize(("metre", "energy"), [("4/4", 1), ("4/4", 2), ("4/4", 4), ("3/4", 3), ("6/8", 4)])
def test_a_fill_leads_into_the_next_section(metre: str, energy: int) -> None:
    plan = plan_of(("A", 4), ("B", 4), metre=metre, energy=energy)
    notes = groove(plan)
    filled = with_fills(notes, plan)
    turn = 4 * plan.bar_ticks
    length = 24 if metre == "4/4" and energy >= 3 else 18 if metre == "6/8" else 12
    inside = filled[(filled[:, PART] == 2) & (filled[:, ONSET] >= turn - length) & (filled[:, ONSET] < turn)]
    step = 3 if energy >= 3 else 6
    assert inside[:, ONSET].tolist() == list(range(turn - length, turn, step)) and HAT not in inside[:, PITCH]
    assert (np.diff(inside[:, 4]) >= 0).all()  # it grows
    crashes = filled[filled[:, PITCH] == CRASH, ONSET].tolist()
    assert crashes == ([turn] if energy > 1 else [])
    at_turn = filled[(filled[:, ONSET] == turn) & (filled[:, PART] == 2)]
    assert (KICK in at_turn[:, PITCH]) and (HAT in at_turn[:, PITCH]) == (energy <= 1)
    elsewhere = (notes[:, ONSET] < turn - length) | (notes[:, ONSET] > turn) | (notes[:, PART] != 2)
    remaining = {tuple(note) for note in filled[:, [ONSET, PART, PITCH]].tolist()}
    assert all(tuple(note) in remaining for note in notes[elsewhere][:, [ONSET, PART, PITCH]].tolist())
    assert (filled[:, DURATION] > 0).all()


def test_no_fill_where_none_belongs() -> None:
    short = plan_of(("A", 2), ("B", 6))
    assert np.array_equal(with_fills(groove(short), short), groove(short))
    plan = plan_of(("A", 4), ("B", 4))
    quiet = plan.replace(genre="classical")
    assert np.array_equal(with_fills(groove(quiet), quiet), groove(quiet))
    resting = plan.replace(sections=(plan.sections[0], Section("B", 4, 2, plan.sections[1].chords, ("drums",))))
    assert np.array_equal(with_fills(groove(resting), resting), groove(resting))
    without = groove(plan)[groove(plan)[:, PART] == 0]
    assert np.array_equal(with_fills(without, plan), without)


def test_what_is_heard_before_the_turn_does_not_wait_for_what_follows() -> None:
    plan = plan_of(("A", 4), ("B", 4))
    notes = groove(plan)
    turn = 4 * plan.bar_ticks
    early, late = with_fills(notes[notes[:, ONSET] < turn], plan), with_fills(notes, plan)
    assert sorted(early[early[:, ONSET] < turn].tolist()) == sorted(late[late[:, ONSET] < turn].tolist())


def test_a_long_piece_has_an_introduction() -> None:
    plan = plan_of(("A", 8), ("B", 8), ("A", 8))
    assert plan.duration > RETURN_SECONDS
    longer = with_intro(plan).validated()
    assert longer.bars == plan.bars
    intro, first, *_, last = longer.sections
    assert (intro.letter, intro.bars, intro.resting, intro.energy) == ("A", INTRO_BARS, ("melody", "drums"), 1)
    assert first == plan.sections[0] and intro.chords == first.chords[: len(intro.chords)]
    assert last.bars == 8 - INTRO_BARS and last.chords[-2:] == plan.sections[-1].chords[-2:]
    assert "A4 (without melody and drums) A8" in longer.summary()
    assert Plan.from_dict(longer.to_dict()) == longer

    short = plan_of(("A", 4), ("B", 4))
    alone = plan.replace(parts=(plan.parts[0], plan.parts[2]))  # nobody would be left to play
    crowded = plan_of(*[("A", 5), ("B", 5)] * 3)  # no section can spare the bars
    assert all(with_intro(other) is other for other in (short, alone, crowded))
    many = plan_of(("A", 4), ("B", 4), ("C", 4), ("A", 4), ("D", 4), ("E", 2))
    assert [(s.letter, s.bars) for s in with_intro(many).sections] == [
        ("A", 4), ("A", 4), ("B", 4), ("C", 4), ("A", 4), ("E", 2)
    ]  # fmt: skip
    with pytest.raises(InputError, match="resting"):
        plan.replace(sections=(Section("A", 1, 2, plan.sections[0].chords[:2], ("everybody",)),))


def test_those_that_rest_are_silent_and_the_tune_starts_after_them() -> None:
    plan = with_intro(plan_of(("A", 8), ("B", 8), ("A", 8)))
    notes = perform(NoteEngine(tiny_player()), plan, 3, SamplingConfig())
    begin = INTRO_BARS * plan.bar_ticks
    players = [plan.parts[part].role for part in np.unique(notes[notes[:, ONSET] < begin, PART])]
    assert players == ["bass"]
    tune = notes[notes[:, PART] == 0, ONSET]
    assert begin <= tune.min() < begin + 4 * plan.bar_ticks
