"""One player: draws the notes of a role one after the other, field by field, within what its plan allows."""

from __future__ import annotations

from functools import cache

import numpy as np

from m2ugen.model.decoders.score.config import SamplingConfig
from m2ugen.model.decoders.score.note_engine import NoteEngine
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
)
from m2ugen.model.decoders.score.sampling import draw
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import ONSET, PITCH
from m2ugen.score.plan import CHORD_QUALITIES, QUALITY_NAMES, TICKS_PER_BEAT

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
PITCH_CLASSES = np.arange(MELODIC_PITCHES) % 12


class Voice:
    """Draws the notes of one role, field by field, and says what must be fed back."""

    def __init__(
        self,
        frame: Frame,
        engine: NoteEngine,
        sampling: SamplingConfig,
        role: str,
        rng: np.random.Generator,
        must_sound: bool,
    ) -> None:
        self.frame, self.engine, self.sampling = frame, engine, sampling
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
        bias = self.sampling.chord_tone_bias * _chord_tones(root, quality)
        begins = tick == 0 or (roots[tick - 1], qualities[tick - 1]) != (root, quality)
        if self.role == "bass" and begins:
            bias = bias + self.sampling.bass_root_bias * np.equal(PITCH_CLASSES, root)
        return bias


@cache
def _chord_tones(root: int, quality: int) -> np.ndarray:
    """Which pitches [128] belong to a chord."""
    return np.isin(PITCH_CLASSES, [(root + interval) % 12 for interval in CHORD_QUALITIES[QUALITY_NAMES[quality]]])
