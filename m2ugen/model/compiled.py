"""Loops that are compiled for this processor, and the product that all decoders' steps wait for.

General matrix products reach half of the memory's speed or less where a few rows meet a large matrix, as in every step
of decoding; a compiled loop reads each weight once for all rows, and 8-bit weights without unpacking them first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

MAX_ROWS = 8  # measured up to here: 1.0 to 2.1 times as fast as general matrix products at 8 rows, one thread
NO_SCALE = np.empty(0, dtype=np.float32)
# sums may be reordered, which vector instructions need; nothing else of IEEE arithmetic is given up
_MATH = {"reassoc", "contract", "nsz"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled at its first call, without holding Python's lock, and kept on disk for later processes
    where there is a place for it: beside the module, in the user's cache or in NUMBA_CACHE_DIR. The compiler, some
    100 MB, is not loaded before that call.
    """
    machine: Callable[..., Any] | None = None

    @wraps(function)
    def call(*arguments: Any) -> Any:
        nonlocal machine
        if machine is None:
            machine = _dispatcher(function)
        return machine(*arguments)

    return call


def _dispatcher(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba

    try:
        return numba.njit(nogil=True, fastmath=_MATH, cache=True)(function)
    except RuntimeError:  # nowhere to write: compiled anew in every process
        return numba.njit(nogil=True, fastmath=_MATH)(function)


@compiled
def multiply(weight: Any, scale: Any, rows: Any, output: Any, start: int, stop: int) -> None:
    """Columns ``start`` to ``stop`` of output [rows, out] = rows [rows, in] · weightᵀ · scale (1 if empty); two rows at
    a time share what is read of the weights.
    """
    inputs = weight.shape[1]
    count = rows.shape[0]
    for index in range(start, stop):
        factor = scale[index] if len(scale) else np.float32(1)
        for row in range(0, count - 1, 2):
            first, second = np.float32(0), np.float32(0)
            for column in range(inputs):
                value = np.float32(weight[index, column])
                first += value * rows[row, column]
                second += value * rows[row + 1, column]
            output[row, index] = first * factor
            output[row + 1, index] = second * factor
        if count % 2:
            last = np.float32(0)
            for column in range(inputs):
                last += np.float32(weight[index, column]) * rows[count - 1, column]
            output[count - 1, index] = last * factor
