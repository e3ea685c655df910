"""Beats, tempo, metre and downbeats from audio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE = 22_050
HOP = 256
STEADY = 0.03  # seconds by which beats may deviate (median) from an even grid to count as played to a click
MIN_TEMPO, MAX_TEMPO = 50.0, 210.0
PREFERRED_TEMPO = 115.0
FFT = 2048
NUM_BANDS, BASS_BANDS = 48, 16  # the bass bands end at 210 Hz
TIGHTNESS = 200.0  # how much a beat that is not a period after the last one costs


@dataclass(frozen=True)
class Beats:
    """Beat ``times`` in seconds (ascending, covering the music), ``tempo`` in beats per minute, the ``metre`` and the
    index of the first ``downbeat`` among the times. ``steady`` says that the times form an even grid.
    """

    times: np.ndarray
    tempo: float
    metre: str
    downbeat: int
    steady: bool

    @property
    def beats_per_bar(self) -> int:
        return {"4/4": 4, "3/4": 3, "6/8": 2}[self.metre]


def track_beats(mono: np.ndarray, chroma: np.ndarray | None = None, chroma_seconds: float = 0.0) -> Beats:
    """Beats of float32 [samples] at 22,050 Hz.

    Dynamic programming after Ellis, "Beat Tracking by Dynamic Programming" (2007); an even grid is fitted where the
    music keeps its tempo. Downbeats are where bass and accents fall and, when ``chroma`` [frames, 12]
    (``chroma_seconds`` apart) is given, where the harmony changes. Silence gives 120 beats per minute.
    """
    duration = len(mono) / RATE
    nothing = Beats(np.arange(0.0, duration + 0.5, 0.5), 120.0, "4/4", 0, True)
    strength, bass = onset_strength(mono)
    if duration < 1.0 or strength.max(initial=0.0) <= 1e-6:
        return nothing
    period = _beat_period(strength)
    times = _follow_beats(strength, period) * HOP / RATE
    if len(times) < 4:
        return nothing
    times, tempo, steady = _even_grid(times, strength, duration)
    metre, downbeat = _metre(times, tempo, strength, bass, chroma, chroma_seconds)
    return Beats(times, tempo, metre, downbeat, steady)


def onset_strength(mono: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much sets in at each frame, float [frames], HOP samples apart: the mean rise in decibels over all bands,
    and the rise in amplitude of the bass (in decibels, the hum between the notes would count as much as they do).
    """
    padded = np.pad(mono, (FFT // 2, FFT // 2 + HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    window = np.hanning(FFT).astype(np.float32)
    edges = np.geomspace(30.0, 10_000.0, NUM_BANDS + 1)
    bins = np.maximum.accumulate(np.round(edges * FFT / RATE).astype(int))
    bins = np.maximum(bins, 1 + np.arange(NUM_BANDS + 1))  # at least one bin for each band
    power = np.empty((NUM_BANDS, len(frames)))
    for start in range(0, len(frames), 512):
        spectrum = np.abs(np.fft.rfft(frames[start : start + 512] * window, axis=1)) ** 2
        power[:, start : start + 512] = np.add.reduceat(spectrum[:, : bins[-1]], bins[:-1], axis=1).T
    decibels = 10 * np.log10(power + 1e-10)
    decibels = np.maximum(decibels, decibels.max() - 70.0)
    low = np.sqrt(power[:BASS_BANDS])
    rises = [np.maximum(np.diff(level, axis=1, prepend=level[:, :1]), 0.0).mean(axis=0) for level in (decibels, low)]
    return rises[0], rises[1]


def _beat_period(strength: np.ndarray) -> float:
    """Frames per beat: the autocorrelation peak that its multiples support, near 115 beats per minute if in doubt."""
    centred = strength - strength.mean()
    size = 1 << int(np.ceil(np.log2(2 * len(centred))))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2)[: len(centred)]
    correlation /= np.arange(len(centred), 0, -1) * max(float(centred.var()), 1e-12)
    lags = 60.0 / np.geomspace(MIN_TEMPO, MAX_TEMPO, 400) * RATE / HOP
    lags = lags[lags < len(centred) / 2]
    if not len(lags):
        return 0.5 * RATE / HOP
    index = np.arange(len(correlation))
    support = sum(
        weight * np.interp(lags * factor, index, correlation, right=0.0)
        for factor, weight in ((1, 1.0), (2, 0.6), (3, 0.2), (4, 0.5), (0.5, 0.3))
    )
    tempi = 60.0 * RATE / HOP / lags
    prior = np.exp(-0.5 * (np.log2(tempi / PREFERRED_TEMPO) / 0.8) ** 2)
    return float(lags[int(np.argmax(np.maximum(support, 0.0) * prior))])


def _follow_beats(strength: np.ndarray, period: float) -> np.ndarray:
    """Frames of the beats: the chain of frames about a ``period`` apart that collects most onset strength."""
    width = np.arange(-int(period), int(period) + 1)
    local = np.convolve(strength / (strength.std() + 1e-9), np.exp(-0.5 * (width * 32.0 / period) ** 2), "same")
    steps = np.arange(-int(2 * period), -int(period / 2) + 1)
    cost = TIGHTNESS * np.log(-steps / period) ** 2
    score, back = local.copy(), np.full(len(local), -1)
    for frame in range(len(local)):
        previous = frame + steps
        usable = previous >= 0
        if usable.any():
            reached = score[previous[usable]] - cost[usable]
            best = int(reached.argmax())
            if reached[best] > 0:
                score[frame] = local[frame] + reached[best]
                back[frame] = previous[usable][best]
    last = len(score) - int(period) + int(score[-int(period) :].argmax())
    beats = [last]
    while back[beats[-1]] >= 0:
        beats.append(int(back[beats[-1]]))
    return np.array(beats[::-1])


def _even_grid(times: np.ndarray, strength: np.ndarray, duration: float) -> tuple[np.ndarray, float, bool]:
    """The beats on an even grid over the whole file when they nearly are one; else as they are, extended."""
    period = float(np.median(np.diff(times)))
    steps = np.round(np.diff(times) / period)
    index = np.concatenate([[0], np.cumsum(np.maximum(steps, 1))])
    for _ in range(3):  # refit without the beats that went astray
        slope, intercept = np.polyfit(index, times, 1)
        error = np.abs(times - (slope * index + intercept))
        good = error <= max(2.5 * np.median(error), 0.015)
        index, times_fit = index[good], times[good]
        if good.all() or len(index) < 4:
            break
        times = times_fit
    if np.median(error) <= STEADY and 60 / MAX_TEMPO / 1.2 < slope < 60 / MIN_TEMPO * 1.2:
        slope, intercept = _refine(slope, intercept, strength, duration)
        first = np.ceil((-0.25 * slope - intercept) / slope)
        count = int(np.ceil((duration - intercept) / slope - first)) + 1
        return intercept + slope * (first + np.arange(count)), 60.0 / slope, True
    period = float(np.median(np.diff(times)))
    head = np.arange(times[0] - period, -0.25 * period, -period)[::-1]
    tail = np.arange(times[-1] + period, duration + period, period)
    return np.concatenate([head, times, tail]), 60.0 / period, False


def _refine(slope: float, intercept: float, strength: np.ndarray, duration: float) -> tuple[float, float]:
    """The period and phase near the given ones at which the grid collects most onset strength."""
    beats = np.arange(int(duration / slope) + 1)
    best = (-1.0, slope, intercept)
    frame = HOP / RATE
    for candidate in slope * (1 + np.linspace(-0.004, 0.004, 17)):
        for shift in np.arange(-0.04, 0.041, frame / 2):
            anchor = intercept + shift + (slope - candidate) * len(beats) / 2
            places = (anchor + candidate * beats) / frame
            collected = float(np.interp(places, np.arange(len(strength)), strength, left=0, right=0).sum())
            if collected > best[0]:
                best = (collected, float(candidate), float(anchor))
    return best[1], best[2]


def _metre(
    times: np.ndarray,
    tempo: float,
    strength: np.ndarray,
    bass: np.ndarray,
    chroma: np.ndarray | None,
    chroma_seconds: float,
) -> tuple[str, int]:
    """Metre and first downbeat."""
    frame = HOP / RATE

    def at(curve: np.ndarray, places: np.ndarray) -> np.ndarray:
        index = np.clip(np.round(places / frame).astype(int)[:, None] + np.arange(-2, 3), 0, len(curve) - 1)
        return np.asarray(curve[index].max(axis=1))

    gaps = np.diff(times)
    thirds = np.minimum(at(strength, times[:-1] + gaps / 3).mean(), at(strength, times[:-1] + gaps * 2 / 3).mean())
    compound = thirds > 1.3 * at(strength, times[:-1] + gaps / 2).mean() and tempo < 110
    salience = _standard(at(bass, times)) + 0.5 * _standard(at(strength, times))
    if chroma is not None and len(chroma):
        salience = salience + 2.0 * _standard(_harmonic_change(times, chroma, chroma_seconds))
    if compound:
        phase = int(np.argmax([salience[p::2].mean() for p in range(2)]))
        return "6/8", phase
    scores = {}
    for period in (3, 4):
        means = [float(salience[p::period].mean()) for p in range(period)]
        scores[period] = (max(means), int(np.argmax(means)))
    three = scores[3][0] > scores[4][0] * 1.1 + 0.05
    return ("3/4", scores[3][1]) if three else ("4/4", scores[4][1])


def _harmonic_change(times: np.ndarray, chroma: np.ndarray, chroma_seconds: float) -> np.ndarray:
    """Distance between the harmony after and before each beat, float [beats]."""
    span = float(np.median(np.diff(times)))
    sums = np.concatenate([np.zeros((1, chroma.shape[1])), np.cumsum(chroma, axis=0)])

    def mean(start: np.ndarray) -> np.ndarray:
        low = np.clip((start / chroma_seconds).astype(int), 0, len(chroma))
        high = np.clip(((start + span) / chroma_seconds).astype(int), 0, len(chroma))
        total = sums[high] - sums[low]
        return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-6))

    return np.asarray(1.0 - (mean(times) * mean(times - span)).sum(axis=1))


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / (values.std() + 1e-9)
