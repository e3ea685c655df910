"""Small songs, pictures and videos, made here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from m2ugen.media.audio import save_audio

RATE = 16_000  # Hz
CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7))  # semitones above the tonic


def tones(
    seconds: float = 4.0,
    tonic: int = 57,
    bpm: float = 120.0,
    partials: Sequence[float] = (1.0, 0.5),
    drums: bool = False,
) -> np.ndarray:
    """Chords on every beat, float32 [samples] at RATE; ``partials`` are the timbre."""
    song = np.zeros(round(seconds * RATE))
    rng = np.random.default_rng(0)
    period = 60 / bpm
    for beat in range(int(seconds / period)):
        start = round(beat * period * RATE)
        time = np.arange(min(round(period * RATE), len(song) - start)) / RATE
        for pitch in (*CHORDS[beat // 2 % 4], -12):
            hertz = 440 * 2 ** ((tonic + pitch - 69) / 12)
            tone = sum(a * np.sin(2 * np.pi * hertz * k * time) for k, a in enumerate(partials, 1))
            song[start : start + len(time)] += 0.08 * tone * np.exp(-4 * time)
        if drums:
            song[start : start + len(time)] += 0.2 * rng.normal(size=len(time)) * np.exp(-50 * time)
    return song.astype(np.float32)


def write_songs(folder: Path, count: int = 3, seconds: float = 4.0) -> Path:
    """``count`` different songs: song0.wav, song1.wav …"""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        partials = np.random.default_rng(k).uniform(0.1, 1.0, 4)
        save_audio(folder / f"song{k}.wav", tones(seconds, 52 + 3 * k, 90 + 13 * k, partials, k % 2 == 1), RATE)
    return folder


def write_picture(path: Path, colour: str = "red", size: tuple[int, int] = (48, 32)) -> Path:
    """A picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def write_video(path: Path, colour: str = "red", seconds: float = 2.0, sound: np.ndarray | None = None) -> Path:
    """A video of one colour that grows brighter, ten pictures a second, with ``sound`` at RATE."""
    import av

    from m2ugen.media.audio import audio_frames

    path.parent.mkdir(parents=True, exist_ok=True)
    base = np.array(Image.new("RGB", (64, 48), colour))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for k in range(round(10 * seconds)):
            picture = np.clip(base * (0.5 + 0.5 * k / (10 * seconds)), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
        if audio is not None and sound is not None:
            for frame in audio_frames(sound[None], RATE, "mono"):
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a set but the build's own, by its path in the folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if ".build" not in path.parts}
