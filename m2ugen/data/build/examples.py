"""A finished set as examples to train on, with paths instead of file names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2ugen.data.build.layouts import (
    FOLDERS,
    INPUTS,
    LAYOUTS,
    MUSICQA,
    SPLITS,
    read_answers,
    read_captions,
    read_instructions,
    set_name,
)

CAPTIONS, INSTRUCTIONS = "captions", "instructions"  # splits of the sets that have no published ones
CAPTION_REQUESTS = {"music": "Describe this music.", "image": "Describe this picture.", "video": "Describe this video."}


@dataclass(frozen=True)
class Example:
    """A ``request`` with what is attached to it, and the ``answer``; ``target`` is the music that follows the answer,
    with its ``caption``. ``split`` is "captions" (media described), "instructions", or one of MusicQA's.
    """

    request: str
    answer: str
    split: str
    music: Path | None = None
    image: Path | None = None
    video: Path | None = None
    target: Path | None = None
    caption: str | None = None

    @property
    def media(self) -> dict[str, Path]:
        """What is attached, by kind."""
        return {kind: path for kind in FOLDERS if (path := getattr(self, kind)) is not None}


def read_examples(folder: Path) -> Iterator[Example]:
    """The examples of the set in ``folder``, in its order. Raises InputError for another layout."""
    folder = Path(folder)
    name = set_name(folder)
    if name == MUSICQA:
        yield from _answers(folder)
        return
    layout = LAYOUTS[name]
    if layout.captions is not None and (folder / layout.captions).is_file():
        for file, caption in read_captions(folder / layout.captions).items():
            yield Example(CAPTION_REQUESTS["music"], caption, CAPTIONS, music=folder / FOLDERS["music"] / file)
    described: set[Path] = set()
    for entry in read_instructions(folder / layout.instructions) if (folder / layout.instructions).is_file() else []:
        kind = INPUTS[entry.modality]
        given: dict[str, Any] = {}
        if kind is not None and entry.input_file is not None:
            given = {kind: folder / FOLDERS[kind] / entry.input_file}
            path = given[kind]
            if entry.input_caption is not None and path not in described:
                described.add(path)
                yield Example(CAPTION_REQUESTS[kind], entry.input_caption, CAPTIONS, **given)
        target = folder / FOLDERS["music"] / entry.output_file
        yield Example(entry.request, entry.answer, INSTRUCTIONS, **given, target=target, caption=entry.caption)


def _answers(folder: Path) -> Iterator[Example]:
    for split, file in SPLITS.items():
        if (folder / file).is_file():
            for entry in read_answers(folder / file):
                music = folder / FOLDERS["music"] / entry.audio_name
                yield Example(entry.question, entry.answer, split, music=music)
