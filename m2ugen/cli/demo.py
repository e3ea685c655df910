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

m2ugen demo --output my-demo

m2ugen demo --gallery --output gallery"""


def run(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.", metavar="DIR")] = Path(
        "out"
    ),
    gallery: Annotated[
        bool, typer.Option("--gallery", help="Twenty prompts and more instead; takes some minutes.")
    ] = False,
    beside: Annotated[
        Path | None, typer.Option("--beside", help="Folder of an earlier gallery to compare with.", metavar="DIR")
    ] = None,
    soundfont: common.SoundFontOption = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
    json: common.JsonOption = False,
) -> None:
    """Ask, generate from words, pictures and a video, and edit, on bundled examples; writes a page to listen to."""
    start = time.perf_counter()
    if beside is not None and not gallery:
        raise typer.BadParameter("--beside needs --gallery")
    if beside is not None and not beside.is_dir():
        raise typer.BadParameter(f"--beside {beside} is no folder")
    output.mkdir(parents=True, exist_ok=True)
    with common.quiet_libraries():
        loaded = common.load_model(model, soundfont)
        from m2ugen.demo.gallery import Gallery
        from m2ugen.demo.run import Demo

        demo = Gallery(loaded.model, output, beside) if gallery else Demo(loaded.model, output)
        with common.labelled_progress_bar() as progress:
            page = demo.run(progress)
    if json:
        common.print_json(
            {"page": str(page), "files": sorted(p.name for p in output.iterdir()), "model": loaded.name,
             "seconds": {"load": round(loaded.seconds, 3), "total": round(time.perf_counter() - start, 3)}}
        )  # fmt: skip
    else:
        print(page)
