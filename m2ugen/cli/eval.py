"""``m2ugen eval``: measure a model, or a folder of another system's outputs."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2ugen.cli import common
from m2ugen.errors import InputError

if TYPE_CHECKING:
    from m2ugen.evaluate.results import Result
    from m2ugen.evaluate.run import Setting

NAME = "eval"
app = typer.Typer(help="Measure a model or a folder of outputs.", no_args_is_help=True)

EXAMPLES = """Examples:

m2ugen eval all --limit 20 --output report

m2ugen eval controls --outputs other-system --output report-other

m2ugen eval compare report report-other"""

OutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for benchmark, outputs and report; continued.", metavar="DIR")
]
ReportArgument = Annotated[Path, typer.Argument(help="A report's folder, or its report.json.")]


ALL = "all"
TASKS = {  # command → what it measures
    ALL: "Measure everything that the model can do.",
    "understanding": "Are answers about music true? And BLEU, METEOR, ROUGE-L, BERTScore; beside another recording's.",
    "text2music": "FAD, FAD∞, kernel distance, KL and CLAP score of music from words.",
    "controls": "Does the music do what was asked? Level, repetition, diversity, memorisation, notes.",
    "image2music": "Distances, ranking and energy of music for pictures.",
    "video2music": "Distances, ranking, energy and cuts of music for clips.",
    "editing": "Is the edit done, and is the rest kept?",
}


@app.callback()
def group() -> None:
    """Measure a model or a folder of outputs; each command writes report.json, report.md and report.html."""


def run(
    task: str,
    output: OutputOption = Path("evaluation"),
    outputs: Annotated[
        Path | None, typer.Option("--outputs", help="Score this folder of another system instead.", metavar="DIR")
    ] = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
    name: Annotated[str | None, typer.Option("--name", help="What the report calls the system.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Items per task (recordings for questions).", min=4)] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same benchmark.", min=0)] = 0,
    soundfont: Annotated[
        Path | None,
        typer.Option("--soundfont", help="Plays the benchmark's recordings: take one held out.", metavar="FILE"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder of m2ugen data nano: its held-out scores, and memorisation.", metavar="DIR"
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure", help="A published model: vggish=, passt=, imagebind=, clap=, mert=, bert=.", metavar="X"
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--set", help="A set of yours, LAYOUT=FILE: musicqa, musiccaps, mucaps, muchomusic, mmau …"),
    ] = None,
    audio: Annotated[
        Path | None, typer.Option("--audio", help="Folder of the set's recordings.", metavar="DIR")
    ] = None,
    published: Annotated[
        Path | None, typer.Option("--published", help="Published figures, in the packaged file's form.", metavar="FILE")
    ] = None,
    players: Annotated[bool, typer.Option(help="Put sound on the page.")] = True,
    json: common.JsonOption = False,
) -> None:
    """Ask a model, score the answers and the music, and write report.json, report.md and report.html."""
    start = time.perf_counter()
    for folder, option in ((data, "--data"), (outputs, "--outputs")):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{option} {folder} is not a folder")
    with common.quiet_libraries():
        from m2ugen.evaluate.benchmark.build import Recipe
        from m2ugen.evaluate.report.write import write_report
        from m2ugen.evaluate.run import SCORERS, Setting

        tasks = tuple(SCORERS) if task == ALL else (task,)
        setting = Setting(output, tasks, Recipe(limit, seed, soundfont, data), tuple(measure or ()))
        result = _evaluate(setting, outputs, model, name, dataset, audio)
        files = write_report(result, output, published, players)
    if json:
        common.print_json(_summary(result, files, time.perf_counter() - start))
    else:
        print(files[1])


def command_of(task: str) -> Callable[..., None]:
    """``run`` for one task: the same options, without the task's name."""

    def command(**options: Any) -> None:
        run(task, **options)

    signature = inspect.signature(run, eval_str=True)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "task"]
    command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in kept}
    return command


for _task, _help in TASKS.items():
    app.command(_task, help=_help, epilog=EXAMPLES)(command_of(_task))


@app.command("compare")
def compare(one: ReportArgument, other: ReportArgument) -> None:
    """Two reports side by side, with the significance of every difference, as Markdown on stdout."""
    from m2ugen.evaluate.report.compare import compare_markdown
    from m2ugen.evaluate.results import load_result

    print(compare_markdown(load_result(one), load_result(other)), end="")


@app.command("requests")
def requests(
    output: OutputOption,
    limit: Annotated[int, typer.Option("--limit", help="Items per task.", min=4)] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same benchmark.", min=0)] = 0,
    soundfont: common.SoundFontOption = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of m2ugen data nano, for its held-out scores.", metavar="DIR")
    ] = None,
) -> None:
    """Write the benchmark for another system to answer: items.json and the media."""
    with common.quiet_libraries():
        from m2ugen.evaluate.benchmark.build import Recipe, build_benchmark

        with common.labelled_progress_bar() as progress:
            benchmark = build_benchmark(output, Recipe(limit, seed, soundfont, data), progress)
    print(benchmark.folder / "items.json")


@app.command("card")
def card(
    report: ReportArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The model card, made or renewed.", metavar="FILE")],
) -> None:
    """Write the figures of a report into a model card, between two marks."""
    from m2ugen.evaluate.report.card import write_card
    from m2ugen.evaluate.results import load_result

    write_card(load_result(report), output)
    print(output)


def _evaluate(
    setting: Setting, outputs: Path | None, model: str, name: str | None, dataset: str | None, audio: Path | None
) -> Result:
    from m2ugen.evaluate.benchmark.layouts import read_layout
    from m2ugen.evaluate.run import evaluate_folder, evaluate_model

    if outputs is not None:
        if dataset is not None:
            raise InputError("--set asks a model; a folder of outputs brings its own captions.json or items.json")
        with common.labelled_progress_bar() as progress:
            return evaluate_folder(outputs, name or outputs.resolve().name, setting, progress)
    items = []
    if dataset is not None:
        layout, _, file = dataset.partition("=")
        if not file or audio is None:
            raise InputError("a set needs its layout, its file and its recordings: --set musicqa=FILE --audio DIR")
        items = read_layout(layout, Path(file), audio)
    loaded = common.load_model(model)
    with common.labelled_progress_bar() as progress:
        return evaluate_model(loaded.model, name or model, setting, progress, items)


def _summary(result: Result, files: list[Path], seconds: float) -> dict[str, Any]:
    """The JSON line: the report's files and every figure."""
    figures = {
        task: {
            row.name: [round(v, 4) for v in (row.figure.value, row.figure.low, row.figure.high)]
            for row in result.of(task)
        }
        for task in result.tasks
    }
    return {
        "system": result.system,
        "benchmark": result.benchmark,
        "files": [str(path) for path in files],
        "figures": figures,
        "seconds": {**{key: round(value, 1) for key, value in result.seconds.items()}, "total": round(seconds, 1)},
    }
