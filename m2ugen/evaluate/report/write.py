"""The three forms of a report in one folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from m2ugen.evaluate.report.markdown import report_markdown
from m2ugen.evaluate.report.page import write_page
from m2ugen.evaluate.report.plots import draw_plots
from m2ugen.evaluate.results import Result
from m2ugen.media.files import atomic_output

JSON, MARKDOWN, PAGE, PLOTS = "report.json", "report.md", "report.html", "plots"


def write_report(result: Result, folder: Path, published: Path | None = None, players: bool = True) -> list[Path]:
    """Write JSON, Markdown with its plots, and the page; returns the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    write_page(result, folder / PAGE, players)
    draw_plots(result, folder / PLOTS)
    with atomic_output(folder / MARKDOWN, (".md",)) as temporary:
        temporary.write_text(report_markdown(result, published), encoding="utf-8")
    examples = [
        replace(
            each,
            output=_relative(each.output, folder),
            source=None if each.source is None else _relative(each.source, folder),
            picture=None if each.picture is None else _relative(each.picture, folder),
        )
        for each in result.examples
    ]
    replace(result, examples=examples).save(folder / JSON)
    return [folder / JSON, folder / MARKDOWN, folder / PAGE]


def _relative(path: str, folder: Path) -> str:
    return os.path.relpath(path, folder)
