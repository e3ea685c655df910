"""Music for pictures and clips: the paper's distances and ranking, and whether energy and cuts are followed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2ugen.evaluate.benchmark.items import Item
from m2ugen.evaluate.metrics.distances import retrieval_ranks
from m2ugen.evaluate.metrics.statistics import correlation_figure
from m2ugen.evaluate.results import Row, mean_row
from m2ugen.evaluate.signals import cuts_met, level_figures
from m2ugen.evaluate.tasks.context import Context, Findings, turned
from m2ugen.evaluate.tasks.distances import distance_rows
from m2ugen.media.image import load_image
from m2ugen.media.video import load_video
from m2ugen.score.beats import RATE, onset_strength

SEEN_FRAMES = 8  # of a clip, for the ranking
LENGTH_TOLERANCE = 0.01


def evaluate_pictures(context: Context, task: str) -> Findings:
    """Rows of "image2music" or "video2music"."""
    found = Findings()
    found.add(context.coverage(task))
    items = context.items(task)
    if not items:
        return found
    found.add(*distance_rows(context, task, items), _ranking_row(context, task, items))
    found.add(*_energy_rows(context, task, items))
    clips = context.sounds(items)
    levels = [level_figures(clip) for clip in clips]
    found.add(
        mean_row(task, "silent", {i.id: each["silent"] for i, each in zip(items, levels, strict=True)}, better="lower")
    )
    wanted = {item.id: item.duration or item.facts.get("duration") for item in items}
    found.add(
        mean_row(task, "duration within 1 %", {
            item.id: float(abs(clip.duration / seconds - 1) <= LENGTH_TOLERANCE)
            for item, clip in zip(items, clips, strict=True) if (seconds := wanted[item.id])
        }, percent=True)
    )  # fmt: skip
    if task == "video2music":
        found.add(_cuts_row(context, task, items))
    return found


def _energy_rows(context: Context, task: str, items: Sequence[Item]) -> list[Row]:
    """Correlation of what is seen with what is heard, once by the ear and once by onsets alone."""
    items = [item for item in items if "energy" in item.facts]
    if len(items) < 3:
        return []
    seen = [float(item.facts["energy"]) for item in items]
    clips = context.sounds(items)
    heard = {
        "the ear": [each.energy for each in context.heard([context.path(item) for item in items])],
        "onsets alone": [float(onset_strength(clip.resampled(RATE).mono())[0].mean()) for clip in clips],
    }
    rows = []
    for judge, values in heard.items():
        figure, other = correlation_figure(seen, values), correlation_figure(seen, turned(values))
        if figure is not None:
            baselines = {} if other is None else {"shuffled": other}
            rows.append(Row(task, f"energy seen and heard, correlation ({judge})", figure, baselines))
    return rows


def _ranking_row(context: Context, task: str, items: Sequence[Item]) -> Row | None:
    """Share of the other pieces that a picture's own music beats in ImageBind's space."""
    matcher = context.measuring.pictures
    if matcher is None or len(items) < 2:
        return None
    media = [_frames(context, item) for item in items]
    similarities = matcher.pictures(media) @ matcher.audio(context.sounds(items)).T
    scores = dict(zip((item.id for item in items), retrieval_ranks(similarities).tolist(), strict=True))
    return mean_row(task, f"{matcher.name} rank", scores, [0.5] * len(items), percent=True,
                    note="share of the other pieces that a picture's own music beats; chance is 50 %")  # fmt: skip


def _frames(context: Context, item: Item) -> np.ndarray:
    if item.image is not None:
        return np.asarray(load_image(context.benchmark.path(item.image)).convert("RGB"))[None]
    assert item.video is not None
    return load_video(context.benchmark.path(item.video), num_frames=SEEN_FRAMES).array


def _cuts_row(context: Context, task: str, items: Sequence[Item]) -> Row | None:
    """Cuts on which a strong onset falls, beside the cuts of another clip."""
    items = [item for item in items if item.facts.get("cuts")]
    clips = context.sounds(items)
    cuts = [[float(cut) for cut in item.facts["cuts"]] for item in items]
    scores = {item.id: cuts_met(clip, each) for item, clip, each in zip(items, clips, cuts, strict=True)}
    other = [cuts_met(clip, each) for clip, each in zip(clips, turned(cuts), strict=True)]
    return mean_row(task, "cuts met by a strong onset", scores, other, percent=True)
