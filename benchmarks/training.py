"""Steps a second of nano's training, beside a straightforward loop: batch 1, frozen encoders in every step, no caching.

Both see the same songs and do the same kind of update; what counts is samples a second, and steps of the loop's batch.

    python benchmarks/training.py [--songs N] [--steps N] [--batch N]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m2ugen.data.nano.dialogue import Dialogue
from m2ugen.data.paper.places import read_place
from m2ugen.data.paper.samples import Sample
from m2ugen.media.audio import save_audio
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.registry import load_component
from m2ugen.processor import M2UGenProcessor
from m2ugen.train.collate import collate
from m2ugen.train.stages.material import Material, build, resolve
from m2ugen.weights import packaged_folder

RATE, SECONDS = 16_000, 20  # Hz, of a song
STAGE = "instruct"


def write_songs(folder: Path, count: int) -> None:
    """Noise with a beat: what is heard does not matter here, its length does."""
    rng = np.random.default_rng(0)
    lines = ["file,caption"]
    for k in range(count):
        time_ = np.arange(SECONDS * RATE) / RATE
        beat = np.exp(-8 * (time_ * (1 + k / 10) % 1)) * rng.normal(size=len(time_))
        save_audio(folder / f"{k}.ogg", (0.2 * beat).astype(np.float32), RATE)
        lines.append(f"{k}.ogg,number {k}: a fast rock piece in E minor with electric guitar and drums")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def update(model: M2UGenModel, optimizer: torch.optim.Optimizer, batch: dict[str, Any], weight: float) -> None:
    """One step on all groups of the stage, with the whole model in the forward pass."""
    names = ("input_ids", "attention_mask", "labels", "features", "present", "targets")
    output = model(**{name: batch[name] for name in names})
    loss = output.cross_entropy
    if output.conditioning_error is not None:
        loss = loss + weight * output.conditioning_error
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad()


def optimizer_of(model: M2UGenModel) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)


def straightforward(folder: Path, steps: int) -> float:
    """Samples a second of the plain loop."""
    config, _ = resolve("nano")
    model = M2UGenModel.for_training(config, packaged_folder("nano"))
    model.train_only(STAGE)
    encoders: Any = {
        name: load_component(getattr(config, f"{name}_encoder"), packaged_folder("nano")) for name in config.modalities
    }
    decoder: Any = load_component(config.decoder, packaged_folder("nano"))  # type: ignore[arg-type]
    processor = M2UGenProcessor(model.tokenizer, encoders)
    shapes = {name: (encoders[name].num_tokens, encoders[name].dim) for name in encoders}
    optimizer = optimizer_of(model)
    samples: list[Sample] = list(read_place(folder))

    def step(index: int) -> None:
        sample = samples[index % len(samples)]
        media = sample.media or ({"music": sample.sound} if sample.sound is not None else {})
        hidden = processor.encode(processor.load(**{name: medium.open() for name, medium in media.items()}))
        given = {name: hidden[name][0].numpy() for name in sample.media}
        target = None
        if sample.caption is not None:
            heard = encoders["music"].conditioning(hidden["music"])
            target = decoder.refine(heard, sample.caption)[0].numpy()
        dialogue = Dialogue(sample.split, sample.request, sample.answer, target=target, **given)
        update(model, optimizer, collate([dialogue], model.tokenizer, shapes, config.prompt_format), 30.0)

    step(0)
    start = time.process_time()
    for index in range(1, steps + 1):
        step(index)
    return steps / (time.process_time() - start)


def ours(folder: Path, batch_size: int, steps: int, features: Path) -> tuple[float, float]:
    """Samples a second of the trainer's batches, and seconds that preparing the features takes once."""
    start = time.process_time()
    settings = {"batch_size": batch_size, "features": str(features), "conditioning_weight": 30.0}
    task = build("nano", [folder], None, 0, STAGE, **settings)
    preparing = time.process_time() - start
    optimizer = optimizer_of(task.model)
    generator = torch.Generator().manual_seed(0)

    def step(index: int) -> int:
        batch = task.source[index % len(task.source)]  # type: ignore[arg-type]
        loss, _ = task.loss(batch, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in task.model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return len(batch["ids"])

    step(0)
    start = time.process_time()
    seen = sum(step(index) for index in range(1, steps + 1))
    return seen / (time.process_time() - start), preparing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=Material.batch_size)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # seconds are those of one core, whatever else the machine does
    with tempfile.TemporaryDirectory() as scratch:
        songs = Path(scratch) / "songs"
        songs.mkdir()
        write_songs(songs, arguments.songs)
        fast, preparing = ours(songs, arguments.batch, arguments.steps, Path(scratch) / "features")
        plain = straightforward(songs, 2 * arguments.steps)
    print(
        json.dumps(
            {
                "samples_per_second": round(fast, 2),
                "straightforward_samples_per_second": round(plain, 2),
                "ratio": round(fast / plain, 2),
                "preparing_seconds": round(preparing, 1),
                "batch_size": arguments.batch,
            }
        )
    )


if __name__ == "__main__":
    main()
