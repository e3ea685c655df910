"""Commands, their phrases, and instructions read by rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2ugen.edit.apply import OPERATIONS, resolve
from m2ugen.edit.command import EFFECTS, KEYS, EditCommand, parse_phrase
from m2ugen.edit.instructions import read_instruction
from m2ugen.edit.targets import edited_attributes
from m2ugen.errors import InputError
from m2ugen.score.attributes import GENRES, INSTRUMENT_NAMES, MODES, Attributes
from m2ugen.score.lexicon_words import MOOD_WORDS

instrument = st.sampled_from(INSTRUMENT_NAMES)
names = st.lists(instrument, min_size=1, max_size=4, unique=True).map(tuple)


def one(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from(values).map(lambda value: (value,))


commands = st.one_of(
    *(st.builds(EditCommand, st.just(op), names) for op in ("add", "remove", "solo")),
    st.builds(EditCommand, st.just("swap"), st.tuples(instrument, instrument)),
    st.builds(EditCommand, st.just("lead"), one(INSTRUMENT_NAMES)),
    st.builds(EditCommand, st.just("key"), one(KEYS)),
    st.builds(EditCommand, st.just("mode"), one(MODES)),
    st.builds(EditCommand, st.just("genre"), one(GENRES)),
    st.builds(EditCommand, st.just("mood"), one(tuple(MOOD_WORDS))),
    st.builds(EditCommand, st.just("effect"), one(EFFECTS)),
    st.builds(
        EditCommand,
        st.just("infill"),
        names,
        bars=st.none() | st.tuples(st.integers(1, 20), st.integers(20, 90)),
    ),
    *(
        st.builds(EditCommand, st.just(op), st.just(()), st.integers(low, high).map(float))
        for op, low, high in (
            ("tempo", 25, 400), ("bpm", 20, 400), ("transpose", -24, 24), ("energy", -4, 4), ("length", 1, 3600),
            ("loop", 2, 64), ("continue", 1, 600), ("volume", -60, 24), ("fade in", 1, 60), ("fade out", 1, 60),
        )
    ),
)  # fmt: skip


@given(commands)
def test_phrases_round_trip(command: EditCommand) -> None:
    assert parse_phrase(command.phrase()) == command
    edited_attributes(Attributes(tempo=100.0, tonic=0, mode="major", instruments=("piano",)), command).to_conditioning()


@given(st.text(max_size=60))
def test_any_text_is_safe(text: str) -> None:
    parse_phrase(text)
    read_instruction(text)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("add drums", "Adding drums."),
        ("continue it for 20 seconds", "Continuing it for 20 seconds."),
        ("please go on", "Continuing it for 16 seconds."),
        ("make it 10 seconds longer", "Continuing it for 10 seconds."),
        ("extend it to 40 seconds", "Changing the length to 40 seconds."),
        ("accompany this melody", "Adding piano, electric bass and drums."),
        ("accompany it with a jazz band", "Adding piano, acoustic bass and drums."),
        ("accompany it with a guitar", "Adding acoustic guitar."),
        ("new drums in bars 5 to 8", "Writing new drums in bars 5 to 8."),
        ("write a different bass line", "Writing new bass."),
        ("regenerate the melody in bar 3", "Writing new melody in bars 3 to 3."),
        ("add a new guitar", "Adding acoustic guitar."),
        ("Add a bass line and strings please", "Adding electric bass and strings."),
        ("remove the drums", "Removing drums."),
        ("remove everything except the drums", "Keeping only drums."),
        ("isolate the piano", "Keeping only piano."),
        ("replace the piano with a violin", "Replacing piano with violin."),
        ("play violin instead of piano", "Replacing piano with violin."),
        ("let the flute play the melody", "Giving the melody to flute."),
        ("now slower", "Changing the tempo to 80 %."),
        ("speed it up by 20%", "Changing the tempo to 120 %."),
        ("twice as fast", "Changing the tempo to 200 %."),
        ("set the tempo to 120 bpm", "Changing the tempo to 120 bpm."),
        ("transpose it up two semitones", "Transposing by +2 semitones."),
        ("an octave lower", "Transposing by -12 semitones."),
        ("to D minor", "Changing the key to D minor."),
        ("in A major please", "Changing the mode to major."),
        ("In A major, please", "Changing the key to A major."),
        ("make it minor", "Changing the mode to minor."),
        ("turn it into jazz", "Changing the style to jazz."),
        ("convert it to bossa nova", "Changing the style to latin."),
        ("make it sadder", "Changing the mood to sad."),
        ("more energy", "Changing the energy by +1."),
        ("make it 20 seconds", "Changing the length to 20 seconds."),
        ("loop it twice", "Repeating it 2 times."),
        ("make it louder", "Changing the volume by +6 dB."),
        ("fade out over 5 seconds", "Fading out over 5 seconds."),
        ("as if over the phone", "Applying telephone."),
        ("play it backwards", "Applying reverse."),
    ],
)
def test_instructions(text: str, phrase: str) -> None:
    command = read_instruction(text)
    if text == "in A major please":  # either reading of the article is a key
        assert command is not None and command.operation in ("key", "mode")
        return
    assert command is not None and command.phrase() == phrase


def test_the_reply_counts_before_the_rules() -> None:
    assert resolve("some strange wish", "Adding drums.") == EditCommand("add", ("drums",))
    assert resolve("add drums", "Sure!") == EditCommand("add", ("drums",))
    with pytest.raises(InputError, match="possible: add, remove"):
        resolve("bake a cake")


@pytest.mark.parametrize(
    ("instruction", "reply", "amount"),
    [
        ("slow it down by 20 %", "Changing the tempo to 60 %.", 80.0),
        ("make it 9 dB quieter", "Changing the volume by -1 dB.", -9.0),
        ("twice as fast", "Changing the tempo to 125 %.", 200.0),
        ("transpose it up a fifth", "Transposing by +2 semitones.", 7.0),
        ("make it a bit slower", "Changing the tempo to 85 %.", 85.0),  # how much is for the model to say
        ("make it slower", "Changing the tempo to 115 %.", 80.0),  # the direction is not
    ],
)
def test_an_amount_that_is_asked_for_is_kept(instruction: str, reply: str, amount: float) -> None:
    assert resolve(instruction, reply).amount == amount


@pytest.mark.parametrize(
    ("operation", "targets", "amount"),
    [
        ("paint", (), None),
        ("add", (), None),
        ("add", ("kazoo",), None),
        ("swap", ("piano",), None),
        ("bpm", (), 4000.0),
        ("tempo", (), None),
    ],
)
def test_impossible_commands(operation: str, targets: tuple[str, ...], amount: float | None) -> None:
    with pytest.raises(InputError):
        EditCommand(operation, targets, amount)


def test_every_operation_is_registered() -> None:
    for operation in OPERATIONS:
        with pytest.raises(InputError):
            EditCommand(operation, ("?",), 1e9)
