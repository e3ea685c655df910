"""The plan of a piece: everything that is decided before the first note.

A plan can be read, edited and handed back by a caller (``reply.plan``, ``generate(plan=...)``); an edit of a
piece is a changed plan with the kept notes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from m2ugen.errors import InputError
from m2ugen.score.attributes import ENERGIES, GENRES, INSTRUMENT_INDEX, METRES, MODES, TONICS, Attributes

PLAN_VERSION = 1
TICKS_PER_BEAT = 12  # ticks per quarter note: sixteenths and triplets are exact
ROLES = ("melody", "bass", "chords", "arpeggio", "pad", "drums")  # the order in which parts are written
BAR_TICKS = {"4/4": 48, "3/4": 36, "6/8": 36}
BEAT_TICKS = {"4/4": 12, "3/4": 12, "6/8": 18}  # the beat that the tempo counts
CHORDS_PER_BAR = {"4/4": 2, "3/4": 1, "6/8": 2}
CHORD_QUALITIES: dict[str, tuple[int, ...]] = {  # intervals above the root, in semitones
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "dim": (0, 3, 6),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
    "aug": (0, 4, 8),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "9": (0, 4, 7, 10, 14),
}
QUALITY_NAMES = tuple(CHORD_QUALITIES)


@dataclass(frozen=True)
class Chord:
    """A chord relative to the tonic: ``root`` in semitones above it (0-11), ``quality`` from CHORD_QUALITIES."""

    root: int
    quality: str

    def pitch_classes(self, tonic: int = 0) -> frozenset[int]:
        """Sounding pitch classes (0-11) in the key of ``tonic``."""
        return frozenset((tonic + self.root + i) % 12 for i in CHORD_QUALITIES[self.quality])

    def name(self, tonic: int = 0) -> str:
        """Absolute chord symbol, for example ``F#:min7``."""
        return f"{TONICS[(tonic + self.root) % 12]}:{self.quality}"


@dataclass(frozen=True)
class Part:
    """One player: its role in the band and its instrument (a name from INSTRUMENTS)."""

    role: str
    instrument: str


@dataclass(frozen=True)
class Section:
    """A stretch of the form. Sections with the same letter are meant to be heard as the same material.

    ``energy`` indexes ENERGIES; ``chords`` holds CHORDS_PER_BAR[metre] entries for each bar, None = no chord. The roles
    in ``resting`` are silent in it.
    """

    letter: str
    bars: int
    energy: int
    chords: tuple[Chord | None, ...]
    resting: tuple[str, ...] = ()

    @property
    def without(self) -> str:
        """``without melody and drums``, or nothing where nobody rests."""
        return f"without {' and '.join(self.resting)}" if self.resting else ""

    def first(self, bars: int) -> Section:
        """Its first ``bars`` bars, with their chords."""
        return replace(self, bars=bars, chords=self.chords[: bars * len(self.chords) // self.bars])


@dataclass(frozen=True)
class Plan:
    """Tempo (beats per minute), metre, key, genre, overall energy, players, form with harmony, and ending.

    At most one part per role. ``ending`` says that the last section closes the piece (it is not cut off).
    """

    tempo: float
    metre: str
    tonic: int
    mode: str
    genre: str
    energy: int
    parts: tuple[Part, ...]
    sections: tuple[Section, ...]
    ending: bool = True

    @property
    def bars(self) -> int:
        return sum(section.bars for section in self.sections)

    @property
    def bar_ticks(self) -> int:
        return BAR_TICKS[self.metre]

    @property
    def ticks(self) -> int:
        return self.bars * self.bar_ticks

    @property
    def seconds_per_tick(self) -> float:
        return 60.0 / self.tempo / BEAT_TICKS[self.metre]

    @property
    def duration(self) -> float:
        """Length of all bars in seconds, without the ring of the last notes."""
        return self.ticks * self.seconds_per_tick

    def part(self, role: str) -> Part | None:
        return next((p for p in self.parts if p.role == role), None)

    def chord_at(self, tick: int) -> Chord | None:
        """The chord that sounds at ``tick`` (counted from the start of the piece)."""
        slot = tick * CHORDS_PER_BAR[self.metre] // self.bar_ticks
        for section in self.sections:
            if slot < len(section.chords):
                return section.chords[slot] if slot >= 0 else None
            slot -= len(section.chords)
        return None

    def attributes(self) -> Attributes:
        """The plan's attributes as the rest of the system names them."""
        names = tuple(dict.fromkeys(p.instrument for p in self.parts))
        lead = self.part("melody")
        return Attributes(
            tempo=self.tempo,
            metre=self.metre,
            mode=self.mode,
            tonic=self.tonic,
            genre=self.genre,
            energy=self.energy,
            drums="drums" in names,
            lead=lead.instrument if lead else None,
            instruments=names,
        )

    def summary(self) -> str:
        """One line that tells what is composed."""
        players = ", ".join(f"{part.instrument} ({part.role})" for part in self.parts)
        form = " ".join(
            f"{section.letter}{section.bars}{section.without and f' ({section.without})'}" for section in self.sections
        )
        return (
            f"{self.genre}, {self.tempo:.0f} bpm, {self.metre}, {TONICS[self.tonic]} {self.mode}, "
            f"{ENERGIES[self.energy]} energy; {players}; form {form}"
        )

    def closed_on(self, *chords: Chord | None) -> Plan:
        """This plan with ``chords``, one or as many as a bar takes, through its last bar."""
        slots, last = CHORDS_PER_BAR[self.metre], self.sections[-1]
        bar = chords if len(chords) == slots else chords * slots
        closing = replace(last, chords=last.chords[:-slots] + bar)
        return replace(self, sections=(*self.sections[:-1], closing))

    def replace(self, **changes: Any) -> Plan:
        """A changed copy; raises InputError where the change makes the plan invalid."""
        return replace(self, **changes).validated()

    def validated(self) -> Plan:
        """This plan, or InputError with the first thing that is wrong with it."""
        slots = CHORDS_PER_BAR.get(self.metre, 0)
        checks = (
            (self.metre in METRES, f"metre {self.metre!r} is not one of {', '.join(METRES)}"),
            (20.0 <= self.tempo <= 400.0, f"tempo {self.tempo} is not between 20 and 400 beats per minute"),
            (0 <= self.tonic < 12, f"tonic {self.tonic} is not a pitch class (0-11)"),
            (self.mode in MODES, f"mode {self.mode!r} is not major or minor"),
            (self.genre in GENRES, f"genre {self.genre!r} is not one of {', '.join(GENRES)}"),
            (0 <= self.energy < len(ENERGIES), f"energy {self.energy} is not between 0 and {len(ENERGIES) - 1}"),
            (bool(self.parts), "there are no parts"),
            (all(p.role in ROLES for p in self.parts), f"roles must be among {', '.join(ROLES)}"),
            (all(p.instrument in INSTRUMENT_INDEX for p in self.parts), "a part names an unknown instrument"),
            (all((p.role == "drums") == (p.instrument == "drums") for p in self.parts), "drums play the drum role"),
            (len({p.role for p in self.parts}) == len(self.parts), "a role has more than one part"),
            (bool(self.sections), "there are no sections"),
            (
                all(s.bars > 0 and len(s.chords) == s.bars * slots for s in self.sections),
                f"a section in {self.metre} needs {slots} chord(s) for each of its bars",
            ),
            (
                all(role in ROLES for s in self.sections for role in s.resting),
                f"resting roles must be among {', '.join(ROLES)}",
            ),
            (
                all(
                    c is None or (0 <= c.root < 12 and c.quality in CHORD_QUALITIES)
                    for s in self.sections
                    for c in s.chords
                ),
                "a chord has an unknown root or quality",
            ),
        )
        for holds, message in checks:
            if not holds:
                raise InputError(f"this plan cannot be played: {message}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; chords as ``[root, quality]`` pairs or None."""
        data = asdict(self)
        for section, plain in zip(self.sections, data["sections"], strict=True):
            plain["chords"] = [None if c is None else [c.root, c.quality] for c in section.chords]
        return {"version": PLAN_VERSION, **data}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """Inverse of to_dict. Raises InputError on a wrong version, missing fields or invalid values."""
        data = dict(data)
        if (version := data.pop("version", None)) != PLAN_VERSION:
            raise InputError(f"this plan has version {version}; this release reads version {PLAN_VERSION}")
        try:
            parts = tuple(Part(**part) for part in data.pop("parts"))
            sections = tuple(
                Section(
                    **{
                        **s,
                        "chords": tuple(None if c is None else Chord(int(c[0]), str(c[1])) for c in s["chords"]),
                        "resting": tuple(s.get("resting", ())),
                    }
                )
                for s in data.pop("sections")
            )
            return cls(parts=parts, sections=sections, **data).validated()
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"this plan cannot be read: {error}") from error
