"""What an evaluation found: rows of figures with their baselines, as JSON that can be compared and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from m2ugen.errors import InputError
from m2ugen.evaluate.benchmark.items import read_json
from m2ugen.evaluate.metrics.statistics import Figure, mean_figure
from m2ugen.media.files import atomic_output

VERSION = 1
BASELINES = ("shuffled", "majority", "real")


@dataclass
class Row:
    """A measure of one task.

    ``figure`` is the system's; ``baselines`` holds the same for BASELINES, where they mean something. ``scores`` are
    the values per item (by id) behind a mean, for comparisons; empty for statistics of a whole set. ``better`` is
    "higher", "lower" or "" where neither is. ``percent`` says how to show it; ``note`` what must be known to read it.
    """

    task: str
    name: str
    figure: Figure
    baselines: dict[str, Figure] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    better: str = "higher"
    percent: bool = False
    note: str = ""


@dataclass
class Confusion:
    """Counts [truth, found] of ``labels``."""

    task: str
    name: str
    labels: list[str]
    counts: list[list[int]]


@dataclass
class Reliability:
    """Confidence (mean of the bin) against share right, with the number of cases of each bin."""

    name: str
    confidence: list[float]
    accuracy: list[float]
    counts: list[int]


@dataclass
class Example:
    """A case to look at and listen to; files are relative to the report's folder."""

    task: str
    id: str
    prompt: str
    output: str
    source: str | None = None
    picture: str | None = None
    text: str = ""


@dataclass
class Result:
    """Everything about one system."""

    system: str
    benchmark: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)
    reliability: list[Reliability] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, task: str) -> list[Row]:
        """The rows of a task."""
        return [row for row in self.rows if row.task == task]

    @property
    def tasks(self) -> list[str]:
        """The tasks in order."""
        return list(dict.fromkeys(row.task for row in self.rows))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        with atomic_output(path, (".json",)) as temporary:
            data = {"version": VERSION, **asdict(self)}
            temporary.write_text(json.dumps(_finite(data), indent=1) + "\n", encoding="utf-8")


def load_result(path: Path) -> Result:
    """Read what ``save`` wrote; ``path`` may be the report's folder. Raises InputError."""
    path = path / "report.json" if path.is_dir() else path
    data = read_json(path)
    try:
        if data.pop("version") != VERSION:
            raise InputError(f"{path} is of another version; evaluate again with this release")
        rows = [
            Row(**{**row, "figure": Figure(**row["figure"]),
                   "baselines": {k: Figure(**v) for k, v in row["baselines"].items()}})
            for row in data.pop("rows")
        ]  # fmt: skip
        parts: dict[str, Any] = {
            "confusions": [Confusion(**each) for each in data.pop("confusions")],
            "reliability": [Reliability(**each) for each in data.pop("reliability")],
            "examples": [Example(**each) for each in data.pop("examples")],
        }
        return Result(rows=rows, **parts, **data)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a report of m2ugen eval: {error}") from error


def mean_row(
    task: str,
    name: str,
    scores: Mapping[str, float],
    shuffled: Sequence[float] | None = None,
    majority: float | None = None,
    real: Sequence[float] | None = None,
    **options: Any,
) -> Row | None:
    """A row that is the mean of ``scores`` by item id; None where no item has a finite score."""
    known = {key: float(value) for key, value in scores.items() if value == value and abs(value) != float("inf")}
    figure = mean_figure(list(known.values()))
    if figure is None:
        return None
    baselines = {}
    for label, values in (("shuffled", shuffled), ("real", real)):
        if values is not None and (found := mean_figure(list(values))) is not None:
            baselines[label] = found
    if majority is not None:
        baselines["majority"] = Figure(majority, majority, majority, len(known))
    return Row(task, name, figure, baselines, known, **options)


def _finite(value: Any) -> Any:
    """JSON knows no NaN: null instead; floats are rounded to what matters."""
    if isinstance(value, float):
        return round(value, 6) if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
