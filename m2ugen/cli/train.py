"""``m2ugen train``: train a model, stage by stage."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from m2ugen.cli import common
from m2ugen.errors import InputError

NAME = "train"
EXAMPLES = """Examples:

m2ugen train nano --stage score --data data --output runs/score --minutes 60

m2ugen train nano --stage instruct --data my-songs --output runs/mine --steps 60

m2ugen train musicgen --stage encoder --data mucaps --data coco --data muvideo --output runs/encoder

m2ugen train musicgen --stage instruct --data musicqa --data alpaca --set train.accumulation=16 --output runs/instruct

m2ugen train musicgen --stage instruct --plan

The same command continues a run that was stopped."""


class Stage(StrEnum):
    """The stages: nano's own parts, and the paper's three (encoder, decoder, instruct)."""

    beat_key = "beat-key"
    music_encoder = "music-encoder"
    score = "score"
    plan = "plan"
    encoder = "encoder"
    decoder = "decoder"
    instruct = "instruct"
    projector = "projector"


def run(
    preset: Annotated[str, typer.Argument(help="The preset to train, or a model's folder.")],
    stage: Annotated[Stage, typer.Option("--stage", help="What to train.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="What `m2ugen data` wrote, a published set, shards, or a folder of songs; repeat for several.",
            metavar="DIR",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run (runs/PRESET-STAGE).", metavar="DIR")
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", help="Start from the weights in this folder.", metavar="DIR")
    ] = None,
    corpora: Annotated[
        Path | None,
        typer.Option("--corpora", help="Folder with people's descriptions of music (musiccaps_train).", metavar="DIR"),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Optimiser steps.", min=1)] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Choose the steps so that the run takes this long.", min=0.1)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same run (0).", min=0)] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A run file (YAML) over the stage's own settings.", metavar="FILE")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting: train.NAME=VALUE or task.NAME=VALUE; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the release weights to this folder at the end.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Train nothing; print memory and time that it would take.")
    ] = False,
    json: common.JsonOption = False,
) -> None:
    """Train one stage; a stopped run continues where it was."""
    with common.quiet_libraries():
        from m2ugen.config import merged
        from m2ugen.train.config import load_run_file, parse_overrides
        from m2ugen.train.stages import run_file

        settings = run_file(preset, stage.value)
        for above in ({} if config is None else load_run_file(config), parse_overrides(overrides or [])):
            if above.get("stage", stage.value) != stage.value:
                raise InputError(f"{config} is for the stage {above['stage']}, not {stage.value}")
            settings = merged(settings, {key: above[key] for key in ("task", "train") if key in above})
        if plan:
            _print_plan(preset, stage.value, settings, json)
            return
        if not data:
            raise InputError("training needs material: give --data, once or several times")
        given = {"max_steps": steps, "max_minutes": minutes, "learning_rate": learning_rate, "seed": seed}
        result = _train(preset, stage.value, settings, data, output, init, corpora, given, export)
    if json:
        common.print_json(result)
    else:
        for name, value in result["metrics"].items():
            print(f"{name}: {value:.4g}", file=sys.stderr)
        print(result["output"])


def _train(
    preset: str,
    stage: str,
    settings: dict[str, Any],
    data: list[str],
    output: Path | None,
    init: Path | None,
    corpora: Path | None,
    given: dict[str, Any],
    export: Path | None,
) -> dict[str, Any]:
    from m2ugen import __version__
    from m2ugen.train import TrainConfig, train
    from m2ugen.train.config import save_run_file
    from m2ugen.train.stages import build_task

    folder = output or Path("runs") / f"{Path(preset).name}-{stage}"
    config = TrainConfig.from_dict({**settings["train"], "output": folder}).override(**given)
    task = build_task(preset, stage, data, init=init, seed=config.seed, corpora=corpora, **settings["task"])
    if os.environ.get("RANK", "0") == "0":
        facts = {"preset": preset, "data": [str(place) for place in data], "init": None if init is None else str(init)}
        content = {"stage": stage, **facts, "version": __version__, "task": settings["task"], "train": config.plain()}
        save_run_file(folder / "run.yaml", content)
        report = getattr(task, "report", None)
        if report is not None:
            report.write(folder / "data.json")
    result = train(task, config)
    if export is not None:
        task.export(export)
    return {
        "output": str(folder),
        "status": result.status,
        "step": result.step,
        "seconds": round(result.seconds, 1),
        "metrics": result.metrics,
        "best_loss": result.best_loss,
        "best_step": result.best_step,
        "exported": None if result.exported is None else str(result.exported),
    }


def _print_plan(preset: str, stage: str, settings: dict[str, Any], json: bool) -> None:
    from m2ugen.train.plan import make_plan

    found = make_plan(preset, stage, settings)
    if json:
        common.print_json(found.to_dict())
    else:
        print(found.to_text())
