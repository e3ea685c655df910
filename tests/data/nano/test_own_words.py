"""What the language model said before training is kept, and becomes exchanges without music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2ugen.data.nano.dialogue import DialogueSource
from m2ugen.data.nano.language.own_words import FILE, first_sentences, questions, read_own_words, write_own_words
from m2ugen.data.nano.language.plain_text import PASSAGE, manual, passages
from m2ugen.data.nano.recordings import Recording
from m2ugen.errors import InputError
from m2ugen.score.attributes import Attributes
from m2ugen.train.collate import encode


class Words:
    """A tokenizer whose ids are the words themselves."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[str]]:
        assert not add_special_tokens
        return {"input_ids": text.split()}


def test_questions_are_many_and_none_comes_twice() -> None:
    asked = questions()
    assert len(asked) == len(set(asked)) > 300
    assert all(text[0].isupper() and text[-1] in ".?" for text in asked)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Paris is the capital. It is old. It is large.", "Paris is the capital."),
        ("The answer is 3.5 as you\nknow. And so on and", "The answer is 3.5 as you know."),
        ("An answer that never ends", ""),
        ("Yes.", ""),
    ],
)
def test_answers_end_with_a_sentence(text: str, kept: str) -> None:
    assert first_sentences(text) == kept


def test_the_language_model_answers_once(tmp_path: Path) -> None:
    assert read_own_words(tmp_path) == []
    path = write_own_words(tmp_path, ["What is the capital of France?", "Tell me about the moon."])
    pairs = read_own_words(tmp_path)
    assert {question for question, _ in pairs} == {"What is the capital of France?", "Tell me about the moon."}
    assert any("Paris" in answer for _, answer in pairs)
    before = path.read_bytes()
    write_own_words(tmp_path, ["Another question?"])
    assert path.read_bytes() == before


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[1, 2")
    with pytest.raises(InputError, match="delete it"):
        read_own_words(tmp_path)


def test_plain_text_is_read_as_it_stands_and_part_of_it_is_held_out() -> None:
    train, held_out = passages(manual(held_out=False)), passages(manual(held_out=True))
    assert len(train) > 300 and len(held_out) > 200 and not set(train) & set(held_out)
    assert all(0 < len(text) <= 2 * PASSAGE for text in train)
    source = DialogueSource([], [], [], {"plain": 1.0, "own_words": 1.0}, 0, passages=train)
    text = source.sample(0)
    prompt, answer = encode(text, Words(), "chatml")
    assert prompt == [] and answer == text.reply.split()


def test_they_are_exchanges_without_music() -> None:
    mix = {"own_words": 1.0, "talk": 1.0}
    recordings = [Recording(np.zeros((2, 2)), Attributes())]
    source = DialogueSource(recordings, [], [], mix, 0, own_words=[("Why?", "Because.")])
    drawn = [source.sample(index) for index in range(20)]
    assert {dialogue.kind for dialogue in drawn} == {"own_words", "talk"}
    assert all(dialogue.attached == () and dialogue.target is None for dialogue in drawn)
    assert {d.reply for d in drawn if d.kind == "own_words"} == {"Because."}
    none = DialogueSource(recordings, [], [], mix, 0)
    assert {none.sample(index).kind for index in range(20)} == {"talk"}


def test_what_was_said_before_stands_before_a_question() -> None:
    attributes = Attributes(
        tempo=120.0, mode="minor", tonic=2, genre="jazz", energy=2, drums=True, instruments=("piano",)
    )
    source = DialogueSource([Recording(np.zeros((2, 2)), attributes)], [], [], {"question": 1.0}, 0)
    drawn = [source.sample(index) for index in range(80)]
    followed = [dialogue for dialogue in drawn if dialogue.earlier]
    assert 8 < len(followed) < 32
    before = [dialogue.earlier[0] for dialogue in followed]
    assert {earlier.makes_music for earlier in before} == {True, False}
    assert all(earlier.attached != earlier.makes_music for earlier in before)  # music is there once it is made
    assert all(dialogue.reply for dialogue in followed)
