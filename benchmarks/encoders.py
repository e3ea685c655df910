"""How much faster the paper's encoders run in batches than one file at a time.

    .venv/bin/python benchmarks/encoders.py [--json] [--size small] [--batch 8] [--seconds 2] [--repeats 3]

The weights are random, of the published shapes at --size base and of smaller ones else: speed does not depend on what
they are. The same files go through each encoder one by one and as a batch, in turns, and the medians are compared;
music is of different lengths, so that padding costs what it costs. ``difference`` is the largest between the two
results. JSON: per encoder ``one_by_one`` and ``batched`` in seconds, and ``batch_ratio``, how much faster batches are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256},
    "small": {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
CHANNELS = {"tiny": 32, "small": 128, "base": 512}  # of MERT's convolutions
FRAMES = {"tiny": 4, "small": 8, "base": 32}  # of ViViT
Inputs = list[dict[str, torch.Tensor]]


def mert(size: str, count: int, seconds: float) -> tuple[Any, Inputs]:
    """A MERT encoder and ``count`` files of ``seconds``, more or less."""
    from m2ugen.model.encoders.mert import MERTConfig, MERTEncoder

    encoder = MERTEncoder(MERTConfig(**SIZES[size], conv_dim=[CHANNELS[size]] * 7, do_stable_layer_norm=True))
    noise = np.random.default_rng(0)
    lengths = np.linspace(0.7, 1.3, count) * seconds * encoder.sample_rate
    return encoder, [encoder.prepare(noise.normal(size=round(length)).astype(np.float32)) for length in lengths]


def vit(size: str, count: int, seconds: float) -> tuple[Any, Inputs]:
    """A ViT encoder and ``count`` pictures."""
    from transformers import ViTConfig, ViTModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    from m2ugen.model.encoders.vit import ViTEncoder

    encoder = ViTEncoder(ViTModel(ViTConfig(**SIZES[size]), add_pooling_layer=False), ViTImageProcessorPil())
    return encoder, [{"pixel_values": torch.randn(3, 224, 224)} for _ in range(count)]


def vivit(size: str, count: int, seconds: float) -> tuple[Any, Inputs]:
    """A ViViT encoder and ``count`` videos."""
    from transformers import VivitConfig, VivitModel
    from transformers.models.vivit.image_processing_vivit import VivitImageProcessor

    from m2ugen.model.encoders.vivit import ViViTEncoder

    side = 224 if size == "base" else 112
    config = VivitConfig(**SIZES[size], num_frames=FRAMES[size], image_size=side)
    encoder = ViViTEncoder(VivitModel(config, add_pooling_layer=False), VivitImageProcessor())
    return encoder, [{"pixel_values": torch.randn(FRAMES[size], 3, side, side)} for _ in range(count)]


ENCODERS: dict[str, Callable[[str, int, float], tuple[Any, Inputs]]] = {"mert": mert, "vit": vit, "vivit": vivit}


def collate(encoder: Any, inputs: Inputs) -> dict[str, torch.Tensor]:
    """One batch of ``inputs``; an encoder whose inputs differ in length knows how."""
    if hasattr(encoder, "collate"):
        batch: dict[str, torch.Tensor] = encoder.collate(inputs)
        return batch
    return {name: torch.stack([each[name] for each in inputs]) for name in inputs[0]}


def compare(encoder: Any, inputs: Inputs, repeats: int) -> dict[str, float]:
    """Medians of both ways, taken in turns after one unmeasured round, and their ratio."""

    def one_by_one() -> torch.Tensor:
        return torch.cat([encoder(**{name: tensor[None] for name, tensor in each.items()}) for each in inputs])

    def batched() -> torch.Tensor:
        result: torch.Tensor = encoder(**collate(encoder, inputs))
        return result

    difference = float((one_by_one() - batched()).abs().max())
    seconds: dict[str, list[float]] = {"one_by_one": [], "batched": []}
    for _ in range(repeats):
        for name, action in (("one_by_one", one_by_one), ("batched", batched)):
            start = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["one_by_one"] / medians["batched"]
    figures = {name: round(value, 4) for name, value in medians.items()}
    return {**figures, "batch_ratio": round(ratio, 3), "difference": difference}


def measure(names: list[str], size: str, count: int, seconds: float, repeats: int) -> dict[str, Any]:
    """All figures as one JSON value."""
    report: dict[str, Any] = {
        "size": size,
        "batch": count,
        "threads": torch.get_num_threads(),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
    }
    for name in names:
        torch.manual_seed(0)
        encoder, inputs = ENCODERS[name](size, count, seconds)
        parameters = sum(parameter.numel() for parameter in encoder.parameters())
        report[name] = {"parameters": parameters, **compare(encoder, inputs, repeats)}
    return report


def table(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    lines = [f"| {report['batch']} files | one by one | batched | ratio |", "|---|---|---|---|"]
    for name in ENCODERS:
        if name in report:
            row = report[name]
            ratio = f"{row['batch_ratio']:.2f} ×"
            lines.append(f"| {name} | {row['one_by_one']:.3f} s | {row['batched']:.3f} s | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", choices=list(ENCODERS), default=list(ENCODERS))
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--batch", type=int, default=8, help="files in a batch")
    parser.add_argument("--seconds", type=float, default=2.0, help="mean length of the music")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="cores to use (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    report = measure(
        arguments.encoders, arguments.size, max(1, arguments.batch), arguments.seconds, max(1, arguments.repeats)
    )
    print(json.dumps(report) if arguments.json else table(report))


if __name__ == "__main__":
    main()
