"""Names of encoders and decoders → what loads them. A new one is a line here; it is imported when it is used.

Each loader takes the folder with the weights and the options of its configuration, and returns a torch module that
offers m2ugen.model.encoders.base.Encoder or m2ugen.model.decoders.base.MusicDecoder. Where it reads one file of a
fixed name, the entry names that file and the loader takes its path.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from torch import nn

from m2ugen.config import ComponentConfig
from m2ugen.errors import InputError


class Entry(NamedTuple):
    """Where a part is: ``module``, ``loader`` (a dotted name in it), and the file it reads, if it wants a path."""

    module: str
    loader: str
    file: str | None = None


COMPONENTS = {
    "nano-music": Entry("m2ugen.model.encoders.nano_music", "NanoMusicEncoder.from_folder"),
    "nano-image": Entry("m2ugen.model.encoders.nano_vision", "NanoImageEncoder.from_file", "image_encoder.safetensors"),
    "nano-video": Entry("m2ugen.model.encoders.nano_vision", "NanoVideoEncoder.from_file", "image_encoder.safetensors"),
    "score": Entry("m2ugen.model.decoders.score", "ScoreDecoder.from_pretrained"),
}


def load_component(config: ComponentConfig, folder: Path) -> nn.Module:
    """The frozen part that ``config`` describes, in evaluation mode, with its weights from ``folder``.

    Raises InputError for an unknown kind; MissingWeights comes from the part itself.
    """
    if config.kind not in COMPONENTS:
        raise InputError(f"unknown kind {config.kind!r}; known are: {', '.join(sorted(COMPONENTS))}")
    entry = COMPONENTS[config.kind]
    loader = import_module(entry.module)
    for name in entry.loader.split("."):
        loader = getattr(loader, name)
    component: nn.Module = loader(folder / entry.file if entry.file else folder, **(config.options or {}))  # type: ignore[operator]
    return component.eval().requires_grad_(False)
