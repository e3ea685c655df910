"""What a model consists of, how large it is and which of its weights are on this machine, without loading it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from m2ugen.config import ComponentConfig, M2UGenConfig, preset_names
from m2ugen.errors import MissingWeights
from m2ugen.model.modeling import BRIDGE, LLAMA_FOLDER, M2UGenModel, parts_folder, preset_config
from m2ugen.model.registry import load_component
from m2ugen.weights import local_folder, preset_folder


@dataclass(frozen=True)
class PartInfo:
    """One part: its number of ``parameters`` (None: unknown before its weights are here), whether they are here, where
    they come from and under which licence (None: that of m2ugen).
    """

    name: str
    parameters: int | None
    present: bool
    source: str
    licence: str | None = None


def inventory(model: str) -> list[PartInfo]:
    """The parts of a preset, a folder or a hub id whose configuration is here.

    Raises InputError for an unusable configuration, MissingWeights where there is none.
    """
    if model in preset_names():
        config, folder = preset_config(model), preset_folder(model)
    else:
        found = local_folder(model)
        if found is None or not (found / "config.json").is_file():
            raise MissingWeights(f"no model at {model!r}; presets are: {', '.join(preset_names())}")
        config, folder = M2UGenConfig.from_pretrained(found), found
    return list(_parts(config, folder))


def _parts(config: M2UGenConfig, folder: Path) -> Iterator[PartInfo]:
    for name in config.modalities:
        yield _component(f"{name} encoder", getattr(config, f"{name}_encoder"), parts_folder(config, folder))
    with torch.device("meta"):
        model = M2UGenModel(config)
    trained = model.trained_state()
    frozen = sum(parameter.numel() for name, parameter in model.named_parameters() if name not in trained)
    source = config.language_model_source
    found = local_folder(source) if source is not None else folder / LLAMA_FOLDER
    present = found is not None and any(found.glob("*.safetensors"))
    yield PartInfo("language model", frozen, present, source or str(found), config.language_model_licence)
    size = sum(tensor.numel() for tensor in trained.values())
    bridge = str(folder) if config.bridge_source is None else config.bridge_source
    yield PartInfo("adapters, LoRA, projector", size, (folder / BRIDGE).is_file(), bridge)
    if config.decoder is not None:
        yield _component("music decoder", config.decoder, parts_folder(config, folder))


def _component(name: str, config: ComponentConfig, folder: Path) -> PartInfo:
    """A part with a source of its own is looked up there; one of the model's own folder is small and is loaded."""
    if config.source is None:
        try:
            part: nn.Module | None = None if config.kind is None else load_component(config, folder)
        except MissingWeights:
            part = None
        count = config.parameters if part is None else sum(parameter.numel() for parameter in part.parameters())
        return PartInfo(name, count, part is not None, str(folder), config.licence)
    inside = folder / config.source
    found = inside if inside.is_dir() else local_folder(config.source)
    return PartInfo(name, config.parameters, found is not None, config.source, config.licence)
