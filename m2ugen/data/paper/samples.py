"""What all readers give: samples, and media wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from m2ugen.data.build.records import digest, file_version

ANSWERS, MAKES = "answers", "makes"  # a sample's purpose: words about media, or words that lead to music


class Medium(Protocol):
    """A file, or a piece of a shard."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def key(self) -> str:
        """Names the content: another file, or a changed one, has another key. Raises OSError when it is gone."""

    def open(self) -> Path | bytes:
        """What the processor takes. Raises OSError when it is gone."""


@dataclass(frozen=True)
class MediaFile:
    """A file on this machine."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def key(self) -> str:
        return digest(str(self.path.resolve()), file_version(self.path))[:32]

    def open(self) -> Path:
        return self.path


@dataclass(frozen=True)
class Sample:
    """A ``request`` with its ``media`` by modality, and the ``answer``; with a ``caption`` music follows, which that
    describes.

    ``origin`` is the set that it is from, ``split`` "captions", "instructions", or one of MusicQA's. ``group`` names
    the material it was made from: samples of one group are held out together. ``sound`` is the music itself where it
    is at hand and is to be learnt from beyond its caption.
    """

    origin: str
    split: str
    request: str
    answer: str
    group: str
    media: dict[str, Medium] = field(default_factory=dict)
    caption: str | None = None
    sound: Medium | None = None

    @property
    def purpose(self) -> str:
        """ANSWERS or MAKES."""
        return ANSWERS if self.caption is None else MAKES
