"""The transformer block that both networks of the score decoder are built from.

Pre-norm (RMSNorm, arXiv 1910.07467), rotary positions (RoPE, arXiv 2104.09864), SwiGLU (arXiv 2002.05202). Every
residual output starts at zero, so that the untrained network is the sum of its embeddings; on a small budget this
learns faster than the usual initialisation.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosines and sines, each [batch, 1 or heads, length, head dim / 2]
EPSILON = 1e-6


def rotation(positions: torch.Tensor, frequencies: torch.Tensor) -> Rotation:
    """Cosines and sines [..., length, frequencies] for positions [..., length] (any real unit)."""
    angles = positions.unsqueeze(-1) * frequencies
    return angles.cos(), angles.sin()


def rotate(states: torch.Tensor, turns: Rotation) -> torch.Tensor:
    """Rotate the two halves of the last dimension of states [batch, heads, length, head dim]."""
    cosines, sines = turns
    first, second = states.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


def frequencies(head_dim: int, base: float) -> torch.Tensor:
    """Rotary frequencies [head_dim / 2]."""
    return base ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)


def causal_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Causal attention of [batch, heads, length, head dim]."""
    if query.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    # The backward pass of this kernel in bf16 takes four times as long as in fp32 on CPUs; all else gains from bf16.
    with torch.autocast("cpu", enabled=False):
        return functional.scaled_dot_product_attention(query.float(), key.float(), value.float(), is_causal=True)


class SwiGLU(nn.Module):
    """Gated feed-forward network, [..., width] → [..., width]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * hidden, bias=False)
        self.contract = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.contract.weight)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        gate, value = self.expand(states).chunk(2, dim=-1)
        return self.contract(functional.silu(gate) * value)


class CrossAttention(nn.Module):
    """Attention of [batch, length, width] to a memory [batch, tokens, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, states: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        batch, length, width = states.shape
        query = self.query(states).view(batch, length, self.heads, -1).transpose(1, 2)
        key, value = self.key_value(memory).view(batch, memory.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class KeyValueCache:
    """Preallocated keys and values of all layers, [layers, batch, heads, capacity, head dim]."""

    def __init__(self, layers: int, batch: int, heads: int, capacity: int, head_dim: int) -> None:
        self.keys = torch.zeros(layers, batch, heads, capacity, head_dim)
        self.values = torch.zeros_like(self.keys)
        self.length = 0


class Block(nn.Module):
    """Causal self-attention, optional cross-attention, feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int, cross: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = nn.Dropout(dropout)  # of what each part adds to the residual stream
        self.attention_norm = nn.RMSNorm(width, EPSILON)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)
        self.cross_norm = nn.RMSNorm(width, EPSILON) if cross else None
        self.cross = CrossAttention(width, heads) if cross else None
        self.feed_forward_norm = nn.RMSNorm(width, EPSILON)
        self.feed_forward = SwiGLU(width, hidden)

    def forward(
        self,
        states: torch.Tensor,  # [batch, length, width]
        turns: Rotation,
        memory: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> torch.Tensor:
        batch, length, width = states.shape
        projected = self.query_key_value(self.attention_norm(states)).view(batch, length, 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # [batch, heads, length, head dim]
        query, key = rotate(query, turns), rotate(key, turns)
        if cache is None:
            mixed = causal_attention(query, key, value)
        else:  # one new position, or the first ones
            end = cache.length + length
            cache.keys[layer, :, :, cache.length : end] = key
            cache.values[layer, :, :, cache.length : end] = value
            mixed = functional.scaled_dot_product_attention(
                query, cache.keys[layer, :, :, :end], cache.values[layer, :, :, :end], is_causal=cache.length == 0
            )
        states = states + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, width)))
        if self.cross is not None and self.cross_norm is not None and memory is not None:
            states = states + self.dropout(self.cross(self.cross_norm(states), memory))
        return states + self.dropout(self.feed_forward(self.feed_forward_norm(states)))
