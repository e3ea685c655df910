"""One token at a time through a Llama's layers by the shortest way.

A step of decoding is hundreds of small operations, and calling the layers as transformers defines them costs more time
than these in a small model. Here the same operations are called directly, in the same order, so that the numbers are
the same to the last bit (in fp32; elsewhere to rounding); what does not change between steps is looked up once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from m2ugen.model.language_model import KeyValue, LanguageModel, attend_adapter
from m2ugen.model.lora import TunedLinear
from m2ugen.model.quantize import GROUP, Int4Linear

Apply = Callable[[torch.Tensor], torch.Tensor]


class _Layer(NamedTuple):
    attention: Any  # the module, which attention functions ask for its sizes
    first_norm: Apply
    projections: tuple[Apply, Apply, Apply]  # query, key, value
    output: Apply
    second_norm: Apply
    gate: Apply
    up: Apply
    down: Apply
    activation: Apply
    adapter: KeyValue | None  # keys and values [batch, heads, num_queries, head_dim]
    opening: torch.Tensor | None  # tanh of the adapter's gate [heads, 1]


class StepDecoder:
    """Continues a text whose beginning is in ``cache``, a token per row and call."""

    def __init__(self, model: LanguageModel, adapter_states: Sequence[KeyValue], cache: Cache, batch: int) -> None:
        self.model, self.cache = model, cache
        self.layers = []
        for k, module in enumerate(model.layers):
            adapter = adapter_states[k - model.first_adapted] if k >= model.first_adapted else None
            self.layers.append(_layer(module, adapter, batch))

    @staticmethod
    def suits(model: LanguageModel) -> bool:
        """Whether all layers are where they compute: hooks that move them would not be called here."""
        return not any(hasattr(module, "_hf_hook") for module in model.llama.modules())

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids [batch, 1] → the last layer's output [batch, 1, hidden]; ``attention_mask`` [batch, past + 1] as
        for ``LanguageModel.run_layers``.
        """
        hidden_states = self.model.embed(input_ids[:, 0])  # [batch, hidden]: rows of matrices are all there is
        if attention_mask is None:
            positions = torch.full((1, 1), self.cache.get_seq_length(), device=input_ids.device)
            mask = None
        else:
            positions = attention_mask.sum(dim=-1, keepdim=True) - 1
            mask = attention_mask.bool()[:, None, None]  # [batch, 1, 1, past + 1]
        cos, sin = self.model.llama.model.rotary_emb(hidden_states[:, None], position_ids=positions.clamp(min=0))
        half = sin.shape[-1] // 2
        signed = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
        rotation = (cos[:, None], signed[:, None], half)  # [batch or 1, 1, 1, head_dim]
        for layer, kept in zip(self.layers, self.cache.layers):
            hidden_states = hidden_states + _attend(layer, hidden_states, rotation, mask, kept)
            normed = layer.second_norm(hidden_states)
            inner = layer.activation(layer.gate(normed)) * layer.up(normed)
            hidden_states = hidden_states + layer.down(inner)
        return hidden_states[:, None]


def _attend(
    layer: _Layer,
    hidden_states: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor, int],
    mask: torch.Tensor | None,
    kept: Any,
) -> torch.Tensor:
    attention = layer.attention
    normed = layer.first_norm(hidden_states)
    shape = (len(normed), -1, 1, attention.head_dim)  # one token: no transposing
    query, key, value = (project(normed).view(shape) for project in layer.projections)
    cos, signed, half = rotation
    query = query * cos + query.roll(half, -1) * signed  # roll and signed sine: rotated halves with one copy less
    key = key * cos + key.roll(half, -1) * signed
    keys, values = kept.update(key, value)
    heard, _ = sdpa_attention_forward(attention, query, keys, values, mask, scaling=attention.scaling)
    if layer.adapter is not None and layer.opening is not None:
        extra = attend_adapter(query, *layer.adapter, attention.scaling)
        heard = heard + layer.opening * extra.transpose(1, 2)
    return layer.output(heard.flatten(1))


def _layer(module: Any, adapter: KeyValue | None, batch: int) -> _Layer:
    attention, mlp, opening = module.self_attn, module.mlp, None
    dtype = module.input_layernorm.weight.dtype
    if adapter is not None:
        keys, values = (part.to(dtype).expand(batch, -1, -1, -1) for part in adapter)
        adapter = (keys, values)
        opening = torch.tanh(attention.gate).to(dtype)[:, None]
    return _Layer(
        attention,
        _norm(module.input_layernorm),
        (_linear(attention.q_proj), _linear(attention.k_proj), _linear(attention.v_proj)),
        _linear(attention.o_proj),
        _norm(module.post_attention_layernorm),
        _linear(mlp.gate_proj),
        _linear(mlp.up_proj),
        _linear(mlp.down_proj),
        mlp.act_fn,
        adapter,
        opening,
    )


def _norm(module: Any) -> Apply:
    """In fp32 one operation gives what the module's several do; they differ in when they round to half precision."""
    weight, epsilon = module.weight, module.variance_epsilon
    if weight.dtype != torch.float32:
        return module
    shape = weight.shape
    return lambda hidden_states: F.rms_norm(hidden_states, shape, weight, epsilon)


def _linear(module: nn.Module) -> Apply:
    inner = module.base if isinstance(module, TunedLinear) and module.merged else module
    if isinstance(inner, Int4Linear):
        return _int4(inner)
    if isinstance(inner, TunedLinear) and isinstance(inner.base, Int4Linear) and inner.base.bias is None:
        return _tuned_int4(inner, inner.base)
    if type(inner) is not nn.Linear:
        return inner
    weight, bias = inner.weight, inner.bias
    return lambda hidden_states: F.linear(hidden_states, weight, bias)


def _int4(module: Int4Linear) -> Apply:
    multiply, packed, scales, bias = torch.ops.aten._weight_int4pack_mm_for_cpu.default, *module.tensors(), module.bias

    def apply(hidden_states: torch.Tensor) -> torch.Tensor:
        output = multiply(hidden_states.bfloat16(), packed, GROUP, scales).to(hidden_states.dtype)
        return output if bias is None else output.add_(bias)

    return apply


def _tuned_int4(module: TunedLinear, base: Int4Linear) -> Apply:
    multiply, packed, scales = torch.ops.aten._weight_int4pack_mm_for_cpu.default, *base.tensors()
    down, up, bias = module.lora_down.weight, module.lora_up.weight, module.bias

    def apply(hidden_states: torch.Tensor) -> torch.Tensor:
        added = F.linear(F.linear(hidden_states, down), up, bias)
        return added.add_(multiply(hidden_states.bfloat16(), packed, GROUP, scales))

    return apply
