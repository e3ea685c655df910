"""Training stages, one file each: a Task that says what is trained on what. No loops here; that is the trainer's.

A stage is a class or function that is called with ``data``, ``seed``, its options, and ``preset`` and ``init`` if it
takes them. Its settings are in ``m2ugen/train/configs``: ``PRESET-STAGE.yaml``, or ``STAGE.yaml`` for every preset
without a file of its own.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m2ugen.errors import InputError
from m2ugen.train.config import TrainConfig, load_run_file, merged
from m2ugen.train.task import Task

CONFIGS = Path(__file__).parents[1] / "configs"

# A new stage is one file and one line here. Order: the order in which a model is trained.
STAGES: dict[str, str] = {
    "beat-key": "m2ugen.train.stages.beat_key:BeatKeyTask",
    "music-encoder": "m2ugen.train.stages.music_encoder:MusicEncoderTask",
    "score": "m2ugen.train.stages.score:NotesTask",
    "plan": "m2ugen.train.stages.score:PlanTask",
    "encoder": "m2ugen.train.stages.bridge:build",
    "decoder": "m2ugen.train.stages.bridge:build",
    "instruct": "m2ugen.train.stages.bridge:build",
    "projector": "m2ugen.train.stages.projector:build",
}


def build_task(
    preset: str,
    stage: str,
    data: Path | Sequence[str | Path],
    init: Path | None = None,
    seed: int = 0,
    corpora: Path | None = None,
    **options: Any,
) -> Task:
    """The task of a stage, with its material in ``data``: a folder, or several places for the stages that take them.

    ``preset`` may also be a folder that save_pretrained wrote. ``init`` is what the model begins with: the stage says
    what kind of folder it takes; for one that says nothing it is an earlier run of the same stage, whose best weights
    are loaded. ``corpora`` is a folder with people's descriptions of music, for the stages that read them. ``options``
    overrule the ``task`` section of the stage's settings, key by key. Raises InputError for an unknown stage or option,
    or an unusable ``init``.
    """
    settings = merged(run_file(preset, stage)["task"], options)
    module, name = STAGES[stage].split(":")
    factory = getattr(importlib.import_module(module), name)
    accepted = inspect.signature(factory).parameters
    offered = {"preset": preset, "init": init, "corpora": corpora}
    settings |= {name: value for name, value in offered.items() if name in accepted}
    if "material" not in accepted:  # the stages of nano's own parts
        places = [data] if isinstance(data, str | Path) else list(data)
        if len(places) != 1:
            raise InputError(f"the stage {stage} takes one --data: the folder that m2ugen data nano wrote")
        data = Path(places[0])
    if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in accepted.values()):
        unknown = sorted(set(settings) - set(accepted))
        if unknown:
            raise InputError(f"the stage {stage} has no option {unknown[0]!r}; it has: {', '.join(accepted)}")
    task: Task = factory(data=data, seed=seed, **settings)
    if init is not None and "init" not in accepted:
        from m2ugen.train.export import load_best

        load_best(task, init)
    return task


def stage_config(preset: str, stage: str) -> TrainConfig:
    """The training settings of a stage, writing to ``runs/PRESET-STAGE`` unless overridden."""
    run = run_file(preset, stage)
    return TrainConfig.from_dict({"output": Path("runs") / f"{Path(preset).name}-{stage}", **run["train"]})


def run_file(preset: str, stage: str) -> dict[str, Any]:
    """The settings of a stage, as load_run_file gives them. Raises InputError for an unknown stage."""
    if stage not in STAGES:
        raise InputError(f"unknown training stage {stage!r}; known are: {', '.join(STAGES)}")
    for name in (f"{Path(preset).name}-{stage}.yaml", f"{stage}.yaml"):
        if (CONFIGS / name).exists():
            return load_run_file(CONFIGS / name)
    known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    raise InputError(f"the preset {preset!r} has no stage {stage!r}; there are settings for: {known}")
