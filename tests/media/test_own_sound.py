"""A video's own sound under new music."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from m2ugen.examples import example
from m2ugen.media.audio import load_audio
from m2ugen.media.video import mux_audio

RATE = 44_100


def tone(frequency: float, seconds: float) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE, dtype=np.float32)[None]


def level(samples: np.ndarray, frequency: float) -> float:
    """How strong a tone is in the middle of the first channel."""
    middle = samples[0, samples.shape[-1] // 2 :][:RATE]
    return float(2 * np.abs((middle * np.exp(-2j * np.pi * frequency * np.arange(len(middle)) / RATE)).mean()))


def test_it_is_kept_at_half_its_level_on_request(tmp_path: Path) -> None:
    silent, loud = tmp_path / "silent.mp4", tmp_path / "loud.mp4"
    mux_audio(example("video"), tone(500, 8), RATE, loud)
    for keep, wanted in ((False, 0.0), (True, 0.15)):
        out = mux_audio(loud, tone(2000, 8), RATE, tmp_path / f"{keep}.mp4", keep_sound=keep)
        heard = load_audio(out).samples
        assert abs(level(heard, 500) - wanted) < 0.02
        assert abs(level(heard, 2000) - 0.3) < 0.03
    mux_audio(example("video"), tone(2000, 8), RATE, silent, keep_sound=True)  # a film without sound
    assert abs(level(load_audio(silent).samples, 2000) - 0.3) < 0.03


def test_music_that_is_too_long_fades_out(tmp_path: Path) -> None:
    out = mux_audio(example("video"), tone(500, 20), RATE, tmp_path / "a.mp4")
    samples = load_audio(out).samples
    with av.open(str(out)) as container:
        assert (
            abs(samples.shape[-1] / RATE - container.streams.video[0].duration * container.streams.video[0].time_base)
            < 0.1
        )
    assert np.abs(samples[:, -RATE // 8 :]).max() < 0.05 < np.abs(samples[:, : -3 * RATE]).max()
