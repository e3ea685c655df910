"""8-bit weights for decoding on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import nn


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, one scale per output, and activations quantised on the fly.

    Memory and time of CPU decoding are those of reading the weights: a quarter of fp32. ``weight`` int8 [out, in],
    ``scale`` float32 [out]. For inference on a CPU only; the packed weights are in no state dict.
    """

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.bias = None if bias is None else nn.Parameter(bias.detach().float(), requires_grad=False)
        zeros = torch.zeros(self.out_features, dtype=torch.long)
        with warnings.catch_warnings():  # the kernel's own tensor type is to go one day; the torch version is pinned
            warnings.simplefilter("ignore")
            quantised = torch._make_per_channel_quantized_tensor(weight, scale.double(), zeros, 0)
        self._packed = torch.ops.quantized.linear_prepack(quantised, None)
        # 7-bit activations keep the sums of older instruction sets from overflowing
        self._reduce_range = not torch.cpu._is_vnni_supported()

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """Round the weights of ``linear`` to 8 bits, symmetric per output row."""
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=1e-8) / 127
        return cls(torch.round(weight / scale[:, None]).to(torch.int8), scale, linear.bias)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        # The kernel has one scale for all rows. Rows of equal height make that a scale of each row's own; without,
        # the first token of a text, whose states are hundreds of times larger, drowns the others.
        height = hidden_states.abs().amax(dim=-1, keepdim=True).clamp(min=1e-8)
        output = torch.ops.quantized.linear_dynamic(hidden_states / height, self._packed, self._reduce_range) * height
        return output if self.bias is None else output + self.bias


def quantize_linears(module: nn.Module, skip: tuple[str, ...] = ()) -> None:
    """Replace every nn.Linear below ``module`` by an Int8Linear, except where a part of its dotted name is in
    ``skip``.
    """
    for parent, name, linear in list(_linears(module, skip)):
        setattr(parent, name, Int8Linear.from_linear(linear))


def _linears(module: nn.Module, skip: tuple[str, ...]) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for name, child in module.named_children():
        if name in skip:
            continue
        if isinstance(child, nn.Linear):
            yield module, name, child
        else:
            yield from _linears(child, skip)
