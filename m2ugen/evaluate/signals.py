"""What can be measured in a waveform without a model: level, clipping, repetition, harmony over time, onsets."""

from __future__ import annotations

import numpy as np

from m2ugen.media.audio import Audio, load_audio
from m2ugen.score.beats import HOP, RATE, onset_strength
from m2ugen.score.mixing import measure_loudness, measure_true_peak

CHROMA_FFT, CHROMA_HOP = 8192, 2205  # ten frames a second at RATE
LOWEST, HIGHEST = 55.0, 2500.0  # Hz that count for the harmony
CLIPPED = 0.999  # full scale
SILENT = 10 ** (-60 / 20)
MIN_LAG = 2.0  # seconds after which material counts as repeated
STRONG = 0.5  # of the strongest onsets: as much counts as strong
CUT_WINDOW = 0.12  # seconds within which an onset falls on a cut


def level_figures(audio: Audio) -> dict[str, float]:
    """Loudness (LUFS), true peak (dBTP), share of clipped samples and share of silent tenths of a second."""
    samples = audio.samples
    flat = np.abs(samples).max(axis=0)
    block = max(audio.sample_rate // 10, 1)
    blocks = flat[: len(flat) // block * block].reshape(-1, block) if len(flat) >= block else flat[None]
    return {
        "loudness": measure_loudness(samples, audio.sample_rate),
        "true peak": float(20 * np.log10(max(measure_true_peak(samples), 1e-9))),
        "clipped": float((flat >= CLIPPED).mean()),
        "silent": float((blocks.max(axis=1) < SILENT).mean()),
    }


def chroma(audio: Audio) -> np.ndarray:
    """Strength of the pitch classes ten times a second, float [frames, 12], each frame of length 1 (silence: 0)."""
    mono = load_audio(audio, RATE, mono=True).samples[0]
    padded = np.pad(mono, (CHROMA_FFT // 2, CHROMA_FFT // 2))
    stack = np.lib.stride_tricks.sliding_window_view(padded, CHROMA_FFT)[::CHROMA_HOP]
    magnitude = np.sqrt(np.abs(np.fft.rfft(stack * np.hanning(CHROMA_FFT), axis=1)))
    hertz = np.fft.rfftfreq(CHROMA_FFT, 1 / RATE)
    inside = np.flatnonzero((hertz >= LOWEST) & (hertz <= HIGHEST))
    pitches = 69 + 12 * np.log2(hertz[inside] / 440.0)
    near = 1.0 - 2.0 * np.abs(pitches - np.round(pitches))  # bins between two notes count for neither
    folding = np.zeros((len(inside), 12))
    folding[np.arange(len(inside)), np.round(pitches).astype(int) % 12] = near
    found = (magnitude[:, inside] - np.median(magnitude[:, inside], axis=1, keepdims=True)).clip(0.0) @ folding
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9))


def harmony_kept(before: np.ndarray, after: np.ndarray, semitones: int = 0) -> float:
    """Mean cosine of two chroma sequences [frames, 12] over their common relative time, the second transposed by
    ``semitones`` against the first; so a change of tempo is no change of harmony. 0 to 1, NaN where nothing sounds.
    """
    if not len(before) or not len(after):
        return float("nan")
    count = max(len(before), len(after))
    first, second = (
        sequence[np.round(np.linspace(0, len(sequence) - 1, count)).astype(int)] for sequence in (before, after)
    )
    sounding = (np.linalg.norm(first, axis=1) > 0) & (np.linalg.norm(second, axis=1) > 0)
    if not sounding.any():
        return float("nan")
    return float((first * np.roll(second, -semitones, axis=1)).sum(axis=1)[sounding].mean())


def transposition(before: np.ndarray, after: np.ndarray) -> int:
    """By how many semitones (-6 to 5) the second chroma sequence fits the first best."""
    scores = [harmony_kept(before, after, step) for step in range(12)]
    best = int(np.nanargmax(scores)) if np.isfinite(scores).any() else 0
    return (best + 6) % 12 - 6


def repetition(frames: np.ndarray, per_second: float = RATE / CHROMA_HOP) -> float:
    """How much the best lag of at least MIN_LAG brings back: mean similarity of frames [n, dim] that far apart,
    above the mean over all lags up to half the length. About 0 for music that never returns.
    """
    lags = range(int(MIN_LAG * per_second), len(frames) // 2 + 1)
    values = [float((frames[:-lag] * frames[lag:]).sum(axis=1).mean()) for lag in lags]
    return float(max(values) - np.mean(values)) if values else float("nan")


def cuts_met(audio: Audio, cuts: list[float]) -> float:
    """Share of ``cuts`` (seconds) with a strong onset within CUT_WINDOW; NaN without cuts inside."""
    mono = load_audio(audio, RATE, mono=True).samples[0]
    inside = [cut for cut in cuts if cut < audio.duration]
    if not inside:
        return float("nan")
    strength = onset_strength(mono)[0]
    peaks = np.flatnonzero((strength[1:-1] > strength[:-2]) & (strength[1:-1] >= strength[2:])) + 1
    if not len(peaks):
        return 0.0
    strong = peaks[strength[peaks] >= STRONG * np.quantile(strength[peaks], 0.95)] * HOP / RATE
    return float(np.mean([np.abs(strong - cut).min() <= CUT_WINDOW for cut in inside]))
