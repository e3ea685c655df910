"""The PlanWriter: a small causal transformer over plan tokens that attends to the conditioning."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from m2ugen.model.decoders.score.config import WriterConfig
from m2ugen.model.decoders.score.layers import EPSILON, Block, KeyValueCache, frequencies, rotation
from m2ugen.model.decoders.score.plan_tokens import KIND_NAMES, KINDS, NUM_TOKENS, STATE_SIZES
from m2ugen.score.attributes import NUM_SLOTS, SLOT_DIM

ROTARY_BASE = 10000.0
EMBEDDING_SCALE = 0.05


class PlanWriter(nn.Module):
    """Logits of the next plan token from the tokens so far and the conditioning [batch, NUM_SLOTS, SLOT_DIM].

    A position sums its token and the grammar's state for the coming token (its kind, the bars left, the chord slot).
    Conditioning of zeros stands for "no conditioning" in classifier-free guidance.
    """

    def __init__(self, config: WriterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.tokens = nn.Embedding(NUM_TOKENS, width)
        self.state = nn.ModuleList(nn.Embedding(size, width) for size in STATE_SIZES)
        self.read = nn.Linear(SLOT_DIM, width)
        self.slots = nn.Parameter(torch.randn(NUM_SLOTS, width) * EMBEDDING_SCALE)
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.feed_forward, cross=True, dropout=config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(width, EPSILON)
        self.head = nn.Linear(width, NUM_TOKENS)
        for embedding in (self.tokens, *self.state):
            assert isinstance(embedding, nn.Embedding)
            nn.init.normal_(embedding.weight, std=EMBEDDING_SCALE)
        self.register_buffer("turn_rates", frequencies(width // config.heads, ROTARY_BASE), persistent=False)
        kinds = torch.repeat_interleave(torch.arange(len(KIND_NAMES)), torch.tensor(list(KINDS.values())))
        self.register_buffer("token_kinds", kinds, persistent=False)  # [NUM_TOKENS]

    def forward(
        self,
        tokens: torch.Tensor,  # [batch, length]: BEGIN and the tokens so far
        states: torch.Tensor,  # [batch, length, 3]: the grammar's state for the token that follows each of them
        conditioning: torch.Tensor,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """Logits [batch, length, NUM_TOKENS]; tokens of another kind than the state's are at minus infinity."""
        assert isinstance(self.turn_rates, torch.Tensor)
        assert isinstance(self.token_kinds, torch.Tensor)
        hidden = self.tokens(tokens)
        for field, embedding in enumerate(self.state):
            hidden = hidden + embedding(states[..., field])
        hidden = functional.dropout(hidden, self.config.dropout, self.training)
        memory = self.read(conditioning) + self.slots
        first = 0 if cache is None else cache.length
        positions = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        turns = rotation(positions, self.turn_rates)
        for layer, block in enumerate(self.blocks):
            hidden = block(hidden, turns, memory, cache, layer)
        if cache is not None:
            cache.length += tokens.shape[1]
        logits = self.head(self.norm(hidden))
        return logits.masked_fill(self.token_kinds != states[..., :1], float("-inf"))

    def new_cache(self, batch: int, capacity: int) -> KeyValueCache:
        config = self.config
        return KeyValueCache(config.layers, batch, config.heads, capacity, config.width // config.heads)

    def losses(
        self, tokens: torch.Tensor, states: torch.Tensor, conditioning: torch.Tensor, begin: int
    ) -> torch.Tensor:
        """Negative log likelihoods in nats [batch, length]; tokens [batch, length], padding (-1) costs nothing."""
        inputs = torch.cat((torch.full_like(tokens[:, :1], begin), tokens[:, :-1].clamp(min=0)), dim=1)
        logits = self(inputs, states, conditioning)
        safe = tokens.clamp(min=0)
        padding = tokens < 0
        logits = logits.masked_fill(padding.unsqueeze(-1), 0.0)
        loss = functional.cross_entropy(logits.flatten(0, 1), safe.flatten(), reduction="none").view_as(tokens)
        return loss.masked_fill(padding, 0.0)
