"""What is wrong with a text that a model wrote, if anything."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Literal

from m2ugen.score.attributes import Attributes
from m2ugen.score.lexicon import read_attributes

Subject = Literal["music", "picture", "any"]
MAX_WORDS = 120
MAX_REPEATS = 4  # times that a phrase may come in a row
MIN_VARIETY = 0.3  # distinct words among many
MANY = 24  # words
MARKUP = re.compile(r"<\||\|>|\[AUD|###|```|https?://|</?\w+>|[{}\\]")
REFUSAL = re.compile(
    r"\b(as an ai|language model|i'm sorry|i am sorry|i cannot|i can't (?:see|hear|help|provide)|unable to)\b", re.I
)
MUSICAL = re.compile(
    r"\b(music\w*|song|tune|melod\w+|rhythm\w*|beat|tempo|chord\w*|harmon\w+|sing\w*|voice|vocal\w*|instrument\w*|"
    r"band|orchestra|sound\w*|play\w*|track|bass|drum\w*|guitar\w*|piano|solo|loop|groove)\b",
    re.I,
)


def fault(text: str, subject: Subject = "any", max_words: int = MAX_WORDS) -> str | None:
    """Why ``text`` cannot be used, or None: empty, too long, in a loop, markup, a refusal, or not about ``subject``."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())
    if not words:
        return "the text is empty"
    if len(words) > max_words:
        return f"the text rambles ({len(words)} words)"
    if MARKUP.search(text):
        return "the text holds markup"
    if REFUSAL.search(text):
        return "the text is a refusal"
    if in_a_loop(words):
        return "the text repeats itself"
    if subject == "music" and not MUSICAL.search(text) and read_attributes(text) == Attributes():
        return "the text is not about music"
    if subject == "picture" and len(words) < 2:
        return "the text describes nothing"
    return None


def whole_sentences(text: str) -> str:
    """``text`` in one line, without a last sentence that was cut short, if one is whole."""
    text = " ".join(text.split())
    end = max(text.rfind(sign) for sign in (". ", "! ", "? "))
    return text if not text or text[-1] in ".!?" or end < 0 else text[: end + 1]


def in_a_loop(words: list[str]) -> bool:
    """Whether a phrase of up to eight words comes again and again, or few words make up a long text."""
    if len(words) >= MANY and len(set(words)) < MIN_VARIETY * len(words):
        return True
    for length in range(1, 9):
        same = [words[k] == words[k + length] for k in range(len(words) - length)]
        runs = (sum(1 for _ in run) for value, run in groupby(same) if value)
        if max(runs, default=0) >= (MAX_REPEATS - 1) * length:
            return True
    return False
