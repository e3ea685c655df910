"""Figures of the notes, where the system composed notes, and whether anything was copied from training material."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2ugen.data.nano.recordings import load_features
from m2ugen.data.nano.shards import read_shards
from m2ugen.evaluate.benchmark.items import Item
from m2ugen.evaluate.benchmark.scores import held_out_scores
from m2ugen.evaluate.musicality import MelodyIndex, melody_steps, musicality
from m2ugen.evaluate.results import Row, mean_row
from m2ugen.evaluate.tasks.context import Context
from m2ugen.score.plan import Plan

SHOWN = {  # figure → how it is called and whether more is better
    "in_key": ("notes in key", "higher"),
    "chord_tones_on_strong_beats": ("chord tones on strong beats", "higher"),
    "bass_on_root_at_changes": ("bass on the root at changes", "higher"),
    "pitch_class_entropy": ("pitch-class entropy, bits", ""),
    "note_range": ("note range, semitones", ""),
    "groove_consistency": ("groove consistency", ""),
    "bar_similarity": ("rhythm like the bar before", ""),
    "notes_per_bar": ("notes per bar", ""),
    "melody_steps": ("melody: steps", ""),
    "melody_leaps": ("melody: leaps", ""),
    "parts_silent": ("silent parts", "lower"),
}


def note_rows(context: Context, task: str, items: Sequence[Item]) -> list[Row | None]:
    """Figures of composed notes beside those of held-out arrangements; nothing for systems that make sound only."""
    pieces = _pieces(context, items)
    if not pieces:
        return []
    figures = {key: musicality(notes, plan) for key, (plan, notes) in pieces.items()}
    real = [musicality(a.notes, a.plan) for a in held_out_scores(context.data)]
    return [
        mean_row(task, name, {key: values[field] for key, values in figures.items()},
                 real=[values[field] for values in real], better=better)
        for field, (name, better) in SHOWN.items()
    ]  # fmt: skip


def memorisation_rows(context: Context, task: str, items: Sequence[Item]) -> list[Row | None]:
    """Longest copied passage of a melody, and the nearest training recording; needs the training data."""
    if context.data is None:
        return []
    rows: list[Row | None] = []
    pieces = _pieces(context, items)
    if pieces and list((context.data / "scores").glob("train-*.npz")):
        index = MelodyIndex(melody_steps(a.notes, a.plan) for a in read_shards(context.data / "scores", "train"))
        runs = {key: float(index.longest_run(melody_steps(notes, plan))) for key, (plan, notes) in pieces.items()}
        real = [float(index.longest_run(melody_steps(a.notes, a.plan))) for a in held_out_scores(context.data)]
        rows.append(mean_row(task, "longest melody passage of a training tune, notes", runs, real=real, better="lower"))
    if list((context.data / "recordings").glob("train-*.npz")):
        rows.append(_nearest_row(context, task, items))
    return rows


def nearest_similarity(rows: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Cosine of each of ``rows`` [n, dim] with the nearest of ``training`` [m, dim], both about the training mean."""
    centre = training.mean(axis=0)
    units = [(x - centre) / np.maximum(np.linalg.norm(x - centre, axis=1)[:, None], 1e-9) for x in (rows, training)]
    return np.asarray((units[0] @ units[1].T).max(axis=1))


def _nearest_row(context: Context, task: str, items: Sequence[Item]) -> Row | None:
    """Training recordings are kept as tagger features, so the taggers hear the music for this."""
    assert context.data is not None
    training = load_features(context.data / "recordings", "train", ("tags",))[0]["tags"]
    heard = context.listener.tags(context.sounds(items))
    real = context.listener.tags(context.real())
    scores = dict(zip((i.id for i in items), nearest_similarity(heard, training).tolist(), strict=True))
    return mean_row(task, "similarity to the nearest training recording", scores,
                    real=nearest_similarity(real, training).tolist(), better="lower",
                    note="cosine of tagger features; memorised music would stand above real music")  # fmt: skip


def _pieces(context: Context, items: Sequence[Item]) -> dict[str, tuple[Plan, np.ndarray]]:
    found = {item.id: context.outputs.notes(item) for item in items}
    return {key: piece for key, piece in found.items() if piece is not None and len(piece[1])}
