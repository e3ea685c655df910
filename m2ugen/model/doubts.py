"""What an answer about music should be taken with caution: the ear's own odds, where a question asks for what it is
unsure of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

SURE = 0.65  # odds from which on the ear of nano is right in four of five cases
_ASKED = {  # what of the music a question asks for, by attribute: its name, and the words that ask for it
    "tonic": ("key", r"key|tonic"),
    "mode": ("mode", r"major|minor|mode"),
    "tempo": ("tempo", r"tempo|bpm|beats per minute|fast|slow|speed"),
    "metre": ("metre", r"metre|meter|time signature|waltz|beats (are |is )?(in|to) (a|the|each|every) (bar|measure)"),
    "genre": ("genre", r"genre|style|kind of music|type of music"),
    "drums": ("drums", r"drums?|drummer|drumming|percussion"),
}


@runtime_checkable
class Doubtful(Protocol):
    """An encoder that knows how sure it is."""

    def confidence(self, hidden_states: np.ndarray) -> dict[str, float]:
        """The odds (0-1) of the likeliest value of attributes, from hidden states [num_tokens, dim]."""


def doubts(question: str, confidence: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for everything that ``question`` asks for and that is less sure than SURE.

    >>> doubts("What key is it in, and is it fast?", {"tonic": 0.4, "tempo": 0.9, "genre": 0.2})
    ('not sure about the key: the odds that it is heard rightly are 40 %',)
    """
    plain = " ".join(re.findall(r"[\w/]+", question.lower()))
    return tuple(
        f"not sure about the {name}: the odds that it is heard rightly are {confidence[attribute]:.0%}".replace(
            "%", " %"
        )
        for attribute, (name, words) in _ASKED.items()
        if confidence.get(attribute, 1.0) < SURE and re.search(rf"\b({words})\b", plain)
    )
