"""``m2ugen info``: what a model consists of, what it needs, and which weights are here."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2ugen.cli import common

if TYPE_CHECKING:
    from m2ugen.model.inventory import PartInfo

NAME = "info"
EXAMPLES = """Examples:

m2ugen info

m2ugen info --model musicgen

m2ugen info --model nano --load --json"""

LIBRARIES = ("torch", "transformers", "symusic", "librosa", "av")
BYTES = {"float32": 4, "bfloat16": 2}  # per parameter
GB = 1e9


def run(
    model: common.ModelOption = common.DEFAULT_MODEL,
    load: Annotated[bool, typer.Option("--load", help="Load the model too, and say how long that took.")] = False,
    json: common.JsonOption = False,
) -> None:
    """Show a model's parts, their sizes and licences, the memory it needs, and which weights are here or missing."""
    from m2ugen.model.inventory import inventory

    with common.quiet_libraries():
        parts = inventory(model)
        loaded = common.load_model(model) if load else None
    total = sum(part.parameters or 0 for part in parts)
    facts: dict[str, Any] = {
        "m2ugen": metadata.version("m2ugen"),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "model": model,
        "parts": [vars(part) for part in parts],
        "parameters": total,
        "memory_gb": {name: round(size * total / GB, 2) for name, size in BYTES.items()},
        "complete": all(part.present for part in parts),
        "seconds": {"load": None if loaded is None else round(loaded.seconds, 3)},
    }
    if json:
        common.print_json(facts)
        return
    print(f"m2ugen {facts['m2ugen']}, python {facts['python']}, torch {facts['libraries']['torch']}")
    print(f"model {model}" + ("" if loaded is None else f", loaded in {loaded.seconds:.1f} s"))
    for part in parts:
        print(_line(part))
    memory = ", ".join(f"{size} GB in {name}" for name, size in facts["memory_gb"].items())
    print(f"  {'total':<26} {_millions(total)} parameters: {memory}")
    for part in parts:
        if not part.present:
            terms = f" ({part.licence})" if part.licence else ""
            print(f"missing: {part.name}, to be had from {part.source}{terms}")


def _line(part: PartInfo) -> str:
    state = "here" if part.present else "missing"
    return f"  {part.name:<26} {_millions(part.parameters)} parameters  {state}"


def _millions(count: int | None) -> str:
    return f"{'?':>9}  " if count is None else f"{count / 1e6:9.2f} M"
