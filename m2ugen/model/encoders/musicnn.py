"""musicnn, a convolutional music tagger (Pons and Serra, arXiv 1909.06654), as a frozen feature extractor.

Two sets of published weights are used, trained on MagnaTagATune ("mtt": mostly instruments and voices) and on the
Million Song Dataset ("msd": mostly genres and moods).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

NUM_MELS = 96
PATCH_FRAMES = 187  # three seconds
DENSE_DIM, NUM_TAGS = 200, 50
NORM_EPS = 1e-3


class _Block(nn.Module):
    """Convolution over (time, frequency), ReLU, batch norm, then the maximum over what is left of frequency."""

    def __init__(self, channels: int, kernel: tuple[int, int], padding: tuple[int, int]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, channels, kernel)
        self.norm = nn.BatchNorm2d(channels, eps=NORM_EPS)
        self.padding = padding

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """[batch, 1, time, frequency] → [batch, channels, time]."""
        padded = F.pad(patches, (0, 0, *self.padding))
        return self.norm(torch.relu(self.convolution(padded))).amax(dim=3)


class Musicnn(nn.Module):
    """Log-mel patches [batch, frames, NUM_MELS] → penultimate features [batch, 200] and tag logits [batch, 50]."""

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = nn.BatchNorm2d(1, eps=NORM_EPS)
        self.timbral = nn.ModuleList(_Block(204, (7, width), (3, 3)) for width in (38, 67))
        # An even kernel with "same" padding takes the odd sample at the end.
        self.temporal = nn.ModuleList(_Block(51, (size, 1), (size // 2 - 1, size // 2)) for size in (128, 64, 32))
        self.middle = nn.ModuleList(_Block(64, (7, width), (3, 3)) for width in (561, 64, 64))
        self.pooled_norm = nn.BatchNorm1d(1506, eps=NORM_EPS)
        self.dense = nn.Linear(1506, DENSE_DIM)
        self.dense_norm = nn.BatchNorm1d(DENSE_DIM, eps=NORM_EPS)
        self.tags = nn.Linear(DENSE_DIM, NUM_TAGS)

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        normed = self.input_norm(patches[:, None])
        front = torch.cat([block(normed) for block in (*self.timbral, *self.temporal)], dim=1)  # [batch, 561, time]
        layers = [front]
        for index, block in enumerate(self.middle):
            out = block(layers[-1].transpose(1, 2)[:, None])  # [batch, 64, time]
            layers.append(out if index == 0 else out + layers[-1])
        features = torch.cat(layers, dim=1)  # [batch, 753, time]
        pooled = torch.stack([features.amax(dim=2), features.mean(dim=2)], dim=2).flatten(1)  # [batch, 1506]
        dense = self.dense_norm(torch.relu(self.dense(self.pooled_norm(pooled))))
        return dense, self.tags(dense)
