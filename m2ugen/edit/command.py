"""What an edit is: an operation, what it applies to, how much; and its canonical sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

from m2ugen.errors import InputError
from m2ugen.score.attributes import GENRES, INSTRUMENT_INDEX, MODES, TONICS
from m2ugen.score.lexicon_words import MOOD_WORDS
from m2ugen.score.plan import ROLES
from m2ugen.score.wording import join

EFFECTS = ("reverb", "echo", "low-pass", "high-pass", "telephone", "distortion", "reverse")
_PHRASES: dict[str, str] = {  # operation → canonical sentence; {targets}, {first}, {second}, {amount}
    "add": "Adding {targets}.",
    "remove": "Removing {targets}.",
    "solo": "Keeping only {targets}.",
    "swap": "Replacing {first} with {second}.",
    "lead": "Giving the melody to {first}.",
    "tempo": "Changing the tempo to {amount:.0f} %.",
    "bpm": "Changing the tempo to {amount:.0f} bpm.",
    "transpose": "Transposing by {amount:+.0f} semitones.",
    "key": "Changing the key to {first}.",
    "mode": "Changing the mode to {first}.",
    "genre": "Changing the style to {first}.",
    "energy": "Changing the energy by {amount:+.0f}.",
    "mood": "Changing the mood to {first}.",
    "length": "Changing the length to {amount:.0f} seconds.",
    "loop": "Repeating it {amount:.0f} times.",
    "volume": "Changing the volume by {amount:+.0f} dB.",
    "fade in": "Fading in over {amount:.0f} seconds.",
    "fade out": "Fading out over {amount:.0f} seconds.",
    "effect": "Applying {first}.",
    "infill": "Writing new {targets}.",
    "continue": "Continuing it for {amount:.0f} seconds.",
}
KEYS = tuple(TONICS) + tuple(f"{tonic} {mode}" for tonic in TONICS for mode in MODES)
_VOCABULARY: dict[str, frozenset[str]] = {
    **dict.fromkeys(("add", "remove", "solo", "swap", "lead"), frozenset(INSTRUMENT_INDEX)),
    "key": frozenset(KEYS),
    "mode": frozenset(MODES),
    "genre": frozenset(GENRES),
    "mood": frozenset(MOOD_WORDS),
    "effect": frozenset(EFFECTS),
    "infill": frozenset((*INSTRUMENT_INDEX, *ROLES)),
}
_RANGES: dict[str, tuple[float, float]] = {  # amounts that make sense
    "tempo": (25.0, 400.0),  # per cent of the present tempo
    "bpm": (20.0, 400.0),
    "transpose": (-24.0, 24.0),  # semitones
    "energy": (-4.0, 4.0),  # steps of ENERGIES
    "length": (1.0, 3600.0),  # seconds
    "continue": (1.0, 600.0),  # seconds
    "loop": (2.0, 64.0),  # times
    "volume": (-60.0, 24.0),  # decibels
    "fade in": (1.0, 60.0),  # seconds
    "fade out": (1.0, 60.0),
}


@dataclass(frozen=True)
class EditCommand:
    """One change: an ``operation``, its ``targets`` (instruments, a genre, a key ...) and its ``amount``.

    Operations and the units of their amounts: add, remove, solo, swap (from, to), lead: instruments; tempo
    (25-400 % of the present tempo), bpm (20-400), transpose (-24 to 24 semitones), key ("D minor", "D"), mode,
    genre, energy (-4 to 4 steps), mood (a mood word), length (1-3600 s), loop (2-64 times), volume (-60 to 24 dB),
    fade in, fade out (1-60 s), effect (one of EFFECTS), infill: instruments or roles, whose part is written anew,
    continue (1-600 s more).
    ``bars`` are the first and the last bar, counted from 1, that an infill is about; None: all. Raises InputError
    where a value is outside these.
    """

    operation: str
    targets: tuple[str, ...] = ()
    amount: float | None = None
    bars: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.operation not in _PHRASES:
            raise InputError(f"there is no edit {self.operation!r}; edits are {', '.join(_PHRASES)}")
        allowed, limits = _VOCABULARY.get(self.operation), _RANGES.get(self.operation)
        wanted = 2 if self.operation == "swap" else 1
        if allowed is not None and (len(self.targets) < wanted or not set(self.targets) <= allowed):
            raise InputError(f"cannot {self.operation} {' '.join(self.targets) or 'nothing'}; name something known")
        if limits is not None and (self.amount is None or not limits[0] <= self.amount <= limits[1]):
            raise InputError(f"the amount of a {self.operation} edit must be {limits[0]:g} to {limits[1]:g}")
        if self.bars is not None and (self.operation != "infill" or not 1 <= self.bars[0] <= self.bars[1]):
            raise InputError("bars are counted from 1, the first before the last, and only new parts take them")

    def phrase(self) -> str:
        """The canonical sentence, which the language model's reply begins with; `parse_phrase` reads it."""
        first, second = (*self.targets, "", "")[:2]
        if self.bars is not None:
            return f"Writing new {join(self.targets)} in bars {self.bars[0]} to {self.bars[1]}."
        return _PHRASES[self.operation].format(
            targets=join(self.targets),
            first=first,
            second=second,
            amount=self.amount if self.amount is not None else 0.0,
        )


def _pattern(sentence: str) -> re.Pattern[str]:
    pattern = re.escape(sentence.rstrip("."))
    for field, expression in (
        (r"\{amount:\+\.0f\}", r"(?P<amount>[+-]?\d+)"),
        (r"\{amount:\.0f\}", r"(?P<amount>\d+)"),
        (r"\{targets\}", r"(?P<targets>[^.]+)"),
        (r"\{first\}", r"(?P<first>[^.]+?)"),
        (r"\{second\}", r"(?P<second>[^.]+)"),
    ):
        pattern = pattern.replace(field, expression)
    return re.compile(pattern + r"(?:\.|$)", re.IGNORECASE)


_PATTERNS = {operation: _pattern(sentence) for operation, sentence in _PHRASES.items()}


def _read_bars(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d+) to (\d+)", text)
    return None if match is None else (int(match[1]), int(match[2]))


def parse_phrase(text: str) -> EditCommand | None:
    """The command whose canonical sentence ``text`` begins with, or None (also where its values are impossible)."""
    text = text.strip()
    for operation, pattern in _PATTERNS.items():
        if (match := pattern.match(text)) is None:
            continue
        groups, bars = match.groupdict(), None
        if groups.get("targets"):
            named, *place = re.split(r" in bars (?=\d)", groups["targets"])
            targets = tuple(item.strip() for item in re.split(r",| and ", named) if item.strip())
            bars = _read_bars(place[0]) if place else None
        else:
            targets = tuple(groups[name].strip() for name in ("first", "second") if groups.get(name))
        amount = float(groups["amount"]) if groups.get("amount") else None
        try:
            return EditCommand(operation, targets, amount, bars)
        except InputError:
            continue
    return None
