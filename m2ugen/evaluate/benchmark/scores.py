"""Held-out scores with exact truth: the arrangements that come with the package, or those of a folder of one's own.

The packaged ones arrange works that nano's training never used (songs of the OpenScore Lieder Corpus, CC0, and blues
choruses made by rule) in grooves that it never used, as notes and plans; sound is made from them with any SoundFont.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from m2ugen.data.nano.shards import Arrangement, read_shards
from m2ugen.errors import InputError, MissingWeights
from m2ugen.media.files import atomic_output
from m2ugen.score.plan import Plan

PACKAGED = Path(__file__).parent / "scores.npz"
VERSION = 1


def held_out_scores(data: Path | None = None) -> list[Arrangement]:
    """Arrangements of works that training did not see: of ``data`` (written by ``m2ugen data nano``) or packaged.

    Raises InputError where ``data`` holds none.
    """
    if data is None:
        return read_scores(PACKAGED)
    found = list(read_shards(data / "scores", "valid"))
    if not found:
        raise InputError(f"{data} holds no scores/valid-*.npz; write them with: m2ugen data nano --output {data}")
    return found


def write_scores(path: Path, arrangements: Sequence[Arrangement]) -> None:
    """Write arrangements as one file."""
    rows = [
        {"id": a.name, "work": a.work, "groove": a.groove, "source": a.source, "plan": a.plan.to_dict()}
        for a in arrangements
    ]
    offsets = np.cumsum([0, *(len(a.notes) for a in arrangements)])
    notes = np.concatenate([a.notes for a in arrangements]).astype(np.int16)
    facts = np.array(json.dumps({"version": VERSION, "rows": rows}))
    with atomic_output(path, (".npz",)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, notes=notes, offsets=offsets, facts=facts)


def read_scores(path: Path) -> list[Arrangement]:
    """Inverse of ``write_scores``. Raises MissingWeights when the file is not there or of another version."""
    if not path.is_file():
        raise MissingWeights(f"{path.name} is not in {path.parent}; reinstall m2ugen")
    with np.load(path) as data:
        notes, offsets, facts = data["notes"].astype(np.int32), data["offsets"], json.loads(str(data["facts"]))
    if facts["version"] != VERSION:
        raise MissingWeights(f"{path} is of version {facts['version']}; this release reads version {VERSION}")
    return [
        Arrangement(
            row["id"], row["work"], row["groove"], row["source"], Plan.from_dict(row["plan"]), notes[start:stop]
        )
        for row, start, stop in zip(facts["rows"], offsets[:-1], offsets[1:], strict=True)
    ]
