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
    from transformers import PreTrainedTokenizerBase

# Language models that need more than a folder or a hub id: name → module with ``resolve() -> Path``.
SOURCES = {"smollm2": "m2ugen.weights.smollm2"}


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


def language_model_folder(source: str | Path) -> Path:
    """A folder with ``config.json``, ``*.safetensors`` and ``tokenizer.json`` for ``source``: a name in SOURCES, a
    folder, or a hub id (downloaded into the hub's cache). Raises MissingWeights.
    """
    if str(source) in SOURCES:
        folder: Path = import_module(SOURCES[str(source)]).resolve()
        return folder
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(source), allow_patterns=["*.json", "*.safetensors", "*.model"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise MissingWeights(f"no language model at {source!r}: give a folder, or a hub id and a connection") from error


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write ``tensors`` as a safetensors file that is either complete or absent, in a folder that is made if need be.

    Raises InputError where it cannot be written.
    """
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_output(path, (".safetensors",)) as temporary:
        save_file(whole, temporary, {"format": "pt", "version": "1"})


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in ``folder``. Raises MissingWeights when there is none."""
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise MissingWeights(f"no tokenizer in {folder}; it needs tokenizer.json") from error
    return tokenizer
