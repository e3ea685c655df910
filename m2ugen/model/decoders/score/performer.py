"""From a plan to notes: every window is written role after role, and windows run side by side.

What a role may do is bound by its plan: only the parts of the plan play, within their instrument's range; melody and
bass have one voice, other roles a few; nothing sounds past the window by more than a beat.

A window whose letter was heard before repeats: as many bars as have the same chords are taken over from the earlier
window, all but the last one or two, which are written anew (the tune always, the other roles mostly, and only if the
energy is the same). A role may also be *given*: its notes are then read instead of written, and the others follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from m2ugen.errors import InputError
from m2ugen.model.decoders.score.config import SamplingConfig
from m2ugen.model.decoders.score.finish import finish
from m2ugen.model.decoders.score.note_engine import Feed, NoteEngine, Stream
from m2ugen.model.decoders.score.note_fields import (
    DRUM_DURATION,
    DURATIONS,
    END,
    MAX_DELTA,
    MELODIC_PITCHES,
    NO_CLASS,
    NO_PITCH,
    NO_QUALITY,
    NOTE_KIND,
    NUM_DELTAS,
    NUM_VELOCITIES,
    REST,
    REST_KIND,
    Frame,
    Window,
    context_notes,
    encode_role,
    windows,
)
from m2ugen.model.decoders.score.sampling import draw
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, empty_notes, sort_notes
from m2ugen.score.plan import CHORD_QUALITIES, CHORDS_PER_BAR, QUALITY_NAMES, ROLES, TICKS_PER_BEAT, Plan

VOICES = {"melody": 1, "bass": 1, "chords": 5, "arpeggio": 3, "pad": 4, "drums": 5}
DRUM_KEYS = range(35, 82)  # General MIDI percussion
MAX_NOTES_PER_BAR = 40  # of a role
# Where an instrument's tune lies on average (MIDI pitch). Interval by interval a tune would wander off; beyond the
# free distance it is drawn back, the more the farther it is.
TUNE_CENTRE = {
    "flute": 75,
    "violin": 74,
    "vibraphone": 74,
    "oboe": 73,
    "piano": 71,
    "saxophone": 67,
    "horn": 61,
    "trombone": 58,
    "cello": 56,
}
USUAL_CENTRE = 69
FREE_DISTANCE = 6  # semitones
PULL = 0.02  # nats by the square of the semitones beyond
RING = TICKS_PER_BEAT  # ticks that a note may sound past its window
_VELOCITY_STEP = 128 // NUM_VELOCITIES


@dataclass(frozen=True)
class _Wait:
    """A window's writer needs a role of an earlier window."""

    window: int
    role: str


_Request = _Wait | Feed
OnNotes = Callable[[np.ndarray, int], None]  # the next notes [n, 5], and the tick before which there will be no others


class _Piece:
    """What the writers of all windows share: the plan, the finished roles, the settings."""

    def __init__(
        self,
        engine: NoteEngine,
        plan: Plan,
        sampling: SamplingConfig,
        seed: int,
        given: Mapping[str, np.ndarray],
        given_bars: int,
    ) -> None:
        self.engine, self.plan, self.sampling, self.seed = engine, plan, sampling, seed
        self.given, self.given_bars = given, given_bars
        self.windows = windows(plan)
        self.done: dict[tuple[int, str], np.ndarray] = {}  # notes of a window's role, onsets from the piece's start

    def is_given(self, index: int, role: str) -> bool:
        """Whether a window's role is read instead of written."""
        window = self.windows[index]
        return role in self.given and window.start + window.bars <= self.given_bars

    def earlier(self, index: int, role: str) -> int | None:
        """The newest window before ``index`` that has its letter, stands at the same place in its section and has
        notes for ``role``.
        """
        window = self.windows[index]
        for other in range(index - 1, -1, -1):
            before = self.windows[other]
            if (before.letter, before.offset) == (window.letter, window.offset) and role not in before.resting:
                return other
        return None

    def notes(self, wanted: Sequence[str], last: int) -> np.ndarray:
        """What is given and what was written of the ``wanted`` roles, up to the ``last`` window, int32 [n, 5]."""
        written = [
            notes
            for (index, role), notes in sorted(self.done.items())
            if index <= last and role in wanted and not self.is_given(index, role)
        ]
        end = self.given_bars * self.plan.bar_ticks
        kept = [notes[notes[:, ONSET] < end] for notes in self.given.values()]
        finished = finish(np.concatenate([empty_notes(), *written]), self.plan)
        return sort_notes(np.concatenate([finished, *kept]).astype(np.int32))

    def chords(self, window: Window) -> list[tuple[object, ...]]:
        """The chords of each bar of a window."""
        slots = CHORDS_PER_BAR[self.plan.metre]
        chords = [chord for section in self.plan.sections for chord in section.chords]
        bars = range(window.start, window.start + window.bars)
        return [tuple(chords[bar * slots : (bar + 1) * slots]) for bar in bars]


class _WindowWriter:
    """Writes one window; ``run`` is a coroutine that yields requests and receives hidden states."""

    def __init__(self, piece: _Piece, index: int, roles: Sequence[str]) -> None:
        self.piece, self.index, self.roles = piece, index, roles
        self.window = piece.windows[index]
        self.frame = Frame(piece.plan, self.window)
        self.begin = self.window.start * self.frame.bar_ticks
        self.stream: Stream = piece.engine.open(self.frame.window_row())

    def run(self) -> Generator[_Request, np.ndarray, None]:
        for role in ROLES:
            if self.piece.plan.part(role) is None:
                continue
            if self.piece.is_given(self.index, role):
                notes = self._relative(self.piece.given[role])
                own = notes[(notes[:, ONSET] >= 0) & (notes[:, ONSET] < self.frame.ticks)]
                sequence = encode_role(self.frame, role, own, context_notes(notes, role, self.frame.bar_ticks))
                yield Feed(self.stream, sequence.rows, sequence.onsets)
            elif role in self.roles and role not in self.window.resting:
                own = yield from self._write(role)
            else:
                own = empty_notes()
            self.piece.done[self.index, role] = self._absolute(own)

    def _relative(self, notes: np.ndarray) -> np.ndarray:
        moved = notes.astype(np.int64)
        moved[:, ONSET] -= self.begin
        return moved

    def _absolute(self, notes: np.ndarray) -> np.ndarray:
        moved = notes.astype(np.int32)
        moved[:, ONSET] += self.begin
        return moved

    def _write(self, role: str) -> Generator[_Request, np.ndarray, np.ndarray]:
        piece, frame = self.piece, self.frame
        rng = np.random.default_rng((piece.seed, self.index, ROLES.index(role)))
        before = empty_notes()
        if self.index > 0:
            yield _Wait(self.index - 1, role)  # which waited for those before it
            before = np.concatenate([piece.done[i, role] for i in range(self.index)])
        kept, copied = self._repeated(role, rng)
        context = context_notes(self._relative(before), role, frame.bar_ticks)
        sequence = encode_role(frame, role, copied, context)
        hidden = yield Feed(self.stream, sequence.rows, sequence.onsets)
        voice = _Voice(self, role, rng, must_sound=not len(copied) and self._must_sound(role, len(before)))
        voice.resume(sequence.onsets[-1], context, copied, floor=kept * frame.bar_ticks)
        while (step := voice.next(hidden)) is not None:
            hidden = yield Feed(self.stream, *step)
        return np.concatenate((copied.astype(np.int64), np.array(voice.notes, dtype=np.int64).reshape(-1, 5)))

    def _must_sound(self, role: str, heard: int) -> bool:
        """The tune plays in every window; every other part of the plan by the middle of the piece."""
        return role == "melody" or (heard == 0 and self.index >= (len(self.piece.windows) - 1) // 2)

    def _repeated(self, role: str, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """How many bars are taken over from the earlier window of this letter, and their notes."""
        nothing = (0, empty_notes().astype(np.int64))
        other = self.piece.earlier(self.index, role)
        if other is None:
            return nothing
        window, before = self.window, self.piece.windows[other]
        if role != "melody" and (
            window.energy != before.energy or rng.random() >= self.piece.sampling.repeat_probability
        ):
            return nothing
        alike = min(window.bars, before.bars)
        if role != "drums":  # drums know no chords
            pairs = zip(self.piece.chords(window), self.piece.chords(before))
            alike = next((bar for bar, (mine, theirs) in enumerate(pairs) if mine != theirs), alike)
        kept = min(alike, window.bars - (2 if window.bars > 4 and role == "melody" else 1))
        if kept <= 0:
            return nothing
        limit = kept * self.frame.bar_ticks
        notes = self.piece.done[other, role].astype(np.int64)
        notes[:, ONSET] -= before.start * self.frame.bar_ticks
        notes = notes[notes[:, ONSET] < limit]
        notes[:, DURATION] = np.minimum(notes[:, DURATION], limit + RING - notes[:, ONSET])
        return kept, notes


class _Voice:
    """Draws the notes of one role, field by field, and says what must be fed back."""

    def __init__(self, writer: _WindowWriter, role: str, rng: np.random.Generator, must_sound: bool) -> None:
        self.frame, self.engine, self.sampling = writer.frame, writer.piece.engine, writer.piece.sampling
        self.role, self.rng, self.must_sound = role, rng, must_sound
        plan = self.frame.plan
        self.part = next(i for i, part in enumerate(plan.parts) if part.role == role)
        self.drum = role == "drums"
        instrument = INSTRUMENTS[INSTRUMENT_INDEX[plan.parts[self.part].instrument]]
        shift = 0 if self.drum else self.frame.shift
        low, high = (DRUM_KEYS[0], DRUM_KEYS[-1]) if self.drum else (instrument.low + shift, instrument.high + shift)
        self.low, self.high = max(low, 0), min(high, MELODIC_PITCHES - 1)
        self.shift = shift
        away = np.abs(np.arange(MELODIC_PITCHES) - shift - TUNE_CENTRE.get(instrument.name, USUAL_CENTRE))
        self.pull = -PULL * np.maximum(away - FREE_DISTANCE, 0) ** 2 if role == "melody" else 0.0
        self.notes: list[tuple[int, int, int, int, int]] = []
        self.now = 0
        self.floor = 0  # no onset before this tick
        self.previous = -1  # last pitch, transposed; drum keys from 128
        self.sounding: list[int] = []  # pitches at ``now``

    def resume(self, now: int, context: np.ndarray, copied: np.ndarray, floor: int) -> None:
        """Continue after the context and the copied notes; write nothing before ``floor``."""
        self.now, self.floor = int(now), floor
        known = copied if len(copied) else context
        if len(known):
            self.previous = int(known[-1, PITCH]) + (MELODIC_PITCHES if self.drum else self.shift)
            if self.now == known[-1, ONSET]:
                self.sounding = [int(p) + self.shift for p in known[known[:, ONSET] == self.now, PITCH]]

    def next(self, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Row [1, fields] and onset [1] of the next position, or None at the end of the role."""
        delta = draw(
            self.engine.tell_delta(hidden),
            self.rng,
            self.sampling.timing_temperature,
            self.sampling.top_p,
            self._allowed_deltas(),
        )
        if delta == END:
            return None
        if delta == REST:
            self.now = self._next_bar()
            self.sounding = []
            return self._row(REST_KIND, REST, NO_PITCH, len(DURATIONS), NUM_VELOCITIES)
        if delta > 0:
            self.now += delta
            self.sounding = []
        ticks = self.frame.tick_rows[self.now + self.frame.before]
        state, logits = self.engine.tell_pitch(hidden, delta, ticks, self.previous, self.drum)
        pitch = draw(
            logits + self.pull + self._chord_bias(),
            self.rng,
            self.sampling.pitch_temperature,
            self.sampling.top_p,
            self._allowed_pitches(),
        )
        key = pitch + MELODIC_PITCHES if self.drum else pitch
        state, logits = self.engine.tell_duration(state, key, ticks)
        duration = DRUM_DURATION
        if not self.drum:
            room = np.less_equal(DURATIONS, max(self.frame.ticks + RING - self.now, 1))
            duration = draw(logits, self.rng, self.sampling.duration_temperature, self.sampling.top_p, room)
        velocity = draw(
            self.engine.tell_velocity(state, duration),
            self.rng,
            self.sampling.velocity_temperature,
            self.sampling.top_p,
        )
        loudness = velocity * _VELOCITY_STEP + int(self.rng.integers(_VELOCITY_STEP))
        self.notes.append(
            (self.now, self.part, pitch - self.shift, int(DURATIONS[duration]), min(max(loudness, 1), 127))
        )
        self.previous = key
        self.sounding.append(pitch)
        return self._row(NOTE_KIND, delta, key, duration, velocity)

    def _row(self, kind: int, delta: int, pitch: int, duration: int, velocity: int) -> tuple[np.ndarray, np.ndarray]:
        fields = [np.array([value]) for value in (kind, 0, delta, self.now, pitch, duration, velocity)]
        return self.frame.rows(self.role, *fields), fields[3]

    def _next_bar(self) -> int:
        return (self.now // self.frame.bar_ticks + 1) * self.frame.bar_ticks

    def _allowed_deltas(self) -> np.ndarray:
        allowed = np.zeros(NUM_DELTAS, dtype=bool)
        full = len(self.notes) >= MAX_NOTES_PER_BAR * self.frame.window.bars
        if not full:
            first = max(self.floor - self.now, 0)
            if first == 0 and self.sounding:  # one more voice at this onset?
                another = len(self.sounding) < VOICES[self.role] and max(self.sounding) < self.high
                first = 0 if another else 1
            allowed[first : min(MAX_DELTA, self.frame.ticks - 1 - self.now) + 1] = True
            allowed[REST] = self._next_bar() < self.frame.ticks
        allowed[END] = not (self.must_sound and not self.notes) or not allowed.any()
        return allowed

    def _allowed_pitches(self) -> np.ndarray:
        allowed = np.zeros(MELODIC_PITCHES, dtype=bool)
        allowed[max(self.low, max(self.sounding, default=-1) + 1) : self.high + 1] = True
        return allowed

    def _chord_bias(self) -> np.ndarray | float:
        """The bias towards chord tones of the accompanying roles, and of the bass towards the root of a new chord."""
        if self.role in ("melody", "drums"):
            return 0.0
        roots, qualities = self.frame.roots, self.frame.qualities
        tick = self.now + self.frame.before
        root, quality = int(roots[tick]), int(qualities[tick])
        if root == NO_CLASS or quality == NO_QUALITY:
            return 0.0
        classes = np.arange(MELODIC_PITCHES) % 12
        tones = [(root + interval) % 12 for interval in CHORD_QUALITIES[QUALITY_NAMES[quality]]]
        bias = self.sampling.chord_tone_bias * np.isin(classes, tones)
        begins = tick == 0 or (roots[tick - 1], qualities[tick - 1]) != (root, quality)
        if self.role == "bass" and begins:
            bias = bias + self.sampling.bass_root_bias * (classes == root)
        return bias


def perform(
    engine: NoteEngine,
    plan: Plan,
    seed: int,
    sampling: SamplingConfig,
    given: Mapping[str, np.ndarray] | None = None,
    roles: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
    given_bars: int | None = None,
    on_notes: OnNotes | None = None,
) -> np.ndarray:
    """The notes of a plan, int32 [n, 5] (see m2ugen.score.notes).

    ``given`` holds roles that are read instead of written: note arrays [n, 5] on the plan's time line and in its key
    (their part column is ignored). ``roles`` are those to write, by default all that are not given; what is neither
    given nor written stays silent. With ``given_bars`` they are given for so many bars from the start, up to the end of
    a section, and those among ``roles`` are written from there on. ``on_notes`` is called in the order of the windows,
    as soon as all roles of one are there. Same arguments, same notes.

    Raises InputError for a role that the plan has no part for.
    """
    plan.validated()
    given = dict(given or {})
    open_roles = [part.role for part in plan.parts if part.role not in given or given_bars is not None]
    wanted = open_roles if roles is None else list(roles)
    for role in (*given, *wanted):
        if plan.part(role) is None:
            raise InputError(f"the plan has no part for the role {role!r}; add one to its parts")
    index_of = {part.role: index for index, part in enumerate(plan.parts)}
    for role, notes in given.items():
        own = np.array(notes, dtype=np.int32).reshape(-1, 5)
        own[:, PART] = index_of[role]
        given[role] = sort_notes(own)
    piece = _Piece(engine, plan, sampling, seed, given, plan.bars if given_bars is None else given_bars)
    told = 0

    def tell(window: int) -> None:
        nonlocal told
        end = (piece.windows[window].start + piece.windows[window].bars) * plan.bar_ticks
        ready = piece.notes(wanted, window)
        if on_notes is not None:
            on_notes(ready[(ready[:, ONSET] >= told) & (ready[:, ONSET] < end)], end)
        told = end

    _run(piece, [_WindowWriter(piece, i, wanted) for i in range(len(piece.windows))], progress, on_notes and tell)
    return piece.notes(wanted, len(piece.windows) - 1)


def _run(
    piece: _Piece,
    writers: list[_WindowWriter],
    progress: Callable[[float], None] | None,
    on_window: Callable[[int], None] | None = None,
) -> None:
    """Run all writers: those that need the network advance together, those that wait are asked again. ``on_window``
    receives the number of each window in turn when it and all before it are finished.
    """
    from threadpoolctl import threadpool_limits

    total, complete = len(writers) * len(piece.plan.parts), 0
    running = {index: writer.run() for index, writer in enumerate(writers)}
    requests: dict[int, _Request] = {}
    answers: dict[int, np.ndarray] = {}

    def resume(index: int, answer: np.ndarray | None) -> None:
        try:
            # a generator that has not started takes nothing, which is what a first or a waiting one is given
            requests[index] = running[index].send(answer)  # type: ignore[arg-type]
        except StopIteration:
            del running[index]
            requests.pop(index, None)

    with threadpool_limits(1, user_api="blas"):  # such small products lose time on more threads
        for index in list(running):
            resume(index, None)
        while running:
            for index in list(running):
                while isinstance(wait := requests.get(index), _Wait) and (wait.window, wait.role) in piece.done:
                    resume(index, None)
            ready = [(i, request) for i, request in requests.items() if isinstance(request, Feed)]
            answers = dict(zip((i for i, _ in ready), piece.engine.advance([request for _, request in ready])))
            before = len(piece.done)
            for index, answer in answers.items():
                resume(index, answer)
            if progress is not None and len(piece.done) != before:
                progress(len(piece.done) / total)
            while on_window is not None and complete < len(writers) and complete not in running:
                on_window(complete)
                complete += 1
