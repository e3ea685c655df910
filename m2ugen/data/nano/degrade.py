"""Rooms, equalisers, compressors, drift, noise, clipping and codecs, so that renderings sound less alike than a
synthesiser makes them.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

Step = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
MOST_DRIFT = 0.012  # of speed and pitch: 20 cents


def degrade(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Mono float32 [samples] as another player, room, microphone or file format might have given it."""
    sound = audio.astype(np.float64)
    for chance, step in STEPS:
        if rng.random() < chance:
            sound = step(sound, sample_rate, rng)
    sound = sound * 10 ** (rng.uniform(-18, 3) / 20)
    return np.clip(sound, -1, 1).astype(np.float32)


def drifted(sound: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A tape that runs too fast or too slow by up to MOST_DRIFT, a little uneven."""
    period = rng.uniform(2, 8) * sample_rate
    time = np.arange(len(sound))
    flutter = rng.uniform(0, 0.003) * period / (2 * np.pi) * np.sin(2 * np.pi * time / period)
    return np.interp(time * (1 + rng.uniform(-MOST_DRIFT, MOST_DRIFT)) + flutter, time, sound)


def in_a_room(sound: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Another room of 0.15 to 0.9 s, heard from some way off."""
    from scipy.signal import fftconvolve

    decay = rng.uniform(0.15, 0.9)
    time = np.arange(int(decay * sample_rate)) / sample_rate
    tail = rng.normal(0, 1, len(time)) * np.exp(-6.9 * time / decay)
    wet = fftconvolve(sound, tail / np.sqrt((tail**2).sum()))[: len(sound)]
    return sound + rng.uniform(0.1, 0.7) * wet


def equalised(sound: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Three gentle peaks or dips between 80 Hz and 6 kHz."""
    spectrum, hertz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / sample_rate)
    curve = np.zeros_like(hertz)
    for _ in range(3):
        centre, width, gain = rng.uniform(np.log(80), np.log(6000)), rng.uniform(0.3, 1.2), rng.normal(0, 4)
        curve += gain * np.exp(-0.5 * ((np.log(np.maximum(hertz, 20)) - centre) / width) ** 2)
    return np.fft.irfft(spectrum * 10 ** (curve / 20), len(sound))


def dulled(sound: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Without its treble."""
    from scipy.signal import butter, lfilter

    b, a = butter(2, rng.uniform(2500, 6500), fs=sample_rate)
    dull: np.ndarray = lfilter(b, a, sound)
    return dull


def compressed(sound: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Its loud moments held down, as on the radio: ratios from 2 to 8 above 12 to 24 dB below the loudest."""
    from scipy.ndimage import uniform_filter1d

    level = np.sqrt(uniform_filter1d(sound**2, int(rng.uniform(0.02, 0.1) * sample_rate)).clip(1e-12))
    over = np.maximum(level / (level.max() * 10 ** (rng.uniform(-24, -12) / 20)), 1.0)
    held: np.ndarray = sound * over ** (1 / rng.uniform(2, 8) - 1)
    return held * (np.abs(sound).max() / max(np.abs(held).max(), 1e-9))


def noisy(sound: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise between -65 and -30 dB of the music."""
    level = np.sqrt((sound**2).mean()) * 10 ** (rng.uniform(-65, -30) / 20)
    return sound + rng.normal(0, 1, len(sound)) * level


def overdriven(sound: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    drive = rng.uniform(1, 4)
    return np.tanh(drive * sound) / drive


def coded(sound: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Once through an MP3."""
    import soundfile

    file = io.BytesIO()
    level = rng.uniform(0.5, 0.95)  # of libsndfile: 1 is the smallest file
    soundfile.write(file, sound.clip(-1, 1), sample_rate, format="MP3", compression_level=level)
    file.seek(0)
    read, _ = soundfile.read(file)
    return np.pad(read, (0, max(len(sound) - len(read), 0)))[: len(sound)]


STEPS: tuple[tuple[float, Step], ...] = (
    (0.3, drifted),
    (0.25, in_a_room),
    (0.7, equalised),
    (0.2, dulled),
    (0.3, compressed),
    (0.4, noisy),
    (0.3, overdriven),
    (0.3, coded),
)
