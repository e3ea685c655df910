"""Long sequences through a network that knows short ones: overlapping windows, averaged in every denoising step
(MultiDiffusion, arXiv 2302.08113), so that neighbours agree from the first step on and there is no seam to hide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

CHUNK, MARGIN = 3000, 64  # mel frames: the vocoder's receptive field is smaller than the margin on either side


def window_starts(total: int, size: int, overlap: float) -> list[int]:
    """Where windows of ``size`` begin that cover ``total`` evenly, sharing at least ``overlap`` (0 to below 1) of
    their length; a single one at 0 when they need not be several.
    """
    if total <= size:
        return [0]
    count = math.ceil((total - size) / max(1, int(size * (1 - overlap)))) + 1
    return [round(index * (total - size) / (count - 1)) for index in range(count)]


def over_windows(
    function: Callable[[torch.Tensor], torch.Tensor],
    sequence: torch.Tensor,
    starts: Sequence[int],
    size: int,
    scale: int = 1,
) -> torch.Tensor:
    """``function`` of windows of ``sequence`` [batch, channels, time, ...], put together to [batch, ..., time * scale,
    ...]: each window counts fully in its middle and fades into its neighbours where it overlaps them.

    ``scale`` is how many steps of time ``function`` makes of one.
    """
    if len(starts) == 1:
        return function(sequence)
    total: torch.Tensor | None = None
    weights = torch.zeros(sequence.shape[2] * scale, device=sequence.device)
    for index, start in enumerate(starts):
        piece = function(sequence[:, :, start : start + size])
        weight = torch.ones(size * scale, device=sequence.device)
        if index > 0:
            ramp = _ramp((starts[index - 1] + size - start) * scale, weight)
            weight[: len(ramp)] *= ramp
        if index < len(starts) - 1:
            ramp = _ramp((start + size - starts[index + 1]) * scale, weight)
            weight[len(weight) - len(ramp) :] *= ramp.flip(0)
        if total is None:
            total = piece.new_zeros(*piece.shape[:2], len(weights), *piece.shape[3:], dtype=torch.float32)
        span = slice(start * scale, (start + size) * scale)
        total[:, :, span] += piece * weight[:, None]
        weights[span] += weight
    assert total is not None
    return total / weights[:, None]


def _ramp(length: int, like: torch.Tensor) -> torch.Tensor:
    """Rising from near 0 to near 1; with its mirror image it sums to 1."""
    return (torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) / length


def vocode(vocoder: Callable[[torch.Tensor], torch.Tensor], mel: torch.Tensor, hop: int) -> torch.Tensor:
    """Samples [batch, frames * hop] of a log-mel spectrogram [batch, frames, bins], piece by piece: a convolutional
    ``vocoder`` gives the same as for the whole, in bounded memory.
    """
    frames = mel.shape[1]
    pieces = []
    for start in range(0, frames, CHUNK):
        first, end = max(0, start - MARGIN), min(start + CHUNK, frames)
        sound = vocoder(mel[:, first : end + MARGIN])
        pieces.append(sound[:, (start - first) * hop : (end - first) * hop])
    return torch.cat(pieces, dim=1)
