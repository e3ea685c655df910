"""The figures of a model card, written between two marks of its file, so that the card cannot fall behind a report."""

from __future__ import annotations

from pathlib import Path

from m2ugen.errors import InputError
from m2ugen.evaluate.report.markdown import TITLES, table
from m2ugen.evaluate.results import Result
from m2ugen.media.files import atomic_output

BEGIN, END = "<!-- figures: written by m2ugen eval card -->", "<!-- end of figures -->"
READING = (
    "95 % bootstrap intervals; *shuffled* is the same with the wrong recording, prompt, picture or source; *majority* "
    "the most frequent answer alone; *real* held-out music under the same test."
)


def card_figures(result: Result) -> str:
    """The tables of a result, under third-level headings."""
    parts = [f"Benchmark: {result.benchmark}, {result.settings.get('limit', '?')} items per task. {READING}"]
    for task in result.tasks:
        parts += ["", f"### {TITLES.get(task, task)}", "", table(result.of(task))]
    return "\n".join(parts)


def write_card(result: Result, path: Path) -> None:
    """Put the figures of ``result`` into the card at ``path``: in place of what stands between the marks, or at its end
    under a heading of their own. A card that does not exist is begun. Raises InputError for a card with one mark only.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else f"# {result.system}: model card\n"
    if (BEGIN in text) != (END in text):
        raise InputError(f"{path} has only one of the marks {BEGIN!r} and {END!r}")
    block = f"{BEGIN}\n\n{card_figures(result)}\n\n{END}"
    if BEGIN in text:
        before, rest = text.split(BEGIN, 1)
        text = before + block + rest.split(END, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n## Figures\n\n{block}\n"
    with atomic_output(path, (".md",)) as temporary:
        temporary.write_text(text, encoding="utf-8")
