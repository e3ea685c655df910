"""Rooms, equalisers, noise and clipping, so that renderings sound less alike than a synthesiser makes them."""

from __future__ import annotations

import numpy as np


def degrade(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Mono float32 [samples] as another microphone, room or sound card might have given it."""
    from scipy.signal import butter, lfilter

    sound = audio.astype(np.float64)
    if rng.random() < 0.7:  # a gentle equaliser: three peaks or dips between 80 Hz and 6 kHz
        spectrum, hertz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / sample_rate)
        curve = np.zeros_like(hertz)
        for _ in range(3):
            centre, width, gain = rng.uniform(np.log(80), np.log(6000)), rng.uniform(0.3, 1.2), rng.normal(0, 4)
            curve += gain * np.exp(-0.5 * ((np.log(np.maximum(hertz, 20)) - centre) / width) ** 2)
        sound = np.fft.irfft(spectrum * 10 ** (curve / 20), len(sound))
    if rng.random() < 0.2:
        b, a = butter(2, rng.uniform(2500, 6500), fs=sample_rate)
        sound = lfilter(b, a, sound)
    if rng.random() < 0.4:  # noise between -65 and -30 dB of the music
        level = np.sqrt((sound**2).mean()) * 10 ** (rng.uniform(-65, -30) / 20)
        sound = sound + rng.normal(0, 1, len(sound)) * level
    if rng.random() < 0.3:
        drive = rng.uniform(1, 4)
        sound = np.tanh(drive * sound) / drive
    sound = sound * 10 ** (rng.uniform(-18, 3) / 20)
    return np.clip(sound, -1, 1).astype(np.float32)
