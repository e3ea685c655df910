"""The stream of batches: epoch after epoch, resumable at any batch, divided among processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from m2ugen.errors import InputError, MissingExtra
from m2ugen.train.config import TrainConfig
from m2ugen.train.task import BatchSource


class Batches:
    """Endless batches over epochs, each with its epoch and index; the position is saved and restored."""

    def __init__(self, source: BatchSource, config: TrainConfig, rank: int, world: int) -> None:
        try:
            from torchdata.stateful_dataloader import StatefulDataLoader
        except ImportError as error:
            raise MissingExtra("torchdata", "train") from error
        self._loader_type = StatefulDataLoader
        self._source, self._config, self._rank, self._world = source, config, rank, world
        self._loader: Any = None
        self._epoch = self._consumed = 0

    def _open(self, state: dict[str, Any] | None = None) -> None:
        self._source.set_epoch(self._epoch)
        length = len(self._source)  # asked anew each epoch: the material may have grown
        if length < self._world:
            raise InputError(f"the material has {length} batches for {self._world} processes; give it more")
        # every process sees as many batches as the others, lest they wait for one another for ever
        indices = range(self._rank, length - length % self._world, self._world)
        self._loader = self._loader_type(
            self._source,
            batch_size=None,
            sampler=indices,
            num_workers=self._config.num_workers,
            collate_fn=_unchanged,
            generator=torch.Generator().manual_seed(self._config.seed + self._epoch),  # spares the global one
        )
        if state is not None:
            self._loader.load_state_dict(state)

    def __iter__(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        if self._loader is None:
            self._open()
        while True:
            for batch in self._loader:
                index = self._rank + self._consumed * self._world
                self._consumed += 1
                yield self._epoch, index, batch
            self._epoch, self._consumed = self._epoch + 1, 0
            self._open()

    def state_dict(self) -> dict[str, Any]:
        loader = self._loader.state_dict() if self._consumed else None
        return {"epoch": self._epoch, "consumed": self._consumed, "loader": loader}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._epoch, self._consumed = state["epoch"], state["consumed"]
        self._open(state["loader"])


def _unchanged(batch: dict[str, Any]) -> dict[str, Any]:
    return batch
