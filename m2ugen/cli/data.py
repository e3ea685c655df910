"""``m2ugen data``: training material, nano's own and the paper's sets from one's own media."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from m2ugen.cli import common

NAME = "data"
app = typer.Typer(help="Build, check and look at training material.", no_args_is_help=True)

MAX_SHOWN = 50  # problems that validate prints


class DataSet(StrEnum):
    """The paper's sets."""

    mucaps = "mucaps"
    muedit = "muedit"
    muimage = "muimage"
    muvideo = "muvideo"
    musicqa = "musicqa"


class Where(StrEnum):
    """Where a build runs."""

    local = "local"
    ray = "ray"


class Form(StrEnum):
    """Kinds of shards."""

    parquet = "parquet"
    webdataset = "webdataset"


FolderArgument = Annotated[Path, typer.Argument(help="Folder of the data set.", metavar="DIR")]

NANO_EXAMPLES = """Examples:

m2ugen data nano --output data

m2ugen data nano --corpora ~/corpora --output data --count 5000 --workers 2"""


@app.callback()
def group() -> None:
    """Build, check and look at training material."""


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
    """Build what nano is trained on: arranged scores, features of their recordings, and plain talk.

    Works without --corpora too, from the scores that the music21 package holds; the Debian package mma arranges.
    """
    with common.quiet_libraries():
        from m2ugen.data.nano.build import build_scores
        from m2ugen.data.nano.language.own_words import write_own_words
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
            with common.progress_bar("own words") as progress:
                write_own_words(output, progress=progress)
    print(output)


BUILD_EXAMPLES = """Examples:

m2ugen data build mucaps songs --output mucaps

m2ugen data build muimage pictures-and-songs --output muimage --captioner paper --workers 2

m2ugen data build muedit songs --output muedit --writer http://localhost:8000/v1 --writer-model mpt-7b-chat

m2ugen data build mucaps audioset.csv --media downloads --output mucaps --runner ray

The same command continues a build that was stopped."""


@app.command("build", epilog=BUILD_EXAMPLES)
def build(
    name: Annotated[DataSet, typer.Argument(help="The set to build.")],
    source: Annotated[Path, typer.Argument(help="Folder of media, or a manifest (csv, tsv, json, jsonl).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the set.", metavar="DIR")],
    media: Annotated[
        Path | None, typer.Option("--media", help="Where the manifest's files lie.", metavar="DIR")
    ] = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
    captioner: Annotated[
        str,
        typer.Option(
            "--captioner", help="Who describes pictures: model, paper (BLIP, TimeSformer-GPT2), a folder or a hub id."
        ),
    ] = "model",
    writer: Annotated[
        str,
        typer.Option(
            "--writer", help="Who writes requests: grammar, or a chat model (folder, hub id or http address)."
        ),
    ] = "grammar",
    writer_model: Annotated[
        str | None, typer.Option("--writer-model", help="The chat model's name at an http address.")
    ] = None,
    edits: Annotated[
        bool, typer.Option("--edits", help="muedit: let the model make the edits instead of looking for pairs.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Licence of media for which the manifest names none.")
    ] = None,
    max_speech: Annotated[
        float, typer.Option("--max-speech", help="Share of speech that music may have; 1 turns the check off.")
    ] = 0.3,
    min_snr: Annotated[float, typer.Option("--min-snr", help="Least signal-to-noise ratio, in dB.")] = 6.0,
    form: Annotated[Form | None, typer.Option("--shards", help="Also write shards of this kind.")] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes (ray: actors for each model).", min=1)] = 1,
    runner: Annotated[Where, typer.Option("--runner", help="This machine, or a Ray cluster.")] = Where.local,
    address: Annotated[str | None, typer.Option("--address", help="The Ray cluster's address.")] = None,
    gpus: Annotated[float, typer.Option("--gpus", help="GPUs for each of Ray's actors.", min=0)] = 0.0,
    resume: Annotated[bool, typer.Option("--resume/--restart", help="Keep what an earlier run finished.")] = True,
    json: common.JsonOption = False,
) -> None:
    """Build one of the paper's sets from music, pictures and videos of your own."""
    from m2ugen.data.build.options import BuildOptions

    options = BuildOptions(
        source, output, media, model, captioner, writer, writer_model, edits, licence,
        max_speech=max_speech, min_snr=min_snr,
    )  # fmt: skip
    with common.quiet_libraries(), common.labelled_progress_bar() as progress:
        from m2ugen.data.build.build import build as build_set
        from m2ugen.data.build.cluster import RayRunner
        from m2ugen.data.build.engine import Runner
        from m2ugen.data.build.local import LocalRunner
        from m2ugen.data.build.shards import export

        place: Runner = LocalRunner(workers) if runner is Where.local else RayRunner(address, workers, gpus)
        result = build_set(name.value, options, place, progress, resume)
        shards = [] if form is None else export(output, output / form.value, form.value)
    for problem in result.report.problems:
        print(problem, file=sys.stderr)
    if json:
        common.print_json(
            {
                "output": str(output),
                "entries": result.report.entries,
                "units": result.units,
                "rejected": len(result.rejected),
                "problems": len(result.report.problems),
                "shards": [str(path) for path in shards],
            }
        )
    else:
        print(f"{output}: {result.units} units, {len(result.rejected)} rejected (see rejected.jsonl)")


VALIDATE_EXAMPLES = """Examples:

m2ugen data validate mucaps

m2ugen data validate muimage --decode"""


@app.command("validate", epilog=VALIDATE_EXAMPLES)
def validate(
    folder: FolderArgument,
    decode: Annotated[bool, typer.Option("--decode", help="Read every file to its end.")] = False,
    json: common.JsonOption = False,
) -> None:
    """Check a set: layout, missing files, empty or bad words, repetitions. Exit code 2 when it cannot be trained on."""
    with common.quiet_libraries():
        from m2ugen.data.build.validation import validate as check

        report = check(folder, decode)
    if json:
        found = [vars(problem) for problem in report.problems]
        common.print_json({"name": report.name, "entries": report.entries, "problems": found})
    else:
        for problem in report.problems[:MAX_SHOWN]:
            print(problem)
        if len(report.problems) > MAX_SHOWN:
            print(f"and {len(report.problems) - MAX_SHOWN} more")
        print(f"{report.name}: {sum(report.entries.values())} entries, {len(report.problems)} problems")
    if report.errors:
        raise typer.Exit(2)


INSPECT_EXAMPLES = """Examples:

m2ugen data inspect mucaps

m2ugen data inspect muvideo --output look.html --count 30 --seed 1"""


@app.command("inspect", epilog=INSPECT_EXAMPLES)
def inspect(
    folder: FolderArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page (default: inspect.html in the folder).")
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Examples to show.", min=1)] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Which examples are drawn.", min=0)] = 0,
) -> None:
    """Write a page to listen to and look at some of a set."""
    with common.quiet_libraries():
        from m2ugen.data.build.inspect import write_inspection

        page = output if output is not None else folder / "inspect.html"
        write_inspection(folder, page, count, seed)
    print(page)
