"""The data set's card: what is in it, for how long, under which licences, and how it is distributed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2ugen.data.build.options import BuildOptions
from m2ugen.data.build.records import Rejection
from m2ugen.data.build.validation import Report
from m2ugen.media.files import atomic_output

README, PLOTS = "README.md", "distributions.png"
UNKNOWN = "unknown"
TITLES = {
    "mucaps": "music and its captions",
    "muedit": "pairs of recordings, and the request that leads from one to the other",
    "muimage": "pictures, and music that goes with them",
    "muvideo": "videos, and music that goes with them",
    "musicqa": "questions about music, with answers",
}
UNITS = {"duration": "seconds", "snr": "dB", "speech": "share", "tempo": "bpm", "words": "words of a caption"}
QUANTILES = (0, 25, 50, 75, 100)


def write_card(
    folder: Path,
    name: str,
    options: BuildOptions,
    music: Sequence[dict[str, Any]],
    rejected: Sequence[Rejection],
    report: Report,
) -> None:
    """Write README.md and, with matplotlib, distributions.png into ``folder``.

    ``music`` are the facts of every recording that is in the set, with its ``licence``.
    """
    values = _values(music)
    plotted = _plot(folder / PLOTS, values)
    if not plotted:
        (folder / PLOTS).unlink(missing_ok=True)
    with atomic_output(folder / README, (".md",)) as temporary:
        temporary.write_text(_text(name, options, music, rejected, report, values, plotted), encoding="utf-8")


def _values(music: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """What is plotted and listed, by name; measures that were not taken are left out."""
    values = {key: np.array([facts[key] for facts in music if key in facts], dtype=float) for key in UNITS}
    values["words"] = np.array([len(facts["caption"].split()) for facts in music if "caption" in facts], dtype=float)
    return {key: array for key, array in values.items() if len(array)}


def _text(
    name: str,
    options: BuildOptions,
    music: Sequence[dict[str, Any]],
    rejected: Sequence[Rejection],
    report: Report,
    values: dict[str, np.ndarray],
    plotted: bool,
) -> str:
    licences = Counter(facts.get("licence") or UNKNOWN for facts in music)
    hours = sum(facts["duration"] for facts in music) / 3600
    lines = ["---", f"pretty_name: {name}", "task_categories:", "- text-to-audio", "tags:", "- music", "- m2ugen"]
    lines += ["---", "", f"# {name}", "", f"{TITLES[name][0].upper()}{TITLES[name][1:]}, in the layout of M²UGen "]
    lines[-1] += "(arXiv 2311.11255), made by m2ugen data build."
    lines += ["", "| file | entries |", "|---|---|"]
    lines += [f"| {file} | {count} |" for file, count in report.entries.items()]
    lines += ["", f"{len(music)} recordings, {hours:.3f} hours.", "", "## Licences", "", "| licence | recordings |"]
    lines += ["|---|---|", *(f"| {_cell(licence)} | {count} |" for licence, count in sorted(licences.items()))]
    lines += [
        "",
        "The words are the models' and the grammar's; whoever passes the set on must heed the media's licences.",
    ]
    lines += ["", "## How it was made", "", "| what | by |", "|---|---|"]
    lines += [f"| {what} | {_cell(who)} |" for what, who in _makers(name, options)]
    lines += ["", "## Distributions", "", f"| | {' | '.join(_quantile_names())} |", f"|---{'|---' * len(QUANTILES)}|"]
    lines += [
        f"| {key} ({UNITS[key]}) | {' | '.join(f'{value:.4g}' for value in np.percentile(array, QUANTILES))} |"
        for key, array in values.items()
    ]
    lines += ["", f"![Distributions]({PLOTS})"] if plotted else []
    lines += ["", "## Left out", ""]
    reasons = Counter((rejection.stage, _general(rejection.reason)) for rejection in rejected)
    if reasons:
        lines += ["| by | reason | records |", "|---|---|---|"]
        lines += [f"| {stage} | {_cell(reason)} | {count} |" for (stage, reason), count in sorted(reasons.items())]
    else:
        lines += ["Nothing."]
    return "\n".join(lines) + "\n"


def _makers(name: str, options: BuildOptions) -> list[tuple[str, str]]:
    """Who wrote what."""
    rows = [("captions of music", options.model)]
    if name in ("muimage", "muvideo"):
        rows.append(("captions of pictures", options.model if options.captioner == "model" else options.captioner))
    if name == "musicqa":
        rows.append(("questions and answers", options.model if options.writer == "grammar" else _writer(options)))
    elif options.edits:
        rows.append(("edits", options.model))
    else:
        rows.append(("requests", _writer(options)))
    speech = "not checked" if options.max_speech >= 1 else f"at most {options.max_speech:.0%} of the time"
    return [*rows, ("signal-to-noise ratio", f"at least {options.min_snr:g} dB"), ("speech", speech)]


def _writer(options: BuildOptions) -> str:
    return options.writer_model or options.writer


def _quantile_names() -> list[str]:
    return ["least" if q == 0 else "most" if q == 100 else "median" if q == 50 else f"{q} %" for q in QUANTILES]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _general(reason: str) -> str:
    """A reason without what differs between records: what it names, and numbers."""
    head = reason.split(" as ")[0] if reason.startswith("it is the same recording") else reason
    return (
        "".join("N" if character.isdigit() else character for character in head).replace("NN", "N").replace("NN", "N")
    )


def _plot(path: Path, values: dict[str, np.ndarray]) -> bool:
    """Histograms of ``values``; False where matplotlib is not installed or there is nothing to plot."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    if not values:
        return False
    figure = Figure(figsize=(3.2 * len(values), 2.6), layout="constrained")
    for axes, (key, array) in zip(np.atleast_1d(figure.subplots(1, len(values))), values.items()):
        axes.hist(array, bins=min(30, max(len(array) // 2, 5)), color="#4477aa")
        axes.set_title(key)
        axes.set_xlabel(UNITS[key])
    with atomic_output(path, (".png",)) as temporary:
        figure.savefig(temporary, dpi=100, metadata={"Software": None})
    return True
