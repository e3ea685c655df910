# ruff: noqa: E501 (lists of phrases read best in a row)
"""Which messages want words, whatever a model makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.data.nano.language.chat import sample_chat
from m2ugen.data.nano.language.edits import sample_edit
from m2ugen.data.nano.language.questions import FOLLOW_UPS, QUESTIONS, sample_question
from m2ugen.model.requests import wants_words
from m2ugen.score.attributes import Attributes

SONG = Attributes(
    tempo=120, metre="4/4", mode="minor", tonic=2, genre="rock", energy=3, drums=True,
    lead="flute", instruments=("flute", "piano", "drums"),
)  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        "How fast is it?", "and the key?", "drums?", "major or minor?", "what would you add to it?", "hello",
        "Thanks a lot!", "Where do the drums enter?", "can you tell me the key", "Does it have drums", "in which key is it",
        "bpm?", "what's the mood?", "Tell me about this song.", "is that a violin?", "which instruments play the melody", "ok",
    ],
)  # fmt: skip
def test_questions_and_courtesies_want_words(message: str) -> None:
    assert wants_words(message)


@pytest.mark.parametrize(
    "message",
    [
        "Make a slow waltz for strings", "now add a flute", "could you make it faster?", "how about some drums?",
        "slower", "what about a sadder version?", "a bit slower?", "can you play something like this?",
        "without the drums?", "", "why not add a choir?", "is it possible to remove the bass?", "nice slow jazz",
        "hello kitty theme song in minor", "do it again", "have the flute play higher", "A ballad, please?", "good morning music with a harp", "no drums",
    ],
)  # fmt: skip
def test_requests_and_proposals_do_not(message: str) -> None:
    assert not wants_words(message)


def test_the_training_questions_want_words_and_its_edits_do_not() -> None:
    rng = np.random.default_rng(0)
    asked = [phrase for phrases in FOLLOW_UPS.values() for phrase in phrases]
    asked += [sample_question(rng, SONG, kind=kind)[0] for kind in QUESTIONS if kind != "duration" for _ in range(20)]
    asked += [sample_chat(rng)[0] for _ in range(200)]
    edits = [sample_edit(rng, SONG)[0] for _ in range(400)]
    missed = [message for message in asked if not wants_words(message)]
    taken = [message for message in edits if wants_words(message)]
    assert len(missed) < 0.08 * len(asked) and not taken
