"""A result as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m2ugen.evaluate.metrics.statistics import Figure
from m2ugen.evaluate.report.published import published_markdown
from m2ugen.evaluate.results import BASELINES, Result, Row

TITLES = {
    "understanding": "Understanding",
    "text2music": "Text to music",
    "controls": "Controls: does the music do what was asked?",
    "image2music": "Image to music",
    "video2music": "Video to music",
    "editing": "Editing",
}
READING = """Every figure has its 95 % bootstrap interval; one without width says that all cases agree, not that it is
certain. **shuffled** is the same figure with the wrong recording, prompt, picture or source: what is reached without
looking. **majority** is the most frequent answer alone. **real** is held-out music of known truth under the same test:
where an ear measures, about the best that can be reached with that ear."""

PUBLISHED = """Published figures were not measured here, and another benchmark lies under them: compare within a source
only. Empty cells: not read in the source, or the published measuring model was not at hand."""


def report_markdown(result: Result, published: Path | None = None) -> str:
    """The whole report."""
    parts = [f"# {result.system}", "", _facts(result), "", READING]
    if tables := published_markdown([result], published):
        parts += ["", "## The paper's tables", "", PUBLISHED, "", tables]
    for task in result.tasks:
        parts += ["", f"## {TITLES.get(task, task)}", "", table(result.of(task))]
        parts += [f"\n![{c.name}](plots/{plot_name(task, c.name)})" for c in result.confusions if c.task == task]
    if result.reliability:
        parts += ["", "## How far the ear can be trusted", "", "![reliability](plots/reliability.png)"]
    return "\n".join(parts) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Rows as a table."""
    lines = ["| | figure | shuffled | majority | real | cases |", "|---|---|---|---|---|---|"]
    for row in rows:
        shown = [shown_figure(row.baselines.get(name), row.percent, name != "majority") for name in BASELINES]
        name = row.name + {"lower": " ↓", "higher": "", "": " ·"}[row.better]
        figure = shown_figure(row.figure, row.percent)
        lines.append(f"| {name} | **{figure}** | {' | '.join(shown)} | {row.figure.count} |")
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    marks = "↓ less is better; · neither way is better."
    return "\n".join([*lines, "", marks, *(["", *notes] if notes else [])])


def shown_figure(figure: Figure | None, percent: bool, interval: bool = True) -> str:
    """A figure with its interval; a dash for None."""
    if figure is None:
        return "–"
    if percent:
        text = f"{100 * figure.value:.0f} %"
        return text + (f" [{100 * figure.low:.0f}, {100 * figure.high:.0f}]" if interval else "")
    places = 1 if abs(figure.value) >= 10 else 3
    text = f"{figure.value:.{places}f}"
    return text + (f" [{figure.low:.{places}f}, {figure.high:.{places}f}]" if interval else "")


def plot_name(task: str, name: str) -> str:
    """File name of a confusion matrix."""
    return f"{task}-{name}.png"


def _facts(result: Result) -> str:
    """One line about what was evaluated and how long it took."""
    shown = {key: ", ".join(value) if isinstance(value, list) else value for key, value in result.settings.items()}
    settings = "; ".join(f"{key}: {value}" for key, value in shown.items() if value not in (None, ""))
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result.seconds.items())
    return f"Benchmark: {result.benchmark} ({settings})." + (f" Time: {seconds}." if seconds else "")
