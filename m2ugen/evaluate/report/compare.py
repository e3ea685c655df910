"""Two results side by side, with the significance of every difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m2ugen.errors import InputError
from m2ugen.evaluate.metrics.statistics import paired_p_value, unpaired_p_value
from m2ugen.evaluate.report.markdown import TITLES, shown_figure
from m2ugen.evaluate.results import Result, Row

LEVEL = 0.05
MIN_COMMON = 5  # items that both systems must have for a test


@dataclass(frozen=True)
class Difference:
    """One row of two systems. ``p`` is None where there are no scores per item to test; ``paired`` says how."""

    one: Row
    other: Row
    p: float | None
    paired: bool

    @property
    def winner(self) -> str:
        """ "first", "second", or "" where the difference is not significant or neither way is better."""
        if self.p is None or self.p >= LEVEL or not self.one.better:
            return ""
        first_higher = self.one.figure.value > self.other.figure.value
        return "first" if first_higher == (self.one.better == "higher") else "second"


def compare(one: Result, other: Result) -> list[Difference]:
    """Every row that both have. On common items the test is paired, else of two samples. Raises InputError if none."""
    theirs = {(row.task, row.name): row for row in other.rows}
    same = one.benchmark == other.benchmark and one.settings.get("seed") == other.settings.get("seed")
    found = []
    for row in one.rows:
        twin = theirs.get((row.task, row.name))
        if twin is not None:
            found.append(Difference(row, twin, *_test(row, twin, same)))
    if not found:
        raise InputError("the two reports have no measure in common")
    return _held_back(found)


def compare_markdown(one: Result, other: Result) -> str:
    """A table per task; the better figure is bold where the difference is significant."""
    differences = compare(one, other)
    parts = [f"# {one.system} and {other.system}", "", f"Bold: better, p < {LEVEL:g} after Holm's correction over all "
             "rows (permutation test, paired over common items where there are any)."]  # fmt: skip
    for task in dict.fromkeys(difference.one.task for difference in differences):
        parts += [
            "",
            f"## {TITLES.get(task, task)}",
            "",
            f"| | {one.system} | {other.system} | p |",
            "|---|---|---|---|",
        ]
        for each in (d for d in differences if d.one.task == task):
            shown = [shown_figure(row.figure, row.percent) for row in (each.one, each.other)]
            if each.winner:
                place = 0 if each.winner == "first" else 1
                shown[place] = f"**{shown[place]}**"
            p = "–" if each.p is None else f"{each.p:.4f}{'' if each.paired else ' (unpaired)'}"
            parts.append(f"| {each.one.name} | {shown[0]} | {shown[1]} | {p} |")
    return "\n".join(parts) + "\n"


def _test(one: Row, other: Row, same: bool) -> tuple[float | None, bool]:
    common = sorted(one.scores.keys() & other.scores.keys()) if same else []
    if len(common) >= MIN_COMMON:
        return paired_p_value([one.scores[key] for key in common], [other.scores[key] for key in common]), True
    if len(one.scores) >= MIN_COMMON and len(other.scores) >= MIN_COMMON:
        return unpaired_p_value(list(one.scores.values()), list(other.scores.values())), False
    return None, False


def _held_back(found: Sequence[Difference]) -> list[Difference]:
    """Holm's correction: many rows are tested, and one in twenty would differ by chance."""
    tested = sorted((d for d in found if d.p is not None), key=lambda d: d.p or 0.0)
    corrected: dict[int, float] = {}
    highest = 0.0
    for place, each in enumerate(tested):
        highest = max(highest, min((each.p or 0.0) * (len(tested) - place), 1.0))
        corrected[id(each)] = highest
    return [Difference(d.one, d.other, corrected.get(id(d)), d.paired) for d in found]
