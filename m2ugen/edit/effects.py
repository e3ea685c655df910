"""Volume, fades and effects on the finished sound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m2ugen.edit.command import EditCommand
from m2ugen.edit.source import EditContext, EditSource, Handler, limited
from m2ugen.model.decoders.base import Music

ECHO_SECONDS, ECHO_LEVEL, ECHOES = 0.35, 0.5, 6
TELEPHONE_BAND = (300.0, 3400.0)  # Hz
LOW_PASS, HIGH_PASS = 900.0, 700.0  # Hz


def change_volume(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Louder or quieter by so many decibels; peaks are limited instead of clipped."""
    gain = np.float32(10 ** ((command.amount or 0.0) / 20))
    return source.changed(limited(source.audio * gain, source.sample_rate), keep_score=True)


def fade(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Fade in or out over so many seconds (at most the whole piece)."""
    audio = source.audio.copy()
    samples = min(round((command.amount or 3.0) * source.sample_rate), audio.shape[-1])
    rise = np.sin(np.linspace(0.0, np.pi / 2, samples, dtype=np.float32)) ** 2
    if command.operation == "fade in":
        audio[:, :samples] *= rise
    else:
        audio[:, audio.shape[-1] - samples :] *= rise[::-1]
    return source.changed(audio, keep_score=True)


def apply_effect(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """One of EFFECTS, at the loudness of the source."""
    name = command.targets[0]
    wet = _EFFECTS[name](source.audio, source.sample_rate)
    before, after = (float(np.sqrt((x[:, : source.audio.shape[-1]] ** 2).mean())) for x in (source.audio, wet))
    wet = wet * np.float32(min(before / after, 8.0) if after > 0 else 1.0)
    return source.changed(limited(wet, source.sample_rate), keep_score=name != "reverse")


def _reverb(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """A large hall, whose ring goes on after the end."""
    from m2ugen.score.mixing import Room, reverberate

    padded = np.pad(audio, ((0, 0), (0, 2 * sample_rate)))
    wet = reverberate(padded.mean(axis=0), Room(2.8, -3.0), sample_rate)
    return padded + (wet if audio.shape[0] == 2 else wet.mean(axis=0, keepdims=True))


def _echo(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    delay = round(ECHO_SECONDS * sample_rate)
    result = np.pad(audio, ((0, 0), (0, delay * ECHOES)))
    for k in range(1, ECHOES + 1):
        result[:, delay * k : delay * k + audio.shape[-1]] += audio * np.float32(ECHO_LEVEL**k)
    return result


def _filtered(band: float | tuple[float, float], kind: str, order: int) -> Callable[[np.ndarray, int], np.ndarray]:
    def run(audio: np.ndarray, sample_rate: int) -> np.ndarray:
        from scipy.signal import butter, sosfilt

        sections = butter(order, np.minimum(band, 0.45 * sample_rate), kind, fs=sample_rate, output="sos")
        return np.asarray(sosfilt(sections, audio, axis=-1), dtype=np.float32)

    return run


def _telephone(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    narrow = _filtered(TELEPHONE_BAND, "bandpass", 3)(audio.mean(axis=0, keepdims=True), sample_rate)
    return np.repeat(_distortion(narrow, sample_rate, 3.0), audio.shape[0], axis=0)


def _distortion(audio: np.ndarray, sample_rate: int, drive: float = 12.0) -> np.ndarray:
    level = float(np.sqrt((audio**2).mean())) + 1e-9
    return np.asarray(np.tanh(audio * np.float32(drive * 0.1 / level)), dtype=np.float32)


_EFFECTS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {  # one line for each of command.EFFECTS
    "reverb": _reverb,
    "echo": _echo,
    "low-pass": _filtered(LOW_PASS, "lowpass", 4),
    "high-pass": _filtered(HIGH_PASS, "highpass", 4),
    "telephone": _telephone,
    "distortion": _distortion,
    "reverse": lambda audio, sample_rate: audio[:, ::-1],
}
HANDLERS: dict[str, Handler] = {
    "volume": change_volume,
    "fade in": fade,
    "fade out": fade,
    "effect": apply_effect,
}
