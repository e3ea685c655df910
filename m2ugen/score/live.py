"""Sound while the notes are still being written: sections are rendered as they come and joined without a seam.

Synthesis, filters and rooms are linear, so the sound of a section, with its ring and its reverberation, can be added to
what sounds already. Levels are set by the first section in which a part plays, and the loudness by the first section.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2ugen.score.mixing import (
    CHANNELS,
    DEFAULT_ROOM,
    LIMITER_SECONDS,
    LOUDNESS,
    ROOMS,
    TRUE_PEAK,
    fade_end,
    in_room,
    limit_peaks,
    measure_loudness,
    place,
)
from m2ugen.score.notes import DURATION, ONSET, PART
from m2ugen.score.soundfont import load_synthesizer, soundfont_path
from m2ugen.score.synthesis import MAX_SHIFT, SAMPLE_RATE, TAIL_SECONDS, humanise, is_cut, render_track, voice

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2ugen.score.plan import Plan

LOOK_AHEAD = 2 * LIMITER_SECONDS + MAX_SHIFT  # seconds of coming sound that must be known before samples are final


class LiveMix:
    """The mix of a piece for ``on_audio``, which receives the next samples, float32 [2, any], of each finished section.

    ``duration`` (seconds) cuts or pads the piece; None: all bars and their ring. The samples add up to exactly that.
    """

    def __init__(
        self,
        plan: Plan,
        on_audio: Callable[[np.ndarray], None],
        soundfont: str | Path | None = None,
        sample_rate: int = SAMPLE_RATE,
        duration: float | None = None,
        seed: int = 0,
    ) -> None:
        self.plan, self.on_audio, self.rate, self.seed = plan, on_audio, sample_rate, seed
        self.synthesizer = load_synthesizer(soundfont_path(soundfont), sample_rate)
        self.samples = round((plan.duration + TAIL_SECONDS if duration is None else duration) * sample_rate)
        self.cut = is_cut(duration, plan.duration)
        self.tick = 0  # up to which notes have come
        self.sounding = np.zeros((2, self.samples), dtype=np.float32)
        self.told = 0  # samples that on_audio has received
        self.levels: dict[str, np.float32] = {}  # of the parts that have played
        self.gain: np.float32 | None = None

    def add(self, notes: np.ndarray, until: int) -> None:
        """Take the notes, int32 [n, 5], from the tick of the last call up to the tick ``until``."""
        self._render(notes)
        self.tick = until
        known = until * self.plan.seconds_per_tick - LOOK_AHEAD
        self._tell(self.samples if until >= self.plan.ticks else min(int(known * self.rate), self.samples))

    def _render(self, notes: np.ndarray) -> None:
        if not len(notes):
            return
        begin, pace = self.tick * self.plan.seconds_per_tick, self.plan.seconds_per_tick
        moved = notes.copy()
        moved[:, ONSET] -= self.tick
        room = ROOMS.get(self.plan.genre, DEFAULT_ROOM)
        seconds = float((moved[:, ONSET] + moved[:, DURATION]).max()) * pace + TAIL_SECONDS + room.seconds
        samples = round(seconds * self.rate)
        placed = {}
        for index, part in enumerate(self.plan.parts):
            own = moved[moved[:, PART] == index]
            if not len(own):
                continue
            played = humanise(own, self.plan, part.role, np.random.default_rng([self.seed, index, self.tick]))
            stem = render_track(played, *voice(self.plan, part), self.synthesizer, samples, self.rate)
            known = self.levels.get(part.role)
            placed[part.role], self.levels[part.role] = place(part.role, stem, self.rate, self.plan.genre, known)
        mix = in_room(placed, self.rate, self.plan.genre)
        start = round(begin * self.rate)
        room_left = max(self.samples - start, 0)
        if self.gain is None:
            self.gain = self._loudness_gain(mix[:, : samples - round((TAIL_SECONDS + room.seconds) * self.rate)])
        self.sounding[:, start : start + samples] += self.gain * mix[:, :room_left]

    def _loudness_gain(self, mix: np.ndarray) -> np.float32:
        """The gain that brings the piece to LOUDNESS, as far as its beginning tells: parts that are yet to enter add
        what their channels are set to.
        """
        loudness = measure_loudness(mix, self.rate)
        if not np.isfinite(loudness):
            return np.float32(1.0)
        power = {part.role: 10 ** (CHANNELS[part.role].level / 10) for part in self.plan.parts}
        share = sum(power[role] for role in self.levels) / sum(power.values())
        return np.float32(10 ** ((LOUDNESS - loudness) / 20) * np.sqrt(share))

    def _tell(self, end: int) -> None:
        """Give out the samples before ``end``, limited as part of what surrounds them."""
        if end <= self.told:
            return
        margin = round(2 * LIMITER_SECONDS * self.rate)
        first = max(self.told - margin, 0)
        limited = limit_peaks(self.sounding[:, first : end + margin], self.rate, TRUE_PEAK - 0.3)
        ready = limited[:, self.told - first : end - first]
        if end == self.samples:
            fade_end(ready, self.rate, self.cut)
        self.told = end
        self.on_audio(np.ascontiguousarray(ready))
