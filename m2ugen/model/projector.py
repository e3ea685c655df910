"""The output projector: from the language model's [AUD] states to the music decoder's conditioning."""

from __future__ import annotations

import torch
from torch import nn


class OutputProjector(nn.Module):
    """[AUD] states [batch, 8, hidden_size] → [batch, N, D] through an encoder-decoder transformer whose decoder
    reads learned queries (M²UGen, arXiv 2311.11255, §3.3; the form is that of NExT-GPT, arXiv 2309.05519).

    ``conditioning_shape`` is (N, D). What comes out is ``target_scale`` times the conditioning when it was trained
    so; see ``M2UGenModel.conditioning``.
    """

    def __init__(
        self,
        input_size: int,
        conditioning_shape: tuple[int, int],
        hidden_size: int = 512,
        num_heads: int = 4,
        num_layers: int = 4,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        num_outputs, output_size = conditioning_shape
        self.standardise = nn.BatchNorm1d(input_size) if normalise else None
        self.fc = nn.Linear(input_size, hidden_size)
        self.transformer = nn.Transformer(
            d_model=hidden_size,
            nhead=num_heads,
            num_encoder_layers=num_layers,
            num_decoder_layers=num_layers,
            dim_feedforward=4 * hidden_size,
            dropout=0.0,
            batch_first=True,
        )
        self.queries = nn.Parameter(torch.randn(1, num_outputs, hidden_size))
        self.output = nn.Linear(hidden_size, output_size)

    def forward(self, hidden_states: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """``hidden_states`` [batch, 8, input_size] are those that predict the [AUD] tokens (one position before
        each), ``embeddings`` of the same shape the tokens' input vectors.
        """
        states = hidden_states + embeddings
        if self.standardise is not None:
            states = self.standardise(states.float().transpose(1, 2)).transpose(1, 2)
        source = self.fc(states)
        queries = self.queries.expand(source.shape[0], -1, -1)
        return self.output(self.transformer(source, queries))  # [batch, N, D]
