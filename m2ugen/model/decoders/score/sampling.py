"""Drawing a value from logits."""

from __future__ import annotations

import numpy as np


def draw(
    logits: np.ndarray,
    rng: np.random.Generator,
    temperature: float = 1.0,
    top_p: float = 1.0,
    allowed: np.ndarray | None = None,
) -> int:
    """An index of ``logits`` [n], drawn with a temperature from the smallest set of values whose probabilities reach
    ``top_p`` (nucleus sampling, arXiv 1904.09751). ``allowed`` [n] (boolean) rules values out before that; at least
    one must be allowed. A temperature of 0 takes the most probable value.
    """
    scores = logits.astype(np.float64)
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    if temperature <= 0:
        return int(scores.argmax())
    scores = np.exp((scores - scores.max()) / temperature)
    order = np.argsort(-scores, kind="stable")
    cumulated = np.cumsum(scores[order])
    kept = int(np.searchsorted(cumulated, top_p * cumulated[-1])) + 1
    kept = min(kept, int(np.count_nonzero(scores)))  # never a value of probability zero
    chosen = np.searchsorted(cumulated[:kept], rng.random() * cumulated[kept - 1], side="right")
    return int(order[min(int(chosen), kept - 1)])
