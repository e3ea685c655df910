"""A small convolutional network that does nothing but hear whether there are drums.

Beside each log-mel patch it sees the patch's rises: strokes are vertical lines there, whatever else sounds.
"""

from __future__ import annotations

import torch
from torch import nn

CHANNELS = (16, 32, 64, 96)
HIDDEN = 64
MIDDLE, RISE = 2.0, 3.0  # of log-mel values; how much larger rises are shown
POOLED = 2 * CHANNELS[-1]


class DrumNet(nn.Module):
    """Log-mel patches [patches, frames, mels] → log odds of drums [patches]."""

    def __init__(self) -> None:
        super().__init__()
        first, *others = CHANNELS
        layers: list[nn.Module] = [
            nn.Conv2d(2, first, 5, (1, 2), padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        for inputs, outputs in zip(CHANNELS, others):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.blocks = nn.Sequential(*layers[:-1])  # the last maps are pooled as a whole
        self.head = nn.Sequential(
            nn.Dropout(0.4), nn.Linear(POOLED, HIDDEN), nn.ReLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, 1)
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        rises = torch.zeros_like(patches)
        rises[:, 1:] = (patches[:, 1:] - patches[:, :-1]).clamp(min=0)
        shown = torch.stack([patches - MIDDLE, RISE * rises], dim=1)  # [patches, 2, frames, mels]
        maps = self.blocks(shown.contiguous(memory_format=torch.channels_last))
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=2).mean(dim=2)], dim=1)
        return self.head(pooled)[:, 0]
