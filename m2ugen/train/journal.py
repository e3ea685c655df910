"""What a run tells about itself: progress on stderr, ``metrics.jsonl``, a curve, and trackers by name."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2ugen.errors import InputError, MissingExtra


class Journal:
    """Record of one run. Every line of ``metrics.jsonl`` has ``step``, ``split`` (train or valid) and figures."""

    def __init__(
        self, folder: Path, name: str, trackers: Sequence[str] = (), settings: Mapping[str, Any] | None = None
    ) -> None:
        """``trackers`` as accelerate calls them; they are told the ``settings``. Raises InputError for others, and
        MissingExtra for one that is not installed.
        """
        self.path = folder / "metrics.jsonl"
        self._name = name
        self._progress: Any = None
        self._bar: Any = None
        self._last_line = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._trackers = [_tracker(tracker, folder) for tracker in trackers]
        told = {key: json.dumps(value) for key, value in (settings or {}).items()}
        for tracker in self._trackers:
            tracker.start()
            tracker.store_init_configuration(told)

    def start(self, step: int, max_steps: int | None) -> None:
        """Forget what a killed run wrote after the checkpoint at ``step``, and show the progress bar."""
        kept = [line for line in self._lines() if line["step"] <= step]
        replacement = self.path.with_suffix(".jsonl.tmp")
        replacement.write_text("".join(json.dumps(line) + "\n" for line in kept))
        replacement.replace(self.path)
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, TextColumn("{task.fields[figures]}"), console=Console(stderr=True))
            self._bar = self._progress.add_task(self._name, total=max_steps, completed=step, figures="")
            self._progress.start()

    def advance(self, step: int, max_steps: int | None) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(self._bar, completed=step, total=max_steps)

    def record(self, step: int, split: str, figures: dict[str, float], max_steps: int | None) -> None:
        """Append a line of figures and show it."""
        with self.path.open("a") as stream:
            stream.write(json.dumps({"step": step, "split": split, **figures}) + "\n")
        for tracker in self._trackers:
            tracker.log({f"{split}/{key}": value for key, value in figures.items()}, step=step)
        text = " ".join(f"{key} {value:.4g}" for key, value in figures.items())
        if self._progress is not None and split == "train":
            self._progress.update(self._bar, figures=text)
        elif self._progress is not None:
            self._progress.console.print(f"{self._name} step {step} {split}: {text}")
        elif split != "train" or time.monotonic() - self._last_line > 10:  # a log file needs no line a second
            self._last_line = time.monotonic()
            print(f"{self._name} step {step}/{max_steps or '?'} {split}: {text}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A remark on stderr."""
        if self._progress is not None:
            self._progress.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def draw(self) -> None:
        """Write ``curve.png`` (loss over steps, both splits) where matplotlib is installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for split in ("train", "valid"):
            points = [(line["step"], line["loss"]) for line in self._lines() if line["split"] == split]
            if points:
                axes.plot(
                    *zip(*points, strict=True), label=split, marker="o" if split == "valid" else None, markersize=3
                )
        axes.set(xlabel="step", ylabel="loss", title=self._name)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        partial = self.path.with_name("curve.tmp.png")
        figure.savefig(partial, dpi=110)
        partial.replace(self.path.with_name("curve.png"))

    def close(self) -> None:
        """Take the bar away and let the trackers finish."""
        if self._progress is not None:
            self._progress.stop()
        for tracker in self._trackers:
            tracker.finish()

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:  # the last line of a run that was killed while writing
                continue
        return lines


def _tracker(name: str, folder: Path) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    if name not in LOGGER_TYPE_TO_CLASS:
        raise InputError(f"there is no tracker {name!r}; there are: {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}")
    if name not in map(str, get_available_trackers()):
        raise MissingExtra(name, "train")
    kind = LOGGER_TYPE_TO_CLASS[name]
    return kind("m2ugen", logging_dir=str(folder)) if kind.requires_logging_directory else kind("m2ugen")
