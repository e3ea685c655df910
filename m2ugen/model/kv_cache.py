"""Keys and values of past tokens in memory that is reserved ahead: a step writes its own and copies no past ones."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class ReservedLayer(CacheLayerMixin):
    """One layer's keys and values [batch, heads, length, head_dim], in memory for ``reserved`` tokens that doubles when
    it is full.
    """

    is_compileable = False
    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, reserved: int) -> None:
        super().__init__()
        self.reserved, self.length = reserved, 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Reserve memory for states of this shape."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.reserved = max(self.reserved, key_states.shape[-2])
        self.keys, self.values = (self._empty(states) for states in (key_states, value_states))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep what is new; returns everything so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[-2]
        if self.length > self.reserved:
            self._grow(start)
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys that the next ``query_length`` tokens see, and the first one's position."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Number of tokens so far."""
        return self.length

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def _grow(self, kept: int) -> None:
        old, self.reserved = (self.keys, self.values), 2 * self.length
        self.keys, self.values = (self._empty(states) for states in old)
        for new, states in zip((self.keys, self.values), old):
            new[:, :, :kept] = states[:, :, :kept]

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        batch, heads, _, width = like.shape
        return like.new_empty(batch, heads, self.reserved, width)


def reserved_cache(num_layers: int, reserved: int) -> Cache:
    """A cache for ``num_layers`` layers with memory for ``reserved`` tokens each."""
    return Cache(layers=[ReservedLayer(reserved) for _ in range(num_layers)])


def keep_rows(cache: Cache, rows: torch.Tensor) -> None:
    """Forget all rows of a ``reserved_cache`` but those at the indices ``rows``."""
    for layer in cache.layers:
        if isinstance(layer, ReservedLayer):
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
