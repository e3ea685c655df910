"""Plan tokens, the PlanWriter and the demands on what it writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ugen.errors import InputError
from m2ugen.model.decoders.score.config import SamplingConfig
from m2ugen.model.decoders.score.plan_controls import assign_roles, fitted
from m2ugen.model.decoders.score.plan_sampler import RETURN_SECONDS, lengthened, with_return, write_plan
from m2ugen.model.decoders.score.plan_tokens import BEGIN, Grammar, canonical, decode_plan, encode_plan
from m2ugen.score.attributes import GENRES, INSTRUMENT_NAMES, METRES, MODES, Attributes
from m2ugen.score.plan import Chord, Part, Plan, Section
from tests.model.decoders.score.helpers import example_plan, plans, tiny_decoder

WRITER = tiny_decoder().plan_writer


@settings(max_examples=60, deadline=None)
@given(plans())
def test_plan_tokens_round_trip(plan: Plan) -> None:
    tokens, states = encode_plan(plan)
    assert decode_plan(tokens) == canonical(plan)
    assert len(tokens) == len(states)
    assert encode_plan(canonical(plan))[0] == tokens


def test_returning_material_costs_no_chords() -> None:
    plan = example_plan()
    longer = plan.replace(sections=(*plan.sections, plan.sections[0]))
    assert len(encode_plan(longer)[0]) == len(encode_plan(plan)[0]) + 4


def test_grammar_refuses_what_does_not_fit() -> None:
    tokens, _ = encode_plan(example_plan())
    with pytest.raises(InputError, match="not finished"):
        decode_plan(tokens[:-1])
    with pytest.raises(InputError, match="after the plan's end"):
        decode_plan([*tokens, tokens[-1]])
    with pytest.raises(InputError, match="not possible"):
        Grammar().take(1000)


def test_cache_changes_nothing() -> None:
    tokens, states = encode_plan(example_plan())
    inputs = torch.tensor([[BEGIN, *tokens[:-1]]])
    table = torch.tensor([states])
    conditioning = torch.from_numpy(example_plan().attributes().to_conditioning())[None]
    with torch.no_grad():
        whole = WRITER(inputs, table, conditioning)
        cache = WRITER.new_cache(1, len(tokens))
        steps = [WRITER(inputs[:, i : i + 1], table[:, i : i + 1], conditioning, cache) for i in range(len(tokens))]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-4, atol=1e-4)


attributes = st.builds(
    Attributes,
    tempo=st.none() | st.floats(60, 180),
    metre=st.none() | st.sampled_from(METRES),
    mode=st.none() | st.sampled_from(MODES),
    tonic=st.none() | st.integers(0, 11),
    genre=st.none() | st.sampled_from(GENRES),
    energy=st.none() | st.integers(0, 4),
    drums=st.none() | st.booleans(),
    lead=st.none() | st.sampled_from(["flute", "piano", "violin"]),
    instruments=st.lists(st.sampled_from(["piano", "strings", "acoustic bass"]), unique=True).map(tuple),
    excluded=st.lists(st.sampled_from(["organ", "trumpet", "electric guitar"]), unique=True).map(tuple),
)


@settings(max_examples=25, deadline=None)
@given(attributes, st.floats(10, 60), st.integers(0, 1000))
def test_demands_are_met_exactly(asked: Attributes, duration: float, seed: int) -> None:
    plan = write_plan(WRITER, asked.to_conditioning(), duration, seed, SamplingConfig(guidance_scale=1.0))
    names = [part.instrument for part in plan.parts]
    for name in ("metre", "mode", "tonic", "genre", "energy"):
        if (value := getattr(asked, name)) is not None:
            assert getattr(plan, name) == value
    assert set(asked.instruments) <= set(names)
    assert not set(asked.excluded) & set(names)
    if asked.drums is not None:
        assert ("drums" in names) == asked.drums
    if asked.lead is not None:
        assert plan.parts[0].role == "melody"
        assert plan.parts[0].instrument == asked.lead
    if asked.tempo is not None:
        assert abs(plan.tempo / asked.tempo - 1) < 0.08
    last = plan.chord_at(plan.ticks - 1)
    assert last is not None
    assert last.root == 0


@settings(max_examples=25, deadline=None)
@given(st.floats(12, 200), st.integers(0, 1000))
def test_bars_fill_the_duration(duration: float, seed: int) -> None:
    plan = write_plan(WRITER, Attributes().to_conditioning(), duration, seed, SamplingConfig(), ending=False)
    assert plan.duration == pytest.approx(duration, rel=1e-6)


def test_only_one_instrument() -> None:
    others = tuple(name for name in INSTRUMENT_NAMES if name != "piano")
    asked = Attributes(instruments=("piano",), excluded=others)
    plan = write_plan(WRITER, asked.to_conditioning(), 20, 0, SamplingConfig())
    assert {part.instrument for part in plan.parts} == {"piano"}


def test_soft_demands_follow_their_probabilities() -> None:
    matrix = Attributes(mode="minor").to_conditioning()
    matrix[:, :] *= 0.9
    matrix[:, 0] += 0.05
    plans_ = [write_plan(WRITER, matrix, 10, seed, SamplingConfig(guidance_scale=0.0)) for seed in range(8)]
    assert sum(plan.mode == "minor" for plan in plans_) >= 6


def test_same_seed_same_plan() -> None:
    matrix = Attributes(genre="jazz").to_conditioning()
    first, second, other = (write_plan(WRITER, matrix, 30, seed, SamplingConfig()) for seed in (1, 1, 2))
    assert first == second
    assert first != other


@pytest.mark.parametrize("bars", [12, 13, 24, 31, 48, 100])
def test_lengthened_to_the_bar(bars: int) -> None:
    assert lengthened(example_plan(), bars).validated().bars == bars


def test_roles_for_many_instruments() -> None:
    roles = assign_roles(("piano", "strings", "flute", "electric bass"), {})
    assert roles == {"chords": "piano", "pad": "strings", "melody": "flute", "bass": "electric bass"}
    assert assign_roles(("flute",), {"melody": "violin"})["melody"] == "violin"


def test_fitted_bars() -> None:
    bars, stretch = fitted(20.0, 120.0, "4/4")
    assert bars == 10
    assert stretch == pytest.approx(1.0)


@pytest.mark.parametrize("duration", [0.0, -1.0, 1e6, float("nan")])
def test_impossible_durations(duration: float) -> None:
    with pytest.raises(InputError, match="duration"):
        write_plan(WRITER, Attributes().to_conditioning(), duration, 0, SamplingConfig())


def test_unconditional_plan_is_playable() -> None:
    plan = write_plan(WRITER, np.zeros_like(Attributes().to_conditioning()), 15, 3, SamplingConfig())
    assert plan.validated() is plan


def test_a_long_piece_comes_back_to_its_beginning() -> None:
    def made(*sections: tuple[str, int]) -> Plan:
        chords = (Chord(0, "maj"), Chord(5, "maj"))
        parts = (Part("melody", "piano"),)
        built = tuple(Section(letter, bars, 2, chords * bars) for letter, bars in sections)
        return Plan(96.0, "4/4", 0, "major", "pop", 2, parts, built).validated()

    def form(plan: Plan) -> list[tuple[str, int]]:
        return [(section.letter, section.bars) for section in with_return(plan).validated().sections]

    assert form(made(("A", 8), ("B", 8), ("C", 6))) == [("A", 8), ("B", 8), ("A", 6)]
    assert form(made(("A", 8), ("B", 10), ("C", 2))) == [("A", 8), ("B", 8), ("A", 4)]
    assert form(made(("A", 10), ("B", 12))) == [("A", 10), ("B", 4), ("A", 8)]
    returning = made(("A", 8), ("B", 8), ("A", 6))
    assert with_return(returning) is returning
    short = made(("A", 4), ("B", 4), ("C", 4))
    assert short.duration < RETURN_SECONDS and with_return(short) is short
    for seed in range(4):
        plan = write_plan(WRITER, Attributes().to_conditioning(), 60, seed, SamplingConfig())
        letters = [section.letter for section in plan.sections]
        assert len(letters) == 1 or len(set(letters)) < len(letters)


def test_who_asks_for_no_metre_gets_the_usual_one() -> None:
    def metres(**asked: str) -> list[str]:
        conditioning = Attributes(**asked).to_conditioning()  # type: ignore[arg-type]
        return [write_plan(WRITER, conditioning, 30, seed, SamplingConfig()).metre for seed in range(12)]

    assert metres(genre="funk").count("4/4") >= 10  # of an untrained writer, which knows no usual metre
    assert set(metres(genre="funk", metre="3/4")) == {"3/4"}
    assert metres(genre="classical").count("4/4") < 10
