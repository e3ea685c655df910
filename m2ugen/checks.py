"""What every request must keep to, whoever asks: words, seconds and seeds. Imports no models."""

from __future__ import annotations

import numpy as np

from m2ugen.errors import InputError

DEFAULT_DURATION = 30.0  # seconds
MIN_DURATION, MAX_DURATION = 1.0, 600.0
MAX_TEXT = 4000  # characters of a question or prompt
MAX_SEED = 2**31


def checked_text(text: str) -> str:
    """``text`` without surrounding space. Raises InputError when it is empty or too long."""
    if not isinstance(text, str):
        raise InputError(f"the text must be a string, not {type(text).__name__}")
    text = text.strip()
    if not text:
        raise InputError("the text is empty; say what you want to know or to hear")
    if not is_unicode(text):
        raise InputError("the text holds halves of characters (surrogates); send it as UTF-8")
    if len(text) > MAX_TEXT:
        raise InputError(f"the text has {len(text)} characters; the limit is {MAX_TEXT}")
    return text


def is_unicode(text: str) -> bool:
    """Whether ``text`` has no lone surrogates, which JSON can bring in and tokenizers fail at."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def checked_duration(duration: float | None, video_duration: float | None) -> float:
    """Seconds of music to make. Raises InputError outside MIN_DURATION - MAX_DURATION."""
    seconds = duration if duration is not None else video_duration if video_duration is not None else DEFAULT_DURATION
    if not MIN_DURATION <= seconds <= MAX_DURATION:  # also refuses NaN
        raise InputError(f"a duration of {seconds:g} s cannot be made; choose {MIN_DURATION:g} to {MAX_DURATION:g}")
    return float(seconds)


def checked_seed(seed: int | None) -> int:
    """``seed``, or a random one. Raises InputError when it is negative or has more than 31 bits."""
    if seed is None:
        return int(np.random.default_rng().integers(MAX_SEED))
    if not 0 <= seed < MAX_SEED:
        raise InputError(f"the seed must be between 0 and {MAX_SEED - 1}")
    return int(seed)
