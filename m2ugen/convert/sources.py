"""Checkpoints of others, read tensor by tensor: a pickle of tensors, Meta's LLaMA folder, a Hugging Face folder.

A source tells shapes and types of all its tensors at once and gives a tensor's numbers when asked, so that no more than
a few of them are in memory. Nothing in a file is executed.
"""

from __future__ import annotations

import argparse
import json
import pickle
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch

from m2ugen.errors import InputError

MAPPED_BYTES = 256_000_000  # of a mapped file that may be in memory before it is mapped anew
# Published training checkpoints hold their command line beside the weights: a plain record of options.
ALLOWED_RECORDS: list[Any] = [argparse.Namespace]
# The axis along which Meta's files split a matrix; others are whole in each.
SPLIT_AXES = {"wq": 0, "wk": 0, "wv": 0, "wo": 1, "w1": 0, "w2": 1, "w3": 0, "output": 0}


class TensorSource(ABC):
    """Tensors by name. ``tensors`` are on the meta device: shapes and types without numbers."""

    tensors: dict[str, torch.Tensor]

    @abstractmethod
    def read(self, name: str) -> torch.Tensor:
        """The tensor ``name`` with its numbers, on the CPU; to be used before the next one is read."""


class CheckpointFile(TensorSource):
    """The state dict in a file written by torch.save, or its ``"model"`` entry; ``module.`` prefixes are dropped.

    The file is mapped, not read, and mapped anew from time to time: pages that were looked at count as memory of the
    process until then. Raises InputError when it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: dict[str, torch.Tensor] | None = None
        self._looked_at = 0
        self.tensors = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") for name, tensor in self._load().items()
        }

    def read(self, name: str) -> torch.Tensor:
        if self._state is None or self._looked_at > MAPPED_BYTES:
            self._state, self._looked_at = self._load(), 0
        tensor = self._state[name]
        self._looked_at += tensor.nbytes
        return tensor

    def _load(self) -> dict[str, torch.Tensor]:
        try:
            with torch.serialization.safe_globals(ALLOWED_RECORDS):
                content = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
        except pickle.UnpicklingError as error:
            raise InputError(f"{self.path} holds more than tensors and is not read: {_first_line(error)}") from error
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise InputError(f"{self.path} cannot be read as a checkpoint: {_first_line(error)}") from error
        state = content.get("model", content) if isinstance(content, dict) else None
        if not isinstance(state, dict) or not state:
            raise InputError(f"{self.path} holds no tensors by name: it is not a checkpoint")
        return {
            name.removeprefix("module."): tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)
        }


class MetaLlama(TensorSource):
    """A LLaMA as Meta distributes it: ``consolidated.*.pth``, split among several files for the larger models, and
    ``params.json``. Names have the prefix ``llama.``, as in published M²UGen checkpoints.

    Raises InputError when files are missing or do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        self.parts = [CheckpointFile(path) for path in sorted(folder.glob("consolidated.*.pth"))]
        self.params: dict[str, Any] = read_json(folder / "params.json")
        if not self.parts or "dim" not in self.params:
            raise InputError(f"{folder} is not a LLaMA folder: it needs consolidated.*.pth and params.json")
        if any(part.tensors.keys() != self.parts[0].tensors.keys() for part in self.parts):
            raise InputError(f"the files consolidated.*.pth in {folder} do not belong together")
        names = [name for name in self.parts[0].tensors if not name.startswith("rope.")]
        self.tensors = {
            f"llama.{name}": self._join(name, [part.tensors[name] for part in self.parts]) for name in names
        }

    def read(self, name: str) -> torch.Tensor:
        inner = name.removeprefix("llama.")
        return self._join(inner, [part.read(inner) for part in self.parts])

    def _join(self, name: str, parts: list[torch.Tensor]) -> torch.Tensor:
        short = name.split(".")[-2]
        if len(parts) == 1:
            return parts[0]
        if short == "tok_embeddings":  # LLaMA 1 and 2 split the width, later ones the vocabulary
            return torch.cat(parts, dim=0 if parts[0].shape[1] == self.params["dim"] else 1)
        return torch.cat(parts, dim=SPLIT_AXES[short]) if short in SPLIT_AXES else parts[0]


class SafetensorsFolder(TensorSource):
    """The tensors of the ``*.safetensors`` files of a folder, or of those that ``pattern`` names. Raises InputError
    when there are none.
    """

    def __init__(self, folder: Path, pattern: str = "*.safetensors") -> None:
        from safetensors import safe_open

        self._files: dict[str, Any] = {}
        self.tensors = {}
        for path in sorted(folder.glob(pattern)):
            file = safe_open(path, framework="pt")
            for name in file.keys():  # noqa: SIM118 (no mapping)
                self._files[name] = file
                tensor = file.get_slice(name)
                self.tensors[name] = torch.empty(tensor.get_shape(), dtype=DTYPES[tensor.get_dtype()], device="meta")
        if not self.tensors:
            raise InputError(f"there are no safetensors files in {folder}")

    def read(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._files[name].get_tensor(name)
        return tensor


# safetensors' names of types
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def language_model_source(folder: Path) -> TensorSource | None:
    """The LLaMA in a folder, in Meta's or Hugging Face form; None when there is only a tokenizer, say."""
    if any(folder.glob("consolidated.*.pth")):
        return MetaLlama(folder)
    return SafetensorsFolder(folder) if any(folder.glob("*.safetensors")) else None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file. Raises InputError when it is damaged."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {_first_line(error)}") from error
    if not isinstance(data, dict):
        raise InputError(f"cannot read {path}: it must hold a JSON object")
    return data


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
