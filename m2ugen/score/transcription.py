"""What a recording plays: its notes, beats, key and chords, in the terms of a plan.

An edit needs this to write new parts on the source's own grid and harmony.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m2ugen.errors import InputError
from m2ugen.score.basic_pitch import FRAME_SECONDS, LOWEST, MODEL_RATE, detect, read_notes
from m2ugen.score.beats import Beats, track_beats
from m2ugen.score.harmony import beat_place, beat_time, estimate_chords, estimate_key
from m2ugen.score.notes import DURATION, ONSET, PITCH, empty_notes, sort_notes
from m2ugen.score.plan import BAR_TICKS, BEAT_TICKS, CHORDS_PER_BAR, METRES, Chord, Part, Plan, Section

if TYPE_CHECKING:
    from symusic import Score

    from m2ugen.media.audio import Audio

GRID = np.array([0, 3, 4, 6, 8, 9, 12])  # ticks within a quarter on which notes fall: sixteenths and triplets
BASS_TOP = 52  # MIDI pitch below which a note counts for the bass
MELODY_LOW = 55
SECTION_BARS = 8
MIN_SECONDS = 1.0
RINGING = 0.75  # of a bar, in which nothing begins, that notes may sound on after the end


@dataclass(frozen=True)
class SourceAnalysis:
    """A recording in musical terms.

    Bar 0 begins at ``beats.times[beats.downbeat]``; ticks count from there. ``chords`` holds one entry for each
    slot of ``bars`` bars, relative to ``tonic``. ``notes`` (all pitched notes, seconds, float64 [n, 4]: start, end,
    pitch, velocity) are as played; ``melody`` is a note array in ticks (see m2ugen.score.notes, part 0).
    """

    tempo: float
    beats: Beats
    tonic: int
    mode: str
    key_confidence: float
    bars: int
    chords: tuple[Chord | None, ...]
    notes: np.ndarray
    melody: np.ndarray

    @property
    def metre(self) -> str:
        return self.beats.metre

    @property
    def start(self) -> float:
        """Second at which bar 0 begins."""
        return float(self.beats.times[self.beats.downbeat])

    def ticks_at(self, seconds: np.ndarray) -> np.ndarray:
        """Ticks (fractional, negative before bar 0) at times in seconds."""
        return np.asarray((beat_place(self.beats, np.asarray(seconds)) - self.beats.downbeat) * BEAT_TICKS[self.metre])

    def seconds_at(self, ticks: np.ndarray) -> np.ndarray:
        """Times in seconds of ticks; follows the recording's own beats."""
        return beat_time(self.beats, np.asarray(ticks) / BEAT_TICKS[self.metre] + self.beats.downbeat)

    def plan(self, parts: tuple[Part, ...], genre: str = "pop", energy: int = 2) -> Plan:
        """A plan with this recording's tempo, key, metre and chords for the given players.

        Sections have at most SECTION_BARS bars; those with the same chords share a letter.
        """
        slots = CHORDS_PER_BAR[self.metre]
        sections: list[Section] = []
        letters: dict[tuple[Chord | None, ...], str] = {}
        for first in range(0, self.bars, SECTION_BARS):
            bars = min(SECTION_BARS, self.bars - first)
            chords = self.chords[first * slots : (first + bars) * slots]
            letter = letters.setdefault(chords, chr(ord("A") + min(len(letters), 25)))
            sections.append(Section(letter, bars, energy, chords))
        tempo = float(np.clip(self.tempo, 20.0, 400.0))
        return Plan(tempo, self.metre, self.tonic, self.mode, genre, energy, parts, tuple(sections)).validated()


def transcribe(mono: np.ndarray, sample_rate: int) -> np.ndarray:
    """Notes of float32 [samples] at ``sample_rate`` Hz: float64 [n, 4] with start, end (s), pitch and velocity."""
    return read_notes(detect(_at_model_rate(mono, sample_rate)))


def describe(audio: Audio) -> SourceAnalysis:
    """Analyse a recording; where the score is known (MIDI input), its notes, tempo and metre are taken from there.

    Raises InputError for recordings that are silent or shorter than MIN_SECONDS.
    """
    if audio.duration < MIN_SECONDS:
        raise InputError(f"the music is {audio.duration:.2f} seconds long; at least {MIN_SECONDS:g} are needed")
    if audio.is_silent:
        raise InputError("the music is silent; give a recording with sound in it")
    if audio.score is not None:
        notes, beats = _from_score(audio.score)
        roll = _roll(notes, audio.duration)
    else:
        mono = _at_model_rate(audio.mono(), audio.sample_rate)
        activations = detect(mono)
        notes = read_notes(activations)
        roll = np.where(activations.sounding > 0.2, activations.sounding, 0.0)
        beats = track_beats(mono, _fold(roll), FRAME_SECONDS)
    chroma, bass = _fold(roll), _fold(roll[:, : BASS_TOP - LOWEST])
    tonic, mode, confidence = estimate_key(chroma, bass)
    beats = _from_first_bar(beats)
    bars = _count_bars(notes, beats, audio.duration)
    chords = estimate_chords(chroma, FRAME_SECONDS, beats, (tonic, mode), bars, bass)
    analysis = SourceAnalysis(beats.tempo, beats, tonic, mode, confidence, bars, chords, notes, empty_notes())
    return SourceAnalysis(**{**vars(analysis), "melody": _melody(analysis)})


def _count_bars(notes: np.ndarray, beats: Beats, duration: float) -> int:
    """Bars from the first downbeat to the end of the last note, without one that only holds its ring."""
    last = notes[:, :2].max(axis=0) if len(notes) else np.full(2, duration)
    struck, length = (beat_place(beats, last) - beats.downbeat) / beats.beats_per_bar
    bars = int(np.ceil(length - 0.3))
    begun = int(np.floor(struck + 0.05)) + 1  # the last bar in which a note begins
    return max(begun if bars == begun + 1 and length - begun < RINGING else bars, 1)


def _at_model_rate(mono: np.ndarray, sample_rate: int) -> np.ndarray:
    if sample_rate == MODEL_RATE:
        return mono
    import soxr

    return np.asarray(soxr.resample(mono, sample_rate, MODEL_RATE), dtype=np.float32)


def _fold(roll: np.ndarray) -> np.ndarray:
    """Pitch classes, float [frames, 12], of a piano roll [frames, keys] whose first key is LOWEST."""
    chroma = np.zeros((len(roll), 12))
    for key in range(roll.shape[1]):
        chroma[:, (LOWEST + key) % 12] += roll[:, key]
    return chroma


def _roll(notes: np.ndarray, duration: float) -> np.ndarray:
    roll = np.zeros((int(duration / FRAME_SECONDS) + 1, 88))
    for start, end, pitch, velocity in notes:
        key = int(pitch) - LOWEST
        if 0 <= key < 88:
            roll[int(start / FRAME_SECONDS) : int(end / FRAME_SECONDS) + 1, key] = velocity / 127
    return roll


def _from_score(score: Score) -> tuple[np.ndarray, Beats]:
    """Pitched notes in seconds and the beats of a MIDI score."""
    timed = score.to("second")
    rows = [
        (note.time, note.time + note.duration, note.pitch, note.velocity)
        for track in timed.tracks
        if not track.is_drum
        for note in track.notes
    ]
    notes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    notes = notes[np.lexsort((notes[:, 2], notes[:, 0]))]
    signature = score.time_signatures[0] if len(score.time_signatures) else None
    metre = f"{signature.numerator}/{signature.denominator}" if signature else "4/4"
    metre = metre if metre in METRES else {"12/8": "6/8", "9/8": "6/8", "3/8": "3/4", "6/4": "3/4"}.get(metre, "4/4")
    unit = score.ticks_per_quarter * BEAT_TICKS[metre] / BEAT_TICKS["4/4"]
    count = int(np.ceil(max(score.end(), 1) / unit)) + 1
    clicks = type(score)(score)  # a copy whose only notes are the beats, so that the score's own tempo map times them
    while len(clicks.tracks) > 1:
        clicks.tracks.pop()
    from symusic import Note, Track

    track = Track()
    for k in range(count):
        track.notes.append(Note(round(k * unit), 1, 60, 64))
    clicks.tracks = [track]
    times = np.array([note.time for note in clicks.to("second").tracks[0].notes])
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.5
    steady = bool(np.ptp(np.diff(times)) < 1e-3) if len(times) > 2 else True
    return notes, Beats(times, 60.0 / period, metre, 0, steady)


def _from_first_bar(beats: Beats) -> Beats:
    """The same beats with the first downbeat as early as possible, at most a quarter of a beat before the sound."""
    first = beats.downbeat % beats.beats_per_bar
    while first >= beats.beats_per_bar and beats.times[first - beats.beats_per_bar] > -0.25 * 60 / beats.tempo:
        first -= beats.beats_per_bar
    first = min(first, len(beats.times) - 1)
    return Beats(beats.times, beats.tempo, beats.metre, first, beats.steady)


def _melody(analysis: SourceAnalysis) -> np.ndarray:
    """The highest sounding line as a note array in ticks: the top note of each onset, unless a higher one sounds on."""
    notes = analysis.notes[analysis.notes[:, 2] >= MELODY_LOW]
    if not len(notes):
        return empty_notes()
    onset = _quantise(analysis.ticks_at(notes[:, 0]))
    length = np.maximum(_quantise(analysis.ticks_at(notes[:, 1])) - onset, 2)
    rows: list[list[int]] = []
    for k in np.lexsort((-notes[:, 2], onset)).tolist():
        if onset[k] < 0:
            continue
        if rows and rows[-1][ONSET] == onset[k]:
            continue
        last = rows[-1] if rows else None
        if last and last[ONSET] + last[DURATION] > onset[k] + 3 and last[PITCH] > notes[k, 2]:
            continue  # the accompaniment below a held note
        if last:
            last[DURATION] = min(last[DURATION], int(onset[k]) - last[ONSET])
        rows.append([int(onset[k]), 0, int(notes[k, 2]), int(length[k]), int(notes[k, 3])])
    limit = analysis.bars * BAR_TICKS[analysis.metre]
    array = np.array(rows, dtype=np.int32).reshape(-1, 5)
    return sort_notes(array[array[:, ONSET] < limit])


def _quantise(ticks: np.ndarray) -> np.ndarray:
    """The nearest place on GRID, int [n]."""
    quarter = np.floor(ticks / GRID[-1])
    inside = ticks - quarter * GRID[-1]
    nearest = GRID[np.abs(inside[:, None] - GRID[None, :]).argmin(axis=1)]
    return np.asarray(quarter * GRID[-1] + nearest, dtype=np.int64)
