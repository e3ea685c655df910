"""One token at a time through a Llama's layers by the shortest way.

A step of decoding is hundreds of small operations, and calling the layers as transformers defines them costs more time
than these in a small model. Here the operations are called directly, and fewer of them: matrices of the same input are
one, what does not change between steps is looked up once. The numbers are the same to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from m2ugen.model.language_model import KeyValue, LanguageModel, attend_adapter
from m2ugen.model.lora import TunedLinear
from m2ugen.model.quantize import GROUP, Int4Linear

FEW_ROWS = 4  # for which one core has done a small operation before two have agreed on it
Apply = Callable[[torch.Tensor], torch.Tensor]
Joined = dict[tuple[int, str], Int4Linear | None]


class _Layer(NamedTuple):
    attention: Any  # the module, which attention functions ask for its sizes
    heads: tuple[int, int]  # of queries, of keys (and of values)
    first_norm: Apply
    query_key_value: Apply  # side by side
    output: Apply
    second_norm: Apply
    gate_up: Apply  # side by side
    activation: Apply
    down: Apply
    adapter: KeyValue | None  # keys and values [batch, heads, num_queries, head_dim]
    opening: torch.Tensor | None  # tanh of the adapter's gate [heads, 1]


class StepDecoder:
    """Continues a text whose beginning is in ``cache``, a token per row and call."""

    def __init__(self, model: LanguageModel, adapter_states: Sequence[KeyValue], cache: Cache, batch: int) -> None:
        self.model, self.cache = model, cache
        self.layers = []
        config = model.llama_config
        heads = (config.num_attention_heads, config.num_key_value_heads or config.num_attention_heads)
        for k, module in enumerate(model.layers):
            adapter = adapter_states[k - model.first_adapted] if k >= model.first_adapted else None
            self.layers.append(_layer(module, adapter, batch, heads, model.joined, k))
        self.alone = batch <= FEW_ROWS and model.joined.get((0, "mlp")) is not None

    @staticmethod
    def suits(model: LanguageModel) -> bool:
        """Whether all layers are where they compute: hooks that move them would not be called here."""
        return not any(hasattr(module, "_hf_hook") for module in model.llama.modules())

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids [batch, 1] → the last layer's output [batch, 1, hidden]; ``attention_mask`` [batch, past + 1] as
        for ``LanguageModel.run_layers``.
        """
        with _one_thread() if self.alone else nullcontext():
            return self._step(input_ids, attention_mask)

    def _step(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
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
            gate, up = layer.gate_up(layer.second_norm(hidden_states)).chunk(2, dim=-1)
            hidden_states = hidden_states + layer.down(layer.activation(gate) * up)
        return hidden_states[:, None]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on the calling thread alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _attend(
    layer: _Layer,
    hidden_states: torch.Tensor,
    rotation: tuple[torch.Tensor, torch.Tensor, int],
    mask: torch.Tensor | None,
    kept: Any,
) -> torch.Tensor:
    attention, (queries, pairs) = layer.attention, layer.heads
    projected = layer.query_key_value(layer.first_norm(hidden_states))
    projected = projected.view(len(projected), -1, 1, attention.head_dim)  # one token: no transposing
    cos, signed, half = rotation
    turning = projected[:, : queries + pairs]
    turned = turning * cos + turning.roll(half, -1) * signed  # roll and signed sine: rotated halves, one copy less
    query = turned[:, :queries]
    keys, values = kept.update(turned[:, queries:], projected[:, queries + pairs :])
    heard, _ = sdpa_attention_forward(attention, query, keys, values, mask, scaling=attention.scaling)
    if layer.adapter is not None and layer.opening is not None:
        extra = attend_adapter(query, *layer.adapter, attention.scaling)
        heard = heard + layer.opening * extra.transpose(1, 2)
    return layer.output(heard.flatten(1))


def _layer(module: Any, adapter: KeyValue | None, batch: int, heads: tuple[int, int], joined: Joined, k: int) -> _Layer:
    attention, mlp, opening = module.self_attn, module.mlp, None
    dtype = module.input_layernorm.weight.dtype
    if adapter is not None:
        keys, values = (part.to(dtype).expand(batch, -1, -1, -1) for part in adapter)
        adapter = (keys, values)
        opening = torch.tanh(attention.gate).to(dtype)[:, None]
    return _Layer(
        attention,
        heads,
        _norm(module.input_layernorm),
        _side_by_side((attention.q_proj, attention.k_proj, attention.v_proj), joined, (k, "attention")),
        _linear(attention.o_proj),
        _norm(module.post_attention_layernorm),
        _side_by_side((mlp.gate_proj, mlp.up_proj), joined, (k, "mlp")),
        mlp.act_fn,
        _linear(mlp.down_proj),
        adapter,
        opening,
    )


def _norm(module: Any) -> Apply:
    """RMSNorm in fp32 by the fewest and smallest operations; in half precision modules differ in when they round."""
    weight = module.weight
    if weight.dtype != torch.float32:
        return module
    epsilon, share = torch.tensor(module.variance_epsilon, device=weight.device), 1 / len(weight)

    def apply(hidden_states: torch.Tensor) -> torch.Tensor:
        squares = hidden_states.square().sum(dim=-1, keepdim=True)
        return (hidden_states * torch.add(epsilon, squares, alpha=share).rsqrt_()).mul_(weight)

    return apply


def _linear(module: nn.Module) -> Apply:
    inner = module.base if isinstance(module, TunedLinear) and module.merged else module
    if isinstance(inner, Int4Linear):
        return _int4(inner, None, inner.bias)
    if isinstance(inner, TunedLinear) and isinstance(inner.base, Int4Linear) and inner.base.bias is None:
        return _int4(inner.base, (inner.lora_down.weight, inner.lora_up.weight), inner.bias)
    if type(inner) is not nn.Linear:
        return inner
    weight, bias = inner.weight, inner.bias
    return lambda hidden_states: F.linear(hidden_states, weight, bias)


def _side_by_side(modules: Sequence[nn.Module], joined: Joined, name: tuple[int, str]) -> Apply:
    """What ``modules`` give of the same input, side by side; as one matrix where they have 4 bits."""
    bases = [module.base if isinstance(module, TunedLinear) else module for module in modules]
    if name not in joined and all(isinstance(base, Int4Linear) for base in bases):
        joined[name] = Int4Linear.joined([base for base in bases if isinstance(base, Int4Linear)])
    if (whole := joined.get(name)) is None:
        parts = [_linear(module) for module in modules]
        return lambda hidden_states: torch.cat([part(hidden_states) for part in parts], dim=-1)
    tuned = [module for module in modules if isinstance(module, TunedLinear)]
    if not tuned:
        return _int4(whole, None, None)
    down = torch.cat([module.lora_down.weight for module in tuned])
    up = torch.block_diag(*[module.lora_up.weight for module in tuned])
    bias = torch.cat([up.new_zeros(m.lora_up.out_features) if m.bias is None else m.bias for m in tuned])
    return _int4(whole, (down, up), bias)


def _int4(layer: Int4Linear, low_rank: tuple[torch.Tensor, torch.Tensor] | None, bias: torch.Tensor | None) -> Apply:
    """``layer``'s matrix without its bias, plus the product of the matrices ``low_rank`` (down, up) and ``bias``."""
    multiply, (packed, scales) = torch.ops.aten._weight_int4pack_mm_for_cpu.default, layer.tensors()

    def plain(hidden_states: torch.Tensor) -> torch.Tensor:
        output = multiply(hidden_states.bfloat16(), packed, GROUP, scales).to(hidden_states.dtype)
        return output if bias is None else output.add_(bias)

    if low_rank is None:
        return plain
    down, up = low_rank

    def tuned(hidden_states: torch.Tensor) -> torch.Tensor:
        added = F.linear(F.linear(hidden_states, down), up, bias)
        return added.add_(multiply(hidden_states.bfloat16(), packed, GROUP, scales))

    return tuned
