"""``m2ugen demo``: every ability once, with a page to listen to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from m2ugen.cli import common

NAME = "demo"
EXAMPLES = """Examples:

m2ugen demo

m2ugen demo --output my-demo"""


def run(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.", metavar="DIR")] = Path(
        "out"
    ),
    soundfont: common.SoundFontOption = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
    json: common.JsonOption = False,
) -> None:
    """Ask, generate from words, pictures and a video, and edit, on bundled examples; writes a page to listen to."""
    start = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    with common.quiet_libraries():
        loaded = common.load_model(model, soundfont)
        from m2ugen.demo.run import Demo

        with common.labelled_progress_bar() as progress:
            page = Demo(loaded.model, output).run(progress)
    if json:
        common.print_json(
            {"page": str(page), "files": sorted(p.name for p in output.iterdir()), "model": loaded.name,
             "seconds": {"load": round(loaded.seconds, 3), "total": round(time.perf_counter() - start, 3)}}
        )  # fmt: skip
    else:
        print(page)
