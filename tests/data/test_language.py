"""Sampled language says what it claims to say."""

import lzma
from pathlib import Path

import numpy as np
import pytest

from m2ugen.data.nano.language.captions import sample_caption, sample_caption_request, sample_picture_caption
from m2ugen.data.nano.language.chat import sample_chat
from m2ugen.data.nano.language.edits import sample_edit
from m2ugen.data.nano.language.prompts import (
    DESCRIPTIONS_FILE,
    prompt_from_description,
    read_descriptions,
    sample_picture_prompt,
    sample_prompt,
)
from m2ugen.data.nano.language.questions import QUESTIONS, parse_answer, sample_question
from m2ugen.edit.command import parse_phrase
from m2ugen.edit.instructions import read_instruction
from m2ugen.errors import InputError
from m2ugen.score.attributes import GENRES, METRES, MODES, Attributes
from m2ugen.score.lexicon import read_attributes
from m2ugen.score.wording import tempo_class

BANDS = (
    ("piano", "strings"),
    ("acoustic guitar", "synth bass", "drums", "flute"),
    ("harp",),
    ("organ", "choir"),
    ("distorted guitar", "electric bass", "drums", "synth lead"),
    ("saxophone", "piano", "acoustic bass", "drums"),
)
SAMPLES = 1500


def draw(rng: np.random.Generator) -> Attributes:
    band = BANDS[rng.integers(len(BANDS))]
    return Attributes(
        tempo=float(rng.uniform(45, 200)),
        metre=METRES[rng.integers(3)],
        mode=MODES[rng.integers(2)],
        tonic=int(rng.integers(12)),
        genre=GENRES[rng.integers(len(GENRES))],
        energy=int(rng.integers(5)),
        drums="drums" in band,
        lead=band[0],
        instruments=band,
    )


@pytest.mark.parametrize("name", ["metre", "mode", "tonic", "genre", "drums"])
def test_prompts_ask_for_what_the_rules_read(name: str) -> None:
    rng = np.random.default_rng(1)
    wrong = []
    for _ in range(SAMPLES):
        prompt, asked, _ = sample_prompt(rng, draw(rng))
        if getattr(read_attributes(prompt), name) != getattr(asked, name):
            wrong.append(prompt)
    assert len(wrong) <= SAMPLES * 0.005, wrong[:5]


def test_prompts_ask_only_for_the_truth() -> None:
    rng = np.random.default_rng(2)
    for _ in range(SAMPLES):
        truth = draw(rng)
        prompt, asked, reply = sample_prompt(rng, truth)
        for name in ("metre", "mode", "tonic", "genre", "energy", "drums", "lead"):
            assert getattr(asked, name) in (None, getattr(truth, name)), (prompt, name)
        assert set(asked.instruments) <= set(truth.instruments)
        assert not set(asked.excluded) & set(truth.instruments)
        if asked.tempo is not None:
            assert truth.tempo is not None and abs(asked.tempo - truth.tempo) <= 0.5
        assert reply.startswith("Here is ") and len(reply) < 300 and prompt.strip() == prompt and prompt


def test_prompts_keep_tempo_energy_and_instruments() -> None:
    rng = np.random.default_rng(3)
    tempo = energy = instruments = 0
    for _ in range(SAMPLES):
        prompt, asked, _ = sample_prompt(rng, draw(rng))
        read = read_attributes(prompt)
        if asked.tempo is not None:
            tempo += read.tempo is None or tempo_class(read.tempo) != tempo_class(asked.tempo)
        if asked.energy is not None:
            energy += read.energy is None or abs(read.energy - asked.energy) > 1
        instruments += len(read.instruments) != len(asked.instruments)
    assert max(tempo, energy, instruments) <= SAMPLES * 0.02


def test_prompts_are_varied_and_repeatable() -> None:
    truth = draw(np.random.default_rng(0))
    first = [sample_prompt(np.random.default_rng(k), truth) for k in range(200)]
    assert first == [sample_prompt(np.random.default_rng(k), truth) for k in range(200)]
    assert len({prompt for prompt, _, _ in first}) > 150


def test_captions_are_true() -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        truth = draw(rng)
        text = sample_caption(rng, truth)
        read = read_attributes(text)
        assert read.genre == truth.genre and read.mode == truth.mode, text
        assert set(read.instruments) == set(truth.instruments), text
        assert sample_caption_request(rng, truth)[0]


@pytest.mark.parametrize(
    ("answer", "metre"),
    [
        ("There are 4 beats.", "4/4"),
        ("Three beats, I think.", "3/4"),
        ("6 beats, it is in 6/8.", "6/8"),
        ("Beats.", None),
    ],
)
def test_a_metre_may_be_counted_in_beats(answer: str, metre: str | None) -> None:
    assert parse_answer("metre", answer) == metre


@pytest.mark.parametrize("kind", QUESTIONS)
def test_answers_can_be_checked(kind: str) -> None:
    rng = np.random.default_rng(5)
    yes = 0
    for _ in range(100):
        truth = draw(rng)
        question, answer = sample_question(rng, truth, {"duration": 21.0}, kind=kind)
        said = parse_answer(kind, answer)
        assert question and answer.endswith(".")
        match kind:
            case "drums" | "mode" | "metre" | "genre" | "energy" | "lead":
                assert said == getattr(truth, kind), answer
            case "key":
                assert said == (truth.tonic, truth.mode)
            case "tempo":
                assert abs(said - truth.tempo) <= 0.5
            case "tempo_word":
                assert said == tempo_class(truth.tempo or 0)
            case "instruments":
                assert set(said) == set(truth.instruments)
            case "mood":
                assert said.mode == truth.mode
            case "duration":
                assert said == 21.0
            case "has_instrument":
                yes += said
    if kind == "has_instrument":
        assert 30 <= yes <= 70


def test_unknown_attributes_are_not_asked_about() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        _, answer = sample_question(rng, Attributes(genre="jazz"))
        assert "jazz" in answer


def test_edits_carry_their_command() -> None:
    rng = np.random.default_rng(7)
    agree = 0
    for _ in range(SAMPLES):
        instruction, phrase, after = sample_edit(rng, draw(rng))
        command = parse_phrase(phrase)
        assert command is not None and command.phrase() == phrase
        after.to_conditioning()
        read = read_instruction(instruction)
        agree += read is not None and read.operation == command.operation
    assert agree >= SAMPLES * 0.97


def test_pictures_and_talk() -> None:
    rng = np.random.default_rng(8)
    prompt, reply = sample_picture_prompt(rng, Attributes(mode="minor", energy=3), "video")
    assert prompt and "minor" in reply
    question, answer = sample_picture_caption(rng, ("a beach", "a dog"), "image")
    assert question and "a beach with a dog" in answer
    assert all(all(sample_chat(rng)) for _ in range(50))


def test_peoples_descriptions(tmp_path: Path) -> None:
    rows = "aspect_list,caption\n\"['slow tempo', 'piano']\",A slow piano song without drums.\n\"['xyz']\",Qwerty.\n"
    with lzma.open(tmp_path / DESCRIPTIONS_FILE, "wt", encoding="utf-8") as file:
        file.write(rows)
    texts = read_descriptions(tmp_path)
    assert texts == ["A slow piano song without drums.", "slow tempo, piano"]
    _, asked, reply = prompt_from_description(np.random.default_rng(0), texts[0])
    assert asked == Attributes(tempo=72.0, drums=False, instruments=("piano",), excluded=("drums",))
    assert reply == "Here is a slow piece with piano, without drums."
    with pytest.raises(InputError, match="folder"):
        read_descriptions(tmp_path / "nowhere")
