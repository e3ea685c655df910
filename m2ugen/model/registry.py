"""Names of encoders and decoders → what loads them. A new one is a line here; it is imported when it is used.

Each loader takes the folder with the weights, which the configuration's ``source`` names, and the options of its
configuration, and returns a torch module that offers m2ugen.model.encoders.base.Encoder or
m2ugen.model.decoders.base.MusicDecoder. Where it reads one file of a fixed name, the entry names that file and the
loader takes its path.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from m2ugen.config import ComponentConfig, M2UGenConfig
from m2ugen.errors import InputError
from m2ugen.model.prompting import Describe
from m2ugen.model.quiet import quietly
from m2ugen.weights import model_folder


class Entry(NamedTuple):
    """Where a part is: ``module``, ``loader`` (a dotted name in it), and the file it reads, if it wants a path.

    ``large`` parts take the model's dtype (small ones stay in fp32); those that ``quantise`` take that as an option.
    ``describe`` is a dotted name of what puts an encoder's hidden states [tokens, dim] in words.
    """

    module: str
    loader: str
    file: str | None = None
    large: bool = False
    quantise: bool = False
    describe: str | None = None


COMPONENTS = {
    "nano-music": Entry(
        "m2ugen.model.encoders.nano_music", "NanoMusicEncoder.from_folder", describe="NanoMusicEncoder.describe"
    ),
    "nano-image": Entry(
        "m2ugen.model.encoders.nano_vision",
        "NanoImageEncoder.from_file",
        "image_encoder.safetensors",
        describe="NanoImageEncoder.describe",
    ),
    "nano-video": Entry(
        "m2ugen.model.encoders.nano_vision",
        "NanoVideoEncoder.from_file",
        "image_encoder.safetensors",
        describe="NanoVideoEncoder.describe",
    ),
    "mert": Entry("m2ugen.model.encoders.mert", "MERTEncoder.from_pretrained", large=True),
    "vit": Entry("m2ugen.model.encoders.vit", "ViTEncoder.from_pretrained", large=True),
    "vivit": Entry("m2ugen.model.encoders.vivit", "ViViTEncoder.from_pretrained", large=True),
    "musicgen": Entry("m2ugen.model.decoders.musicgen", "MusicGenDecoder.from_pretrained", large=True, quantise=True),
    "audioldm2": Entry("m2ugen.model.decoders.audioldm2", "AudioLDM2Decoder.from_pretrained", large=True),
    "score": Entry("m2ugen.model.decoders.score", "ScoreDecoder.from_pretrained"),
}


def load_component(
    config: ComponentConfig,
    folder: Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    int8: bool = False,
) -> nn.Module:
    """The frozen part that ``config`` describes, in evaluation mode; ``folder`` holds the weights of a part without a
    source of its own, and the sources that are folders inside the model's. ``int8`` asks for 8-bit weights where the
    part knows how.

    Raises InputError for an unknown kind, MissingWeights.
    """
    if config.kind not in COMPONENTS:
        raise InputError(f"unknown kind {config.kind!r}; known are: {', '.join(sorted(COMPONENTS))}")
    entry = COMPONENTS[config.kind]
    if config.source is not None:
        folder = folder / config.source if (folder / config.source).is_dir() else model_folder(config.source)
    loader = _found_in(entry.module, entry.loader)
    options = dict(config.options or {})
    if entry.quantise and int8:
        options.setdefault("quantise", "int8")
    component: nn.Module = quietly(loader)(folder / entry.file if entry.file else folder, **options)
    return component.to(device=device, dtype=dtype if entry.large else None).eval().requires_grad_(False)


def describers(config: M2UGenConfig) -> dict[str, Describe]:
    """What puts hidden states in words, by modality, for the encoders of ``config`` that are ``told``."""
    found = {}
    for name in config.modalities:
        encoder = getattr(config, f"{name}_encoder")
        entry = COMPONENTS.get(encoder.kind or "")
        if encoder.told and entry is not None and entry.describe is not None:
            found[name] = _found_in(entry.module, entry.describe)
    return found


def _found_in(module: str, name: str) -> Any:
    """What a dotted ``name`` means in ``module``."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
