"""From codes to sound: EnCodec's decoder (arXiv 2210.13438), for codes of any length."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

CHUNK = 1500  # frames that are made audible at once
CONTEXT = 16  # frames beside them; more than the convolutions reach


class Codec(nn.Module):
    """The decoding half of transformers' ``EncodecModel``; ``sample_rate`` in Hz, ``hop_length`` samples per frame."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.sample_rate: int = model.config.sampling_rate
        self.hop_length: int = math.prod(model.config.upsampling_ratios)
        self.quantizer = model.quantizer
        self.layers = model.decoder.layers
        for module in self.layers.modules():
            if parametrize.is_parametrized(module, "weight"):  # weight norm, else computed anew at every call
                parametrize.remove_parametrizations(module, "weight")
        # group norms look at the whole length, so what follows them cannot be done in chunks
        self._chunk = CHUNK if model.config.norm_type == "weight_norm" else None

    @torch.inference_mode()
    def forward(self, codes: torch.Tensor, on_chunk: Callable[[float], None] | None = None) -> torch.Tensor:
        """Codes [rows, codebooks, frames] → audio [rows, samples], ``hop_length`` samples per frame.

        The recurrent layers run over the whole length and only the convolutions in chunks, with what they reach of
        their neighbours: the result is that of one piece, in memory that does not grow. ``on_chunk`` receives the
        finished fraction.
        """
        hidden_states = self.quantizer.decode(codes.transpose(0, 1))  # [rows, dim, frames]
        recurrent = [index for index, layer in enumerate(self.layers) if hasattr(layer, "lstm")]
        split = recurrent[-1] + 1 if recurrent else 0
        for layer in self.layers[:split]:
            hidden_states = layer(hidden_states)
        frames = hidden_states.shape[-1]
        step = self._chunk or frames
        pieces = []
        for start in range(0, frames, step):
            stop, left = min(start + step, frames), max(0, start - CONTEXT)
            piece = hidden_states[..., left : stop + CONTEXT]
            for layer in self.layers[split:]:
                piece = layer(piece)
            first = (start - left) * self.hop_length
            pieces.append(piece[:, 0, first : first + (stop - start) * self.hop_length].float())
            if on_chunk is not None:
                on_chunk(stop / frames)
        return torch.cat(pieces, dim=-1)
