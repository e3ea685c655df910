"""What the note engine does for each position besides products, compiled; and the draw of a value."""

from __future__ import annotations

from typing import Any

import numpy as np

from m2ugen.model.compiled import compiled
from m2ugen.model.decoders.score.layers import EPSILON


@compiled
def normalise(states: Any, normed: Any) -> None:
    """RMSNorm of states [n, width] without its weights, which are folded into the matrices that follow."""
    width = states.shape[1]
    for row in range(states.shape[0]):
        squares = np.float32(0)
        for column in range(width):
            squares += states[row, column] * states[row, column]
        factor = np.float32(1) / np.sqrt(squares / np.float32(width) + np.float32(EPSILON))
        for column in range(width):
            normed[row, column] = states[row, column] * factor


@compiled
def gate(expanded: Any, gated: Any) -> None:
    """SwiGLU of expanded [n, 2 · hidden], the gate first: gated [n, hidden]."""
    hidden = gated.shape[1]
    for row in range(gated.shape[0]):
        for column in range(hidden):
            value = expanded[row, column]
            gated[row, column] = value / (np.float32(1) + np.exp(-value)) * expanded[row, hidden + column]


@compiled
def attend(projected: Any, cosines: Any, sines: Any, keys: Any, values: Any, begin: int, mixed: Any) -> None:
    """Causal attention of new positions to those before ``begin`` and to themselves.

    projected [n, 3, heads, head dim] are their queries, keys and values; cosines and sines [n, heads, head dim / 2]
    turn the first two. ``keys`` and ``values`` [heads, capacity, head dim] take in the new ones; mixed is [n, heads,
    head dim].
    """
    count, _, heads, size = projected.shape
    half = size // 2
    scale = np.float32(1 / np.sqrt(size))
    query = np.empty(size, dtype=np.float32)
    weights = np.empty(begin + count, dtype=np.float32)
    for head in range(heads):
        for new in range(count):
            place = begin + new
            for i in range(half):
                cosine, sine = cosines[new, head, i], sines[new, head, i]
                first, second = projected[new, 0, head, i], projected[new, 0, head, half + i]
                query[i] = (first * cosine - second * sine) * scale
                query[half + i] = (second * cosine + first * sine) * scale
                first, second = projected[new, 1, head, i], projected[new, 1, head, half + i]
                keys[head, place, i] = first * cosine - second * sine
                keys[head, place, half + i] = second * cosine + first * sine
            for i in range(size):
                values[head, place, i] = projected[new, 2, head, i]
            largest = np.float32(-np.inf)
            for before in range(place + 1):
                score = np.float32(0)
                for i in range(size):
                    score += query[i] * keys[head, before, i]
                weights[before] = score
                largest = max(largest, score)
            total = np.float32(0)
            for before in range(place + 1):
                weight = np.exp(weights[before] - largest)
                weights[before] = weight
                total += weight
            for i in range(size):
                mixed[new, head, i] = np.float32(0)
            for before in range(place + 1):
                weight = weights[before] / total
                for i in range(size):
                    mixed[new, head, i] += weight * values[head, before, i]


@compiled
def pick(odds: Any, top_p: float, chance: float) -> int:
    """An index of ``odds`` [n], which are changed: the largest ones are taken until they are ``top_p`` of the sum; of
    these, the one that ``chance`` (from 0 to 1) falls on, in their order.
    """
    order = np.empty(len(odds), dtype=np.int64)
    cumulated = np.empty(len(odds))
    limit, kept, taken = top_p * odds.sum(), 0, 0.0
    while kept == 0 or (taken < limit and kept < len(odds)):
        best = odds.argmax()
        if kept > 0 and odds[best] <= 0:
            break  # never a value of probability zero
        taken += odds[best]
        order[kept], cumulated[kept] = best, taken
        odds[best] = -1.0
        kept += 1
    for index in range(kept):
        if cumulated[index] > chance * taken:
            return int(order[index])
    return int(order[kept - 1])
