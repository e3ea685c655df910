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
    Frame,
    Window,
    context_notes,
    encode_role,
    windows,
)
from m2ugen.model.decoders.score.voice import RING, Voice
from m2ugen.score.notes import DURATION, ONSET, PART, empty_notes, sort_notes
from m2ugen.score.plan import CHORDS_PER_BAR, ROLES, Plan


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
        must_sound = not len(copied) and self._must_sound(role, len(before))
        voice = Voice(frame, piece.engine, piece.sampling, role, rng, must_sound)
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
