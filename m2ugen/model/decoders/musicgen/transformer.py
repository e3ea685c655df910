"""MusicGen's transformer over audio codes, arranged for generation.

The arithmetic is that of transformers' ``MusicgenForCausalLM`` and ``MusicgenMelodyForCausalLM``; the arrangement is
not: query, key and value come from one matrix and all codebooks' logits from one; keys and values are written in
place; those of the conditioning are computed once; and the unguided rows skip cross-attention, which adds exactly
zero to them (their text states are zero, and no projection has a bias).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.model.decoders.musicgen.linear import FewRowsLinear


@dataclass
class Conditions:
    """What the rows of a generation listen to; ``rows`` is their number.

    ``memory`` [conditioned, N, hidden] is attended to by the first rows, where ``memory_mask`` [conditioned, N] is
    True (None: everywhere). ``prefix`` [rows, length, hidden] stands before the codes; the first ``padding`` [rows]
    positions of it are void (None: nowhere).
    """

    rows: int
    memory: torch.Tensor | None = None
    memory_mask: torch.Tensor | None = None
    prefix: torch.Tensor | None = None
    padding: torch.Tensor | None = None


@dataclass
class State:
    """A generation's memory: ``cache`` [layers, keys and values, rows, heads, capacity, head_dim], filled up to
    ``length``; ``memory`` holds each layer's keys and values of the conditioning.
    """

    cache: torch.Tensor
    positions: torch.Tensor  # [capacity, hidden]
    padding: torch.Tensor | None
    memory_mask: torch.Tensor | None
    memory: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    length: int = 0

    def mask(self, count: int) -> torch.Tensor | None:
        """Which positions [rows, 1, count, length + count] the next ``count`` may see; None: all, or causally all."""
        if self.padding is None and (count == 1 or self.length == 0):
            return None
        columns = torch.arange(self.length + count, device=self.cache.device)
        queries = columns[self.length :, None]
        causal = (columns <= queries)[None]  # [1, count, columns]
        if self.padding is not None:  # void positions see themselves, for a softmax needs something
            causal = causal & ((columns >= self.padding[:, None, None]) | (columns == queries))
        return causal[:, None]


class CodeTransformer(nn.Module):
    """Codes [rows, codebooks, length] → logits of the next ones.

    ``num_codebooks``, ``vocabulary`` (codes per codebook; the code of that number is padding), ``hidden_size``.
    """

    def __init__(self, decoder: nn.Module, int8: bool = False) -> None:
        """``decoder`` is transformers' model, and is used up: its layers leave it one by one, so that no more than
        one layer is in memory twice.
        """
        super().__init__()
        core: Any = decoder.model.decoder  # type: ignore[union-attr]
        config = core.config
        self.num_codebooks: int = config.num_codebooks
        self.vocabulary: int = config.vocab_size
        self.hidden_size: int = config.hidden_size
        self.num_heads: int = config.num_attention_heads
        tables = [table.weight.detach() for table in core.embed_tokens]
        self.embedding = nn.Embedding(len(tables) * (self.vocabulary + 1), self.hidden_size, device="meta")
        self.embedding.weight = nn.Parameter(torch.cat(tables), requires_grad=False)
        core.embed_tokens = None
        self.layers = nn.ModuleList()
        for index in range(len(core.layers)):
            self.layers.append(_Layer(core.layers[index], self.num_heads, int8))
            core.layers[index] = nn.Identity()
        self.norm = core.layer_norm
        heads = [head.weight.detach() for head in decoder.lm_heads]  # type: ignore[union-attr]
        self.heads = FewRowsLinear(torch.cat(heads), int8)
        decoder.lm_heads = None  # type: ignore[assignment]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of what flows between the layers."""
        return self.embedding.weight.dtype

    def start(self, conditions: Conditions, capacity: int) -> State:
        """An empty state with room for ``capacity`` codes per codebook after the prefix."""
        if conditions.prefix is not None:
            capacity += conditions.prefix.shape[1]
        weight = self.embedding.weight
        head = (capacity, self.hidden_size // self.num_heads)
        mask = conditions.memory_mask
        state = State(
            cache=weight.new_empty(len(self.layers), 2, conditions.rows, self.num_heads, *head),
            positions=sinusoids(capacity, self.hidden_size).to(weight),
            padding=conditions.padding,
            memory_mask=None if mask is None else mask[:, None, None],
        )
        if conditions.memory is not None:
            state.memory = [cast(_Layer, layer).remember(conditions.memory) for layer in self.layers]
        return state

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """[rows, codebooks, length] → [rows, length, hidden]: the sum over the codebooks."""
        first = torch.arange(self.num_codebooks, device=codes.device) * (self.vocabulary + 1)
        return self.embedding(codes + first[:, None]).sum(dim=1)

    def forward(self, embeddings: torch.Tensor, state: State) -> torch.Tensor:
        """Logits [rows, codebooks, vocabulary] after the last of ``embeddings`` [rows, length, hidden], which follow
        what ``state`` holds and are added to it.
        """
        count = embeddings.shape[1]
        places = torch.arange(state.length, state.length + count, device=embeddings.device)
        if state.padding is not None:
            places = (places - state.padding[:, None]).clamp(min=0)
        hidden_states = embeddings + state.positions[places]
        mask = state.mask(count)
        for index, layer in enumerate(self.layers):
            hidden_states = layer(hidden_states, state, index, mask)
        state.length += count
        logits = self.heads(self.norm(hidden_states[:, -1]))
        return logits.unflatten(-1, (self.num_codebooks, self.vocabulary))


class _Layer(nn.Module):
    """Self-attention, cross-attention (not in melody models) and feed-forward, each after a layer norm."""

    def __init__(self, layer: Any, num_heads: int, int8: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        attention = layer.self_attn
        joined = [attention.q_proj, attention.k_proj, attention.v_proj]
        self.norm = layer.self_attn_layer_norm
        self.query_key_value = FewRowsLinear(torch.cat([part.weight.detach() for part in joined]), int8)
        self.output = FewRowsLinear(attention.out_proj.weight, int8)
        if hasattr(layer, "encoder_attn"):
            attention = layer.encoder_attn
            self.cross_norm = layer.encoder_attn_layer_norm
            self.cross_query = FewRowsLinear(attention.q_proj.weight, int8)
            joined = [attention.k_proj, attention.v_proj]
            self.cross_key_value = FewRowsLinear(torch.cat([part.weight.detach() for part in joined]), int8)
            self.cross_output = FewRowsLinear(attention.out_proj.weight, int8)
        self.feed_norm = layer.final_layer_norm
        self.up = FewRowsLinear(layer.fc1.weight, int8)
        self.down = FewRowsLinear(layer.fc2.weight, int8)
        self.activation: Callable[[torch.Tensor], torch.Tensor] = layer.activation_fn

    def remember(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [rows, heads, N, head_dim] of the conditioning [rows, N, hidden]."""
        keys, values = self._by_head(self.cross_key_value(memory), 2)
        return keys.contiguous(), values.contiguous()

    def forward(self, hidden_states: torch.Tensor, state: State, index: int, mask: torch.Tensor | None) -> torch.Tensor:
        """[rows, count, hidden] → the same; the layer's keys and values join ``state`` at ``index``."""
        count = hidden_states.shape[1]
        start, stop = state.length, state.length + count
        query, *key_value = self._by_head(self.query_key_value(self.norm(hidden_states)), 3)
        cache = state.cache[index]
        for kept, new in zip(cache, key_value):
            kept[:, :, start:stop] = new
        keys, values = cache[..., :stop, :]
        causal = mask is None and count > 1
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=causal)
        hidden_states = hidden_states + self.output(attended.transpose(1, 2).flatten(2))
        if state.memory:
            keys, values = state.memory[index]
            listening = hidden_states[: len(keys)]
            (query,) = self._by_head(self.cross_query(self.cross_norm(listening)), 1)
            attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=state.memory_mask)
            listening += self.cross_output(attended.transpose(1, 2).flatten(2))
        return hidden_states + self.down(self.activation(self.up(self.feed_norm(hidden_states))))

    def _by_head(self, states: torch.Tensor, parts: int) -> tuple[torch.Tensor, ...]:
        """[rows, length, parts · hidden] → ``parts`` times [rows, heads, length, head_dim]."""
        rows, length = states.shape[:2]
        return states.view(rows, length, parts, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind()


def sinusoids(length: int, dim: int) -> torch.Tensor:
    """MusicGen's position embeddings [length, dim]: all cosines, then all sines."""
    half = dim // 2
    rates = torch.exp(torch.arange(half) * -(math.log(10_000) / (half - 1)))
    angles = torch.arange(length)[:, None] * rates
    table = torch.cat([angles.cos(), angles.sin()], dim=1)
    return F.pad(table, (0, dim % 2))
