"""The encoder protocol: what every music, image or video encoder offers to the rest of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

if TYPE_CHECKING:
    from m2ugen.score.attributes import Attributes


@runtime_checkable
class Encoder(Protocol):
    """A frozen feature extractor.

    ``prepare`` turns one decoded input (a waveform, an image, a stack of frames) into tensors without a batch
    dimension; it runs on the CPU and needs no weights. The module itself maps a batch of these to hidden states
    [batch, num_tokens, dim]. ``num_tokens`` and ``dim`` are fixed for a given configuration, whatever the length
    of the input.
    """

    num_tokens: int
    dim: int

    def prepare(self, media: Any) -> dict[str, torch.Tensor]: ...

    def __call__(self, **inputs: torch.Tensor) -> torch.Tensor: ...


@runtime_checkable
class Describing(Protocol):
    """An encoder that can put its hidden states [num_tokens, dim] in words."""

    def describe(self, hidden_states: np.ndarray) -> str: ...


@runtime_checkable
class Listening(Protocol):
    """A music encoder whose hidden states [num_tokens, dim] tell what the music is like."""

    def likeliest(self, hidden_states: np.ndarray) -> Attributes: ...
