"""The plan as a sequence of tokens, and the grammar that says which token may follow.

``tempo metre mode tonic genre energy ending``, one token per role of ROLES (its instrument or "none"), ``bars`` (of
the whole piece); then for each section ``letter bars energy``, for a letter that was heard before ``same`` or ``new``
(chords), and where chords are new one token per chord slot (HOLD repeats the chord before it). The piece ends when
its bars are full, so no end token is needed.

Tokens of one kind are a contiguous range of one vocabulary. ``Grammar`` walks through a plan token by token and
serves encoding, decoding and sampling alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from m2ugen.errors import InputError
from m2ugen.score.attributes import (
    ENERGIES,
    GENRES,
    INSTRUMENT_INDEX,
    INSTRUMENT_NAMES,
    METRES,
    MODES,
    NUM_TEMPO_BINS,
    TEMPOS,
    TONICS,
    tempo_bin,
)
from m2ugen.score.plan import CHORDS_PER_BAR, QUALITY_NAMES, ROLES, Chord, Part, Plan, Section

MAX_PLAN_BARS = 64
MAX_SECTION_BARS = 8
MAX_LETTERS = 16
NUM_CHORDS = 12 * len(QUALITY_NAMES)
NO_CHORD, HOLD = NUM_CHORDS, NUM_CHORDS + 1
NO_PART = len(INSTRUMENT_NAMES)
SAME, NEW = 0, 1

KINDS: dict[str, int] = {  # kind → number of values
    "begin": 1,
    "tempo": NUM_TEMPO_BINS,
    "metre": len(METRES),
    "mode": len(MODES),
    "tonic": len(TONICS),
    "genre": len(GENRES),
    "energy": len(ENERGIES),
    "ending": 2,
    **{role: len(INSTRUMENT_NAMES) + 1 for role in ROLES},
    "bars": MAX_PLAN_BARS + 1,
    "letter": MAX_LETTERS,
    "section_bars": MAX_SECTION_BARS + 1,
    "section_energy": len(ENERGIES),
    "material": 2,
    "chord": NUM_CHORDS + 2,
}
KIND_NAMES = tuple(KINDS)
HEADER = ("tempo", "metre", "mode", "tonic", "genre", "energy", "ending", *ROLES, "bars")
KIND_OFFSET = {kind: sum(tuple(KINDS.values())[:i]) for i, kind in enumerate(KIND_NAMES)}
NUM_TOKENS = sum(KINDS.values())
BEGIN = KIND_OFFSET["begin"]
MAX_SLOTS = MAX_SECTION_BARS * max(CHORDS_PER_BAR.values())
STATE_FIELDS = ("kind", "left", "slot")  # what Grammar tells about the coming token
STATE_SIZES = (len(KIND_NAMES), MAX_PLAN_BARS + 1, MAX_SLOTS + 1)


@dataclass
class _Open:
    """A section that is being written."""

    letter: int
    bars: int = 0
    energy: int = 0
    fresh: bool = True


class Grammar:
    """Walks through a plan: ``kind`` names the coming token's kind (None at the end), ``take`` accepts its value."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.sections: list[tuple[int, int, int, tuple[int, ...]]] = []  # letter, bars, energy, chords
        self.kind: str | None = HEADER[0]
        self._open: _Open | None = None
        self._chords: list[int] = []
        self._known: dict[int, tuple[int, tuple[int, ...]]] = {}  # letter → bars, chords of its newest section

    @property
    def left(self) -> int:
        """Bars that are not yet given to a section."""
        return self.values.get("bars", 0) - sum(bars for _, bars, _, _ in self.sections)

    @property
    def open_chords(self) -> tuple[int, ...]:
        """Chord values of the section that is being written, held ones spelt out."""
        return tuple(self._chords)

    def state(self) -> tuple[int, int, int]:
        """STATE_FIELDS of the coming token: kind, bars left before the open section, chord slot in it."""
        return KIND_NAMES.index(self.kind or "begin"), self.left, min(len(self._chords), MAX_SLOTS)

    def allowed(self) -> range:
        """The values that the coming token may have (a range without holes)."""
        assert self.kind is not None
        if self.kind == "bars":
            return range(1, MAX_PLAN_BARS + 1)
        if self.kind == "letter":  # an old letter or the next new one
            return range(min(len(self._known) + 1, MAX_LETTERS))
        if self.kind == "section_bars":
            return range(1, min(MAX_SECTION_BARS, self.left) + 1)
        if self.kind == "material" and self._open is not None and self._known[self._open.letter][0] != self._open.bars:
            return range(NEW, NEW + 1)
        if self.kind == "chord" and not self._chords:
            return range(HOLD)
        return range(KINDS[self.kind])

    def take(self, value: int) -> None:
        """Accept the coming token's value. Raises InputError if the grammar does not allow it."""
        kind = self.kind
        if kind is None or value not in self.allowed():
            raise InputError(f"value {value} is not possible for {kind} in this plan")
        if kind in HEADER:
            self.values[kind] = value
            index = HEADER.index(kind)
            self.kind = HEADER[index + 1] if index + 1 < len(HEADER) else "letter"
            return
        if kind == "letter":
            self._open, self._chords, self.kind = _Open(value, fresh=value not in self._known), [], "section_bars"
            return
        section = self._open
        assert section is not None
        if kind == "section_bars":
            section.bars, self.kind = value, "section_energy"
        elif kind == "section_energy":
            section.energy, self.kind = value, "chord" if section.fresh else "material"
        elif kind == "material":
            self.kind = "chord"
            if value == SAME:
                self._chords = list(self._known[section.letter][1])
        else:
            self._chords.append(self._chords[-1] if value == HOLD else value)
        if self.kind == "chord" and len(self._chords) == section.bars * self._chords_per_bar:
            chords = tuple(self._chords)
            self.sections.append((section.letter, section.bars, section.energy, chords))
            self._known[section.letter] = (section.bars, chords)
            self._open, self._chords = None, []
            self.kind = "letter" if self.left > 0 else None

    @property
    def _chords_per_bar(self) -> int:
        return CHORDS_PER_BAR[METRES[self.values["metre"]]]

    def plan(self) -> Plan:
        """The finished plan. Raises InputError if tokens are missing or there are no parts."""
        if self.kind is not None:
            raise InputError(f"the plan is not finished: its {self.kind} is missing")
        values = self.values
        parts = tuple(
            Part(role, INSTRUMENT_NAMES[values[role]]) for role in ROLES if values[role] != NO_PART
        )  # fmt: skip
        sections = tuple(
            Section(chr(ord("A") + letter), bars, energy, tuple(_chord(token) for token in chords))
            for letter, bars, energy, chords in self.sections
        )
        return Plan(
            tempo=float(TEMPOS[values["tempo"]]),
            metre=METRES[values["metre"]],
            tonic=values["tonic"],
            mode=MODES[values["mode"]],
            genre=GENRES[values["genre"]],
            energy=values["energy"],
            parts=parts,
            sections=sections,
            ending=bool(values["ending"]),
        ).validated()


def _chord(token: int) -> Chord | None:
    return None if token == NO_CHORD else Chord(token // len(QUALITY_NAMES), QUALITY_NAMES[token % len(QUALITY_NAMES)])


def _chord_token(chord: Chord | None) -> int:
    return NO_CHORD if chord is None else chord.root * len(QUALITY_NAMES) + QUALITY_NAMES.index(chord.quality)


def canonical(plan: Plan) -> Plan:
    """The plan as its tokens can say it: tempo at its bin's centre, parts in the order of ROLES, letters renamed in
    order of appearance, sections of at most MAX_SECTION_BARS bars.

    Raises InputError for more than MAX_PLAN_BARS bars or MAX_LETTERS letters.
    """
    if plan.bars > MAX_PLAN_BARS:
        raise InputError(f"a plan of {plan.bars} bars is too long to be written at once; the limit is {MAX_PLAN_BARS}")
    slots = CHORDS_PER_BAR[plan.metre]
    letters: dict[str, str] = {}
    sections: list[Section] = []
    for section in plan.sections:
        for start in range(0, section.bars, MAX_SECTION_BARS):
            bars = min(MAX_SECTION_BARS, section.bars - start)
            name = section.letter if start == 0 else f"{section.letter}+{start}"
            letter = letters.setdefault(name, chr(ord("A") + len(letters)))
            chords = section.chords[start * slots : (start + bars) * slots]
            sections.append(Section(letter, bars, section.energy, chords))
    if len(letters) > MAX_LETTERS:
        raise InputError(f"a plan of {len(letters)} different sections cannot be written; the limit is {MAX_LETTERS}")
    return plan.replace(
        tempo=float(TEMPOS[tempo_bin(plan.tempo)]),
        parts=tuple(sorted(plan.parts, key=lambda part: ROLES.index(part.role))),
        sections=tuple(sections),
    )


def encode_plan(plan: Plan) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Tokens of a plan without BEGIN, and for each the grammar's state before it (STATE_FIELDS).

    The plan is made canonical first; raises InputError where that is impossible.
    """
    plan = canonical(plan)
    instruments = {part.role: INSTRUMENT_INDEX[part.instrument] for part in plan.parts}
    header = {
        "tempo": tempo_bin(plan.tempo),
        "metre": METRES.index(plan.metre),
        "mode": MODES.index(plan.mode),
        "tonic": plan.tonic,
        "genre": GENRES.index(plan.genre),
        "energy": plan.energy,
        "ending": int(plan.ending),
        **{role: instruments.get(role, NO_PART) for role in ROLES},
        "bars": plan.bars,
    }
    grammar = Grammar()
    tokens: list[int] = []
    states: list[tuple[int, int, int]] = []

    def put(value: int) -> None:
        assert grammar.kind is not None
        tokens.append(KIND_OFFSET[grammar.kind] + value)
        states.append(grammar.state())
        grammar.take(value)

    for kind in HEADER:
        put(header[kind])
    known: dict[str, tuple[Chord | None, ...]] = {}
    for section in plan.sections:
        put(ord(section.letter) - ord("A"))
        put(section.bars)
        put(section.energy)
        same = known.get(section.letter) == section.chords
        if section.letter in known:
            put(SAME if same else NEW)
        known[section.letter] = section.chords
        before: int | None = None
        for chord in () if same else section.chords:
            token = _chord_token(chord)
            put(HOLD if token == before else token)
            before = token
    return tokens, states


def decode_plan(tokens: list[int]) -> Plan:
    """The plan of its tokens (without BEGIN). Raises InputError if they break the grammar or stop too early."""
    grammar = Grammar()
    for token in tokens:
        if grammar.kind is None:
            raise InputError("tokens follow after the plan's end")
        grammar.take(token - KIND_OFFSET[grammar.kind])
    return grammar.plan()
