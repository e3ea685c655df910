"""Understanding adapters: from an encoder's hidden states to a few vectors of the language model's width."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

NORM_EPS = 1e-6
LENGTH_GUARD = 1e-6  # published models divide the normalised feature by 1 plus this


class SwiGLUBlock(nn.Module):
    """``x + down(silu(gate(n)) * up(n))`` with ``n = RMSNorm(x)`` (Shazeer, arXiv 2002.05202)."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(hidden_size, eps=NORM_EPS)
        self.gate = nn.Linear(hidden_size, width, bias=False)
        self.up = nn.Linear(hidden_size, width, bias=False)
        self.down = nn.Linear(width, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        normed = self.norm(hidden_states)
        return hidden_states + self.down(F.silu(self.gate(normed)) * self.up(normed))


class UnderstandingAdapter(nn.Module):
    """Encoder states [batch, num_tokens, dim] → [batch, num_queries, hidden_size] (M²UGen, arXiv 2311.11255, §3.1).

    Every output vector starts as its own weighting of the tokens, of unit length: how loud an encoder's states are
    does not matter. ``expansion`` is the width of the SwiGLU blocks in multiples of ``hidden_size``. A ``silent``
    adapter starts as zero, each query from a token of its own: behind gates that start open a random start would be
    noise to the language model. (Behind closed gates silence would last: neither could learn.)
    """

    def __init__(
        self,
        num_tokens: int,
        dim: int,
        hidden_size: int,
        num_queries: int = 1,
        expansion: int = 1,
        num_blocks: int = 3,
        silent: bool = False,
    ) -> None:
        super().__init__()
        self.aggregate = nn.Conv1d(num_tokens, num_queries, kernel_size=1)
        self.project = nn.Linear(dim, hidden_size)
        self.blocks = nn.Sequential(*(SwiGLUBlock(hidden_size, expansion * hidden_size) for _ in range(num_blocks)))
        if silent:
            self._start_silent()

    @torch.no_grad()
    def _start_silent(self) -> None:
        queries, tokens, _ = self.aggregate.weight.shape
        shared = min(queries, tokens)
        rows, columns = torch.arange(queries)[:, None], torch.arange(tokens)[None]
        self.aggregate.weight.copy_((rows % shared == columns % shared)[..., None])
        silent = [self.project.weight, *(block.get_parameter("down.weight") for block in self.blocks)]
        for parameter in (self.aggregate.bias, self.project.bias, *silent):
            nn.init.zeros_(parameter)  # type: ignore[arg-type]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        pooled = self.aggregate(features)  # [batch, num_queries, dim]
        unit = F.normalize(pooled, dim=-1) / (1 + LENGTH_GUARD)
        return self.blocks(self.project(unit))  # [batch, num_queries, hidden]
