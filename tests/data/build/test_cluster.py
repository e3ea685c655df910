"""Builds on Ray: the same operators, the same bytes, also when a node dies."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from m2ugen.data.build.build import build
from m2ugen.data.build.cluster import RayRunner, grouped
from m2ugen.data.build.engine import Operator, make_stages, plan_bundles
from m2ugen.data.build.filtering import Measure, Screen
from m2ugen.data.build.options import BuildOptions
from m2ugen.data.build.records import Outcome, Record
from m2ugen.data.build.understanding import Caption, Listen
from m2ugen.errors import InputError
from tests.data.build.media import tree, write_songs

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Slow(Operator):
    """Takes its time."""

    log: str
    name = "slow"

    def __call__(self, records: list[Record]) -> list[Outcome]:
        tell(self.log, self.name, records)
        time.sleep(0.5)
        return [Outcome({"square": int(record.id) ** 2}) for record in records]


@dataclass(frozen=True)
class Sum(Operator):
    """Another pool of actors behind the first."""

    log: str
    name = "sum"
    needs = ("slow",)
    model = True

    def __call__(self, records: list[Record]) -> list[Outcome]:
        tell(self.log, self.name, records)
        return [Outcome({"sum": record.facts["square"] + 1}) for record in records]


def tell(log: str, name: str, records: list[Record]) -> None:
    """Note in ``log`` who works on what, and on which node."""
    import ray

    line = json.dumps([ray.get_runtime_context().get_node_id(), name, [record.id for record in records]])
    with Path(log).open("a") as file:
        file.write(line + "\n")


def told(log: Path) -> list[list[Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100 << 20})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_a_node_that_dies_loses_and_repeats_nothing(cluster: Any, tmp_path: Path) -> None:
    doomed = cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
    cluster.wait_for_nodes()
    log = tmp_path / "log"
    records = [Record(str(k), "v", f"number {k}") for k in range(60)]
    bundles = plan_bundles(tmp_path / "plan.json", records, 2)
    stages = make_stages([Slow(str(log)), Sum(str(log))], tmp_path, {})
    done: list[Record] = []
    killed = False
    for bundle in RayRunner(cluster.address, workers=2).run(stages, bundles):
        done += bundle.records
        if not killed and (len({node for node, *_ in told(log)}) == 2 or len(done) >= 40):
            cluster.remove_node(doomed, allow_graceful=False)
            killed = True
    assert killed and sorted(int(record.id) for record in done) == list(range(60))
    assert all(record.facts == {"square": int(record.id) ** 2, "sum": int(record.id) ** 2 + 1} for record in done)
    assert len(list(tmp_path.glob("slow-*/*/*.json"))) == len(bundles) == 30
    assert len({node for node, *_ in told(log)}) == 2  # the dead one had worked, too
    for name in ("slow", "sum"):  # only what was under way is done again
        assert len([1 for _, worker, _ in told(log) if worker == name]) <= len(bundles) + 4


@pytest.mark.slow
def test_ray_makes_what_this_machine_makes(cluster: Any, tmp_path: Path) -> None:
    source = write_songs(tmp_path / "in", 4, 2.0)
    rows = [{"music": f"song{k}.wav", "caption": f"A calm piano piece, number {k}."} for k in range(4)]
    (source / "list.json").write_text(json.dumps(rows))
    runner = RayRunner(cluster.address, workers=1)
    build("mucaps", BuildOptions(source / "list.json", tmp_path / "ray"), runner)
    build("mucaps", BuildOptions(source / "list.json", tmp_path / "local"))
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")


def test_neighbours_share_an_actor() -> None:
    operators = [Measure(), Screen(), Listen(), Caption()]
    groups = grouped(make_stages(operators, Path("x"), {}))
    assert [[stage.operator.name for stage in group] for group in groups] == [
        ["measure", "filter"],
        ["listen", "caption"],
    ]


def test_without_a_cluster_there_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    bundles = plan_bundles(tmp_path / "plan.json", [Record("0", "v", "x")])
    with pytest.raises(InputError, match="no Ray cluster at nonsense"):
        list(RayRunner("nonsense").run(make_stages([Sum("")], tmp_path, {}), bundles))
