"""Training stages, one file each: a Task that says what is trained on what. No loops here; that is the trainer's.

A stage's module offers ``build(preset, data, init, seed, **options) -> Task``. Its settings are in
``m2ugen/train/configs``: ``PRESET-STAGE.yaml``, or ``STAGE.yaml`` for every preset that has no file of its own.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from m2ugen.errors import InputError
from m2ugen.train.config import TrainConfig, load_run_file
from m2ugen.train.task import Task

CONFIGS = Path(__file__).parents[1] / "configs"

# A new stage is one file and one line here. Order: the order in which a model is trained.
STAGES: dict[str, str] = {
    "music-encoder": "m2ugen.train.stages.music_encoder",
    "score": "m2ugen.train.stages.score",
    "plan": "m2ugen.train.stages.plan",
    "encoder": "m2ugen.train.stages.encoder",
    "decoder": "m2ugen.train.stages.decoder",
    "instruct": "m2ugen.train.stages.instruct",
}


def build_task(preset: str, stage: str, data: Path, init: Path | None = None, seed: int = 0, **options: Any) -> Task:
    """The task of a stage: its model (from ``init`` or as the preset has it) and its material under ``data``.

    ``options`` overrule the ``task`` section of the stage's settings. Raises InputError for an unknown stage.
    """
    settings = {**_run_file(preset, stage)["task"], **options}
    module = importlib.import_module(STAGES[stage])
    task: Task = module.build(preset=preset, data=Path(data), init=init, seed=seed, **settings)
    return task


def stage_config(preset: str, stage: str) -> TrainConfig:
    """The training settings of a stage, writing to ``runs/PRESET-STAGE`` unless overridden."""
    run = _run_file(preset, stage)
    return TrainConfig.from_dict({"output": Path("runs") / f"{preset}-{stage}", **run["train"]})


def _run_file(preset: str, stage: str) -> dict[str, Any]:
    if stage not in STAGES:
        raise InputError(f"unknown training stage {stage!r}; known are: {', '.join(STAGES)}")
    for name in (f"{preset}-{stage}.yaml", f"{stage}.yaml"):
        if (CONFIGS / name).exists():
            return load_run_file(CONFIGS / name)
    known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    raise InputError(f"the preset {preset!r} has no stage {stage!r}; there are settings for: {known}")
