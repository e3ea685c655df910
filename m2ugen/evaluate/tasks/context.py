"""What every task shares: the benchmark, the outputs, the measuring models, and what was decoded or heard already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from m2ugen.evaluate.benchmark.items import Benchmark, Item
from m2ugen.evaluate.embedders.base import EmbeddingCache
from m2ugen.evaluate.embedders.registry import Measuring
from m2ugen.evaluate.listening import Heard, Listener
from m2ugen.evaluate.outputs import Outputs
from m2ugen.evaluate.results import Confusion, Reliability, Row, mean_row
from m2ugen.media.audio import Audio, load_audio

Report = Callable[[str, float], None]
KEPT = 300  # decoded files, about 1 GB of ten-second stereo


@dataclass
class Findings:
    """What a task found."""

    rows: list[Row] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)
    reliability: list[Reliability] = field(default_factory=list)

    def add(self, *rows: Row | None) -> None:
        """Take rows that have a figure."""
        self.rows += [row for row in rows if row is not None]


@dataclass
class Context:
    """One evaluation. ``data`` is a folder of ``m2ugen data nano``, for memorisation."""

    benchmark: Benchmark
    outputs: Outputs
    measuring: Measuring
    listener: Listener
    cache: EmbeddingCache = field(default_factory=EmbeddingCache)
    data: Path | None = None
    report: Report = lambda label, share: None
    _audio: dict[Path, Audio] = field(default_factory=dict)
    _heard: dict[Path, Heard] = field(default_factory=dict)

    def items(self, task: str) -> list[Item]:
        """The items of a task with music to score."""
        return [item for item in self.benchmark.of(task) if self.outputs.sound(item) is not None]

    def path(self, item: Item) -> Path:
        """The music that the system made for an item."""
        found = self.outputs.sound(item)
        assert found is not None  # ``items`` leaves the others out
        return found

    def audio(self, path: Path) -> Audio:
        """A decoded file, kept."""
        if path not in self._audio:
            if len(self._audio) >= KEPT:
                self._audio.pop(next(iter(self._audio)))
            self._audio[path] = load_audio(path)
        return self._audio[path]

    def sounds(self, items: Iterable[Item]) -> list[Audio]:
        """The system's music for items."""
        return [self.audio(self.path(item)) for item in items]

    def paired(self, items: Sequence[Item]) -> list[Item]:
        """Those of ``items`` that have a real recording which satisfies them; the benchmark's own where none has."""
        wanted = [item for item in items if item.reference is not None]
        return wanted or [item for item in self.benchmark.known if item.reference is not None]

    def recordings(self, items: Sequence[Item]) -> list[Path]:
        """The real recordings of paired items."""
        return [self.benchmark.path(item.reference) for item in items if item.reference is not None]

    def real(self) -> list[Audio]:
        """The reference music, which belongs to no prompt."""
        return [self.audio(self.benchmark.path(name)) for name in self.benchmark.real]

    def heard(self, paths: Sequence[Path]) -> list[Heard]:
        """What files are like; each is heard once."""
        new = [path for path in dict.fromkeys(paths) if path not in self._heard]
        found = self.listener.hear([self.audio(path) for path in new], lambda share: self.report("hearing", share))
        self._heard.update(zip(new, found, strict=True))
        return [self._heard[path] for path in paths]

    def coverage(self, task: str) -> Row | None:
        """Share of the items that the system has music for."""
        scores = {item.id: float(self.outputs.sound(item) is not None) for item in self.benchmark.of(task)}
        return mean_row(task, "items answered", scores, percent=True)


def turned(values: Sequence) -> list:
    """``values`` moved by one place: the pairing of the shuffled baselines."""
    return [*values[1:], *values[:1]]


def confusion(task: str, name: str, pairs: Sequence[tuple[str, str]]) -> Confusion | None:
    """Counts of (truth, found) labels; None for fewer than two labels."""
    labels = sorted({label for pair in pairs for label in pair})
    if len(labels) < 2:
        return None
    place = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for truth, found in pairs:
        counts[place[truth], place[found]] += 1
    return Confusion(task, name, labels, counts.tolist())
