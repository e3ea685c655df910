"""Questions about places in the music: where something enters, which chords a passage has, what the form is.

A language model that hears a recording as a whole cannot know them. They are read off the plan where the music was
composed here, and else measured in the recording.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from m2ugen.errors import InputError
from m2ugen.media.audio import Audio
from m2ugen.score.attributes import INSTRUMENTS
from m2ugen.score.directions import SHORTHAND
from m2ugen.score.lexicon import find_phrases, read_bars, tokenize
from m2ugen.score.lexicon_words import NUMBER_WORDS
from m2ugen.score.notes import ONSET, PART
from m2ugen.score.plan import BAR_TICKS, CHORDS_PER_BAR, Chord
from m2ugen.score.wording import join, key_name

if TYPE_CHECKING:
    from m2ugen.processor import LoadedMedia
    from m2ugen.reply import Reply

USUAL_BARS = 8  # whose chords are told where no passage is named
MOST_BARS = 32
LONGEST = 360.0  # seconds of a recording that are measured
SYMBOLS = {SHORTHAND[symbol]: symbol for symbol in ("", "m", "m7", "m7b5", "6", "m6")}  # of qualities told otherwise
_ENTRY = re.compile(
    r"\b(when|where|at (what|which) (time|point|second)|after how (long|many seconds)|in (what|which) bar)\b.*"
    r"\b(enters?|starts?|begins?|(comes?|kicks?|sets?) in|joins?|appears?|first (heard|play\w*))\b"
)
_CHORDS = re.compile(r"\b(what|which|list|name|tell)\b.*\bchords?\b|\bchord progression\b|^chords\b")
_FORM = re.compile(r"\b(what|which|where|how many|describe|tell)\b.*\b(form|structure|sections?)\b|^sections\b")
_FIRST = re.compile(rf"\b(first|last)\s+(\d+|{'|'.join(NUMBER_WORDS)})\s+(?:bars|measures)")
_SECONDS = re.compile(r"(?:(\d+):)?(\d+)\s*(?:s\b|sec\w*)?\s*(?:-|–|to|and|until)\s*(?:(\d+):)?(\d+)\s*(?:s\b|sec\w*)?")


@runtime_checkable
class Timed(Protocol):
    """An encoder that can tell what sounds when."""

    sample_rate: int

    def over_time(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Times in seconds [n] and, from there on for a moment, the probability of each instrument [n, instruments]."""
        ...


@dataclass(frozen=True)
class Passage:
    """Bars ``first`` to ``last``, counted from 1."""

    first: int
    last: int


def answer(question: str, loaded: LoadedMedia, encoder: object) -> str | None:
    """The answer to a question about a place in ``loaded.music``, or None for any other question.

    ``encoder`` is the model's music encoder; without one that can tell what sounds when, the language model answers.
    """
    text = question.lower()
    if loaded.music is None or not isinstance(encoder, Timed) or loaded.music.duration > LONGEST:
        return None
    composed = loaded.reply if loaded.reply is not None and loaded.reply.plan is not None else None
    try:
        if _ENTRY.search(text) and (named := _instruments(text)):
            return _told_entry(named, composed, loaded.music, encoder)
        if _CHORDS.search(text):
            return _told_chords(text, composed, loaded.music)
        if _FORM.search(text) and composed is not None:
            return _told_form(composed)
    except InputError:  # too short or too quiet to be measured
        return None
    return None


def _instruments(text: str) -> tuple[str, tuple[str, ...]] | None:
    """What is asked about: the words for it and the instruments that they may mean."""
    tokens = tokenize(text)
    for match in find_phrases(tokens):
        if match.entry.instruments:
            return " ".join(tokens[match.start : match.end]), match.entry.instruments
    return None


def _told_entry(named: tuple[str, tuple[str, ...]], composed: Reply | None, music: Audio, encoder: Timed) -> str:
    words, instruments = named
    many = words.endswith("s") and words != "bass"
    if composed is not None:
        first = _entry_in_score(composed, instruments)
    else:
        times, sounding = encoder.over_time(music.resampled(encoder.sample_rate).mono())
        columns = [i for i, instrument in enumerate(INSTRUMENTS) if instrument.name in instruments]
        first = _first_sustained(times, sounding[:, columns].max(axis=1))
    if first is None:
        return f"I hear no {words} in it."
    if first < 1.0:
        return f"The {words} {'play' if many else 'plays'} from the beginning."
    return f"The {words} {'enter' if many else 'enters'} at about {clock(first)}."


def _entry_in_score(composed: Reply, instruments: Sequence[str]) -> float | None:
    assert composed.plan is not None and composed.notes is not None
    own = [index for index, part in enumerate(composed.plan.parts) if part.instrument in instruments]
    onsets = composed.notes[np.isin(composed.notes[:, PART], own), ONSET]
    return float(onsets.min()) * composed.plan.seconds_per_tick if len(onsets) else None


def _first_sustained(times: np.ndarray, probability: np.ndarray) -> float | None:
    """The first time from which on something is heard in most of the next moments."""
    heard = probability > 0.5
    for index in np.flatnonzero(heard):
        if heard[index : index + 4].mean() > 0.5:
            return float(times[index])
    return None


def _told_chords(text: str, composed: Reply | None, music: Audio) -> str:
    if composed is not None and composed.plan is not None:
        plan = composed.plan
        chords, metre, tonic, mode = [c for s in plan.sections for c in s.chords], plan.metre, plan.tonic, plan.mode
        bar_starts = np.arange(plan.bars + 1) * plan.bar_ticks * plan.seconds_per_tick
    else:
        from m2ugen.score.transcription import describe

        found = describe(music)
        chords, metre, tonic, mode = list(found.chords), found.metre, found.tonic, found.mode
        bar_starts = found.seconds_at(np.arange(found.bars + 1) * BAR_TICKS[metre])
    bars = len(bar_starts) - 1
    passage = read_passage(text, bar_starts)
    if passage.first > bars:
        return f"The music has {bars} bars only."
    slots = CHORDS_PER_BAR[metre]
    last = min(passage.last, bars, passage.first + MOST_BARS - 1)
    told = [_bar(chords[(bar - 1) * slots : bar * slots], tonic) for bar in range(passage.first, last + 1)]
    place = f"Bars {passage.first} to {last}" if last > passage.first else f"Bar {last}"
    return f"{place}, in {key_name(tonic, mode)}: {' | '.join(told)}."


def _bar(chords: Sequence[Chord | None], tonic: int) -> str:
    names = ["–" if chord is None else chord_symbol(chord, tonic) for chord in chords]
    return names[0] if len(set(names)) == 1 else " ".join(names)


def chord_symbol(chord: Chord, tonic: int) -> str:
    """As musicians write it: C, Am, G7, F#m7b5."""
    root, _, quality = chord.name(tonic).partition(":")
    return root + SYMBOLS.get(quality, quality)


def read_passage(text: str, bar_starts: np.ndarray) -> Passage:
    """The bars that ``text`` names, by number or by time; by default the first USUAL_BARS.

    ``bar_starts`` are seconds, float [bars + 1].
    """
    bars = len(bar_starts) - 1
    if named := read_bars(text):
        first = max(named[0], 1)
        return Passage(first, max(named[1], first))
    if some := _FIRST.search(text):
        count = int(NUMBER_WORDS.get(some[2], some[2]))
        return Passage(1, count) if some[1] == "first" else Passage(max(bars - count + 1, 1), bars)
    if timed := _SECONDS.search(text):
        begin, end = (int(timed[i] or 0) * 60 + int(timed[i + 1]) for i in (1, 3))
        first = int(np.clip(np.searchsorted(bar_starts, begin + 0.1, side="right"), 1, bars))
        return Passage(first, max(int(np.searchsorted(bar_starts, end - 0.1, side="right")), first))
    return Passage(1, USUAL_BARS)


def _told_form(composed: Reply) -> str:
    assert composed.plan is not None
    plan, start, told = composed.plan, 0.0, list[str]()
    for section in plan.sections:
        resting = f", {section.without}" if section.without else ""
        told.append(f"{section.letter} at {clock(start)} ({section.bars} bars{resting})")
        start += section.bars * plan.bar_ticks * plan.seconds_per_tick
    return f"Its sections are {join(told)}."


def clock(seconds: float) -> str:
    """``1:05``."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
