"""Tempo, key, metre and chords to the letter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2ugen.errors import InputError
from m2ugen.score.attributes import Attributes, attributes_from_conditioning
from m2ugen.score.directions import SHORTHAND, Directions, NamedChord, read_chords, read_key
from m2ugen.score.plan import CHORD_QUALITIES, CHORDS_PER_BAR, Chord, Part, Plan, Section


def plan_of(bars: int = 16, metre: str = "4/4", tempo: float = 118.0, tonic: int = 0) -> Plan:
    slots = CHORDS_PER_BAR[metre]
    half = bars // 2
    sections = tuple(
        Section(letter, size, 2, (Chord(0, "maj"),) * (size * slots))
        for letter, size in (("A", half), ("B", bars - half))
    )
    return Plan(tempo, metre, tonic, "major", "pop", 2, (Part("melody", "piano"),), sections).validated()


def test_chords_are_read() -> None:
    bars = read_chords("C G,Am | F#:min7 Bbmaj7 N")
    assert bars == (
        (NamedChord(0, "maj"),),
        (NamedChord(7, "maj"), NamedChord(9, "min")),
        (NamedChord(6, "min7"),),
        (NamedChord(10, "maj7"),),
        (None,),
    )


@given(st.sampled_from(sorted(CHORD_QUALITIES)), st.sampled_from(["C", "F#", "Bb", "A"]))
def test_every_quality_is_read_by_its_name(quality: str, root: str) -> None:
    ((chord,),) = read_chords(f"{root}:{quality}")
    assert chord is not None and chord.quality == quality
    assert set(SHORTHAND.values()) <= set(CHORD_QUALITIES)


@pytest.mark.parametrize(
    ("text", "key"),
    [("D minor", (2, "minor")), ("F#", (6, "major")), ("Bbm", (10, "minor")), ("e flat major", (3, "major")),
     ("c", (0, "major"))],
)  # fmt: skip
def test_keys_are_read(text: str, key: tuple[int, str]) -> None:
    assert read_key(text) == key


@pytest.mark.parametrize(
    "wrong",
    [{"chords": "C H"}, {"chords": "  "}, {"chords": "C:what"}, {"chords": "C,, ,"}, {"key": "H major"},
     {"metre": "5/4"}, {"tempo": 0.0}, {"tempo": 1000.0}, {"tempo": float("nan")}],
)  # fmt: skip
def test_what_is_not_understood_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Directions.read(**wrong)  # type: ignore[arg-type]


def test_the_chords_decide_the_key() -> None:
    assert (Directions.read(chords="C G Am F").tonic, Directions.read(chords="C G Am F").mode) == (0, "major")
    assert (Directions.read(chords="Dm Gm A:7 Dm").tonic, Directions.read(chords="Dm Gm A:7 Dm").mode) == (2, "minor")
    assert Directions.read(key="G major", chords="C G Am F").tonic == 7


def test_conditioning_follows() -> None:
    before = Attributes(tempo=80.0, genre="jazz", mode="major", tonic=1).to_conditioning()
    after = attributes_from_conditioning(Directions.read(tempo=132, key="E minor", metre="3/4").steer(before))
    assert (after.tonic, after.mode, after.metre, after.genre) == (4, "minor", "3/4", "jazz")
    assert after.tempo == pytest.approx(132, rel=0.05)
    assert np.array_equal(Directions().steer(before), before) and not Directions()


@pytest.mark.parametrize("metre", ["4/4", "3/4", "6/8"])
@pytest.mark.parametrize("tempo", [92.0, 118.0, 140.0])
def test_plans_are_exact(metre: str, tempo: float) -> None:
    directions = Directions.read(tempo=tempo, key="D minor", chords="Dm C,Bb Am")
    plan = plan_of(17, metre, tonic=2)
    arranged = directions.arrange(plan, 30.0)
    assert arranged.tempo == tempo and arranged.duration <= 30.0 + 1e-6
    slots = CHORDS_PER_BAR[metre]
    names = [None if c is None else c.name(2) for c in arranged.sections[0].chords]
    assert names[0] == "D:min" and names[slots] == "C:maj" and names[3 * slots] == "D:min"
    if slots == 2:
        assert names[slots + 1] == "Bb:maj"
    last = arranged.sections[-1].chords[-1]
    assert last is not None and last.name(2) == "D:min"


def test_too_short_for_a_bar() -> None:
    with pytest.raises(InputError, match="too short"):
        Directions.read(tempo=40).arrange(plan_of(), 2.0)
