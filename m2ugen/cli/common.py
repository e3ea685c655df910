"""Options, messages and results that the commands share."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2ugen.errors import InputError
from m2ugen.media.files import check_output

if TYPE_CHECKING:
    from m2ugen.pipeline import M2UGen
    from m2ugen.reply import Reply
    from m2ugen.score.plan import Plan


MusicOption = Annotated[
    Path | None, typer.Option("--music", help="Music to listen to: any audio or video file, or MIDI.", metavar="FILE")
]
ImageOption = Annotated[Path | None, typer.Option("--image", help="A picture.", metavar="FILE")]
VideoOption = Annotated[Path | None, typer.Option("--video", help="A video.", metavar="FILE")]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A preset, a folder, or a hub id.", show_default=True, metavar="NAME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
SeedOption = Annotated[
    int | None, typer.Option("--seed", help="Same seed, same machine, same result.", min=0, metavar="N")
]
SoundFontOption = Annotated[
    Path | None, typer.Option("--soundfont", help="SoundFont (sf2, sf3) that plays the notes.", metavar="FILE")
]
MidiOption = Annotated[Path | None, typer.Option("--midi", help="Also write the notes as MIDI.", metavar="FILE")]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="Where the music goes: wav, flac, ogg or mp3.", metavar="FILE")
]
DEFAULT_MODEL = "nano"


def print_error(message: str) -> None:
    """One line on stderr."""
    print("m2ugen: " + " ".join(message.split()), file=sys.stderr)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep native libraries from writing to stderr beside our own messages.

    File descriptor 2 goes to the null device while Python's sys.stderr keeps writing to the terminal.
    """
    if os.environ.get("M2UGEN_DEBUG"):
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    previous = sys.stderr
    try:
        os.dup2(silence, 2)
        sys.stderr = os.fdopen(os.dup(terminal), "w", buffering=1, encoding="utf-8", errors="replace")
        yield
    finally:
        sys.stderr.flush()
        sys.stderr.close()
        sys.stderr = previous
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(silence)


@contextmanager
def labelled_progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr (only on a terminal); yields a function of a label and the finished fraction 0-1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda label, fraction: progress.update(task, description=label, completed=fraction)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float], None]]:
    """The same with one fixed label; yields a function of the finished fraction."""
    with labelled_progress_bar() as update:
        update(label, 0.0)
        yield lambda fraction: update(label, fraction)


@dataclass
class LoadedModel:
    """A model and the seconds that it took to load."""

    model: M2UGen
    name: str
    seconds: float


def load_model(name: str, soundfont: Path | None = None, **options: Any) -> LoadedModel:
    """Load a preset, folder or hub id; ``options`` as for M2UGen.from_pretrained. Raises InputError, MissingWeights."""
    start = time.perf_counter()
    with progress_bar(f"loading {name}"):
        from m2ugen import M2UGen

        model = M2UGen.from_pretrained(name, soundfont=soundfont, **options)
    return LoadedModel(model, name, time.perf_counter() - start)


def check_outputs(inputs: list[Path | None], **outputs: tuple[Path | None, tuple[str, ...]]) -> None:
    """Refuse outputs that cannot be written, that collide, or that would overwrite an input, before any work."""
    given = {path.resolve() for path in inputs if path is not None}
    taken: set[Path] = set()
    for option, (path, suffixes) in outputs.items():
        if path is None:
            continue
        resolved = check_output(path, suffixes).resolve()
        if resolved in given:
            raise InputError(f"--{option} {path} would overwrite an input; choose another name")
        if resolved in taken:
            raise InputError(f"--{option} {path} is also the name of another output; choose another name")
        taken.add(resolved)


def result(reply: Reply, loaded: LoadedModel, output: Path | None = None, midi: Path | None = None) -> dict[str, Any]:
    """The JSON object that every command prints with ``--json``."""
    return {
        "text": reply.text,
        "output": None if output is None else str(output),
        "midi": None if midi is None else str(midi),
        "duration": None if reply.duration is None else round(reply.duration, 3),
        "sample_rate": reply.sample_rate,
        "seed": reply.seed,
        "model": loaded.name,
        "seconds": {
            "load": round(loaded.seconds, 3),
            "understand": round(reply.seconds.get("understand", 0.0), 3),
            "generate": round(reply.seconds.get("generate", 0.0), 3),
            "total": round(loaded.seconds + reply.seconds.get("total", 0.0), 3),
        },
    }


def print_json(data: dict[str, Any]) -> None:
    """One line of JSON on stdout."""
    print(json.dumps(data, ensure_ascii=False), flush=True)


def read_plan(path: Path) -> Plan:
    """The plan in a JSON file. Raises InputError when it cannot be read or played."""
    from m2ugen.score.plan import Plan

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the plan {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"cannot read the plan {path}: it is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise InputError(f"cannot read the plan {path}: it must be a JSON object, as --save-plan writes it")
    return Plan.from_dict(data)


def write_plan(reply: Reply, path: Path) -> None:
    """Write the plan of a reply as JSON. Raises InputError when the model does not plan."""
    from m2ugen.media.files import atomic_output

    if reply.plan is None:
        raise InputError("this model does not write a plan; leave --save-plan out")
    with atomic_output(path, (".json",)) as temporary:
        temporary.write_text(json.dumps(reply.plan.to_dict(), indent=1) + "\n", encoding="utf-8")
