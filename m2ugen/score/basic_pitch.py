"""Notes from audio with Basic Pitch's network.

Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note Transcription and Multipitch
Estimation", ICASSP 2022. The network's weights are Spotify's (Apache-2.0); the reading of its output is our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from m2ugen.errors import MissingWeights

MODEL_RATE = 22_050
HOP = 256  # samples for one frame
WINDOW = 43_844  # samples that the network sees
EDGE = 15  # frames at each end of a window that lack context
FRAMES = 142  # kept of the 172 frames of a window
BATCH = 8
LOWEST = 21  # MIDI pitch of the first of 88 keys
FRAME_SECONDS = HOP / MODEL_RATE


@dataclass(frozen=True)
class Activations:
    """Probabilities that a note sounds and that one begins, float32 [frames, 88], FRAME_SECONDS apart."""

    sounding: np.ndarray
    onsets: np.ndarray


@lru_cache(maxsize=1)
def _session() -> Any:
    import onnxruntime

    with as_file(files("m2ugen") / "assets" / "basic_pitch_nmp.onnx") as path:
        if not path.is_file():
            raise MissingWeights("the transcription network basic_pitch_nmp.onnx is missing; reinstall m2ugen")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def detect(mono: np.ndarray) -> Activations:
    """Run the network over float32 [samples] at MODEL_RATE Hz."""
    session = _session()
    step = FRAMES * HOP
    windows = max(-(-len(mono) // step), 1)
    padded = np.zeros((windows - 1) * step + WINDOW, dtype=np.float32)
    usable = min(len(mono), len(padded) - EDGE * HOP)
    padded[EDGE * HOP : EDGE * HOP + usable] = mono[:usable]
    stack = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::step]  # [windows, WINDOW]
    name = session.get_inputs()[0].name
    outputs = ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"]
    sounding, onsets = [], []
    for start in range(0, windows, BATCH):
        notes, starts = session.run(outputs, {name: np.ascontiguousarray(stack[start : start + BATCH])[..., None]})
        sounding.append(notes[:, EDGE : EDGE + FRAMES].reshape(-1, notes.shape[-1]))
        onsets.append(starts[:, EDGE : EDGE + FRAMES].reshape(-1, starts.shape[-1]))
    frames = max(-(-len(mono) // HOP), 1)
    return Activations(np.concatenate(sounding)[:frames], np.concatenate(onsets)[:frames])


def read_notes(
    activations: Activations,
    onset_threshold: float = 0.5,
    sounding_threshold: float = 0.2,
    min_seconds: float = 0.08,
    gap_seconds: float = 0.06,
) -> np.ndarray:
    """Notes, float64 [n, 4] with start and end in seconds, MIDI pitch and velocity (1-127), sorted by start.

    A note begins at a local maximum of the onset probability and lasts while it sounds, interruptions shorter than
    ``gap_seconds`` included, or until the same key is struck again.
    """
    sounding, onsets = activations.sounding, activations.onsets
    frames = len(sounding)
    before, after = np.pad(onsets, ((1, 0), (0, 0)))[:-1], np.pad(onsets, ((0, 1), (0, 0)))[1:]
    peaks = (onsets >= onset_threshold) & (onsets >= before) & (onsets > after)
    gap = max(round(gap_seconds / FRAME_SECONDS), 1)
    found = []
    for key in np.flatnonzero(peaks.any(axis=0)).tolist():
        starts = np.flatnonzero(peaks[:, key])
        silent = sounding[:, key] < sounding_threshold
        counts = np.concatenate([[0], np.cumsum(silent)])
        long_silence = np.flatnonzero(counts[gap:] - counts[:-gap] == gap)  # starts of runs of silence
        for start, following in zip(starts.tolist(), [*starts[1:].tolist(), frames], strict=True):
            place = np.searchsorted(long_silence, start + 1)
            end = min(int(long_silence[place]) if place < len(long_silence) else frames, following)
            if (end - start) * FRAME_SECONDS < min_seconds:
                continue
            strength = float(0.5 * sounding[start:end, key].mean() + 0.5 * onsets[start, key])
            velocity = int(np.clip(round(127 * strength), 1, 127))
            found.append((start * FRAME_SECONDS, end * FRAME_SECONDS, LOWEST + key, velocity))
    notes = np.array(found, dtype=np.float64).reshape(-1, 4)
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]
