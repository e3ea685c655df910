"""How near a system's music is to real music, with every embedding and every tagger that is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from m2ugen.evaluate.benchmark.items import Item
from m2ugen.evaluate.metrics.distances import (
    extrapolated_distance,
    frechet_distance,
    kernel_distance,
    kl_divergence,
    set_figure,
)
from m2ugen.evaluate.metrics.statistics import Figure
from m2ugen.evaluate.results import Row, mean_row
from m2ugen.evaluate.tasks.context import Context, turned

MIN_CLIPS = 4  # on each side of a distance between sets


def distance_rows(context: Context, task: str, items: Sequence[Item], real: Sequence[Item] = ()) -> list[Row]:
    """FAD, FAD∞ and kernel distance of the music for ``items`` from the reference music.

    ``real`` are items whose reference recordings are scored the same way: what music of the reference's own kind gets.
    """
    clips, target = context.sounds(items), context.real()
    if len(clips) < MIN_CLIPS or len(target) < MIN_CLIPS:
        return []
    matched = [context.audio(path) for path in context.recordings(real)]
    rows: list[Row] = []
    for number, embedder in enumerate(context.measuring.embedders):
        context.report(f"embedding with {embedder.name}", number / len(context.measuring.embedders))
        own, goal = (context.cache.embeddings(embedder, each) for each in (clips, target))
        truth = context.cache.embeddings(embedder, matched) if len(matched) >= MIN_CLIPS else None
        for name, distance in (("FAD", frechet_distance), ("kernel distance", kernel_distance)):
            figure = set_figure(distance, own, goal)
            if figure is None:
                continue
            row = Row(task, f"{name} ({embedder.name})", figure, better="lower")
            if truth is not None and (known := set_figure(distance, truth, goal)) is not None:
                row.baselines["real"] = known
            rows.append(row)
            if name == "FAD":
                rows += _extrapolated(row, own, goal, truth)
    return rows


def divergence_rows(context: Context, task: str, items: Sequence[Item]) -> list[Row]:
    """KL divergence from the classes of the real recording of each prompt to those of the music for it."""
    items = [item for item in items if item.reference is not None and item.kind != "variant"]
    if not items:
        return []
    clips = context.sounds(items)
    truth = [context.audio(path) for path in context.recordings(items)]
    rows = []
    for tagger in context.measuring.taggers:
        found, goal = (context.cache.probabilities(tagger, each) for each in (clips, truth))
        scores = dict(zip((item.id for item in items), kl_divergence(goal, found).tolist(), strict=True))
        other = kl_divergence(goal, np.roll(found, -1, axis=0)).tolist()
        rows.append(
            mean_row(
                task, f"KL over classes ({tagger.name})", scores, other if len(items) > 1 else None, better="lower"
            )
        )
    return [row for row in rows if row is not None]


def text_match_row(context: Context, task: str, items: Sequence[Item]) -> Row | None:
    """CLAP score of music and prompt; None where there is no CLAP model."""
    matcher = context.measuring.texts
    items = [item for item in items if item.prompt]
    if matcher is None or not items:
        return None
    clips, prompts = context.sounds(items), [item.prompt for item in items]
    scores = dict(zip((item.id for item in items), matcher.similarities(clips, prompts), strict=True))
    paired = context.paired(items)
    real = None
    if paired:
        truth = [context.audio(path) for path in context.recordings(paired)]
        real = matcher.similarities(truth, [item.prompt for item in paired])
    return mean_row(task, f"{matcher.name} score", scores, matcher.similarities(clips, turned(prompts)), real=real)


def _extrapolated(
    row: Row, own: Sequence[np.ndarray], goal: Sequence[np.ndarray], truth: Sequence[np.ndarray] | None
) -> list[Row]:
    """The same at infinitely many clips. Its interval is that of the distance itself, moved: spread hardly changes."""
    target = np.concatenate(list(goal))
    value = extrapolated_distance(target, own)
    if not np.isfinite(value):
        return []
    baselines = {}
    if truth is not None and np.isfinite(known := extrapolated_distance(target, truth)):
        baselines["real"] = _moved(row.baselines["real"], known)
    name = row.name.replace("FAD", "FAD∞")
    return [replace(row, name=name, figure=_moved(row.figure, value), baselines=baselines)]


def _moved(figure: Figure, value: float) -> Figure:
    shift = value - figure.value
    return Figure(value, figure.low + shift, figure.high + shift, figure.count)
