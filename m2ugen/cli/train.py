"""``m2ugen train``: train a model, stage by stage."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from m2ugen.cli import common

NAME = "train"
EXAMPLES = """Examples:

m2ugen train nano --stage score --data data --output runs/score --minutes 60

m2ugen train nano --stage instruct --data data --output runs/instruct --steps 3000

The same command continues a run that was stopped."""


class Stage(StrEnum):
    """The stages of nano's training, in their order."""

    music_encoder = "music-encoder"
    score = "score"
    plan = "plan"
    encoder = "encoder"
    decoder = "decoder"
    instruct = "instruct"
    projector = "projector"


def run(
    preset: Annotated[str, typer.Argument(help="The preset to train.")],
    stage: Annotated[Stage, typer.Option("--stage", help="What to train.")],
    data: Annotated[Path, typer.Option("--data", help="Folder that `m2ugen data` wrote.", metavar="DIR")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.", metavar="DIR")],
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
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same run.", min=0)] = 0,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the release weights to this folder at the end.")
    ] = None,
) -> None:
    """Train one stage; a stopped run continues where it was."""
    with common.quiet_libraries():
        from m2ugen.train import train
        from m2ugen.train.stages import build_task, stage_config

        task = build_task(preset, stage.value, data, init=init, seed=seed, corpora=corpora)
        config = stage_config(preset, stage.value).override(
            output=output, max_steps=steps, max_minutes=minutes, learning_rate=learning_rate, seed=seed
        )
        result = train(task, config)
        if export is not None:
            task.export(export)
    for name, value in result.metrics.items():
        print(f"{name}: {value:.4g}", file=sys.stderr)
    print(output)
