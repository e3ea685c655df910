"""How notes become positions of the NotePlayer, for training and for playing alike.

A *window* is one section of the plan (at most MAX_BARS bars). Its sequence goes role after role; each role begins
with a START position and, where the piece has begun before, the role's own notes of the bars just before the window
as context. Then follows one position per note; a silence longer than MAX_DELTA ticks is bridged by REST positions
that jump to the next bar line. All pitches are moved so that the tonic is C.

Every position is a row of indices into one embedding table (POSITION_FIELDS), and all positions of a window share
another row (WINDOW_FIELDS). Row 0 of the table is padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2ugen.score.attributes import (
    ENERGIES,
    GENRES,
    INSTRUMENT_INDEX,
    INSTRUMENTS,
    METRES,
    MODES,
    NUM_TEMPO_BINS,
    tempo_bin,
)
from m2ugen.score.notes import DURATION, ONSET, PITCH, VELOCITY
from m2ugen.score.plan import CHORDS_PER_BAR, QUALITY_NAMES, ROLES, TICKS_PER_BEAT, Plan

MAX_BARS = 8
MAX_DELTA = 48
REST, END = MAX_DELTA + 1, MAX_DELTA + 2  # values of the field "delta" that are not distances
NUM_DELTAS = MAX_DELTA + 3
CONTEXT_BARS = {"melody": 2, "bass": 1, "chords": 1, "arpeggio": 1, "pad": 1, "drums": 1}
MAX_CONTEXT_BARS = max(CONTEXT_BARS.values())
MAX_CONTEXT_NOTES = 24
# Durations in ticks: exact up to two beats as far as music uses them, then coarser.
DURATIONS = np.array(
    [*range(1, 13), 14, 15, 16, 18, 20, 21, 22, 24, 27, 30, 33, 36, 40, 42, 44, 45, 46, 48, 54, 60, 66, 72, 84, 96]
)
_DURATION_INDEX = np.abs(np.arange(DURATIONS[-1] + 1)[:, None] - DURATIONS).argmin(axis=1)
DRUM_DURATION = int(_DURATION_INDEX[TICKS_PER_BEAT // 4])  # a drum's length is not heard
NUM_VELOCITIES = 16
NO_PITCH = 256  # pitched notes 0-127, drum keys 128-255
MELODIC_PITCHES = 128
NO_CLASS = 12
NO_QUALITY = len(QUALITY_NAMES)
START_KIND, NOTE_KIND, REST_KIND = range(3)

POSITION_FIELDS: dict[str, int] = {
    "kind": 3,
    "context": 2,
    "role": len(ROLES),
    "instrument": len(INSTRUMENTS),
    "delta": NUM_DELTAS,
    "pitch": NO_PITCH + 1,
    "degree": NO_CLASS + 1,  # pitch class above the tonic
    "relative": NO_CLASS + 1,  # pitch class above the chord's root
    "duration": len(DURATIONS) + 1,
    "velocity": NUM_VELOCITIES + 1,
    "place": 48,  # in the bar
    "bar": MAX_BARS + MAX_CONTEXT_BARS,  # in the window; the last ones are the bars before it
    "left": MAX_BARS + 1,  # bars to the window's end
    "root": NO_CLASS + 1,
    "quality": NO_QUALITY + 1,
    "next_root": NO_CLASS + 1,
}
WINDOW_FIELDS: dict[str, int] = {
    "energy": len(ENERGIES),
    "returning": 2,
    "first": 2,
    "closing": 2,
    "bars": MAX_BARS + 1,
    "tempo": NUM_TEMPO_BINS,
    "metre": len(METRES),
    "mode": len(MODES),
    "genre": len(GENRES),
    "piece_energy": len(ENERGIES),
    "part": len(ROLES) * len(INSTRUMENTS),  # one for each part
}
TICK_FIELDS = ("place", "bar", "left", "root", "quality", "next_root")
_NAMES = (*POSITION_FIELDS, *WINDOW_FIELDS)
_SIZES = (*POSITION_FIELDS.values(), *WINDOW_FIELDS.values())
OFFSET = {name: 1 + sum(_SIZES[:i]) for i, name in enumerate(_NAMES)}
NUM_ROWS = 1 + sum(_SIZES)
NUM_POSITION_FIELDS = len(POSITION_FIELDS)
NUM_WINDOW_FIELDS = len(WINDOW_FIELDS) - 1 + len(ROLES)
_COLUMN = {name: index for index, name in enumerate(POSITION_FIELDS)}
FIRST_TICK_COLUMN = _COLUMN["place"]

TARGET_FIELDS = ("delta", "pitch", "duration", "velocity", "previous", "drum", "scored", "role", *TICK_FIELDS)
TARGET = {name: index for index, name in enumerate(TARGET_FIELDS)}
IGNORE = -1


@dataclass(frozen=True)
class Window:
    """A stretch of at most MAX_BARS bars of one section, ``start`` bars after the beginning of the piece.

    ``offset`` counts the bars of the section before it; ``returning`` says that the letter was heard before, and
    ``closing`` that the piece ends with this window. The roles in ``resting`` are silent.
    """

    start: int
    bars: int
    letter: str
    offset: int
    energy: int
    returning: bool
    closing: bool
    resting: tuple[str, ...] = ()


def windows(plan: Plan) -> tuple[Window, ...]:
    """The windows of a plan in playing order."""
    found: list[Window] = []
    start = 0
    letters: set[str] = set()
    for index, section in enumerate(plan.sections):
        for offset in range(0, section.bars, MAX_BARS):
            bars = min(MAX_BARS, section.bars - offset)
            last = index == len(plan.sections) - 1 and offset + bars == section.bars
            found.append(
                Window(
                    start + offset, bars, section.letter, offset, section.energy, section.letter in letters,
                    last and plan.ending, section.resting,
                )
            )  # fmt: skip
        start += section.bars
        if not section.resting:  # an introduction does not make its section a return
            letters.add(section.letter)
    return tuple(found)


def transposition(plan: Plan) -> int:
    """Semitones (-6 to 5) to add to sounding pitches so that the tonic becomes C."""
    return -plan.tonic if plan.tonic <= 6 else 12 - plan.tonic


class Frame:
    """What is known of a window before its notes: rows for every tick, for the window and for its parts.

    Ticks are counted from the window's start and may reach MAX_CONTEXT_BARS bars back.
    """

    def __init__(self, plan: Plan, window: Window) -> None:
        self.plan, self.window = plan, window
        self.bar_ticks = plan.bar_ticks
        self.ticks = window.bars * self.bar_ticks
        self.before = MAX_CONTEXT_BARS * self.bar_ticks
        self.shift = transposition(plan)
        ticks = np.arange(-self.before, self.ticks)
        bars = ticks // self.bar_ticks
        chords = [chord for section in plan.sections for chord in section.chords]
        roots = np.array([NO_CLASS if c is None else c.root for c in chords] + [NO_CLASS] * 2)
        qualities = np.array([NO_QUALITY if c is None else QUALITY_NAMES.index(c.quality) for c in chords])
        slot_ticks = self.bar_ticks // CHORDS_PER_BAR[plan.metre]
        slots = (ticks + window.start * self.bar_ticks) // slot_ticks
        known = np.clip(slots, 0, len(chords) - 1)
        table = {
            "place": ticks % self.bar_ticks,
            "bar": np.where(bars >= 0, bars, MAX_BARS - 1 - bars),
            "left": np.where(bars >= 0, window.bars - bars, 0),
            "root": np.where(slots >= 0, roots[known], NO_CLASS),
            "quality": np.where(slots >= 0, qualities[known], NO_QUALITY),
            "next_root": roots[np.clip(slots + 1, 0, len(chords))],
        }
        self.roots: np.ndarray = table["root"]
        self.qualities: np.ndarray = table["quality"]
        self.tick_rows = np.stack([table[name] + OFFSET[name] for name in TICK_FIELDS], axis=1)  # [ticks, 6]

    def window_row(self) -> np.ndarray:
        """Indices int64 [NUM_WINDOW_FIELDS] of what all positions share."""
        plan, window = self.plan, self.window
        values = {
            "energy": window.energy,
            "returning": int(window.returning),
            "first": int(window.start == 0),
            "closing": int(window.closing),
            "bars": window.bars,
            "tempo": tempo_bin(plan.tempo),
            "metre": METRES.index(plan.metre),
            "mode": MODES.index(plan.mode),
            "genre": GENRES.index(plan.genre),
            "piece_energy": plan.energy,
        }
        row = np.zeros(NUM_WINDOW_FIELDS, dtype=np.int64)
        row[: len(values)] = [OFFSET[name] + value for name, value in values.items()]
        for column, part in enumerate(plan.parts, start=len(values)):
            row[column] = OFFSET["part"] + ROLES.index(part.role) * len(INSTRUMENTS) + INSTRUMENT_INDEX[part.instrument]
        return row

    def rows(
        self,
        role: str,
        kind: np.ndarray,
        context: np.ndarray,
        delta: np.ndarray,
        onset: np.ndarray,
        pitch: np.ndarray,  # NO_PITCH where there is none; drum keys from 128
        duration: np.ndarray,  # index into DURATIONS, len(DURATIONS) where there is none
        velocity: np.ndarray,  # bin, NUM_VELOCITIES where there is none
    ) -> np.ndarray:
        """Position rows int64 [n, NUM_POSITION_FIELDS]; all arguments are int arrays [n]."""
        part = self.plan.part(role)
        assert part is not None
        tick = onset + self.before
        melodic = pitch < MELODIC_PITCHES
        root = self.roots[tick]
        rows = np.empty((len(tick), NUM_POSITION_FIELDS), dtype=np.int64)
        values: dict[str, np.ndarray | int] = {
            "kind": kind,
            "context": context,
            "role": ROLES.index(role),
            "instrument": INSTRUMENT_INDEX[part.instrument],
            "delta": delta,
            "pitch": pitch,
            "degree": np.where(melodic, pitch % 12, NO_CLASS),
            "relative": np.where(melodic & (root != NO_CLASS), (pitch - root) % 12, NO_CLASS),
            "duration": duration,
            "velocity": velocity,
        }
        for column, (name, value) in enumerate(values.items()):
            rows[:, column] = OFFSET[name] + value
        rows[:, FIRST_TICK_COLUMN:] = self.tick_rows[tick]
        return rows


def duration_index(ticks: np.ndarray) -> np.ndarray:
    """Index of the nearest duration of the vocabulary; [n] → [n]."""
    return _DURATION_INDEX[np.clip(ticks, 1, DURATIONS[-1])]


def velocity_bin(velocity: np.ndarray) -> np.ndarray:
    return np.clip(velocity, 0, 127) * NUM_VELOCITIES // 128


@dataclass(frozen=True)
class RoleSequence:
    """One role of a window: position ``rows`` [n, NUM_POSITION_FIELDS], their ``onsets`` [n] in ticks from the
    window's start, and for each position the ``targets`` [n, TARGET_FIELDS] that come next."""

    rows: np.ndarray
    onsets: np.ndarray
    targets: np.ndarray


def _timeline(onsets: list[int], origin: int, bar_ticks: int) -> list[tuple[int, int, int]]:
    """(onset, delta, index of the note or -1 for a rest) for every position after START."""
    steps: list[tuple[int, int, int]] = []
    now = origin
    for index, onset in enumerate(onsets):
        while onset - now > MAX_DELTA:
            now = (now // bar_ticks + 1) * bar_ticks
            steps.append((now, REST, -1))
        steps.append((onset, onset - now, index))
        now = onset
    return steps


def context_notes(notes: np.ndarray, role: str, bar_ticks: int) -> np.ndarray:
    """The notes [n, 5] of a role that precede a window: ``notes`` with onsets from the window's start."""
    reach = -CONTEXT_BARS[role] * bar_ticks
    return notes[(notes[:, ONSET] >= reach) & (notes[:, ONSET] < 0)][-MAX_CONTEXT_NOTES:]


def encode_role(frame: Frame, role: str, notes: np.ndarray, context: np.ndarray) -> RoleSequence:
    """The sequence of one role: START, ``context``, ``notes`` (both [n, 5], sorted, onsets from the window's start).

    The last target is END. Targets before the last context note are not scored.
    """
    events = np.concatenate((context, notes)).astype(np.int64)
    origin = int(context[0, ONSET]) // frame.bar_ticks * frame.bar_ticks if len(context) else 0
    steps = np.array(_timeline(events[:, ONSET].tolist(), origin, frame.bar_ticks), dtype=np.int64).reshape(-1, 3)
    count = 1 + len(steps)
    onset = np.concatenate(([origin], steps[:, 0]))
    delta = np.concatenate(([END], steps[:, 1]))  # START carries END's row: nothing came before
    source = np.concatenate(([-1], steps[:, 2]))
    sounding = source >= 0
    drum = role == "drums"
    kind = np.where(sounding, NOTE_KIND, REST_KIND)
    kind[0] = START_KIND
    pitch, duration, velocity = (np.full(count, none) for none in (NO_PITCH, len(DURATIONS), NUM_VELOCITIES))
    chosen = events[source[sounding]]
    pitch[sounding] = (
        chosen[:, PITCH] + MELODIC_PITCHES if drum else np.clip(chosen[:, PITCH] + frame.shift, 0, MELODIC_PITCHES - 1)
    )
    duration[sounding] = DRUM_DURATION if drum else duration_index(chosen[:, DURATION])
    velocity[sounding] = velocity_bin(chosen[:, VELOCITY])
    in_context = sounding & (source < len(context))
    rows = frame.rows(role, kind, in_context.astype(np.int64), delta, onset, pitch, duration, velocity)

    targets = np.full((count, len(TARGET_FIELDS)), IGNORE, dtype=np.int64)
    targets[:, TARGET["delta"]] = np.append(delta[1:], END)
    for name, values in (("pitch", pitch), ("duration", duration), ("velocity", velocity)):
        targets[:-1, TARGET[name]] = np.where(sounding[1:], values[1:], IGNORE)
    last = np.maximum.accumulate(np.where(sounding, np.arange(count), -1))  # index of the newest note so far
    targets[:, TARGET["previous"]] = np.where(last >= 0, pitch[last], IGNORE)
    targets[:, TARGET["drum"]] = int(drum)
    targets[:, TARGET["role"]] = ROLES.index(role)
    newest_context = int(np.flatnonzero(in_context)[-1]) if len(context) else 0
    targets[:, TARGET["scored"]] = np.arange(count) >= newest_context
    first_tick = TARGET[TICK_FIELDS[0]]
    targets[:-1, first_tick:] = frame.tick_rows[onset[1:] + frame.before]
    targets[-1, first_tick:] = 0
    return RoleSequence(rows, onset, targets)


def encode_window(
    plan: Plan, window: Window, notes: np.ndarray, context: bool = True
) -> tuple[np.ndarray, RoleSequence]:
    """The whole window for training: its window row, and all roles of the plan in the order of ROLES.

    ``notes`` are those of the piece, int [n, 5], onsets from its beginning.
    """
    frame = Frame(plan, window)
    begin = window.start * frame.bar_ticks
    near = notes[(notes[:, ONSET] >= begin - frame.before) & (notes[:, ONSET] < begin + frame.ticks)].astype(np.int64)
    near[:, ONSET] -= begin
    near = near[np.lexsort((near[:, PITCH], near[:, ONSET]))]
    sequences = []
    for role in ROLES:
        index = next((i for i, part in enumerate(plan.parts) if part.role == role), None)
        if index is None:
            continue
        own = near[near[:, 1] == index]
        before = context_notes(own, role, frame.bar_ticks) if context else own[:0]
        sequences.append(encode_role(frame, role, own[own[:, ONSET] >= 0], before))
    rows, onsets, targets = (
        np.concatenate([getattr(s, name) for s in sequences]) for name in ("rows", "onsets", "targets")
    )
    return frame.window_row(), RoleSequence(rows, onsets, targets)
