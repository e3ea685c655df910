"""From stems to a finished mix: level, place, filter, reverberate, limit, and set the loudness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LOUDNESS = -14.0  # LUFS, integrated (ITU-R BS.1770)
TRUE_PEAK = -1.0  # dBTP, upper limit
LIMITER_SECONDS = 0.02  # look-ahead; shorter distorts the bass
OVERSAMPLING = 4  # for true peaks, as BS.1770 asks
SILENCE = 1e-5


@dataclass(frozen=True)
class Channel:
    """How a role sits in the mix: level (dB RMS while it plays), pan (-1 left to 1 right), reverb send (factor)
    and high-pass (Hz)."""

    level: float
    pan: float
    send: float
    high_pass: float


@dataclass(frozen=True)
class Room:
    """Reverberation: time to fall by 60 dB in seconds and its level in dB."""

    seconds: float
    level: float


CHANNELS = {
    "melody": Channel(-19.5, 0.05, 1.0, 90.0),
    "bass": Channel(-21.0, 0.0, 0.1, 28.0),
    "chords": Channel(-25.0, -0.3, 0.8, 110.0),
    "arpeggio": Channel(-26.0, 0.35, 1.1, 120.0),
    "pad": Channel(-28.5, 0.0, 1.2, 140.0),
    "drums": Channel(-22.0, 0.0, 0.45, 28.0),
}
ROOMS = {
    "classical": Room(2.2, -9.0),
    "ballad": Room(1.8, -11.0),
    "electronic": Room(1.6, -13.0),
    "pop": Room(1.3, -13.0),
    "jazz": Room(1.2, -13.0),
    "latin": Room(1.1, -14.0),
    "blues": Room(1.1, -14.0),
    "rock": Room(1.0, -15.0),
    "country": Room(1.0, -14.0),
    "funk": Room(0.7, -17.0),
}
DEFAULT_ROOM = Room(1.3, -14.0)
GENRE_LEVELS = {  # dB added to a role
    ("rock", "drums"): 1.5,
    ("funk", "drums"): 1.5,
    ("funk", "bass"): 2.0,
    ("electronic", "drums"): 1.5,
    ("electronic", "bass"): 1.5,
    ("ballad", "drums"): -3.0,
    ("jazz", "drums"): -2.5,
    ("classical", "drums"): -4.0,
}


def mix_stems(
    stems: Iterable[tuple[str, np.ndarray]], sample_rate: int, genre: str | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The finished mix of ``stems`` (role and float32 [2, samples] of each) and the stems as they enter it. Each is
    placed as it comes, so that of those that are rendered meanwhile no second copy is held.

    Roles of CHANNELS get their measured level, place and filter; stems with other names keep their balance. The
    returned stems carry the loudness gain, neither reverberation nor limiter: their plain sum is the dry mix.
    """
    placed = {name: place(name, stem, sample_rate, genre)[0] for name, stem in stems}
    mastered, gain = master(in_room(placed, sample_rate, genre), sample_rate)
    for stem in placed.values():
        stem *= np.float32(gain)
    return mastered, placed


def place(
    role: str, stem: np.ndarray, sample_rate: int, genre: str | None = None, gain: np.float32 | None = None
) -> tuple[np.ndarray, np.float32]:
    """A stem, float32 [2, samples], filtered, levelled and panned as its role wants, and the gain of its level.

    ``gain`` is applied instead of the one that the stem's own level asks for. Names that are not in CHANNELS are left
    as they are.
    """
    channel = CHANNELS.get(role)
    if channel is None:
        return np.array(stem, dtype=np.float32), np.float32(1.0)
    stem = high_pass(stem, channel.high_pass, sample_rate)
    if gain is None:
        gain = _level_gain(stem, channel.level + GENRE_LEVELS.get((genre or "", role), 0.0), sample_rate)
    return np.asarray(stem * (_pan_gains(channel.pan) * gain)[:, None], dtype=np.float32), gain


def in_room(placed: Mapping[str, np.ndarray], sample_rate: int, genre: str | None = None) -> np.ndarray:
    """The sum of placed stems and what the room of a genre answers, float32 [2, samples]."""
    if not placed:
        raise ValueError("there are no stems to mix")
    dry, send = np.zeros_like(next(iter(placed.values()))), np.float32(0.0)
    for name, stem in placed.items():
        dry += stem
        send = send + np.float32(CHANNELS[name].send if name in CHANNELS else 0.7) * stem.mean(axis=0)
    dry += reverberate(np.asarray(send), ROOMS.get(genre or "", DEFAULT_ROOM), sample_rate)
    return dry


def master(
    mix: np.ndarray, sample_rate: int, loudness: float = LOUDNESS, true_peak: float = TRUE_PEAK
) -> tuple[np.ndarray, float]:
    """``mix`` (float [channels, samples]) at ``loudness`` LUFS with peaks limited to ``true_peak`` dBTP.

    Returns float32 and the gain that was applied before the limiter. Silence stays silent.
    """
    before = measure_loudness(mix, sample_rate)
    if not np.isfinite(before):
        return mix.astype(np.float32), 1.0
    gain = 10 ** ((loudness - before) / 20)
    limited = limit_peaks(mix * np.float32(gain), sample_rate, true_peak - 0.3)
    ceiling = 10 ** (true_peak / 20)
    if (peak := measure_true_peak(limited)) > ceiling:
        limited = limited * np.float32(ceiling / peak)
    return limited.astype(np.float32, copy=False), float(gain)


def measure_loudness(audio: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770) of float [channels, samples]; -inf for silence."""
    import pyloudnorm

    if not audio.size or np.abs(audio).max() < SILENCE:
        return float("-inf")
    missing = int(0.4 * sample_rate) + 1 - audio.shape[-1]  # one measuring block
    if missing > 0:
        audio = np.pad(audio, ((0, 0), (0, missing)), mode="wrap")
    return float(pyloudnorm.Meter(sample_rate).integrated_loudness(audio.T.astype(np.float32, copy=False)))


def measure_true_peak(audio: np.ndarray) -> float:
    """The largest value between the samples too, linear; oversampled only where the samples come near the peak."""
    from scipy.signal import resample_poly

    envelope = np.abs(audio).max(axis=0)
    highest = float(envelope.max(initial=0.0))
    if highest < SILENCE:
        return highest
    block, margin = 4096, 64
    starts = np.arange(0, len(envelope), block)
    loud = starts[np.maximum.reduceat(envelope, starts) > 0.7 * highest]  # a larger overshoot is pathological
    for start in loud.tolist():
        piece = audio[:, max(start - margin, 0) : start + block + margin]
        highest = max(highest, float(np.abs(resample_poly(piece, OVERSAMPLING, 1, axis=1)).max()))
    return highest


def limit_peaks(audio: np.ndarray, sample_rate: int, ceiling: float) -> np.ndarray:
    """Look-ahead limiter: no sample of float [channels, samples] above ``ceiling`` dBFS, gain changes smooth."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    limit = 10 ** (ceiling / 20)
    envelope = np.abs(audio).max(axis=0)
    if envelope.max(initial=0.0) <= limit:
        return audio
    needed = np.minimum(1.0, limit / np.maximum(envelope, limit))
    window = int(LIMITER_SECONDS * sample_rate) | 1
    # The mean over a window of minima over the same window never exceeds the gain that its centre needs.
    gain = uniform_filter1d(minimum_filter1d(needed, window, mode="nearest"), window, mode="nearest")
    return audio * np.minimum(gain, needed).astype(np.float32)


def reverberate(send: np.ndarray, room: Room, sample_rate: int) -> np.ndarray:
    """The room's answer to ``send`` (float32 [samples]), float32 [2, samples]."""
    from scipy.signal import oaconvolve

    response = impulse_response(room.seconds, sample_rate) * np.float32(10 ** (room.level / 20))
    return np.stack([oaconvolve(send, channel)[: len(send)] for channel in response]).astype(np.float32, copy=False)


@lru_cache(maxsize=8)
def impulse_response(seconds: float, sample_rate: int) -> np.ndarray:
    """A synthetic room, float32 [2, samples] of unit energy: decorrelated noise whose bands fade at their own pace.

    Exponentially decaying noise after Moorer, "About This Reverberation Business" (1979); high bands die first.
    """
    from scipy.signal import butter, sosfilt

    rng = np.random.default_rng(19_790_301)
    samples = int(seconds * sample_rate)
    time = np.arange(samples) / sample_rate
    top = 0.45 * sample_rate
    bands = ((180.0, 700.0, 1.0), (700.0, 3_500.0, 0.85), (3_500.0, min(9_000.0, top), 0.45))
    response = np.zeros((2, samples))
    for low, high, share in bands:
        if high > low:
            sections = butter(2, [low, high], "bandpass", fs=sample_rate, output="sos")
            response += sosfilt(sections, rng.normal(size=(2, samples))) * 10 ** (-3.0 * time / (seconds * share))
    response *= np.minimum(time / 0.03, 1.0)  # density builds up over the first 30 ms
    response = np.pad(response, ((0, 0), (int(0.012 * sample_rate), 0)))  # the direct sound stays clear of its room
    response /= np.sqrt((response**2).sum(axis=1, keepdims=True)) + 1e-12
    return response.astype(np.float32)


def fade_end(audio: np.ndarray, sample_rate: int, cut: bool = False) -> None:
    """Fade the end of ``audio`` [channels, samples], in place: a quarter of a second, or two seconds where music is
    ``cut``.
    """
    samples = audio.shape[-1]
    length = min(int((2.0 if cut else 0.25) * sample_rate), samples // 4)
    if length > 0:
        audio[:, -length:] *= (0.5 + 0.5 * np.cos(np.linspace(0.0, np.pi, length))).astype(np.float32)


def high_pass(stem: np.ndarray, cutoff: float, sample_rate: int) -> np.ndarray:
    """float32 [channels, samples] with less and less below ``cutoff`` Hz, 6 dB per octave."""
    from scipy.signal import butter, lfilter

    b, a = butter(1, cutoff, "highpass", fs=sample_rate)
    return np.asarray(lfilter(b.astype(np.float32), a.astype(np.float32), stem), dtype=np.float32)


def _pan_gains(pan: float) -> np.ndarray:
    """Constant-power gains of the left and right channel, float32 [2]; unity in the centre."""
    angle = (pan + 1) * np.pi / 4
    return (np.sqrt(2.0) * np.array([np.cos(angle), np.sin(angle)])).astype(np.float32)


def _level_gain(stem: np.ndarray, level: float, sample_rate: int) -> np.float32:
    """The gain that brings the stem's playing passages to ``level`` dB RMS."""
    frame = max(sample_rate // 10, 1)
    usable = stem[:, : stem.shape[1] // frame * frame]
    if not usable.size:
        return np.float32(1.0)
    power = (usable.reshape(2, -1, frame) ** 2).mean(axis=(0, 2))
    playing = power[power > 1e-3 * power.max(initial=0.0)]
    if not playing.size or playing.max() < SILENCE**2:
        return np.float32(1.0)
    return np.float32(10 ** (level / 20) / np.sqrt(playing.mean()))
