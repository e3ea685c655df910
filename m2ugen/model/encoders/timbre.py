"""A small convolutional network that hears drums, instruments and style in log-mel patches.

musicnn's taggers were trained on songs as a whole; this one is trained on renderings whose players are known exactly.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.model.encoders.musicnn import NUM_MELS

CHANNELS = ((1, 32, 5, (2, 2)), (32, 64, 3, (2, 2)), (64, 96, 3, (2, 2)), (96, 128, 3, (1, 2)))  # in, out, size, stride
WIDTH = 160
PATCH_DIM = 2 * WIDTH  # of a patch: means and maxima over time, of what lasts and of what is struck once
TIMBRE_DIM = 2 * PATCH_DIM  # of a file: means and maxima over its patches


class TimbreNet(nn.Module):
    """Log-mel patches [batch, patches, frames, NUM_MELS], those of ``mask`` [batch, patches] → [batch, TIMBRE_DIM].

    Without ``mask`` all of them count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = nn.BatchNorm2d(1)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                )
                for inputs, outputs, size, stride in CHANNELS
            )
        )
        heights = NUM_MELS
        for *_, (_, stride) in CHANNELS:
            heights = -(-heights // stride)
        self.over_time = nn.Conv1d(CHANNELS[-1][1] * heights, WIDTH, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, patches: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is None:
            mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        maps = self.blocks(self.input_norm(patches[mask][:, None]))  # [real patches, channels, time, heights]
        steps = F.relu(self.norm(self.over_time(maps.transpose(2, 3).flatten(1, 2))))  # [real patches, WIDTH, time]
        heard = torch.cat([steps.mean(dim=2), steps.amax(dim=2)], dim=1)
        spread = heard.new_zeros(*mask.shape, PATCH_DIM)  # nothing is below zero: absent patches are no maximum
        spread[mask] = heard
        return torch.cat([spread.sum(dim=1) / mask.sum(dim=1, keepdim=True), spread.amax(dim=1)], dim=1)
