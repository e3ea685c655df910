"""What can be measured in a recording without learning: pitch classes, periodicities, loudness, onsets.

Taggers know neither key nor tempo; these features do. Everything is computed over the whole file.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from m2ugen.score.attributes import TEMPOS

SAMPLE_RATE = 16000  # Hz
HOP = 256  # of the mel spectrogram: 62.5 frames per second
CHROMA_FFT, CHROMA_HOP = 4096, 1024
LOWEST_PITCH, HIGHEST_PITCH, BASS_TOP = 28, 100, 52  # MIDI pitches
BANDS = ((0, 8), (8, 24), (24, 56), (56, 96), (0, 96))  # mel channels whose onsets are looked at apart
PERIODS = (0.5, 1.0, 2.0, 3.0, 4.0)  # lags that are read for each tempo, in beats
CHROMA_ROWS = 9
HARMONICS = ((12, 0.5), (19, 0.5), (24, 0.4), (28, 0.4), (31, 0.3), (34, 0.3))  # semitones, share taken off
TEMPO_ROWS = len(BANDS) * len(PERIODS)
MEL_GROUPS = 24
STRIKES = 0.04  # share of the frames that count as the strongest onsets
PERCUSSIVE_FRAMES, PERCUSSIVE_MELS = 17, 17  # lengths of the median filters: about 0.27 s and a sixth of the spectrum
PERCUSSIVE_GROUPS = 6
STATS = 3 * MEL_GROUPS + 6 * len(BANDS) + 8 + 3 * PERCUSSIVE_GROUPS + 6


def chroma_features(waveform: np.ndarray) -> np.ndarray:
    """Pitch-class profiles, float32 [CHROMA_ROWS, 12], each with a norm of 1 (0 for silence).

    Mean strength of all pitches, of the bass and of the treble; share of frames in which a class is the strongest of
    the bass; major and minor triads on each class; and how often classes sound together with those 3, 4 and 5
    semitones above. Turning all rows by n columns transposes the music by n semitones.
    """
    pitches = np.sqrt(_spectrum(waveform, CHROMA_FFT, CHROMA_HOP) @ _pitch_filters())  # [frames, pitches]
    pitches = np.maximum(pitches - np.median(pitches, axis=1, keepdims=True), 0.0)
    strongest = _fold(pitches[:, : BASS_TOP - LOWEST_PITCH], 0)
    strongest = strongest >= np.maximum(strongest.max(axis=1, keepdims=True), 1e-6)
    fundamentals = pitches.copy()
    for interval, share in HARMONICS:  # overtones of lower notes are not notes
        fundamentals[:, interval:] -= share * pitches[:, :-interval]
    fundamentals = np.maximum(fundamentals, 0.0)
    split = BASS_TOP - LOWEST_PITCH
    bass, treble = _fold(fundamentals[:, :split], 0), _fold(fundamentals[:, split:], split)
    classes = bass + treble
    classes = classes / np.maximum(classes.max(axis=1, keepdims=True), 1e-6)
    above = {interval: np.roll(classes, -interval, axis=1) for interval in (3, 4, 5, 7)}
    triads = [np.minimum(np.minimum(classes, above[third]), above[7]) for third in (4, 3)]
    pairs = [classes * above[interval] for interval in (3, 4, 5)]
    rows = np.stack([r.mean(axis=0) for r in (bass + treble, bass, treble, strongest, *triads, *pairs)])
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def tempo_features(mel: np.ndarray) -> np.ndarray:
    """How strongly onsets repeat at each tempo, float32 [TEMPO_ROWS, len(TEMPOS)].

    Row (band, period) holds the normalised autocorrelation of the band's onset strength at the lag of ``period``
    beats, for every tempo of the grid. ``mel`` is a log-mel spectrogram [frames, 96].
    """
    frames_per_second = SAMPLE_RATE / HOP
    rows = []
    for flux in _fluxes(_rise(mel)):
        size = 2 * len(flux)
        power = np.abs(np.fft.rfft(flux - flux.mean(), size)) ** 2
        correlation = np.fft.irfft(power, size)[: len(flux)]
        correlation = correlation / np.maximum(len(flux) - np.arange(len(flux)), 1)  # unbiased
        correlation = correlation / max(correlation[0], 1e-9)
        for period in PERIODS:
            lags = period * 60.0 / TEMPOS * frames_per_second
            rows.append(np.interp(lags, np.arange(len(flux)), correlation, right=0.0))
    return np.clip(np.stack(rows), -1.0, 1.0).astype(np.float32)


def statistics(waveform: np.ndarray, mel: np.ndarray) -> np.ndarray:
    """Timbre, onset, loudness and percussion statistics, float32 [STATS]."""
    groups = mel.reshape(len(mel), MEL_GROUPS, -1).mean(axis=2)
    onsets = []
    rise = _rise(mel)
    fluxes = _fluxes(rise)
    for flux in fluxes:
        threshold = flux.mean() + flux.std()
        peaks = (flux[1:-1] > flux[:-2]) & (flux[1:-1] >= flux[2:]) & (flux[1:-1] > threshold)
        rate = peaks.sum() / max(len(flux) * HOP / SAMPLE_RATE, 1e-3)
        onsets += [flux.mean(), flux.std(), *np.percentile(flux, (50, 90, 99)), rate / 10.0]
    frames = waveform[: len(waveform) // HOP * HOP].reshape(-1, HOP)
    loudness = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) + 1e-5) / 20.0
    crossings = (np.diff(np.signbit(frames), axis=1) != 0).mean(axis=1)
    weight = np.maximum(10**mel - 1, 0)
    centroid = (weight @ np.arange(mel.shape[1])) / np.maximum(weight.sum(axis=1), 1e-6) / mel.shape[1]
    level = [loudness.mean(), loudness.std(), *np.percentile(loudness, (10, 90))]
    shape = [crossings.mean(), crossings.std(), centroid.mean(), centroid.std()]
    parts = [groups.mean(0), groups.std(0), onsets, level, shape, *_percussion(mel, rise, fluxes)]
    return np.concatenate(parts).astype(np.float32)


def _percussion(mel: np.ndarray, rise: np.ndarray, fluxes: list[np.ndarray]) -> list[np.ndarray]:
    """How much of each part of the spectrum is struck rather than held, what the strongest onsets sound like, and how
    often the bands' onsets fall together.

    Struck sounds are upright lines of the spectrogram and held ones lie (Fitzgerald, "Harmonic/percussive separation
    using median filtering", 2010).
    """
    from scipy.ndimage import median_filter

    held = median_filter(mel, size=(PERCUSSIVE_FRAMES, 1), mode="nearest") ** 2
    struck = median_filter(mel, size=(1, PERCUSSIVE_MELS), mode="nearest") ** 2
    share = struck / np.maximum(struck + held, 1e-6) * (mel > 0.1 * mel.max())
    share = share.reshape(len(mel), PERCUSSIVE_GROUPS, -1).mean(axis=2)
    count = max(int(STRIKES * len(mel)), 1)
    strongest = np.argpartition(rise.sum(axis=1), -count)[-count:]
    strikes = rise[strongest].mean(axis=0).reshape(MEL_GROUPS, -1).mean(axis=1)
    apart = np.stack(fluxes[:-1])  # the last band is the whole spectrum
    apart = apart - apart.mean(axis=1, keepdims=True)
    apart /= np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-6)
    together = (apart @ apart.T)[np.triu_indices(len(apart), 1)]
    return [share.mean(0), share.std(0), np.percentile(share, 90, axis=0), strikes, together]


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram float32 [frames, 96], as musicnn was trained on, of mono float samples at SAMPLE_RATE."""
    power = _spectrum(waveform, 512, HOP) ** 2
    return np.log10(10000.0 * (power @ _mel_filters()) + 1.0).astype(np.float32)


def _spectrum(waveform: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Magnitudes [frames, bins] of windows centred on multiples of ``hop``."""
    padded = np.pad(waveform, size // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    hann = np.hanning(size + 1)[:-1].astype(np.float32)
    return np.concatenate(
        [np.abs(np.fft.rfft(part * hann)) for part in np.array_split(windows, 1 + len(windows) // 512)]
    )


def _rise(mel: np.ndarray) -> np.ndarray:
    """Half-wave rectified change over time [frames, mels]."""
    return np.maximum(np.diff(mel, axis=0, prepend=mel[:1]), 0.0)


def _fluxes(rise: np.ndarray) -> list[np.ndarray]:
    """Onset strength [frames] of each of BANDS."""
    return [rise[:, low:high].mean(axis=1) for low, high in BANDS]


def _fold(pitches: np.ndarray, offset: int) -> np.ndarray:
    """Pitch energies [frames, pitches] to pitch classes [frames, 12]; column 0 is C."""
    folded = np.zeros((len(pitches), 12))
    for index in range(pitches.shape[1]):
        folded[:, (LOWEST_PITCH + offset + index) % 12] += pitches[:, index]
    return folded


@lru_cache(maxsize=1)
def _pitch_filters() -> np.ndarray:
    """[bins, pitches]: a triangle of a semitone's half width around each pitch."""
    hertz = np.fft.rfftfreq(CHROMA_FFT, 1 / SAMPLE_RATE)
    with np.errstate(divide="ignore"):
        place = 69 + 12 * np.log2(hertz / 440.0)
    pitches = np.arange(LOWEST_PITCH, HIGHEST_PITCH)
    width = np.maximum(0.5, 0.75 * 12 / np.log(2) * (SAMPLE_RATE / CHROMA_FFT) / (440 * 2 ** ((pitches - 69) / 12)))
    filters = np.maximum(1 - np.abs(place[:, None] - pitches) / width, 0.0)
    return filters / np.maximum(filters.sum(axis=0), 1e-6)


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    from transformers.audio_utils import mel_filter_bank

    return mel_filter_bank(257, 96, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
