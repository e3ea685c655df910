"""What a training run needs to know about its task; the trainer knows nothing else about models or data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn


class BatchSource(ABC):
    """A dataset of whole batches. Batch ``index`` of epoch ``epoch`` is a pure function of the two and of the
    source's own seed, so that a resumed run sees exactly the batches that an uninterrupted one would.
    """

    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches ``__getitem__`` gives."""
        self.epoch = epoch

    @abstractmethod
    def __len__(self) -> int:
        """Number of batches in an epoch."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]: ...


class Task(ABC):
    """A model, its batches, its loss and its evaluation.

    The parameters that are trained are those of ``model`` whose ``requires_grad`` is set when the run starts.
    """

    name: str
    model: nn.Module
    source: BatchSource

    @abstractmethod
    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Scalar loss of a batch and figures to log. ``generator`` is the only source of randomness."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Figures on held-out material; must contain ``loss`` (lower is better)."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the weights in the form in which the package loads them."""

    def shards(self) -> Sequence[nn.Module]:
        """Modules whose weights are gathered by themselves when they are called, where the model is shared by several
        devices (FSDP 2). All others are whole during a step. Nothing may reach into these from outside.
        """
        return ()

    def sample(self, folder: Path) -> None:  # noqa: B027
        """Write what the model makes by now into ``folder``, after each evaluation, for people to judge."""
