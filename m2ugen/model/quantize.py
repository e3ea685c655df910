"""8-bit weights for decoding on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import nn

ROWS = 2048  # of a matrix that are rounded at a time


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, one scale per output, and activations of twice 8 bits.

    Memory and time of CPU decoding are those of reading the weights: a quarter of fp32. ``weight`` int8 [out, in],
    ``scale`` float32 [out]. For inference on a CPU only; the packed weights are in no state dict.
    """

    _ruler: torch.Tensor

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.bias = None if bias is None else nn.Parameter(bias.detach().float(), requires_grad=False)
        zeros = torch.zeros(self.out_features, dtype=torch.long)
        with warnings.catch_warnings():  # the kernel's own tensor type is to go one day; the torch version is pinned
            warnings.simplefilter("ignore")
            quantised = torch._make_per_channel_quantized_tensor(weight, scale.double(), zeros, 0)
        self._packed = torch.ops.quantized.linear_prepack(quantised, None)
        # One row that spans -1 … 1 fixes the kernel's step.
        self.register_buffer("_ruler", torch.zeros(1, self.in_features), persistent=False)
        self._ruler[0, :2] = torch.tensor([1.0, -1.0])
        # 7-bit activations keep the sums of older instruction sets from overflowing
        self._reduce_range = not torch.cpu._is_vnni_supported()
        self._levels = 127 if self._reduce_range else 255

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """The 8-bit form of ``linear``."""
        return cls.from_weight(linear.weight, linear.bias)

    @classmethod
    def from_weight(cls, weight: torch.Tensor, bias: torch.Tensor | None) -> Int8Linear:
        """Round ``weight`` [out, in] to 8 bits, symmetric per output row; some rows at a time, for little memory."""
        codes, scales = [], []
        for rows in weight.detach().split(ROWS):
            rows = rows.float()
            scale = torch.maximum(rows.amax(dim=1), -rows.amin(dim=1)).clamp(min=1e-8) / 127
            codes.append((rows / scale[:, None]).round_().to(torch.int8))
            scales.append(scale)
        return cls(torch.cat(codes), torch.cat(scales), bias)

    def codes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``weight`` and ``scale``, as they were given."""
        quantised, _ = torch.ops.quantized.linear_unpack(self._packed)
        return quantised.int_repr(), quantised.q_per_channel_scales().float()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        # The kernel rounds activations to 8 bits with one scale for all rows: too coarse, for the first token of a
        # text has states hundreds of times larger than the others. So every row is brought to equal height, and what
        # the rounding leaves goes along as a second row of finer steps: the weights are still read only once.
        step = 2 / self._levels  # the kernel's, when its input spans -1 … 1
        finer = self._levels - 1.0  # what rounding leaves, at most half a step, stays below 1 times this
        rows = hidden_states.reshape(-1, self.in_features)
        height = rows.abs().amax(dim=-1, keepdim=True).clamp_(min=1e-8).div_(self._levels // 2 * step)
        rows = rows / height
        coarse = torch.round(rows / step).mul_(step)
        rest = (rows - coarse).mul_(finer)
        products = torch.ops.quantized.linear_dynamic(
            torch.cat([coarse, rest, self._ruler]), self._packed, self._reduce_range
        )
        count = len(rows)
        output = products[count : 2 * count].div_(finer).add_(products[:count]).mul_(height)
        if self.bias is not None:
            output += self.bias
        return output.unflatten(0, hidden_states.shape[:-1])


def quantize_linears(
    module: nn.Module, skip: tuple[str, ...] = (), known: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Replace every nn.Linear below ``module`` by an Int8Linear, except where a part of its dotted name is in
    ``skip``. ``known`` as for ``known_codes``.
    """
    for parent, name, path, linear in list(_linears(module, skip)):
        codes = known_codes(known, path, linear.weight.shape)
        new = Int8Linear.from_linear(linear) if codes is None else Int8Linear(*codes, linear.bias)
        setattr(parent, name, new)


def known_codes(
    known: Mapping[str, torch.Tensor] | None, path: str, shape: torch.Size
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The 8-bit form of the matrix at ``path``, whose ``shape`` is [out, in], where ``known`` has it: ``path.weight``
    int8 [out, in] and ``path.scale`` [out].
    """
    if known is None or f"{path}.weight" not in known or f"{path}.scale" not in known:
        return None
    codes, scale = known[f"{path}.weight"], known[f"{path}.scale"]
    fits = codes.shape == shape and codes.dtype == torch.int8 and scale.shape == shape[:1]
    return (codes, scale) if fits else None


def _linears(
    module: nn.Module, skip: tuple[str, ...], prefix: str = ""
) -> Iterator[tuple[nn.Module, str, str, nn.Linear]]:
    for name, child in module.named_children():
        if name in skip:
            continue
        if isinstance(child, nn.Linear):
            yield module, name, f"{prefix}{name}", child
        else:
            yield from _linears(child, skip, f"{prefix}{name}.")
