"""One evaluation from end to end: benchmark, outputs, scores, result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from m2ugen.errors import InputError
from m2ugen.evaluate.benchmark.build import Recipe, build_benchmark, clip_names
from m2ugen.evaluate.benchmark.items import (
    ITEMS_FILE,
    TASKS,
    Benchmark,
    Item,
    load_benchmark,
    read_json,
    with_others,
)
from m2ugen.evaluate.benchmark.layouts import prompt_item
from m2ugen.evaluate.embedders.registry import Measuring, load_measuring
from m2ugen.evaluate.listening import default_listener
from m2ugen.evaluate.outputs import Outputs, produce
from m2ugen.evaluate.results import Example, Result
from m2ugen.evaluate.tasks.context import Context, Findings
from m2ugen.evaluate.tasks.editing import evaluate_editing
from m2ugen.evaluate.tasks.music import evaluate_controls, evaluate_text2music
from m2ugen.evaluate.tasks.pictures import evaluate_pictures
from m2ugen.evaluate.tasks.understanding import evaluate_understanding
from m2ugen.media.files import AUDIO_SUFFIXES

if TYPE_CHECKING:
    from m2ugen.pipeline import M2UGen

Report = Callable[[str, float], None]
SCORERS: dict[str, Callable[[Context], Findings]] = {
    "understanding": evaluate_understanding,
    "text2music": evaluate_text2music,
    "controls": evaluate_controls,
    "image2music": lambda context: evaluate_pictures(context, "image2music"),
    "video2music": lambda context: evaluate_pictures(context, "video2music"),
    "editing": evaluate_editing,
}
PRODUCED = {"controls": "text2music"}  # scored task → whose outputs it reads
EXAMPLES = 2  # cases of each task on the page
CAPTIONS = "captions.json"


@dataclass(frozen=True)
class Setting:
    """What to evaluate, and where it goes: ``output`` holds the benchmark, the outputs and the report."""

    output: Path
    tasks: tuple[str, ...]
    recipe: Recipe
    measuring: tuple[str, ...] = ()


def produced(tasks: Sequence[str]) -> tuple[str, ...]:
    """The tasks whose outputs ``tasks`` read, in order."""
    needed = {PRODUCED.get(task, task) for task in tasks}
    return tuple(task for task in TASKS if task in needed)


def evaluate_model(
    model: M2UGen, name: str, setting: Setting, report: Report = lambda label, share: None, items: Sequence[Item] = ()
) -> Result:
    """Ask a model everything and score what it gives; ``items`` replace the built-in questions and prompts.

    Raises InputError, MissingWeights, MissingExtra.
    """
    start = time.perf_counter()
    tasks = tuple(task for task in setting.tasks if _can(model, task))
    if not tasks:
        raise InputError(f"{name} can do none of: {', '.join(setting.tasks)}")
    measuring = load_measuring(list(setting.measuring))
    benchmark = _benchmark(setting, tasks, report, items)
    ready = time.perf_counter()
    outputs = produce(model, benchmark, produced(tasks), setting.output / "outputs", report)
    done = time.perf_counter()
    result = _score(name, benchmark, outputs, tasks, measuring, setting, report)
    result.seconds = {"benchmark": ready - start, "outputs": done - ready, "scoring": time.perf_counter() - done}
    return result


def evaluate_folder(folder: Path, name: str, setting: Setting, report: Report = lambda label, share: None) -> Result:
    """Score another system's folder.

    With ``items.json`` in it, or one folder up in "benchmark", these are the requests; with ``captions.json``
    ({"file.wav": "prompt"}) each file answers its prompt; a folder of bare sound files is scored without prompts.
    Otherwise files are named after the items of the built-in benchmark. Raises InputError.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of outputs")
    start = time.perf_counter()
    measuring = load_measuring(list(setting.measuring))
    benchmark = _folder_benchmark(folder, setting, report)
    outputs = Outputs(folder)
    tasks = tuple(task for task in setting.tasks if benchmark.of(PRODUCED.get(task, task)))
    ready = time.perf_counter()
    result = _score(name, benchmark, outputs, tasks, measuring, setting, report)
    if not any(row.name != "items answered" for row in result.rows):
        raise InputError(f"{folder} holds no outputs for {', '.join(setting.tasks)}; see docs/evaluation.md for names")
    result.seconds = {"benchmark": ready - start, "scoring": time.perf_counter() - ready}
    return result


def _can(model: M2UGen, task: str) -> bool:
    """Whether a model has what a task needs."""
    needs = {"understanding": "music", "editing": "music", "image2music": "image", "video2music": "video"}.get(task)
    has = needs is None or needs in model.model.config.modalities
    return has and (task == "understanding" or model.model.decoder is not None)


def _benchmark(setting: Setting, tasks: Sequence[str], report: Report, items: Sequence[Item]) -> Benchmark:
    recipe = replace(setting.recipe, tasks=produced(tasks))
    benchmark = build_benchmark(setting.output / "benchmark", recipe, report)
    if not items:
        return benchmark
    wanted = tuple(item for item in items if item.task in recipe.tasks)[: setting.recipe.limit]
    if not wanted:
        raise InputError(f"the given set has no items for {', '.join(tasks)}")
    wanted = tuple(with_others(wanted, clip_names(wanted)))
    return replace(benchmark, name="given", items=wanted, known=benchmark.of("text2music"))


def _folder_benchmark(folder: Path, setting: Setting, report: Report) -> Benchmark:
    for candidate in (folder, folder.parent / "benchmark"):
        if (candidate / ITEMS_FILE).is_file():
            return load_benchmark(candidate)
    recipe = replace(setting.recipe, tasks=produced(setting.tasks))
    built = build_benchmark(setting.output / "benchmark", recipe, report)
    named = {item.id for item in built.items}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
    if (folder / CAPTIONS).is_file():
        captions = read_json(folder / CAPTIONS)
        if not isinstance(captions, dict):
            raise InputError(f"{folder / CAPTIONS} must hold an object of file names and prompts")
        items = [prompt_item(Path(file).stem, text) for file, text in captions.items() if (folder / file).is_file()]
        if not items:
            raise InputError(f"no file that {folder / CAPTIONS} names is there")
        return replace(built, name="captions", items=tuple(items), known=built.of("text2music"))
    if files and not any(path.stem in named for path in files):
        items = [Item(path.stem, "text2music", "") for path in files]
        return replace(built, name="sound files without prompts", items=tuple(items), known=built.of("text2music"))
    return built


def _score(
    name: str,
    benchmark: Benchmark,
    outputs: Outputs,
    tasks: Sequence[str],
    measuring: Measuring,
    setting: Setting,
    report: Report,
) -> Result:
    context = Context(benchmark, outputs, measuring, default_listener(), data=setting.recipe.data)
    settings = {**benchmark.settings, "tasks": list(tasks), "measured with": list(setting.measuring)}
    result = Result(name, benchmark.name, settings)
    for number, task in enumerate(tasks):
        context.report = lambda label, share, at=number, task=task: report(  # type: ignore[misc]
            f"scoring {task}: {label}", (at + share) / len(tasks)
        )
        context.report("", 0.0)
        found = SCORERS[task](context)
        result.rows += found.rows
        result.confusions += found.confusions
        result.reliability += found.reliability
        result.examples += _examples(context, task)
    return result


def _examples(context: Context, task: str) -> list[Example]:
    """The first cases of a task, for the page; their files by absolute path."""
    if task in PRODUCED or task == "understanding":
        return []
    found = []
    for item in context.items(task)[:EXAMPLES]:
        picture = item.image or item.video
        found.append(
            Example(
                task,
                item.id,
                item.prompt,
                str(context.path(item)),
                None if item.music is None else str(context.benchmark.path(item.music)),
                None if picture is None else str(context.benchmark.path(picture)),
                str(item.facts.get("phrase", "")),
            )
        )
    return found
