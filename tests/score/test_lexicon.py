"""Reading attributes from words, and saying them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2ugen.score.attributes import GENRES, INSTRUMENT_NAMES, METRES, MODES, Attributes
from m2ugen.score.lexicon import read_attributes, read_duration, read_instruments, read_key, tokenize
from m2ugen.score.wording import describe, join, tempo_class

GUITARS = ("acoustic guitar", "electric guitar", "distorted guitar")
BASSES = ("electric bass", "acoustic bass", "synth bass")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fast rock with electric guitar and drums", {"tempo": 140.0, "genre": "rock", "drums": True,
                                                      "instruments": ("electric guitar", "drums")}),
        ("92 bpm", {"tempo": 92.0}),
        ("at 120 beats per minute", {"tempo": 120.0}),
        ("tempo 102 6/8", {"tempo": 102.0, "metre": "6/8"}),
        ("between 100-110 bpm", {"tempo": 105.0}),
        ("in D minor", {"tonic": 2, "mode": "minor"}),
        ("F# major, please", {"tonic": 6, "mode": "major"}),
        ("a song in B flat minor", {"tonic": 10, "mode": "minor"}),
        ("a song in a minor key", {"mode": "minor"}),
        ("a song in A minor", {"tonic": 9, "mode": "minor"}),
        ("transpose to a minor", {"tonic": 9, "mode": "minor"}),
        ("key of G", {"tonic": 7, "mode": "major"}),
        ("a waltz", {"metre": "3/4"}),
        ("no drums", {"drums": False, "excluded": ("drums",)}),
        ("no drums, piano", {"drums": False, "excluded": ("drums",), "instruments": ("piano",)}),
        ("without drums, bass or guitar", {"drums": False, "excluded": ("drums", *BASSES, *GUITARS)}),
        ("violin melody with piano", {"lead": "violin", "instruments": ("violin", "piano")}),
        ("jazz with bass", {"genre": "jazz", "instruments": ("acoustic bass",)}),
        ("electronic with bass", {"genre": "electronic", "instruments": ("synth bass",)}),
        ("heavy metal", {"genre": "rock", "energy": 4, "mode": "minor", "instruments": ("distorted guitar",)}),
        ("techno", {"genre": "electronic", "tempo": 132.0, "energy": 3, "metre": "4/4", "drums": True}),
        ("very calm", {"energy": 0}),
        ("not too fast", {}),
        ("sad", {"mode": "minor", "energy": 1}),
        ("for a car chase", {"mode": "minor", "energy": 4}),
        ("fats jaz with pinao", {"tempo": 140.0, "genre": "jazz", "instruments": ("piano",)}),
        ("a photo of a house at the beach", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_reads(text: str, expected: dict) -> None:
    assert read_attributes(text) == Attributes(**expected)


@pytest.mark.parametrize("text", ["solo piano", "piano only", "just a piano", "piano, no other instruments"])
def test_solo_rules_out_the_others(text: str) -> None:
    read = read_attributes(text)
    assert read.instruments == ("piano",)
    assert set(read.excluded) == set(INSTRUMENT_NAMES) - {"piano"}
    assert read.drums is False


def test_a_solo_within_a_band_is_a_lead() -> None:
    read = read_attributes("rock song with a guitar solo, drums and bass")
    assert read.lead == "electric guitar"
    assert read.excluded == ()


def test_family_words_name_every_member() -> None:
    assert read_instruments("is there a guitar?") == GUITARS


@pytest.mark.parametrize(
    ("text", "seconds"), [("30 seconds", 30.0), ("a 2 minute song", 120.0), ("1:30", 90.0), ("as fast", None)]
)
def test_durations(text: str, seconds: float | None) -> None:
    assert read_duration(text) == seconds


def test_ordinary_words_are_not_corrected() -> None:
    text = "the plain beach on a quiet night with concert chords and american parts"
    assert tokenize(text) == text.split()


@given(st.text(max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    read_attributes(text).to_conditioning()


@st.composite
def attributes(draw: st.DrawFn) -> Attributes:
    """Attributes that one sentence can say."""
    pitched = st.lists(st.sampled_from(INSTRUMENT_NAMES), unique=True, max_size=4)
    instruments = tuple(draw(pitched))
    mode = draw(st.sampled_from(MODES))
    return Attributes(
        tempo=draw(st.one_of(st.none(), st.floats(45, 210))),
        metre=draw(st.sampled_from((None, *METRES))),
        mode=mode,
        tonic=draw(st.one_of(st.none(), st.integers(0, 11))),
        genre=draw(st.sampled_from((None, *GENRES))),
        energy=draw(st.one_of(st.none(), st.integers(0, 4))),
        drums=True if "drums" in instruments else None,
        instruments=instruments,
    )


@given(attributes(), st.booleans())
def test_what_is_described_is_read_back(said: Attributes, exact: bool) -> None:
    read = read_attributes(describe(said, exact_tempo=exact))
    if said.tempo is None:
        assert read.tempo is None
    elif exact:
        assert read.tempo is not None and abs(read.tempo - said.tempo) <= 0.5
    else:
        assert read.tempo is not None and tempo_class(read.tempo) == tempo_class(said.tempo)
    without_tempo = [name for name in vars(said) if name != "tempo"]
    assert read.keep(without_tempo) == said.keep(without_tempo)


def test_keys_survive_their_names() -> None:
    for tonic in range(12):
        for mode in MODES:
            text = describe(Attributes(tonic=tonic, mode=mode))
            assert read_key(text) == (tonic, mode), text


def test_join() -> None:
    assert [join(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert np.isfinite(read_attributes("slow").tempo or np.nan)
