"""Matrices that were rounded before, kept in the cache: rounding is most of the time of loading a small model."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from m2ugen.errors import InputError
from m2ugen.model.quantize import Form, Int4Linear, Int8Linear
from m2ugen.weights import cache_folder, save_tensors

if TYPE_CHECKING:
    from m2ugen.config import M2UGenConfig

VERSION = 2  # counts changes of how matrices are merged and rounded
LARGEST = 500_000_000  # parameters in matrices; what is larger would fill the disk
BUDGET = 1_500_000_000  # bytes; the files used longest ago go
RECENT = 60  # seconds in which another process may still be about to read a file
FOLDER = "rounded"


def place(config: M2UGenConfig, llama_folder: Path, trained: Path, parameters: int, form: Form = "int8") -> Path | None:
    """The file for the rounded matrices of a language model with these trained weights; None for large models.

    Its name follows from the contents of ``trained``, from names, sizes and dates of the language model's files,
    and from the kind of machine, on which the order of 4-bit numbers depends.
    """
    if parameters > LARGEST:
        return None
    machine = torch.backends.cpu.get_cpu_capability()
    digest = hashlib.sha256(
        f"{VERSION} {torch.__version__} {machine} {form} {config.language_model} {config.tuning}".encode()
    )
    with trained.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    for path in sorted(llama_folder.glob("*.safetensors")):
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return cache_folder() / FOLDER / f"{digest.hexdigest()[:24]}.safetensors"


def read(path: Path) -> dict[str, torch.Tensor] | None:
    """What ``keep`` wrote, or None where there is nothing that can be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        path.touch()  # in use
    except (OSError, SafetensorError):
        return None
    return tensors


def keep(path: Path, module: nn.Module) -> None:
    """Write the rounded matrices in ``module``. A cache that cannot be written is done without."""
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, Int8Linear | Int4Linear):
            tensors |= {f"{name}.{part}": tensor for part, tensor in zip(layer.PARTS, layer.tensors(), strict=True)}
    try:
        save_tensors(path, tensors)
        _forget(path.parent)
    except (OSError, InputError):
        pass


def _forget(folder: Path) -> None:
    total = 0
    files = [(path.stat(), path) for path in folder.glob("*.safetensors")]
    for status, path in sorted(files, key=lambda file: file[0].st_mtime, reverse=True):
        total += status.st_size
        if total > BUDGET and time.time() - status.st_mtime > RECENT:
            path.unlink(missing_ok=True)
