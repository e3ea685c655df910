"""Operators on bundles of records, with every result on disk before it counts.

A stage is an operator and a folder. What it makes of a bundle is one file, named after the records and complete
or absent; a stage that finds the file reads it instead of working. So a killed build, a lost worker and a second run
with more material all take the same way, and the result follows from the material alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from m2ugen.data.build.records import Bundle, Outcome, Record, digest
from m2ugen.errors import InputError
from m2ugen.media.files import atomic_output

BUNDLE = 32  # records; a language model's batch


class Operator:
    """One thing that is done to records. Subclasses are frozen dataclasses whose fields are the settings.

    ``needs`` names the operators whose findings this one reads; ``model`` says that it computes with a neural network
    (and belongs on a GPU); what is not ``stored`` is so cheap that it is done again each time.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    model: ClassVar[bool] = False
    stored: ClassVar[bool] = True

    def __call__(self, records: list[Record]) -> list[Outcome]:
        """One outcome for each record."""
        raise NotImplementedError

    def intact(self, record: Record, outcome: Outcome) -> bool:
        """Whether what an earlier run made for ``record`` is still there."""
        return True

    def settings(self) -> dict[str, Any]:
        """What the findings depend on, apart from the records."""
        return asdict(self)  # type: ignore[call-overload]


def each(records: list[Record], function: Callable[[Record], Outcome]) -> list[Outcome]:
    """``function`` of each record; what it finds unusable (InputError) is rejected with its message."""
    return [attempt(function, record) for record in records]


def attempt(function: Callable[[Record], Outcome], record: Record) -> Outcome:
    """``function`` of ``record``, or its InputError as a rejection."""
    try:
        return function(record)
    except InputError as error:
        reason = str(error)
        for path in (record.music, record.image, record.video):
            if path is not None:  # the same reason wherever the material lies
                reason = reason.replace(path, Path(path).name)
        return Outcome(rejected=reason)


@dataclass(frozen=True)
class Stage:
    """An operator and the ``folder`` of its findings."""

    operator: Operator
    folder: Path

    def __call__(self, bundle: Bundle) -> Bundle:
        """``bundle`` with the operator's findings, computed or read."""
        alive = bundle.alive
        if not alive:
            return bundle
        if not self.operator.stored:
            outcomes = self.operator(alive)
        else:
            key = digest([(record.id, record.version) for record in alive])[:32]
            path = self.folder / key[:2] / f"{key}.json"
            outcomes = self._read(path, alive) or self._compute(path, alive)
        for record, outcome in zip(alive, outcomes, strict=True):
            record.facts.update(outcome.facts)
            if outcome.rejected is not None:
                record.rejected = (self.operator.name, outcome.rejected)
        return bundle

    def _read(self, path: Path, records: list[Record]) -> list[Outcome] | None:
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            outcomes = [Outcome(each["facts"], {}, each["rejected"]) for each in stored]
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there yet, or damaged: it is computed
        arrays = path.with_suffix(".npz")
        if len(outcomes) != len(records) or (any(each["arrays"] for each in stored) and not arrays.is_file()):
            return None
        for record, outcome, each in zip(records, outcomes, stored):
            if outcome.rejected is None and not self.operator.intact(record, outcome):
                return None
            record.arrays.update(dict.fromkeys(each["arrays"], str(arrays)))
        return outcomes

    def _compute(self, path: Path, records: list[Record]) -> list[Outcome]:
        outcomes = self.operator(records)
        arrays = path.with_suffix(".npz")
        kept = {f"{r.id}/{name}": array for r, o in zip(records, outcomes) for name, array in o.arrays.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        if kept:
            with atomic_output(arrays, (".npz",)) as temporary, temporary.open("wb") as file:
                np.savez(file, **kept)  # type: ignore[arg-type]
        stored = [{"facts": o.facts, "arrays": sorted(o.arrays), "rejected": o.rejected} for o in outcomes]
        write_json(path, stored)  # last: it marks the bundle as done
        for record, outcome in zip(records, outcomes):
            record.arrays.update(dict.fromkeys(outcome.arrays, str(arrays)))
        return outcomes


def make_stages(operators: Sequence[Operator], folder: Path, names: dict[str, str]) -> list[Stage]:
    """Stages with folders that are named after the operator, its settings, and those of the operators it needs.

    ``names`` holds the folders' names of operators that ran before, and gets those of ``operators``.
    """
    for operator in operators:
        needed = [names[name] for name in operator.needs if name in names]
        names[operator.name] = f"{operator.name}-{digest(operator.settings(), needed)[:12]}"
    return [Stage(operator, folder / names[operator.name]) for operator in operators]


def plan_bundles(path: Path, records: Sequence[Record], size: int = BUNDLE) -> list[Bundle]:
    """``records`` in bundles: as the plan in ``path`` has them, as far as it knows them, and new ones behind; the plan
    is written anew.
    """
    try:
        planned: list[list[str]] = json.loads(path.read_text(encoding="utf-8"))
        known = [name for names in planned for name in names]
    except (OSError, ValueError, TypeError):
        planned, known = [], []
    of_id = {record.id: record for record in records}
    fresh = [record.id for record in records if record.id not in set(known)] if known else list(of_id)
    groups = planned + [fresh[start : start + size] for start in range(0, len(fresh), size)]
    if fresh:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, groups)
    present = [[of_id[name] for name in group if name in of_id] for group in groups]
    return [Bundle(index, group) for index, group in enumerate(group for group in present if group)]


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write ``value`` as JSON, complete or not at all."""
    with atomic_output(path, (path.suffix,)) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


class Runner(Protocol):
    """Where stages run."""

    def run(self, stages: Sequence[Stage], bundles: Sequence[Bundle]) -> Iterator[Bundle]:
        """Every bundle once, after all ``stages``, in any order."""
        ...
