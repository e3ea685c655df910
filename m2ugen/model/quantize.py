"""8- and 4-bit weights for decoding on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import nn

ROWS = 2048  # of a matrix that are rounded at a time
GROUP = 32  # weights of a row that share a scale in 4-bit form, as in GGUF's Q4 types
LARGEST_CODE = 15  # of 4 bits
BLOCK = 64  # outputs whose weights lie together in the kernel's order, at most
MIDDLE_CODE = 8  # which the 4-bit kernel takes for its zero
WORTH_4_BITS = ("AVX512",)  # instruction sets that the kernel is written for; elsewhere 8 bits are far faster

Form: TypeAlias = Literal["auto", "int8", "int4"]
Known: TypeAlias = Mapping[str, torch.Tensor]  # rounded matrices by PATH.PART, see ``m2ugen.model.rounded``


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, one scale per output, and activations of twice 8 bits.

    Memory and time of CPU decoding are those of reading the weights: a quarter of fp32. ``weight`` int8 [out, in],
    ``scale`` float32 [out]. For inference on a CPU only; the packed weights are in no state dict.
    """

    PARTS: ClassVar[tuple[str, str]] = ("weight", "scale")  # of ``tensors``, in the order of the arguments
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
    def from_weight(cls, weight: torch.Tensor, bias: torch.Tensor | None) -> Int8Linear:
        """Round ``weight`` [out, in] to 8 bits, symmetric per output row; some rows at a time, for little memory."""
        codes, scales = [], []
        for rows in weight.detach().split(ROWS):
            rows = rows.float()
            scale = torch.maximum(rows.amax(dim=1), -rows.amin(dim=1)).clamp(min=1e-8) / 127
            codes.append((rows / scale[:, None]).round_().to(torch.int8))
            scales.append(scale)
        return cls(torch.cat(codes), torch.cat(scales), bias)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``weight`` and ``scale``, as they were given."""
        quantised, _ = torch.ops.quantized.linear_unpack(self._packed)
        return quantised.int_repr(), quantised.q_per_channel_scales().float()

    @staticmethod
    def fit(tensors: tuple[torch.Tensor, torch.Tensor], shape: torch.Size) -> bool:
        """Whether ``tensors`` are those of a matrix of ``shape`` [out, in]."""
        weight, scale = tensors
        return weight.shape == shape and weight.dtype == torch.int8 and scale.shape == shape[:1]

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


class Int4Linear(nn.Module):
    """A linear layer with 4-bit weights in groups of 32 along the input, each with a scale and a middle; it computes in
    bfloat16, from and to the dtype of its input.

    ``packed`` uint8 [out, in / 2] in the order of this machine's kernel, ``scales`` bfloat16 [in / 32, out, 2]. For
    inference on a CPU only; neither is in a state dict.
    """

    PARTS: ClassVar[tuple[str, str]] = ("packed", "scales")
    packed: torch.Tensor
    scales: torch.Tensor

    def __init__(self, packed: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.in_features, self.out_features = len(scales) * GROUP, scales.shape[1]
        self.bias = None if bias is None else nn.Parameter(bias.detach().float(), requires_grad=False)
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("scales", scales, persistent=False)

    @classmethod
    def from_weight(cls, weight: torch.Tensor, bias: torch.Tensor | None) -> Int4Linear:
        """Round ``weight`` [out, in] to 16 steps from the least to the greatest of each group. What comes from GGUF's
        Q4_1 is found again as it was, but for scales in bfloat16.
        """
        codes, step, least = _four_bits(weight.detach().float())
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.int().flatten(1), 1)
        scales = torch.stack([step, least + MIDDLE_CODE * step], dim=-1).transpose(0, 1)
        return cls(packed, scales.bfloat16().contiguous(), bias)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``packed`` and ``scales``, as they were given."""
        return self.packed, self.scales

    @staticmethod
    def joined(layers: Sequence[Int4Linear]) -> Int4Linear | None:
        """One layer that gives what ``layers``, without biases and of the same input, give side by side; their numbers
        become parts of its own. None where the kernel's order of rows does not allow it.
        """
        if any(layer.bias is not None or layer.out_features % BLOCK for layer in layers):
            return None
        packed = torch.cat([layer.packed for layer in layers])
        for layer, part in zip(layers, packed.split([layer.out_features for layer in layers])):
            layer.packed = part
        return Int4Linear(packed, torch.cat([layer.scales for layer in layers], dim=1), None)

    @staticmethod
    def fit(tensors: tuple[torch.Tensor, torch.Tensor], shape: torch.Size) -> bool:
        """Whether ``tensors`` are those of a matrix of ``shape`` [out, in]."""
        packed, scales = tensors
        return packed.numel() * 2 == shape.numel() and scales.shape == (shape[1] // GROUP, shape[0], 2)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        rows = hidden_states.reshape(-1, self.in_features).bfloat16()
        products = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, GROUP, self.scales)
        output = products.to(hidden_states.dtype).unflatten(0, hidden_states.shape[:-1])
        return output if self.bias is None else output + self.bias


Rounded: TypeAlias = Int8Linear | Int4Linear


def rounded_type(weight: torch.Tensor, form: Form, known: Known | None = None, path: str = "") -> type[Rounded]:
    """How ``weight`` [out, in] is to be rounded: as ``known`` has it at ``path``; otherwise to 4 bits in the form
    "int4" where its shape allows, and in "auto" where the machine gains by it and the weights have no more already.
    """
    for kind in (Int4Linear, Int8Linear):
        if known is not None and f"{path}.{kind.PARTS[0]}" in known:
            return kind
    if form == "int8" or any(size % GROUP for size in weight.shape):
        return Int8Linear
    gains = torch.backends.cpu.get_cpu_capability() in WORTH_4_BITS
    return Int4Linear if form == "int4" or (gains and _is_four_bits(weight)) else Int8Linear


def rounded_linear(
    kind: type[Rounded],
    shape: torch.Size,
    sums: Callable[[], torch.Tensor],
    bias: torch.Tensor | None,
    known: Known | None = None,
    path: str = "",
) -> Rounded:
    """A layer of ``kind`` with the matrix that ``known`` has at ``path``, or else with what ``sums`` returns, of the
    ``shape`` [out, in].
    """
    first, second = (f"{path}.{part}" for part in kind.PARTS)
    if known is not None and first in known and second in known:
        parts = (known[first], known[second])
        if kind.fit(parts, shape):
            return kind(*parts, bias)
    return kind.from_weight(sums(), bias)


def _four_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes [out, groups, 32] of 0-15, and the step and the least weight [out, groups] of ``weight`` [out, in]."""
    groups = weight.unflatten(1, (-1, GROUP))
    least, greatest = groups.aminmax(dim=-1)
    step = ((greatest - least) / LARGEST_CODE).clamp_(min=1e-8)
    return ((groups - least[..., None]) / step[..., None]).round_(), step, least


def _is_four_bits(weight: torch.Tensor) -> bool:
    """Whether ``weight`` [out, in] holds 16 evenly spaced numbers per group, to half precision."""
    for rows in weight.detach().split(ROWS):
        rows = rows.float()
        codes, step, least = _four_bits(rows)
        groups = rows.unflatten(1, (-1, GROUP))
        error = torch.addcmul(least[..., None], codes, step[..., None]).sub_(groups).abs_()
        if bool((error > groups.abs().amax(dim=-1, keepdim=True) * torch.finfo(torch.half).eps).any()):
            return False
    return True


def quantize_linears(
    module: nn.Module, form: Form = "int8", skip: tuple[str, ...] = (), known: Known | None = None
) -> None:
    """Replace every nn.Linear below ``module`` by its rounded form, except where a part of its dotted name is in
    ``skip``. ``known`` as for ``rounded_linear``.
    """
    for parent, name, path, linear in list(_linears(module, skip)):
        kind = rounded_type(linear.weight, form, known, path)
        new = rounded_linear(
            kind, linear.weight.shape, partial(linear.get_parameter, "weight"), linear.bias, known, path
        )
        setattr(parent, name, new)


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
