"""The musical attributes that nano hears, talks about and controls, and their numeric form.

One vocabulary serves the whole system: the music encoder predicts these attributes, the language model names
them, and the score decoder is conditioned on them. The *conditioning* is a matrix [NUM_SLOTS, SLOT_DIM] of
probabilities: row ``s`` belongs to one attribute, column 0 means "unspecified" and column ``1 + v`` means value
``v``. Rows of single-valued attributes sum to one; the instrument rows hold independent probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

MIN_TEMPO, MAX_TEMPO = 40.0, 220.0  # beats per minute (quarter notes; dotted quarters in 6/8)
NUM_TEMPO_BINS = 36  # 5 % apart
TEMPO_TOLERANCE = 0.08  # relative difference up to which two tempi count as the same
TEMPOS: np.ndarray = np.geomspace(MIN_TEMPO, MAX_TEMPO, NUM_TEMPO_BINS)
METRES = ("4/4", "3/4", "6/8")
MODES = ("major", "minor")
TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
GENRES = ("rock", "pop", "ballad", "jazz", "latin", "blues", "country", "funk", "classical", "electronic")
ENERGIES = ("very low", "low", "medium", "high", "very high")

Mode = Literal["major", "minor"]


@dataclass(frozen=True)
class Instrument:
    """An instrument class: its name, family, representative General MIDI program and sounding range.

    ``programs`` lists every General MIDI program (0-127) that counts as this instrument; ``low`` and ``high`` are
    MIDI pitches. Drums have program -1 and no pitch range.
    """

    name: str
    family: str
    program: int
    programs: tuple[int, ...]
    low: int = 0
    high: int = 127


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument("piano", "piano", 0, (0, 1, 2, 3), 21, 108),
    Instrument("electric piano", "piano", 4, (4, 5), 28, 103),
    Instrument("harpsichord", "piano", 6, (6, 7), 29, 89),
    Instrument("vibraphone", "mallets", 11, _span(8, 15) + _span(112, 114), 53, 101),
    Instrument("organ", "organ", 17, _span(16, 20), 36, 96),
    Instrument("accordion", "organ", 21, (21, 23), 41, 93),
    Instrument("harmonica", "organ", 22, (22,), 48, 96),
    Instrument("acoustic guitar", "guitar", 25, (24, 25, 106, 107), 40, 84),
    Instrument("electric guitar", "guitar", 27, (26, 27, 28), 40, 86),
    Instrument("distorted guitar", "guitar", 29, (29, 30, 31), 40, 86),
    Instrument("banjo", "guitar", 105, (104, 105), 48, 86),
    Instrument("acoustic bass", "bass", 32, (32,), 28, 60),
    Instrument("electric bass", "bass", 33, _span(33, 37), 28, 60),
    Instrument("synth bass", "bass", 38, (38, 39), 24, 60),
    Instrument("violin", "strings", 40, (40, 41, 110), 48, 100),
    Instrument("cello", "strings", 42, (42, 43), 28, 76),
    Instrument("strings", "strings", 48, (44, 45, 48, 49, 50, 51), 28, 96),
    Instrument("harp", "strings", 46, (46,), 24, 103),
    Instrument("choir", "voice", 52, (52, 53, 54), 43, 84),
    Instrument("trumpet", "brass", 56, (56, 59), 52, 84),
    Instrument("trombone", "brass", 57, (57, 58), 34, 72),
    Instrument("horn", "brass", 60, (60,), 35, 77),
    Instrument("brass", "brass", 61, (61, 62, 63), 36, 84),
    Instrument("saxophone", "woodwind", 65, _span(64, 67), 44, 88),
    Instrument("oboe", "woodwind", 68, (68, 69, 70, 109, 111), 34, 91),
    Instrument("clarinet", "woodwind", 71, (71,), 50, 91),
    Instrument("flute", "woodwind", 73, _span(72, 79), 60, 98),
    Instrument("synth lead", "synth", 81, _span(80, 87), 36, 96),
    Instrument("synth pad", "synth", 89, (*_span(88, 103), 55), 36, 96),
    Instrument("drums", "drums", -1, ()),
)
INSTRUMENT_NAMES = tuple(i.name for i in INSTRUMENTS)
INSTRUMENT_INDEX = {name: index for index, name in enumerate(INSTRUMENT_NAMES)}
FAMILIES = tuple(dict.fromkeys(i.family for i in INSTRUMENTS))
DRUMS = INSTRUMENT_INDEX["drums"]
_BY_PROGRAM = {program: i for i, instrument in enumerate(INSTRUMENTS) for program in instrument.programs}


def family_of(instrument: str) -> str:
    """The family of an instrument name."""
    return INSTRUMENTS[INSTRUMENT_INDEX[instrument]].family


SLOTS: dict[str, int] = {  # attribute → number of values
    "tempo": NUM_TEMPO_BINS,
    "metre": len(METRES),
    "mode": len(MODES),
    "tonic": len(TONICS),
    "genre": len(GENRES),
    "energy": len(ENERGIES),
    "drums": 2,  # without, with
    "lead": len(INSTRUMENTS),  # who plays the tune
    "instruments": len(INSTRUMENTS),  # asked for (multi-hot)
    "excluded": len(INSTRUMENTS),  # must not sound (multi-hot)
}
SLOT_NAMES = tuple(SLOTS)
SLOT_INDEX = {name: index for index, name in enumerate(SLOT_NAMES)}
MULTI_SLOTS = ("instruments", "excluded")
NUM_SLOTS = len(SLOTS)
SLOT_DIM = 1 + max(SLOTS.values()) + 3  # a few spare columns keep the shape stable when a vocabulary grows


def tempo_bin(bpm: float) -> int:
    """Index of the tempo bin nearest to ``bpm`` on a logarithmic scale (values outside 40-220 are clamped)."""
    return int(np.abs(np.log(TEMPOS) - np.log(np.clip(bpm, MIN_TEMPO, MAX_TEMPO))).argmin())


def same_tempo(one: float, other: float) -> bool:
    """Whether ``one`` differs from ``other`` by at most TEMPO_TOLERANCE."""
    return abs(one / other - 1) <= TEMPO_TOLERANCE


def instrument_of_program(program: int) -> Instrument | None:
    """The instrument class of a General MIDI program, or None for sound effects and the like."""
    index = _BY_PROGRAM.get(program)
    return None if index is None else INSTRUMENTS[index]


@dataclass(frozen=True)
class Attributes:
    """What is known or asked about a piece; None (or an empty tuple) means unspecified.

    ``tempo`` is in beats per minute, ``tonic`` a pitch class (0 = C), ``energy`` an index into ENERGIES;
    ``lead``, ``instruments`` and ``excluded`` hold instrument names. ``drums`` says whether drums play.
    """

    tempo: float | None = None
    metre: str | None = None
    mode: str | None = None
    tonic: int | None = None
    genre: str | None = None
    energy: int | None = None
    drums: bool | None = None
    lead: str | None = None
    instruments: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def keep(self, names: Iterable[str]) -> Attributes:
        """A copy in which every attribute that is not in ``names`` is unspecified."""
        blank = Attributes()
        return replace(self, **{name: getattr(blank, name) for name in SLOT_NAMES if name not in set(names)})

    def to_conditioning(self) -> np.ndarray:
        """The conditioning matrix, float32 [NUM_SLOTS, SLOT_DIM], with probabilities 0 and 1."""
        matrix = np.zeros((NUM_SLOTS, SLOT_DIM), dtype=np.float32)
        for slot, name in enumerate(SLOT_NAMES):
            values = self._value_indices(name)
            if values:
                matrix[slot, [1 + v for v in values]] = 1.0
            else:
                matrix[slot, 0] = 1.0
        return matrix

    def _value_indices(self, name: str) -> list[int]:
        value = getattr(self, name)
        if value is None:
            return []
        match name:
            case "tempo":
                return [tempo_bin(value)]
            case "metre":
                return [METRES.index(value)]
            case "mode":
                return [MODES.index(value)]
            case "genre":
                return [GENRES.index(value)]
            case "lead":
                return [INSTRUMENT_INDEX[value]]
            case "instruments" | "excluded":
                return [INSTRUMENT_INDEX[v] for v in value]
            case _:
                return [int(value)]


def attributes_from_conditioning(conditioning: np.ndarray, threshold: float = 0.5) -> Attributes:
    """The most probable reading of a conditioning matrix [NUM_SLOTS, SLOT_DIM].

    A single-valued attribute is specified when "unspecified" has a probability below ``threshold``; its value is
    the most probable one (for tempo the mean over neighbouring bins on a logarithmic scale, so that soft
    predictions between two bins keep their precision). Instruments are read where their probability reaches
    ``threshold``.
    """
    values: dict[str, object] = {}
    for slot, name in enumerate(SLOT_NAMES):
        row = conditioning[slot, 1 : 1 + SLOTS[name]]
        if name in MULTI_SLOTS:
            values[name] = tuple(INSTRUMENT_NAMES[i] for i in np.flatnonzero(row >= threshold))
            continue
        if conditioning[slot, 0] >= threshold or row.max() <= 0:
            continue
        best = int(row.argmax())
        if name == "tempo":
            near = slice(max(best - 1, 0), best + 2)
            weights = np.clip(row[near], 0.0, None)
            values[name] = float(np.exp(np.average(np.log(TEMPOS[near]), weights=weights)))
        else:
            vocabulary = {"metre": METRES, "mode": MODES, "genre": GENRES, "lead": INSTRUMENT_NAMES}.get(name)
            values[name] = bool(best) if name == "drums" else vocabulary[best] if vocabulary else best
    return Attributes(**values)  # type: ignore[arg-type]
