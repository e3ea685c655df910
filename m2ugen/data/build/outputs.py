"""The operator that writes a record's media into the set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2ugen.data.build.engine import Operator, each
from m2ugen.data.build.layouts import FOLDERS
from m2ugen.data.build.media import write_music, write_picture, write_video
from m2ugen.data.build.records import Outcome, Record

WRITERS = {"music": write_music, "image": write_picture, "video": write_video}
SUFFIXES = {"music": ".mp3", "image": ".jpg", "video": ".mp4"}


@dataclass(frozen=True)
class Write(Operator):
    """The record's media of ``kinds`` as files below ``folder``, named after the set and the record's id: ``files``,
    by kind.
    """

    folder: str
    set_name: str
    kinds: tuple[str, ...] = ("music",)
    name = "write"

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "folder": None}

    def intact(self, record: Record, outcome: Outcome) -> bool:
        return all(self._path(kind, name).is_file() for kind, name in outcome.facts["files"].items())

    def __call__(self, records: list[Record]) -> list[Outcome]:
        for kind in self.kinds:
            (Path(self.folder) / FOLDERS[kind]).mkdir(parents=True, exist_ok=True)
        return each(records, self._write)

    def _path(self, kind: str, name: str) -> Path:
        return Path(self.folder) / FOLDERS[kind] / name

    def _write(self, record: Record) -> Outcome:
        files = {kind: f"{self.set_name}_{record.id}{SUFFIXES[kind]}" for kind in self.kinds}
        for kind, name in files.items():
            WRITERS[kind](record, self._path(kind, name))
        return Outcome({"files": files})
