"""Uploaded files: what they are, by their content, and the decoded forms that lie in a job's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from m2ugen.media.audio import Audio
from m2ugen.media.video import Frames

# Beginnings of files, at an offset, and what they are. What is not here is not decoded at all: playlists and other
# formats that name further files among them.
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"fLaC", "audio"),
    (0, b"OggS", "audio"),
    (0, b"ID3", "audio"),
    (0, b"FORM", "audio"),
    (0, b"RF64", "audio"),
    (8, b"WAVE", "audio"),
    (0, b"MThd", "midi"),
    (8, b"RMID", "midi"),
    (0, b"\xff\xd8\xff", "image"),
    (0, b"\x89PNG\r\n\x1a\n", "image"),
    (0, b"GIF87a", "image"),
    (0, b"GIF89a", "image"),
    (8, b"WEBP", "image"),
    (0, b"BM", "image"),
    (0, b"II*\x00", "image"),
    (0, b"MM\x00*", "image"),
    (4, b"ftypavif", "image"),
    (4, b"ftypM4A", "audio"),
    (4, b"ftyp", "video"),
    (0, b"\x1a\x45\xdf\xa3", "video"),
    (8, b"AVI ", "video"),
    (0, b"\x00\x00\x01\xba", "video"),
    (0, b"G", "transport stream"),
)
HEAD = 400  # bytes that ``sniff`` wants
PACKET = 188  # bytes of a transport stream
ACCEPTED = {
    "music": ("audio", "midi", "video"),  # a video's sound counts as music
    "image": ("image",),
    "video": ("video", "moving image"),
}
MIX_SUFFIX = {b"\x1a\x45\xdf\xa3": ".mkv"}  # container that the video with its music is written in; else .mp4


def sniff(head: bytes) -> str | None:
    """What a file is, by its first HEAD bytes: "audio", "midi", "image", "moving image", "video", or None."""
    for offset, signature, kind in SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            if kind == "transport stream":
                return "video" if head[PACKET : PACKET + 1] == b"G" else None
            return kind
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # MPEG audio or ADTS without a tag
        return "audio"
    return None


def fits(modality: str, head: bytes) -> bool:
    """Whether a file with this beginning may be decoded as ``modality`` ("music", "image", "video")."""
    kind = sniff(head)
    moving = kind == "image" and modality == "video" and (head[:3] == b"GIF" or head[8:12] == b"WEBP")
    return moving or kind in ACCEPTED[modality]


def mixed_suffix(head: bytes) -> str:
    """The ending of a video like this one with other sound."""
    if b"webm" in head[:HEAD]:
        return ".webm"
    return MIX_SUFFIX.get(head[:4], ".mp4")


def save_decoded(file: Any, **fields: Any) -> None:
    """Write arrays and plain values to a binary ``file``."""
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in fields.items()}
    np.savez(file, **arrays)


def load_music(folder: Path) -> Audio:
    """The decoded music in a job's folder."""
    with np.load(folder / "music.npz", allow_pickle=False) as stored:
        return Audio(stored["samples"], int(stored["sample_rate"]))


def load_image(folder: Path) -> np.ndarray:
    """The decoded picture in a job's folder, uint8 [height, width, 3]."""
    with np.load(folder / "image.npz", allow_pickle=False) as stored:
        return np.asarray(stored["pixels"])


def load_video(folder: Path) -> tuple[Frames, Frames]:
    """The decoded video in a job's folder: pictures for the encoder, and small ones that show its course."""
    with np.load(folder / "video.npz", allow_pickle=False) as stored:
        clip, motion = (
            Frames(stored[f"{name}_array"], stored[f"{name}_times"], float(stored["duration"]), float(stored["fps"]))
            for name in ("clip", "motion")
        )
    return clip, motion


def read_json(path: Path) -> Any:
    """The content of a JSON file of our own."""
    return json.loads(path.read_text(encoding="utf-8"))
