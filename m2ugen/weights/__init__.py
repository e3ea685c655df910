"""Weights that ship with the package (``nano/``) and the finding of those that do not.

Here belongs where files come from and their conversion into safetensors; what the tensors mean belongs to model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from m2ugen.errors import MissingWeights
from m2ugen.media.files import atomic_output

if TYPE_CHECKING:
    import torch

# Language models that need more than a folder or a hub id: name → module with ``resolve() -> Path``.
SOURCES = {"smollm2": "m2ugen.weights.smollm2"}
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "pytorch_model*.bin")  # no code, no other formats


def cache_folder() -> Path:
    """Where converted and downloaded weights are kept: $M2UGEN_CACHE, else $XDG_CACHE_HOME/m2ugen, else
    ~/.cache/m2ugen.
    """
    if chosen := os.environ.get("M2UGEN_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "m2ugen"


def packaged_folder(preset: str) -> Path:
    """The folder of a preset's weights inside the package; it need not exist."""
    return Path(__file__).parent / preset


def model_folder(source: str | Path) -> Path:
    """The folder of a pretrained model: ``source`` is a name in SOURCES, a folder, or a hub id (its configuration and
    weights are downloaded into the hub's cache). Raises MissingWeights.
    """
    if str(source) in SOURCES:
        folder: Path = import_module(SOURCES[str(source)]).resolve()
        return folder
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(source), allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise MissingWeights(f"no model at {str(source)!r}: give a folder, or a hub id and a connection") from error


def local_folder(source: str | Path) -> Path | None:
    """As ``model_folder``, but downloads nothing: None when the model is not on this machine."""
    if str(source) in SOURCES or Path(source).is_dir():
        try:
            return model_folder(source)
        except MissingWeights:
            return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(source), allow_patterns=list(HUB_FILES), local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None


def preset_folder(preset: str) -> Path:
    """Where the trained weights of a preset are: in the package, or where ``m2ugen convert`` puts them."""
    packaged = packaged_folder(preset)
    return packaged if packaged.is_dir() else cache_folder() / "presets" / preset


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write ``tensors`` as a safetensors file that is either complete or absent, in a folder that is made if need be.

    Raises InputError where it cannot be written.
    """
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_output(path, (".safetensors",)) as temporary:
        save_file(whole, temporary, {"format": "pt", "version": "1"})
