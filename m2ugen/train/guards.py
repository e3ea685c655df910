"""What stops a run with a reason: numbers that are none, and memory that does not suffice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from m2ugen.errors import M2UGenError

NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # of RuntimeErrors from allocators


class NonFiniteLoss(M2UGenError):
    """The loss or the gradient is not a number; the message names the batch."""


class OutOfMemory(M2UGenError):
    """The memory does not suffice; the message says what would help."""


@contextmanager
def memory_advice(where: str, batch: dict[str, Any]) -> Iterator[None]:
    """Turns an allocator's failure into OutOfMemory with the batch's sizes and what to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        by_name = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not by_name and not any(words in str(error).lower() for words in NO_MEMORY):
            raise
        raise OutOfMemory(
            f"out of memory on {where}{_sizes(batch)}; in this order: halve task.material.batch_size and double "
            "train.accumulation (the same steps), task.material.gradient_checkpointing=true, "
            "task.material.base_dtype=bfloat16, task.material.quantise=4bit, lower task.material.max_tokens, or shard "
            "over several GPUs (docs/training.md)"
        ) from error


def identity(batch: dict[str, Any]) -> str:
    """What a batch says about where it is from, for error messages."""
    for key in ("id", "ids"):
        if key in batch:
            return f", {key} {str(batch[key])[:200]}"
    return ""


def _sizes(batch: dict[str, Any]) -> str:
    ids = batch.get("input_ids")
    return f", {ids.shape[0]} rows of {ids.shape[1]} tokens" if isinstance(ids, torch.Tensor) else ""
