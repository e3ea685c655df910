"""How much speech is in a recording, by Silero VAD."""

from __future__ import annotations

import threading
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

WINDOW, CONTEXT = 512, 64  # samples at 16 kHz that the model judges at once, and that it sees of what comes before
BLOCK = 512  # windows for each call
SPEECH = 0.5  # probability from which a window counts
_FILE = "silero_vad_16k_sequence.onnx"
_LOCK = threading.Lock()


def speech_model() -> Path | None:
    """The detector's file, or None where silero-vad is not installed.

    The package is not imported: it would set the number of torch's threads to 1.
    """
    found = find_spec("silero_vad")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "data" / _FILE
    return path if path.is_file() else None


@lru_cache(maxsize=1)
def _session(path: Path) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def speech_share(mono: np.ndarray, model: Path) -> float:
    """Share of the time in which somebody speaks, 0 to 1, in float32 [samples] at 16 kHz."""
    with _LOCK:
        session = _session(model)
    count = max(-(-len(mono) // WINDOW), 1)
    padded = np.pad(mono.astype(np.float32), (CONTEXT, count * WINDOW - len(mono)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + WINDOW)[::WINDOW]  # [count, 576]
    state = {"h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)}
    spoken = 0
    for start in range(0, count, BLOCK):
        block = np.ascontiguousarray(windows[start : start + BLOCK])
        found, state["h"], state["c"] = session.run(None, {"input": block, **state})
        spoken += int((np.asarray(found) >= SPEECH).sum())
    return spoken / count
