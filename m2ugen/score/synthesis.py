"""Notes to sound: one stem per part with a SoundFont, then the mix.

The synthesizer plays every note at full velocity, so a part is rendered in layers of like velocity that are scaled
(and, when soft, darkened) before they are summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ugen.errors import InputError
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, VELOCITY
from m2ugen.score.plan import BEAT_TICKS, Part, Plan
from m2ugen.score.soundfont import load_synthesizer, soundfont_path

if TYPE_CHECKING:
    from symusic import Score

SAMPLE_RATE = 44_100
MAX_SHIFT = 0.008  # seconds by which humanisation moves an onset at most
LAYER_WIDTH = 8  # velocities in one layer: about 1.5 dB in the middle of the range
LOUDNESS_EXPONENT = 1.6  # amplitude follows velocity to this power; the SoundFont standard's 2 buries soft notes
REFERENCE_VELOCITY = 100  # plays at the font's own level
DARKER = ((56, 3_500.0), (88, 9_000.0))  # below this velocity, low-pass at this many Hz
KITS = {"jazz": 32, "electronic": 24, "classical": 48, "rock": 16}  # General Standard drum kits by genre
ACCENTS = {"bar": 7, "beat": 2, "off": -5}  # velocity added to parts that are written without dynamics
FLAT_DYNAMICS = 4.0  # a part whose velocities deviate less than this has no dynamics of its own
TAIL_SECONDS = 2.0  # that a piece rings after its last bar
LEAST_RING = 0.3  # seconds of that without which a piece counts as cut
MAX_SECONDS = 1800.0  # of one rendering


def render(
    notes: np.ndarray,
    plan: Plan,
    soundfont: str | Path | None = None,
    sample_rate: int = SAMPLE_RATE,
    tail_seconds: float = TAIL_SECONDS,
    seed: int = 0,
    duration: float | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Play ``notes`` (int32 [n, 5], see m2ugen.score.notes) and mix them.

    Returns the mix, float32 [2, samples] at ``sample_rate`` Hz (-14 LUFS, true peak at most -1 dBTP), and the stem
    of each role of the plan, equally long: levelled, panned and without reverberation. The piece rings for
    ``tail_seconds`` after its last bar or note; with ``duration`` (seconds) it is cut or padded to exactly that
    length and faded where it is cut. ``seed`` chooses the humanisation. Same arguments, same samples.

    Raises InputError for an unusable SoundFont, rate or length.
    """
    from m2ugen.score.mixing import fade_end, mix_stems

    if not 8_000 <= sample_rate <= 192_000:
        raise InputError(f"a sample rate of {sample_rate} Hz cannot be rendered; use 8000 to 192000")
    times = plan.seconds_per_tick
    last = float((notes[:, ONSET] + notes[:, DURATION]).max()) * times if len(notes) else 0.0
    natural = max(plan.duration, last)
    length = natural + tail_seconds if duration is None else duration
    if not 0 < length <= MAX_SECONDS:
        raise InputError(f"cannot render {length:g} seconds; between 0 and {MAX_SECONDS:g} are possible")
    samples = max(round(length * sample_rate), 1)
    synthesizer = load_synthesizer(soundfont_path(soundfont), sample_rate)

    def played() -> Iterator[tuple[str, np.ndarray]]:
        for index, part in enumerate(plan.parts):
            rng = np.random.default_rng([seed, index])
            own = humanise(notes[notes[:, PART] == index], plan, part.role, rng)
            own = own[own[:, 0] < length]
            yield part.role, render_track(own, *voice(plan, part), synthesizer, samples, sample_rate)

    mix, stems = mix_stems(played(), sample_rate, plan.genre)
    for sound in (mix, *stems.values()):
        fade_end(sound, sample_rate, is_cut(duration, natural))
    return mix, stems


def is_cut(duration: float | None, natural: float) -> bool:
    """Whether music of ``natural`` seconds ends before its last notes have died away when it lasts ``duration``."""
    return duration is not None and duration < natural + LEAST_RING


def voice(plan: Plan, part: Part) -> tuple[int, bool]:
    """The General MIDI program that plays a part, or the drum kit, and whether it is one."""
    if part.role == "drums":
        return KITS.get(plan.genre, 0), True
    return INSTRUMENTS[INSTRUMENT_INDEX[part.instrument]].program, False


def humanise(notes: np.ndarray, plan: Plan, role: str, rng: np.random.Generator) -> np.ndarray:
    """One part's notes in seconds, played less exactly: float64 [n, 4] with start, end, pitch and velocity.

    Onsets move by at most MAX_SHIFT seconds, notes that are struck together move together. Parts without dynamics
    get metrical accents.
    """
    played = np.empty((len(notes), 4))
    if not len(notes):
        return played
    onsets = notes[:, ONSET]
    unique, where = np.unique(onsets, return_inverse=True)
    spread = 0.0015 if role in ("drums", "bass") else 0.003
    together = np.clip(rng.normal(0.0, spread, len(unique)), -2 * spread, 2 * spread)
    single = rng.uniform(-0.001, 0.001, len(notes)) if role != "drums" else 0.0
    shift = np.clip(together[where] + single, -MAX_SHIFT, MAX_SHIFT)
    played[:, 0] = np.maximum(onsets * plan.seconds_per_tick + shift, 0.0)
    played[:, 1] = played[:, 0] + np.maximum(notes[:, DURATION], 1) * plan.seconds_per_tick
    played[:, 2] = notes[:, PITCH]
    velocity = notes[:, VELOCITY] + rng.normal(0.0, 2.5, len(notes))
    if notes[:, VELOCITY].std() < FLAT_DYNAMICS:
        in_bar, in_beat = onsets % plan.bar_ticks, onsets % BEAT_TICKS[plan.metre]
        accents = np.where(in_bar == 0, ACCENTS["bar"], np.where(in_beat == 0, ACCENTS["beat"], ACCENTS["off"]))
        velocity = velocity + accents * (0.5 if role in ("pad", "arpeggio") else 1.0)
    played[:, 3] = np.clip(np.round(velocity), 1, 127)
    return played


def render_track(
    notes: np.ndarray, program: int, is_drum: bool, synthesizer: Any, samples: int, sample_rate: int
) -> np.ndarray:
    """The sound of one player, float32 [2, samples]; ``notes`` as float [n, 4] (start, end, pitch, velocity).

    ``program`` is a General MIDI program, or the drum kit when ``is_drum``.
    """
    from scipy.signal import butter, lfilter

    sound = np.zeros((2, samples), dtype=np.float32)
    layers = np.asarray(notes[:, 3], dtype=int) // LAYER_WIDTH
    lower = 0
    for upper, cutoff in (*DARKER, (128, None)):
        chosen = layers[(notes[:, 3] >= lower) & (notes[:, 3] < upper)]
        lower = upper
        if not len(chosen):
            continue
        group = np.zeros_like(sound) if cutoff else sound
        for layer in np.unique(chosen).tolist():
            velocity = layer * LAYER_WIDTH + (LAYER_WIDTH - 1) / 2
            gain = (velocity / REFERENCE_VELOCITY) ** LOUDNESS_EXPONENT
            played = _play(notes[layers == layer], program, is_drum, synthesizer)[:, :samples]
            group[:, : played.shape[1]] += np.float32(gain) * played
        if cutoff and cutoff < sample_rate / 2.2:
            b, a = butter(1, cutoff, fs=sample_rate)
            group = lfilter(b.astype(np.float32), a.astype(np.float32), group)
        if cutoff:
            sound += group
    return sound


def _play(notes: np.ndarray, program: int, is_drum: bool, synthesizer: Any) -> np.ndarray:
    """The plain sound of ``notes`` [n, 4], float32 [2, any]."""
    from symusic import Note, Score, Track

    notes = notes[np.lexsort((notes[:, 2], notes[:, 0]))]
    track = Track(program=program, is_drum=is_drum, ttype="second")
    track.notes = Note.from_numpy(
        notes[:, 0].astype(np.float32),
        np.maximum(notes[:, 1] - notes[:, 0], 0.01).astype(np.float32),
        notes[:, 2].astype(np.int8),
        np.clip(notes[:, 3], 1, 127).astype(np.int8),
        ttype="second",
    )
    score = Score(480, ttype="second")
    score.tracks.append(track)
    return np.asarray(synthesizer.render(score, stereo=True), dtype=np.float32)


def render_score(
    score: Score,
    soundfont: str | Path | None = None,
    sample_rate: int = SAMPLE_RATE,
    tail_seconds: float = TAIL_SECONDS,
) -> np.ndarray:
    """Any MIDI score as sound, float32 [2, samples]: its own instruments and balance, mastered as ``render`` does.

    Raises InputError when it holds no notes or is longer than MAX_SECONDS.
    """
    from m2ugen.score.mixing import fade_end, mix_stems

    timed = score.to("second")
    tracks = [track for track in timed.tracks if len(track.notes)]
    if not tracks:
        raise InputError("this MIDI file holds no notes")
    length = max(float(timed.end()), 0.0) + tail_seconds
    if length > MAX_SECONDS:
        raise InputError(f"this MIDI file lasts {length:.0f} seconds; at most {MAX_SECONDS:g} can be rendered")
    samples = round(length * sample_rate)
    synthesizer = load_synthesizer(soundfont_path(soundfont), sample_rate)

    def played() -> Iterator[tuple[str, np.ndarray]]:
        for index, track in enumerate(tracks):
            columns = track.notes.numpy()
            notes = np.stack(
                [columns["time"], columns["time"] + columns["duration"], columns["pitch"], columns["velocity"]], axis=1
            ).astype(np.float64)
            yield str(index), render_track(notes, track.program, track.is_drum, synthesizer, samples, sample_rate)

    mix, _ = mix_stems(played(), sample_rate)
    fade_end(mix, sample_rate)
    return mix
