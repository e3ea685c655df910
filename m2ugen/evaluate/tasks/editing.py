"""Edits: is what was asked done, and is the rest kept?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from m2ugen.evaluate.benchmark.items import Item
from m2ugen.evaluate.listening import Heard
from m2ugen.evaluate.metrics.distances import log_spectral_distance
from m2ugen.evaluate.results import mean_row
from m2ugen.evaluate.signals import chroma, harmony_kept, transposition
from m2ugen.evaluate.tasks.context import Context, Findings, turned
from m2ugen.evaluate.tasks.distances import distance_rows
from m2ugen.media.audio import Audio
from m2ugen.score.attributes import same_tempo
from m2ugen.score.mixing import measure_loudness

TASK = "editing"
LSD_RATE = 16_000
VOLUME_TOLERANCE = 1.5  # decibels
LENGTH_TOLERANCE = 0.02
FADED = 12.0  # decibels that the end of a fade must lie below the middle
HARMONY_CHANGES = frozenset({"mode", "genre", "mood"})  # operations after which the harmony may be another


@dataclass(frozen=True)
class Version:
    """A piece before or after an edit, as it is measured."""

    audio: Audio
    heard: Heard
    harmony: np.ndarray

    @property
    def loudness(self) -> float:
        return measure_loudness(self.audio.samples, self.audio.sample_rate)


def _added(item: Item, before: Version, after: Version) -> bool:
    return all(
        after.heard.plays(name) and after.heard.odds_of(name) > before.heard.odds_of(name)
        for name in item.facts["targets"]
    )


def _removed(item: Item, before: Version, after: Version) -> bool:
    return not any(after.heard.plays(name) for name in item.facts["targets"])


def _tempo(item: Item, before: Version, after: Version) -> bool:
    one, other = before.heard.attributes.tempo, after.heard.attributes.tempo
    return one is not None and other is not None and same_tempo(other, one * item.facts["amount"] / 100.0)


def _transposed(item: Item, before: Version, after: Version) -> bool:
    return (transposition(before.harmony, after.harmony) - int(item.facts["amount"])) % 12 == 0


def _mode(item: Item, before: Version, after: Version) -> bool:
    return after.heard.attributes.mode == item.facts["targets"][0]


def _volume(item: Item, before: Version, after: Version) -> bool:
    return abs(after.loudness - before.loudness - item.facts["amount"]) <= VOLUME_TOLERANCE


def _energy(item: Item, before: Version, after: Version) -> bool:
    return (after.heard.energy - before.heard.energy) * item.facts["amount"] > 0


def _length(item: Item, before: Version, after: Version) -> bool:
    return abs(after.audio.duration / item.facts["amount"] - 1) <= LENGTH_TOLERANCE


def _faded(item: Item, before: Version, after: Version) -> bool:
    samples = np.square(after.audio.samples).mean(axis=0)
    last = max(int(0.15 * item.facts["amount"] * after.audio.sample_rate), 1)
    middle = samples[len(samples) // 4 : len(samples) // 2].mean()
    return bool(10 * np.log10((samples[-last:].mean() + 1e-12) / (middle + 1e-12)) <= -FADED)


CHECKS: dict[str, Callable[[Item, Version, Version], bool]] = {
    "add": _added,
    "remove": _removed,
    "tempo": _tempo,
    "transpose": _transposed,
    "mode": _mode,
    "volume": _volume,
    "energy": _energy,
    "length": _length,
    "fade out": _faded,
}


def evaluate_editing(context: Context) -> Findings:
    """Success by operation, kept harmony, LSD and the paper's distances."""
    found = Findings()
    found.add(context.coverage(TASK))
    items = [item for item in context.items(TASK) if item.music is not None]
    if not items:
        return found
    sources = [context.benchmark.path(item.music) for item in items if item.music]
    before = _versions(context, sources)
    after = _versions(context, [context.path(item) for item in items])
    success = {i.id: success_of(i, b, a) for i, b, a in zip(items, before, after, strict=True)}
    other = [success_of(i, b, a) for i, b, a in zip(items, before, turned(after), strict=True)]
    untouched = [success_of(i, b, b) for i, b in zip(items, before, strict=True)]
    found.add(
        mean_row(TASK, "edit success", success, other, percent=True,
                 note="the change is measured in the sound; shuffled: in the edit of another piece"),
        mean_row(TASK, "the untouched source under the same test", dict(zip(success, untouched, strict=True)),
                 percent=True, better=""),
    )  # fmt: skip
    for operation in dict.fromkeys(item.kind for item in items):
        own = {item.id: success[item.id] for item in items if item.kind == operation}
        wrong = [value for item, value in zip(items, other, strict=True) if item.kind == operation]
        found.add(mean_row(TASK, f"edit success: {operation}", own, wrong, percent=True))
    _preservation(items, before, after, found)
    found.add(*distance_rows(context, TASK, items))
    return found


def success_of(item: Item, before: Version, after: Version) -> float:
    """1 where the change that ``item`` asks for is there, 0 where it is not, NaN for an operation without a test."""
    check = CHECKS.get(item.kind)
    return float("nan") if check is None else float(check(item, before, after))


def _preservation(items: Sequence[Item], before: Sequence[Version], after: Sequence[Version], found: Findings) -> None:
    """Harmony kept (where it should be) and log-spectral distance from the source."""
    kept, wrong = {}, []
    for item, one, other, stranger in zip(items, before, after, turned(after), strict=True):
        if item.kind in HARMONY_CHANGES:
            continue
        steps = int(item.facts["amount"]) if item.kind == "transpose" else 0
        reference = one.harmony
        if item.kind == "length":  # a shortened piece keeps its beginning
            reference = one.harmony[: max(len(other.harmony), 1)]
        kept[item.id] = harmony_kept(reference, other.harmony, steps)
        wrong.append(harmony_kept(one.harmony, stranger.harmony, steps))
    found.add(mean_row(TASK, "harmony kept", kept, wrong, note="cosine of the pitch classes over time, 0 to 1"))
    apart = {i.id: _distance(one.audio, other.audio) for i, one, other in zip(items, before, after, strict=True)}
    strange = [_distance(one.audio, other.audio) for one, other in zip(before, turned(after), strict=True)]
    found.add(mean_row(TASK, "LSD", apart, strange, better="lower", note="log-spectral distance from the source"))


def _versions(context: Context, paths: Sequence) -> list[Version]:
    heard = context.heard(paths)
    audio = [context.audio(path) for path in paths]
    return [Version(each, like, chroma(each)) for each, like in zip(audio, heard, strict=True)]


def _distance(one: Audio, other: Audio) -> float:
    return log_spectral_distance(one.resampled(LSD_RATE).mono(), other.resampled(LSD_RATE).mono())
