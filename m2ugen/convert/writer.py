"""Writing safetensors files and folders of them, one tensor in memory at a time, complete or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from m2ugen.errors import InputError

SHARD_BYTES = 2_000_000_000
# types as safetensors names them
TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class Entry(NamedTuple):
    """A tensor to be written: ``read`` gives its numbers when its turn has come."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], torch.Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_safetensors(path: Path, entries: Sequence[Entry]) -> None:
    """Write one file. Raises InputError for numbers that the wanted type cannot hold."""
    entries = sorted(entries, key=lambda entry: -entry.dtype.itemsize)  # so that all numbers are aligned
    header: dict[str, object] = {"__metadata__": {"format": "pt", "version": "1"}}
    offset = 0
    for entry in entries:
        span = [offset, offset + entry.nbytes]
        header[entry.name] = {"dtype": TYPES[entry.dtype], "shape": list(entry.shape), "data_offsets": span}
        offset = span[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers start at a multiple of eight
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for entry in entries:
            file.write(_bytes(entry))


def write_shards(folder: Path, entries: Sequence[Entry], shard_bytes: int = SHARD_BYTES) -> None:
    """Write a Hugging Face model's tensors: ``model.safetensors``, or numbered files of at most ``shard_bytes`` (a
    tensor is never split) with their index.
    """
    shards: list[list[Entry]] = [[]]
    for entry in entries:
        if shards[-1] and sum(each.nbytes for each in shards[-1]) + entry.nbytes > shard_bytes:
            shards.append([])
        shards[-1].append(entry)
    if len(shards) == 1:
        write_safetensors(folder / "model.safetensors", shards[0])
        return
    files = {}
    for k, shard in enumerate(shards, start=1):
        name = f"model-{k:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / name, shard)
        files.update({entry.name: name for entry in shard})
    index = {"metadata": {"total_size": sum(entry.nbytes for entry in entries)}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _bytes(entry: Entry) -> memoryview:
    tensor = entry.read()
    written = tensor.to(entry.dtype)
    if written.dtype != tensor.dtype and not bool(written.isfinite().all()) and bool(tensor.isfinite().all()):
        raise InputError(f"{entry.name} has numbers too large for {entry.dtype}: choose another --dtype")
    return written.contiguous().flatten().view(torch.uint8).numpy().data


@contextmanager
def new_folder(path: Path, force: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes ``path`` when the block ends without an error.

    Raises InputError when ``path`` is a file, holds something and ``force`` is False, or cannot be written.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not force):
        raise InputError(f"{path} exists already: choose another name, or pass --force to replace it")
    if path.is_dir() and any(path.iterdir()) and not (path / "config.json").is_file():
        raise InputError(f"{path} is not a model's folder and is not replaced: choose another name")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
        temporary.chmod(0o755)
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
