"""The layouts of conversations, as text and as tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from m2ugen.config import PROMPT_FORMATS, M2UGenConfig
from m2ugen.errors import InputError
from m2ugen.model.prompting import (
    FORMATS,
    Turn,
    cut_at,
    encode_answer,
    encode_prompt,
    findings,
    render_answer,
    render_prompt,
)
from m2ugen.weights.tokenizer import add_audio_tokens, load_tokenizer
from tests.convert.checkpoints import write_tokenizer_model

TURNS = [Turn("Hello", ("music",), "Hi"), Turn("Play", reply="Yes.", makes_music=True)]
AUDIO = "".join(f"[AUD{k}]" for k in range(8))


def test_what_encoders_found_stands_in_the_tag() -> None:
    features = {"music": np.ones((1, 2, 3), dtype=np.float32), "image": torch.zeros(4, 5)}
    found = findings({"music": lambda states: f"{states.shape} {states.mean():.0f}"}, features)
    assert found == (("music", "(2, 3) 1"),)  # nobody puts the image in words
    turn = Turn("Fast?", ("image", "music"), found=found)
    assert "<|im_start|>user\n<music: (2, 3) 1> <image> Fast?<|im_end|>" in render_prompt([turn])
    assert "(2, 3)" not in render_prompt([turn], "alpaca")  # a layout without tags


def test_the_configuration_names_the_layouts() -> None:
    assert set(PROMPT_FORMATS) == set(FORMATS)
    with pytest.raises(InputError, match="prompt_format"):
        M2UGenConfig(prompt_format="letters")
    assert M2UGenConfig.from_preset("nano").prompt_format == "chatml"
    assert M2UGenConfig.from_preset("musicgen").prompt_format == "alpaca"
    assert M2UGenConfig.from_preset("mu-llama").prompt_format == "alpaca-input"


def test_chatml() -> None:
    asked = "<|im_start|>user\n<music> Hello<|im_end|>\n<|im_start|>assistant\n"
    assert render_prompt(TURNS[:1]) == asked
    assert render_prompt(TURNS) == f"{asked}Hi<|im_end|>\n<|im_start|>user\nPlay<|im_end|>\n<|im_start|>assistant\n"
    assert render_answer(TURNS[1]) == f"Yes.{AUDIO}<|im_end|>"


def test_alpaca() -> None:
    task = "Below is an instruction that describes a task"
    request = "Write a response that appropriately completes the request.\n\n### Instruction:\nHello\n\n"
    assert render_prompt(TURNS[:1], "alpaca") == f"{task}. {request}### Response:"
    assert render_prompt(TURNS, "alpaca").endswith("### Response:Hi\n\n### Instruction:\nPlay\n\n### Response:")
    assert render_answer(TURNS[1], "alpaca") == f"Yes. {AUDIO}"
    with_input = render_prompt(TURNS[:1], "alpaca-input")
    assert with_input.startswith(f"{task}, paired with an input that provides further context. {request}### Input:\n")
    assert with_input.endswith("\n\n### Response:")


def test_plain() -> None:
    assert render_prompt(TURNS, "plain") == "Hello\nHi\nPlay\n"


def test_sentencepiece_tokens_are_those_of_the_text_as_one(tmp_path: Path) -> None:
    write_tokenizer_model(tmp_path)
    tokenizer = add_audio_tokens(load_tokenizer(tmp_path), 330, tuple(f"[AUD{k}]" for k in range(8)))
    turn = Turn("play a slow song", reply="the piano plays")
    prompt, answer = (
        encode(tokenizer, given, "alpaca") for encode, given in ((encode_prompt, [turn]), (encode_answer, turn))
    )
    whole = render_prompt([turn], "alpaca") + render_answer(turn, "alpaca")
    assert prompt + answer == [1, *tokenizer(whole, add_special_tokens=False)["input_ids"], 2]
    music = encode_answer(tokenizer, Turn("play", reply="yes", makes_music=True), "alpaca")
    assert music[-9:] == [*range(330, 338), 2]


def test_text_is_cut_at_the_first_of_several_ends() -> None:
    assert cut_at("one two three", ("three", "two")) == "one "
    assert cut_at("one", ("two",)) == "one"
