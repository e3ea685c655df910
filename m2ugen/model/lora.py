"""LoRA and bias tuning: what is added to a frozen linear layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from m2ugen.model.quantize import Form, Int4Linear, Known, rounded_linear, rounded_type


class TunedLinear(nn.Module):
    """A frozen linear layer plus a low-rank term and, where asked, a bias: ``base(x) + up(down(x)) + bias``.

    LoRA (arXiv 2106.09685) without its scale, as in M²UGen; bias tuning as in LLaMA-Adapter V2 (arXiv 2304.15010).
    ``up`` and ``bias`` start at zero, so the layer starts as its base. The base may be any module that maps
    [..., in] to [..., out], a quantised one too; only a plain nn.Linear can be merged.
    """

    def __init__(self, base: nn.Module, in_features: int, out_features: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.base = base
        self.lora_down = nn.Linear(in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, out_features, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.merged = False
        nn.init.zeros_(self.lora_up.weight)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.merged:
            return self.base(hidden_states)
        return self.without_lora(hidden_states) + self.low_rank(hidden_states)

    def low_rank(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The low-rank term alone."""
        return self.lora_up(self.lora_down(hidden_states))

    def without_lora(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """What the layer gives without its low-rank term (the bias stays), merged or not."""
        output = self.base(hidden_states)
        if self.merged:
            return output - self.low_rank(hidden_states)
        return output if self.bias is None else output + self.bias

    @torch.no_grad()
    def merge(self) -> None:
        """Fold the low-rank term and the bias into the base, for inference. It cannot be undone; what was trained
        stays in ``lora_*`` and ``bias`` and can still be saved.
        """
        if self.merged:
            return
        base = self._plain_base()
        weight, bias = self._sums(base)
        base.weight = nn.Parameter(weight.to(base.weight.dtype), requires_grad=False)
        if bias is not None:
            base.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.merged = True

    @torch.no_grad()
    def quantise(self, form: Form, known: Known | None = None, path: str = "") -> None:
        """A rounded base in the plain one's place, which ``known`` may hold at ``path`` (see rounded_linear). An 8-bit
        one takes in the low-rank term and the bias, as ``merge`` does; four bits are too coarse for the sum, so beside
        them the term stays. Only this one matrix is ever whole in fp32.
        """
        if self.merged:
            return
        base = self._plain_base()
        kind = rounded_type(base.weight, form, known, path)
        if kind is Int4Linear:
            self.base = rounded_linear(kind, base.weight.shape, lambda: base.weight, base.bias, known, path)
        else:
            bias, shape = self._bias(base), base.weight.shape
            self.base = rounded_linear(kind, shape, lambda: self._sums(base)[0], bias, known, path)
            self.merged = True

    def _plain_base(self) -> nn.Linear:
        if not isinstance(self.base, nn.Linear):
            raise TypeError(f"LoRA can be merged into a plain linear layer only, not into {type(self.base).__name__}")
        return self.base

    def _sums(self, base: nn.Linear) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias, those of the base included; new tensors: the base's may be tied."""
        return base.weight + self.lora_up.weight @ self.lora_down.weight, self._bias(base)

    def _bias(self, base: nn.Linear) -> torch.Tensor | None:
        if base.bias is None or self.bias is None:
            return self.bias if base.bias is None else base.bias
        return base.bias + self.bias


def tune_linears(parent: nn.Module, names: Iterable[str], biased: Iterable[str], rank: int) -> None:
    """Replace the linear layers ``names`` of ``parent`` by TunedLinear, those in ``biased`` with a bias."""
    for name in names:
        base = getattr(parent, name)
        tuned = TunedLinear(base, base.in_features, base.out_features, rank, bias=name in biased)
        device = execution_device(base)
        for added in (tuned.lora_down, tuned.lora_up):
            added.to(device)
        if tuned.bias is not None:
            tuned.bias.data = tuned.bias.data.to(device)
        setattr(parent, name, tuned)


def execution_device(module: nn.Module) -> torch.device:
    """Where ``module`` computes: where its weights are, or where accelerate brings them to when they are offloaded."""
    device = next(module.parameters()).device
    hook = getattr(module, "_hf_hook", None)
    if device.type == "meta" and hook is not None:
        return torch.device(hook.execution_device)
    return device
