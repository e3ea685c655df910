"""A run in as many processes as ``accelerate launch`` starts: python -m tests.train.two_processes MODEL SETS OUTPUT."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from m2ugen.train import TrainConfig, train
from m2ugen.train.stages.material import build
from m2ugen.train.task import Task

STEPS = 3


def make_task(model: Path, sets: Path) -> Task:
    """Stage three of a twin on several sets; batches of one, so that hardly any has every modality, or makes music."""
    places = [sets / name for name in ("muimage", "musicqa", "alpaca", "muedit")]
    settings = {"batch_size": 1, "held_out": 0.2, "max_tokens": 2000, "features": str(sets / "features")}
    return build(str(model), places, None, 0, "instruct", **settings)


def shard_on_cpus() -> None:
    """accelerate takes a configuration for FSDP seriously with GPUs only; PyTorch can do it here too."""
    from accelerate import DistributedType, PartialState

    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def go(model: Path, sets: Path, output: Path, accumulation: int) -> Task:
    settings: dict[str, Any] = {
        "learning_rate": 1e-3,
        "warmup_steps": 1,
        "save_every": 2,
        "ema_decay": 0.9,
        "evaluate_every": 2,
    }
    task = make_task(model, sets)
    train(task, TrainConfig(output=output, max_steps=STEPS, device="cpu", accumulation=accumulation, **settings))
    return task


if __name__ == "__main__":
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        shard_on_cpus()
    trained = go(*map(Path, sys.argv[1:4]), accumulation=1)
    sharded = any(hasattr(parameter, "full_tensor") for parameter in trained.model.parameters())
    if os.environ["RANK"] == "0":
        print(f"{os.environ['WORLD_SIZE']}_processes,_sharded:_{sharded}")
