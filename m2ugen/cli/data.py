"""``m2ugen data``: training material."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m2ugen.cli import common

NAME = "data"
app = typer.Typer(help="Build training material.", no_args_is_help=True)

NANO_EXAMPLES = """Examples:

m2ugen data nano --output data

m2ugen data nano --corpora ~/corpora --output data --count 5000 --workers 2"""


@app.callback()
def group() -> None:
    """Build training material."""


@app.command("nano", epilog=NANO_EXAMPLES)
def nano(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to; finished shards are kept.")],
    corpora: Annotated[
        Path | None,
        typer.Option(
            "--corpora", help="Folder with pop909, openscore_lieder and musiccaps_train (archives or unpacked)."
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Arrangements to write.", min=1)] = 5000,
    recordings: Annotated[int, typer.Option("--recordings", help="Rendered clips to describe.", min=0)] = 4000,
    soundfonts: Annotated[
        list[Path] | None, typer.Option("--soundfont", help="A SoundFont to render with; repeat for several.")
    ] = None,
    held_out_soundfont: Annotated[
        Path | None, typer.Option("--held-out-soundfont", help="A SoundFont that only validation clips use.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same material.", min=0)] = 0,
    workers: Annotated[int, typer.Option("--workers", help="Processes to use.", min=1)] = 1,
) -> None:
    """Build what nano is trained on: arranged scores and features of their recordings.

    Works without --corpora too, from the scores that the music21 package holds; the Debian package mma arranges.
    """
    with common.quiet_libraries():
        from m2ugen.data.nano.build import build_scores
        from m2ugen.data.nano.recordings import build_recordings

        build_scores(output / "scores", corpora, count=count, seed=seed, workers=workers)
        if recordings:
            build_recordings(
                output / "scores",
                output / "recordings",
                count=recordings,
                soundfonts=soundfonts,
                held_out_soundfont=held_out_soundfont,
                seed=seed,
                workers=workers,
            )
    print(output)
