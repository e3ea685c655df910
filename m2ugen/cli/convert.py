"""``m2ugen convert``: published checkpoints to folders that m2ugen loads, and back."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m2ugen.cli import common
from m2ugen.errors import InputError

if TYPE_CHECKING:
    from m2ugen.convert.folder import Report

NAME = "convert"
EXAMPLES = """Examples:

m2ugen convert checkpoint.pth --preset musicgen

m2ugen convert checkpoint.pth my-model --language-model llama-2-7b --dtype bf16

m2ugen convert llama-2-7b llama-2-7b-hf

m2ugen convert my-model checkpoint.pth --to published"""


def run(
    source: Annotated[
        Path,
        typer.Argument(help="A published checkpoint, a folder with one, Meta's LLaMA folder, or a model's folder."),
    ],
    output: Annotated[
        Path | None, typer.Argument(help="The new folder or file; with --preset it may be left out.")
    ] = None,
    to: Annotated[str, typer.Option("--to", help='"m2ugen", or "published" for a .pth file of the old form.')] = (
        "m2ugen"
    ),
    preset: Annotated[
        str | None, typer.Option("--preset", help="Whose encoders and decoder the model has.", metavar="NAME")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Sizes that the tensors do not tell, or a whole configuration.", metavar="FILE"),
    ] = None,
    language_model: Annotated[
        Path | None,
        typer.Option(
            "--language-model",
            help="Folder of the LLaMA and its tokenizer, if the checkpoint has none.",
            metavar="FOLDER",
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="fp32, bf16 or fp16 for matrices; as they are if left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    json: common.JsonOption = False,
) -> None:
    """Convert a published M2UGen or MU-LLaMA checkpoint, or a LLaMA in Meta's form, into a folder that m2ugen loads.

    Sizes are read off the tensors. Every tensor is accounted for: when one is missing or left over, nothing is written.
    """
    from m2ugen.convert.folder import Mismatch, convert, export
    from m2ugen.weights import preset_folder

    start = time.perf_counter()
    if to not in ("m2ugen", "published"):
        raise InputError(f'--to must be "m2ugen" or "published", not {to!r}')
    if output is None:
        if to == "published" or preset is None:
            raise InputError("name the file or folder to write; only a --preset has a place of its own")
        output = preset_folder(preset)
    try:
        with common.quiet_libraries():
            if to == "published":
                report = export(source, output, dtype, force)
            else:
                report = convert(source, output, config, preset, language_model, dtype, force)
    except Mismatch as error:
        print("\n".join(error.lines()), file=sys.stderr)
        raise
    seconds = round(time.perf_counter() - start, 3)
    _describe(report)
    if json:
        facts = {**vars(report), "output": str(report.output), "seconds": {"total": seconds}}
        common.print_json(facts)
    else:
        print(report.output)


def _describe(report: Report) -> None:
    """What became of the tensors, on stderr."""
    lines = [f"{report.written} tensors written"]
    lines += [f"left out: {count} tensors {prefix}*, a frozen part" for prefix, count in report.frozen.items()]
    if report.unused:
        lines.append(f"left out: {len(report.unused)} tensors that are never used, such as {report.unused[0]}")
    lines += [f"not in the checkpoint, so zero: {name}" for name in report.added]
    if report.tokenizer is False:
        lines.append(
            "no tokenizer was found: put tokenizer.json or tokenizer.model beside the language model's weights"
        )
    print("\n".join(lines), file=sys.stderr)
