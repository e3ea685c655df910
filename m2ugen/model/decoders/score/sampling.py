"""Drawing a value from logits."""

from __future__ import annotations

import numpy as np

from m2ugen.model.decoders.score.kernels import pick


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
        scores[~allowed] = -np.inf
    if temperature <= 0:
        return int(scores.argmax())
    scores -= scores.max()
    scores /= temperature
    return int(pick(np.exp(scores, out=scores), top_p, rng.random()))
