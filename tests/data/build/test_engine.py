"""The engine: results on disk, plans that grow, runners that agree, workers that die."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ugen.data.build.engine import Operator, Runner, Stage, each, make_stages, plan_bundles
from m2ugen.data.build.local import Ahead, LocalRunner
from m2ugen.data.build.records import Outcome, Record
from m2ugen.errors import InputError


@dataclass(frozen=True)
class Number(Operator):
    """Counts; odd records are refused, and each call leaves a line in ``log``."""

    log: str
    factor: int = 1
    name = "number"

    def settings(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def __call__(self, records: list[Record]) -> list[Outcome]:
        with Path(self.log).open("a") as file:
            file.write(" ".join(record.id for record in records) + "\n")
        return each(records, self._number)

    def _number(self, record: Record) -> Outcome:
        value = int(record.id) * self.factor
        if value % 2:
            raise InputError(f"{record.music} is odd")
        return Outcome({"value": value}, {"row": np.full(3, value)})


@dataclass(frozen=True)
class Double(Operator):
    """Reads what Number kept; dies once if ``fuse`` is there."""

    fuse: str = ""
    name = "double"
    needs = ("number",)
    model = True

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, records: list[Record]) -> list[Outcome]:
        if self.fuse and any(record.id == "8" for record in records) and Path(self.fuse).exists():
            Path(self.fuse).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return [Outcome({"double": int(record.array("row").sum() * 2 / 3)}) for record in records]


def numbers(count: int) -> list[Record]:
    return [Record(str(k), f"v{k}", f"number {k}", music=f"/somewhere/{k}.wav") for k in range(count)]


def run(folder: Path, count: int, runner: Runner | None = None, factor: int = 1, fuse: str = "") -> dict[str, Record]:
    operators = [Number(str(folder / "log"), factor), Double(fuse)]
    bundles = plan_bundles(folder / "plan.json", numbers(count), 4)
    found = (runner or LocalRunner()).run(make_stages(operators, folder, {}), bundles)
    return {record.id: record for bundle in found for record in bundle.records}


def calls(folder: Path) -> int:
    return len((folder / "log").read_text().splitlines())


def check(records: dict[str, Record], count: int, factor: int = 1) -> None:
    assert sorted(records, key=int) == [str(k) for k in range(count)]
    for record in records.values():
        value = int(record.id) * factor
        assert record.alive == (value % 2 == 0)
        if record.alive:
            assert record.facts == {"value": value, "double": 2 * value}
        else:
            assert record.rejected == ("number", f"{value}.wav is odd")


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    check(run(tmp_path, 10), 10)
    assert calls(tmp_path) == 3
    check(run(tmp_path, 10), 10)
    assert calls(tmp_path) == 3
    check(run(tmp_path, 13), 13)  # three more: a bundle of their own
    assert calls(tmp_path) == 4
    check(run(tmp_path, 13, factor=2), 13, factor=2)  # other settings: all anew
    assert calls(tmp_path) == 8


def test_damaged_results_are_computed_again(tmp_path: Path) -> None:
    run(tmp_path, 10)
    shards = sorted(tmp_path.glob("number-*/*/*.json"))
    shards[0].write_text("[{")
    shards[1].with_suffix(".npz").unlink()
    check(run(tmp_path, 10), 10)
    assert calls(tmp_path) == 5


def test_findings_depend_on_what_they_are_made_of(tmp_path: Path) -> None:
    before, after = (make_stages([Number("", factor), Double()], tmp_path, {}) for factor in (1, 2))
    assert before[1].folder != after[1].folder
    names: dict[str, str] = {}
    make_stages([Number("", 2)], tmp_path, names)  # an earlier run's operators count too
    assert make_stages([Double()], tmp_path, names)[0].folder == after[1].folder


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=4), st.integers(1, 5))
def test_plans_hold_each_record_once_and_keep_bundles(
    tmp_path_factory: pytest.TempPathFactory, runs: Sequence[set[int]], size: int
) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    before: dict[str, set[str]] = {}
    for chosen in runs:
        records = [record for record in numbers(31) if int(record.id) in chosen]
        bundles = plan_bundles(path, records, size)
        assert sorted(r.id for b in bundles for r in b.records) == sorted(r.id for r in records)
        assert all(0 < len(b.records) <= size for b in bundles)
        assert [b.index for b in bundles] == list(range(len(bundles)))
        together = {r.id: {o.id for o in b.records} for b in bundles for r in b.records}
        present = set(together)
        for name, companions in before.items():
            if name in together:  # what was in one bundle stays in one bundle
                assert companions & present <= together[name]
        before = together


def test_an_exception_in_a_thread_reaches_the_reader() -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    stream = Ahead(fail, iter(range(10)))
    with pytest.raises(ValueError, match="three"):
        list(stream)
    stream.close()
    endless = Ahead(lambda item: item, iter(range(10**9)))
    assert next(iter(endless)) == 0
    endless.close()  # and does not wait for the rest


@pytest.mark.slow
def test_a_worker_that_dies_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "fuse").touch()
    check(run(tmp_path, 20, LocalRunner(2), fuse=str(tmp_path / "fuse")), 20)
    assert not (tmp_path / "fuse").exists()


def test_stages_are_picklable() -> None:
    import pickle

    stage = Stage(Number("log"), Path("x"))
    assert pickle.loads(pickle.dumps(stage)) == stage
