"""Convert musicnn's TensorFlow checkpoints into m2ugen/weights/nano/music_encoder.safetensors.

    pip download --no-deps musicnn==0.1.0 && unzip musicnn-0.1.0-py3-none-any.whl -d musicnn
    python scripts/convert_musicnn.py musicnn/musicnn

No TensorFlow is needed: a checkpoint is an index (a sorted string table of protocol buffers) beside raw tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from m2ugen.model.encoders.nano_music import NanoMusicEncoder

TAGGERS = {"mtt": "MTT_musicnn", "msd": "MSD_musicnn"}
OUTPUT = Path(__file__).parents[1] / "m2ugen" / "weights" / "nano"
FLOAT32 = 1  # TensorFlow's number for the type
# TensorFlow numbers its layers in the order in which the graph was built; these are the same layers in ours.
CONVOLUTIONS = ("timbral.0", "timbral.1", "temporal.0", "temporal.1", "temporal.2", "middle.0", "middle.1", "middle.2")
NORMS = ("input_norm", *(f"{name}.norm" for name in CONVOLUTIONS), "pooled_norm", "dense_norm")
DENSE = ("dense", "tags")


def varint(data: bytes, place: int) -> tuple[int, int]:
    """A variable-length integer and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The (number, value) pairs of a protocol buffer."""
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        match key & 7:
            case 0:
                value, place = varint(message, place)
                yield key >> 3, value
            case 2:
                size, place = varint(message, place)
                yield key >> 3, message[place : place + size]
                place += size
            case 5:
                yield key >> 3, message[place : place + 4]
                place += 4
            case other:
                raise ValueError(f"unexpected wire type {other}")


def block_entries(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block of the table; keys share prefixes with those before them."""
    block = data[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end, place, key = len(block) - 4 * (restarts + 1), 0, b""
    while place < end:
        shared, place = varint(block, place)
        own, place = varint(block, place)
        length, place = varint(block, place)
        key = key[:shared] + block[place : place + own]
        yield key, block[place + own : place + own + length]
        place += own + length


def read_checkpoint(folder: Path) -> dict[str, np.ndarray]:
    """All float32 tensors of a checkpoint by name."""
    index, raw = (folder / ".index").read_bytes(), (folder / ".data-00000-of-00001").read_bytes()
    footer = index[-48:]
    _, place = varint(footer, 0)
    _, place = varint(footer, place)  # the meta index is not needed
    offset, place = varint(footer, place)
    size, _ = varint(footer, place)
    tensors = {}
    for _, handle in block_entries(index, offset, size):
        start, place = varint(handle, 0)
        length, _ = varint(handle, place)
        for key, value in block_entries(index, start, length):
            entry = dict(fields(value))
            if not key or entry.get(1) != FLOAT32:
                continue
            shape = [dict(fields(d)).get(1, 0) for n, d in fields(entry.get(2, b"")) if n == 2]
            first = entry.get(4, 0)
            tensors[key.decode()] = np.frombuffer(raw[first : first + entry[5]], "<f4").reshape(shape)
    return tensors


def convert(tensors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Names and layouts of m2ugen.model.encoders.musicnn."""

    def find(name: str, number: int) -> np.ndarray:
        stem, leaf = name.split("/")
        full = f"{stem}_{number}/{leaf}" if number else f"{stem}/{leaf}"
        matches = [value for key, value in tensors.items() if key == full or key.endswith("/" + full)]
        if len(matches) != 1:
            raise KeyError(f"{full}: {len(matches)} tensors in the checkpoint")
        return matches[0]

    state: dict[str, np.ndarray] = {}
    for number, name in enumerate(CONVOLUTIONS):
        state[f"{name}.convolution.weight"] = find("conv2d/kernel", number).transpose(3, 2, 0, 1)
        state[f"{name}.convolution.bias"] = find("conv2d/bias", number)
    for number, name in enumerate(NORMS):
        for theirs, ours in (
            ("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"), ("moving_variance", "running_var"),
        ):  # fmt: skip
            state[f"{name}.{ours}"] = find(f"batch_normalization/{theirs}", number)
    for number, name in enumerate(DENSE):
        state[f"{name}.weight"] = find("dense/kernel", number).T
        state[f"{name}.bias"] = find("dense/bias", number)
    return {name: torch.from_numpy(value.copy(order="C")) for name, value in state.items()}


def main(folder: Path) -> None:
    encoder = NanoMusicEncoder()  # its heads are trained afterwards: m2ugen train nano --stage music-encoder
    for ours, theirs in TAGGERS.items():
        tagger = encoder.taggers[ours]
        counters = {k: v for k, v in tagger.state_dict().items() if k.endswith("num_batches_tracked")}
        tagger.load_state_dict({**convert(read_checkpoint(folder / theirs)), **counters})
    path = encoder.save(OUTPUT)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
