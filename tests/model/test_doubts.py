"""Doubts are told where a question asks for what the ear is unsure of, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.model.doubts import SURE, Doubtful, doubts
from m2ugen.model.encoders.ear import HEADS
from m2ugen.model.encoders.nano_music import NanoMusicEncoder

VAGUE = dict.fromkeys(("tonic", "mode", "tempo", "metre", "genre", "drums"), 0.4)


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What key is this in?", ["key"]),
        ("major or minor?", ["mode"]),
        ("How fast is it, and is it a waltz?", ["tempo", "metre"]),
        ("Is it in 3/4? what's the time signature", ["metre"]),
        ("Which style is it?", ["genre"]),
        ("Are there drums?", ["drums"]),
        ("Which instruments play?", []),
        ("Is the keyboard loud?", []),
    ],
)
def test_what_is_asked_is_what_is_doubted(question: str, names: list[str]) -> None:
    told = doubts(question, VAGUE)
    assert [line.split(":")[0].removeprefix("not sure about the ") for line in told] == names
    assert all("40 %" in line for line in told)
    assert doubts(question, dict.fromkeys(VAGUE, SURE)) == doubts(question, {}) == ()


def test_confidence_is_read_from_the_heads() -> None:
    hidden = np.zeros((11, 230), dtype=np.float32)
    start = {name: sum(list(HEADS.values())[:k]) for k, name in enumerate(HEADS)}
    place = {name: k for k, name in enumerate(HEADS)}
    hidden[place["mode"], start["mode"] : start["mode"] + 2] = 0.3, 0.7
    hidden[place["tempo"], start["tempo"] + 4 : start["tempo"] + 7] = 0.2, 0.4, 0.3
    confidence = NanoMusicEncoder.confidence(hidden)
    assert confidence["mode"] == pytest.approx(0.7) and confidence["tempo"] == pytest.approx(0.9)
    assert issubclass(NanoMusicEncoder, Doubtful)
