"""Arrangements on disk: ``{train,valid}-{k:04d}.npz`` with the notes and a twin ``.jsonl`` with the plans."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2ugen.errors import InputError
from m2ugen.score.notes import COLUMNS
from m2ugen.score.plan import Plan

SPLITS = ("train", "valid")


@dataclass(frozen=True)
class Arrangement:
    """A piece of training material: its plan and notes, the work it arranges, the groove and the collection."""

    name: str
    work: str
    groove: str
    source: str
    plan: Plan
    notes: np.ndarray


def shard_path(folder: Path, split: str, index: int) -> Path:
    """Where the notes of a shard are; the plans are beside it with the suffix ``.jsonl``."""
    return folder / f"{split}-{index:04d}.npz"


def write_shard(path: Path, arrangements: Iterable[Arrangement]) -> None:
    """Write one shard; the notes' file appears last and complete, so that it marks the shard as finished."""
    items = list(arrangements)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"id": a.name, "work": a.work, "groove": a.groove, "source": a.source, "plan": a.plan.to_dict()})
        for a in items
    ]
    offsets = np.cumsum([0, *(len(a.notes) for a in items)]).astype(np.int64)
    notes = np.concatenate([a.notes for a in items]) if items else np.zeros((0, COLUMNS))
    text, data = path.with_suffix(".jsonl.partial"), path.with_suffix(".npz.partial")
    text.write_text("".join(line + "\n" for line in lines))
    with data.open("wb") as file:
        np.savez_compressed(file, notes=notes.astype(np.int16), offsets=offsets)
    os.replace(text, path.with_suffix(".jsonl"))
    os.replace(data, path)


def read_shard(path: Path) -> Iterator[Arrangement]:
    """The arrangements of one shard. Raises InputError where its two files do not agree."""
    with np.load(path) as data:
        notes, offsets = data["notes"].astype(np.int32), data["offsets"]
    lines = path.with_suffix(".jsonl").read_text().splitlines()
    if len(lines) != len(offsets) - 1:
        raise InputError(f"{path} and its plans disagree; delete both and build them again")
    for line, start, stop in zip(lines, offsets[:-1], offsets[1:], strict=True):
        row = json.loads(line)
        plan = Plan.from_dict(row["plan"])
        yield Arrangement(row["id"], row["work"], row["groove"], row["source"], plan, notes[start:stop])


def read_shards(folder: Path, split: str) -> Iterator[Arrangement]:
    """All arrangements of a split that are finished, in order."""
    for path in sorted(folder.glob(f"{split}-*.npz")):
        yield from read_shard(path)
