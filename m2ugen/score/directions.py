"""What a musician writes above the staff: tempo, key, metre and chords that a piece must have, to the letter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from m2ugen.errors import InputError
from m2ugen.score.attributes import METRES, SLOT_INDEX, Attributes
from m2ugen.score.keys import key_of_weights
from m2ugen.score.lexicon import pitch_class
from m2ugen.score.plan import CHORD_QUALITIES, CHORDS_PER_BAR, Chord, Plan, Section

SLOWEST, FASTEST = 40.0, 240.0  # beats per minute
SHORTHAND = {  # what musicians write after the root → quality
    "": "maj",
    "M": "maj",
    "m": "min",
    "-": "min",
    "m7": "min7",
    "-7": "min7",
    "M7": "maj7",
    "Δ": "maj7",
    "m7b5": "hdim7",
    "ø": "hdim7",
    "°": "dim",
    "o": "dim",
    "o7": "dim7",
    "+": "aug",
    "sus": "sus4",
    "6": "maj6",
    "m6": "min6",
}
NO_CHORD = ("N", "NC", "N.C.")
_CHORD = re.compile(r"([A-G](?:#|♯|b|♭)?):?(.*)")
_KEY = re.compile(r"([A-Ga-g](?:#|♯|b|♭| sharp| flat)?)\s*(major|minor|maj|min|m|)", re.IGNORECASE)


class NamedChord(NamedTuple):
    """A chord by its root's pitch class (0-11)."""

    root: int
    quality: str


Bar = tuple[NamedChord | None, ...]


@dataclass(frozen=True)
class Directions:
    """``tempo`` in beats per minute, ``tonic`` (0-11) and ``mode``, ``metre``, and ``bars`` of one or more chords each
    (None: silence) that are repeated to the end; each is None or empty where the piece may choose.
    """

    tempo: float | None = None
    tonic: int | None = None
    mode: str | None = None
    metre: str | None = None
    bars: tuple[Bar, ...] = ()

    def __bool__(self) -> bool:
        return self != Directions()

    @classmethod
    def read(
        cls, tempo: float | None = None, key: str | None = None, metre: str | None = None, chords: str | None = None
    ) -> Directions:
        """From what a user writes: beats per minute, "D minor", "3/4", "C G A:min F".

        Chords take a bar each; several in a bar are joined by commas ("C,G Am F"). Without ``key`` the chords decide.
        Raises InputError for what is not understood.
        """
        if tempo is not None and not SLOWEST <= tempo <= FASTEST:
            raise InputError(f"a tempo of {tempo:g} bpm is not possible; choose {SLOWEST:g} to {FASTEST:g}")
        if metre is not None and metre not in METRES:
            raise InputError(f"the metre {metre!r} is not known; choose {', '.join(METRES)}")
        bars = () if chords is None else read_chords(chords)
        tonic, mode = (None, None) if key is None else read_key(key)
        if bars and key is None:
            tonic, mode = _key_of(bars)
        return cls(tempo, tonic, mode, metre, bars)

    def steer(self, conditioning: np.ndarray) -> np.ndarray:
        """``conditioning`` [NUM_SLOTS, SLOT_DIM] with these demands in place of what it holds about the same."""
        wanted = {"tempo": self.tempo, "tonic": self.tonic, "mode": self.mode, "metre": self.metre}
        given = {name: value for name, value in wanted.items() if value is not None}
        told, steered = Attributes(**given).to_conditioning(), conditioning.copy()  # type: ignore[arg-type]
        for name in given:
            steered[SLOT_INDEX[name]] = told[SLOT_INDEX[name]]
        return steered

    def arrange(self, plan: Plan, duration: float) -> Plan:
        """A plan that was written under these demands with the tempo and the chords exactly as asked, and not longer
        than ``duration`` seconds.

        The chords begin anew with every section. Raises InputError when no bar fits.
        """
        if self.tempo is not None:
            plan = replace(plan, tempo=self.tempo)
        if self.bars:
            plan = replace(plan, sections=tuple(self._harmonised(section, plan) for section in plan.sections))
            if plan.ending and (home := self._home(plan)) is not None:
                plan = plan.closed_on(home)
        bar = plan.bar_ticks * plan.seconds_per_tick
        surplus = plan.bars - int(duration / bar + 1e-6)
        if surplus >= plan.bars:
            raise InputError(f"{duration:g} s are too short for a bar at {plan.tempo:g} bpm; choose {bar:.1f} or more")
        return _shortened(plan, surplus).validated() if surplus > 0 else plan.validated()

    def _harmonised(self, section: Section, plan: Plan) -> Section:
        slots = CHORDS_PER_BAR[plan.metre]
        chords: list[Chord | None] = []
        for index in range(section.bars):
            bar = self.bars[index % len(self.bars)]
            for slot in range(slots):
                named = bar[slot * len(bar) // slots]
                chords.append(None if named is None else Chord((named.root - plan.tonic) % 12, named.quality))
        return replace(section, chords=tuple(chords))

    def _home(self, plan: Plan) -> Chord | None:
        """The chord to end on: the tonic's, if it is among the asked ones."""
        named = [c for bar in self.bars for c in bar if c is not None and (c.root - plan.tonic) % 12 == 0]
        return Chord(0, named[0].quality) if named else None


def read_chords(text: str) -> tuple[Bar, ...]:
    """The bars of "C G,Am | F:maj7 N". Raises InputError for a chord that is not known, or none at all."""
    bars = tuple(tuple(_chord(symbol) for symbol in bar.split(",") if symbol) for bar in text.replace("|", " ").split())
    if not bars or not all(bars):
        raise InputError('no chords are named; write one for each bar, such as "C G A:min F"')
    return bars


def read_key(text: str) -> tuple[int, str]:
    """Tonic (0-11) and mode of "D minor", "F#", "Bbm". Raises InputError."""
    match = _KEY.fullmatch(text.strip())
    if match is None:
        raise InputError(f'{text!r} is no key; write a note with major or minor, such as "D minor"')
    minor = match[2] == "m" or match[2].lower().startswith("min")
    return pitch_class(match[1]), "minor" if minor else "major"


def _chord(symbol: str) -> NamedChord | None:
    if symbol in NO_CHORD:
        return None
    match = _CHORD.fullmatch(symbol)
    quality = None if match is None else SHORTHAND.get(match[2], match[2])
    if match is None or quality not in CHORD_QUALITIES:
        raise InputError(
            f"the chord {symbol!r} is not known; write a root with one of {', '.join(CHORD_QUALITIES)}, such as A:min7"
        )
    return NamedChord(pitch_class(match[1]), quality)


def _key_of(bars: Sequence[Bar]) -> tuple[int, str]:
    """The key that chords are in; the first one counts twice."""
    chords = [chord for bar in bars for chord in bar if chord is not None]
    weights = np.zeros(12)
    for chord in [*chords[:1], *chords]:
        for interval in CHORD_QUALITIES[chord.quality]:
            weights[(chord.root + interval) % 12] += 1.0 if interval else 1.5
    return key_of_weights(weights) if chords else (0, "major")


def _shortened(plan: Plan, bars: int) -> Plan:
    """The plan without ``bars`` bars before its last one."""
    slots, sections = CHORDS_PER_BAR[plan.metre], list(plan.sections)
    closing = sections[-1].chords[-slots:]
    while bars > 0:
        last = sections.pop()
        if last.bars > bars:
            sections.append(last.first(last.bars - bars))
        bars -= last.bars
    return replace(plan, sections=tuple(sections)).closed_on(*closing)
