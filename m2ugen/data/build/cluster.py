"""Stages on a Ray cluster: Ray Data streams bundles through pools of actors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from m2ugen.data.build.engine import Stage
from m2ugen.data.build.records import Bundle, Record
from m2ugen.errors import InputError, MissingExtra

MAX_BLOCKS = 10_000  # into which the bundles are cut; a lost node costs the blocks that it was working on


class RayRunner:
    """Runs stages in up to ``workers`` actors each; models' actors have ``gpus`` GPUs. ``address`` as ray.init takes
    it; None starts Ray on this machine if none runs.
    """

    def __init__(self, address: str | None = None, workers: int = 1, gpus: float = 0.0) -> None:
        self.address, self.workers, self.gpus = address, workers, gpus

    def run(self, stages: Sequence[Stage], bundles: Sequence[Bundle]) -> Iterator[Bundle]:
        """See Runner. Raises MissingExtra without Ray, InputError where there is no cluster at the address."""
        if not bundles:
            return
        ray = self._connect()
        rows = [_row(bundle) for bundle in bundles]
        dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS))
        for group in grouped(stages):
            dataset = dataset.map_batches(
                BundleWorker,
                fn_constructor_args=(group,),
                batch_size=1,
                batch_format="numpy",
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self.workers),
                num_cpus=1,
                num_gpus=self.gpus if self.gpus and group[0].operator.model else None,
            )
        done: set[int] = set()
        for row in dataset.iter_rows():
            bundle = _bundle(row)
            if bundle.index not in done:  # a block that was computed again
                done.add(bundle.index)
                yield bundle
        if len(done) != len(bundles):
            raise InputError("the cluster lost batches and could not compute them again; run the build once more")

    def _connect(self) -> Any:
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise MissingExtra("Ray", "data") from error
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                ray.init(self.address, log_to_driver=False, configure_logging=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InputError(f"no Ray cluster at {self.address or 'this machine'}: {error}") from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        return ray


class BundleWorker:
    """An actor: some stages, whose models stay loaded between bundles."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = []
        for index, records in zip(batch["index"], batch["records"]):
            bundle = _bundle({"index": index, "records": records})
            for stage in self.stages:
                bundle = stage(bundle)
            rows.append(_row(bundle))
        return {name: [row[name] for row in rows] for name in ("index", "records")}


def grouped(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Neighbours of the same kind (with or without a model) in one actor: they share what is loaded."""
    groups: list[list[Stage]] = []
    for stage in stages:
        if groups and (groups[-1][0].operator.model == stage.operator.model or not stage.operator.stored):
            groups[-1].append(stage)
        else:
            groups.append([stage])
    return groups


def _row(bundle: Bundle) -> dict[str, Any]:
    return {"index": bundle.index, "records": json.dumps([record.to_json() for record in bundle.records])}


def _bundle(row: dict[str, Any]) -> Bundle:
    return Bundle(int(row["index"]), [Record.from_json(data) for data in json.loads(str(row["records"]))])
