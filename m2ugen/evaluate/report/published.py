"""Published figures beside ours: the paper's tables in its row order, marked as published, never re-measured.

A cell holds a figure only where it was read in the source that stands beside it; the packaged file leaves the others
empty, and a file of the same form can be given that fills them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m2ugen.errors import InputError
from m2ugen.evaluate.benchmark.items import read_json
from m2ugen.evaluate.results import Result

PACKAGED = Path(__file__).parents[1] / "published.json"
EMPTY = "–"


def published_tables(path: Path | None = None) -> list[dict[str, Any]]:
    """The tables of ``path`` or of the package. Raises InputError."""
    data = read_json(path or PACKAGED)
    try:
        for table in data["tables"]:
            if len(table["columns"]) != len(table["ours"]) or not table["source"]:
                raise InputError(f"a table of published figures ({table['title']}) is not complete")
        return list(data["tables"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not a file of published figures: {error}") from error


def published_markdown(results: list[Result], path: Path | None = None) -> str:
    """The paper's tables: published rows, then ours."""
    parts = []
    for table in published_tables(path):
        mine = [result for result in results if result.of(table["task"])]
        if not mine:
            continue
        head = ["system", *table["columns"], "source"]
        lines = [f"### {table['title']}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for system, cells in table["rows"].items():
            shown = [EMPTY if cell is None else f"{cell:g}" for cell in cells] or [EMPTY] * len(table["columns"])
            lines.append(f"| {system} | {' | '.join(shown)} | published, {table['source']} |")
        for result in mine:
            shown = [_cell(result, table["task"], name) for name in table["ours"]]
            lines.append(f"| **{result.system}** | {' | '.join(shown)} | measured here, {result.benchmark} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(result: Result, task: str, name: str) -> str:
    """Our figure of the row that is called ``name`` or begins with it and a comma (a variant of it)."""
    for row in result.of(task):
        if row.name == name or row.name.startswith(f"{name},"):
            return f"{row.figure.value:.3f}"
    return EMPTY
