"""Reading published weights: safetensors, or PyTorch files as plain tensors (nothing in them is executed)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2ugen.errors import MissingWeights

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of ``path``, or of the only weights file in the folder ``path``. Raises MissingWeights."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if len(files) != 1:
            raise MissingWeights(f"{path} must hold one file of weights ({', '.join(SUFFIXES)}), not {len(files)}")
        path = files[0]
    if not path.is_file():
        raise MissingWeights(f"{path} does not exist; give the file or folder of the published weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: dict[str, Any] = dict(load_file(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise MissingWeights(f"{path} cannot be read as tensors; it is damaged or holds more than tensors") from error
    state = state.get("state_dict", state)  # as some trainers wrap it
    return {name: tensor.float() for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def load_exactly(module: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load ``state``; raises MissingWeights unless names and shapes are the module's own."""
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingWeights(f"the weights in {path} are of another model: {reason}") from error
