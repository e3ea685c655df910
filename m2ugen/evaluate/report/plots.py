"""Confusion matrices and reliability plots as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2ugen.errors import MissingExtra
from m2ugen.evaluate.report.markdown import plot_name
from m2ugen.evaluate.results import Confusion, Reliability, Result

DPI = 80


def draw_plots(result: Result, folder: Path) -> list[Path]:
    """Every plot of a result in ``folder``. Raises MissingExtra without matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [draw_confusion(each, folder / plot_name(each.task, each.name)) for each in result.confusions]
    if result.reliability:
        paths.append(draw_reliability(result.reliability, folder / "reliability.png"))
    return paths


def draw_confusion(table: Confusion, path: Path) -> Path:
    """Rows are the truth (or what was asked), columns what was found; shares of each row shaded, counts written."""
    counts = np.array(table.counts)
    size = 1.6 + 0.45 * len(table.labels)
    figure = _figure(size + 0.6, size)
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    places = range(len(table.labels))
    axes.set_xticks(places, table.labels, rotation=60, ha="right")
    axes.set_yticks(places, table.labels)
    for row, column in np.argwhere(counts):
        share = counts[row, column] / counts[row].sum()
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", color="white" if share > 0.6 else "black"
        )
    axes.set_xlabel("heard" if table.task == "controls" else "answered")
    axes.set_ylabel("asked" if table.task == "controls" else "true")
    axes.set_title(f"{table.task}: {table.name}", fontsize=10)
    figure.savefig(path, dpi=DPI)
    return path


def draw_reliability(curves: Sequence[Reliability], path: Path) -> Path:
    """Confidence against share right; the diagonal is honest confidence."""
    figure = _figure(4.6, 4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    for curve in curves:
        axes.plot(curve.confidence, curve.accuracy, marker="o", label=f"{curve.name} ({sum(curve.counts)})")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share right, on music of known truth")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=DPI)
    return path


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "eval") from error
    return Figure(figsize=(width, height), layout="constrained")
