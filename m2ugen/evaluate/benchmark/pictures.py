"""Pictures and clips of known energy: crops of the bundled photographs in other light, colour, sharpness, motion."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from m2ugen.examples import example
from m2ugen.media.image import load_image
from m2ugen.media.video import load_video
from m2ugen.model.encoders.appearance import clip_energy, look, moves, picture_energy

SIDE = 320
FPS, CLIP_SECONDS = 12, 8.0
SHOTS = 4  # of a clip, at most
SHORTEST = 1.0  # seconds of a shot
FRAMES = 32  # that the energy of a clip is measured on


@lru_cache(maxsize=1)
def photographs() -> tuple[Image.Image, ...]:
    """The bundled pictures and one of the bundled clip."""
    frames = load_video(example("video"), num_frames=3)
    return (load_image(example("bright")), load_image(example("dark")), Image.fromarray(frames.array[1]))


def make_picture(stem: Path, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """Write ``stem``.jpg; its name and facts: "energy" (0-1) as light, colour and detail give it."""
    picture = _varied(rng, float(rng.uniform(-1, 1)))
    path = stem.with_suffix(".jpg")
    picture.save(path, quality=92)
    looks = look(np.asarray(load_image(path).convert("RGB")))
    return path.name, {"energy": float(picture_energy(looks))}


def make_clip(stem: Path, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """Write ``stem``.mp4; its name and facts: "energy" (0-1), "cuts" (seconds) and "duration"."""
    liveliness = float(rng.uniform(-1, 1))  # calm and dark to quick and bright, as films are
    total = int(CLIP_SECONDS * FPS)
    count = int(np.clip(round(1 + (SHOTS - 1) * (liveliness + 1) / 2 + rng.normal(0, 0.5)), 1, SHOTS))
    room = total - count * int(SHORTEST * FPS)
    extra = np.sort(rng.integers(0, room + 1, count - 1)) if count > 1 else np.array([], dtype=int)
    lengths = np.diff(np.concatenate([[0], extra, [room]])) + int(SHORTEST * FPS)
    frames: list[np.ndarray] = []
    for length in lengths:
        frames += _shot(rng, int(length), liveliness)
    path = stem.with_suffix(".mp4")
    write_clip(path, np.stack(frames), FPS)
    seen = load_video(path, num_frames=FRAMES)
    looks = np.stack([look(frame) for frame in seen.array]).mean(axis=0)
    energy = float(clip_energy(looks, moves(seen.array, seen.timestamps)))
    cuts = [float(place) / FPS for place in np.cumsum(lengths)[:-1]]
    return path.name, {"energy": energy, "cuts": cuts, "duration": seen.duration}


def write_clip(path: Path, frames: np.ndarray, fps: int) -> None:
    """Pictures uint8 [n, height, width, 3] as a video file without sound."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 1_500_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


def _varied(rng: np.random.Generator, liveliness: float, side: int = SIDE) -> Image.Image:
    """A crop whose light, colour and sharpness follow ``liveliness`` (-1 to 1), with chance added."""
    photographs_ = photographs()
    photo = photographs_[int(rng.integers(len(photographs_)))].convert("RGB")
    size = int(min(photo.size) * rng.uniform(0.5, 1.0))
    left, top = (int(rng.integers(0, edge - size + 1)) for edge in photo.size)
    picture = photo.crop((left, top, left + size, top + size)).resize((side, side), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strength = liveliness + rng.normal(0, 0.35, 3)
    picture = ImageEnhance.Brightness(picture).enhance(float(np.clip(2.0 ** (0.9 * strength[0]), 0.3, 2.2)))
    picture = ImageEnhance.Color(picture).enhance(float(np.clip(2.0 ** (1.6 * strength[1]), 0.0, 3.5)))
    if strength[2] < 0:
        picture = picture.filter(ImageFilter.GaussianBlur(float(-3.0 * strength[2])))
    return picture


def _shot(rng: np.random.Generator, length: int, liveliness: float) -> list[np.ndarray]:
    """Pictures of one shot: a window that travels over a larger crop, faster the livelier it is."""
    window = SIDE // 2
    large = np.asarray(_varied(rng, liveliness))
    angle = rng.uniform(0, 2 * np.pi)
    speed = max((liveliness + 1) / 2 + rng.normal(0, 0.15), 0.0) * 60.0  # pixels a second
    centre = np.array([(SIDE - window) / 2] * 2)
    places = centre + speed / FPS * (np.arange(length)[:, None] - length / 2) * np.array([np.cos(angle), np.sin(angle)])
    corners = np.clip(np.round(places), 0, SIDE - window).astype(int)
    return [large[y : y + window, x : x + window] for x, y in corners]
