"""What flows through a build: records, and what operators find out about them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


def digest(*parts: Any) -> str:
    """A name for ``parts`` (anything JSON knows): the same parts have the same name."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Record:
    """One candidate of a set: its files, what the manifest says, and what operators found out.

    ``id`` follows from the names of the files and the span alone and names the outputs; ``version`` changes when a
    file or the manifest's row does; ``name`` calls it in messages. ``start`` and ``end`` are in seconds. ``facts`` are
    JSON values, ``arrays`` names of arrays and the files (npz) that hold them, as ``{id}/{name}``. ``rejected`` holds
    the operator that left the record out and why.
    """

    id: str
    version: str
    name: str
    music: str | None = None
    image: str | None = None
    video: str | None = None
    start: float | None = None
    end: float | None = None
    licence: str | None = None
    title: str | None = None
    labels: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)
    rejected: tuple[str, str] | None = None

    @property
    def alive(self) -> bool:
        """Whether nothing spoke against it so far."""
        return self.rejected is None

    def array(self, name: str) -> np.ndarray:
        """The array that an operator kept under ``name``."""
        with np.load(self.arrays[name], allow_pickle=False) as stored:
            found: np.ndarray = stored[f"{self.id}/{name}"]
        return found

    def generator(self, purpose: str) -> np.random.Generator:
        """Randomness that follows from the record and ``purpose`` alone."""
        return np.random.default_rng(int(digest(purpose, self.id)[:16], 16))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        """The inverse of ``to_json``."""
        rejected = data.get("rejected")
        return cls(**{**data, "rejected": None if rejected is None else (rejected[0], rejected[1])})


@dataclass
class Outcome:
    """What an operator found out about one record, or why the record cannot be used."""

    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    rejected: str | None = None


@dataclass
class Bundle:
    """Records that go through the operators together; ``index`` is its place among the bundles."""

    index: int
    records: list[Record]

    @property
    def alive(self) -> list[Record]:
        return [record for record in self.records if record.alive]


@dataclass(frozen=True)
class Rejection:
    """A record that was left out: its ``id``, what it is called, the operator and the reason."""

    id: str
    record: str
    stage: str
    reason: str


def rejections(records: list[Record]) -> list[Rejection]:
    """Those of ``records`` that were left out."""
    return [Rejection(record.id, record.name, *record.rejected) for record in records if record.rejected is not None]


def file_version(path: str | Path) -> list[int]:
    """Size and time of change of a file: what tells that it is another."""
    status = Path(path).stat()
    return [status.st_size, status.st_mtime_ns]
