"""EfficientNet-Lite0: the image classifier behind nano's eyes.

EfficientNet (Tan and Le, arXiv 1905.11946) in its Lite form for small processors: no squeeze-and-excitation, ReLU6
instead of SiLU. The batch norms of training are folded into the convolutions, so that only convolutions remain.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

IMAGE_SIZE = 224
NUM_CLASSES, NUM_FEATURES = 1000, 1280
STEM_CHANNELS = 32


class Stage(NamedTuple):
    """Blocks in a row: how many, their kernel, the stride of the first, expansion and channels out."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """A convolution whose odd pixel of padding lies at the right and below, as where the weights were trained."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        self.same = kernel > 1

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.same:
            pads: list[int] = []
            for size in reversed(hidden_states.shape[-2:]):
                total = max((-(-size // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - size, 0)
                pads += [total // 2, total - total // 2]
            hidden_states = F.pad(hidden_states, pads)
        return super().forward(hidden_states)


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow again (MobileNetV2's block, arXiv 1801.04381)."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        width = inputs * stage.expansion
        self.expand = SameConv2d(inputs, width, 1) if stage.expansion > 1 else None
        self.depthwise = SameConv2d(width, width, stage.kernel, stride, groups=width)
        self.project = SameConv2d(width, stage.channels, 1)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        inner = F.relu6(self.expand(hidden_states)) if self.expand is not None else hidden_states
        inner = self.project(F.relu6(self.depthwise(inner)))
        return hidden_states + inner if self.residual else inner


class EfficientNetLite0(nn.Module):
    """Pixels [batch, 3, 224, 224], scaled to (value - 127) / 128, to class logits [batch, 1000] of ImageNet-1k."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, STEM_CHANNELS, 3, stride=2)
        blocks: list[nn.Module] = []
        channels = STEM_CHANNELS
        for stage in STAGES:
            for repeat in range(stage.repeats):
                blocks.append(InvertedResidual(channels, stage, stage.stride if repeat == 0 else 1))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv2d(channels, NUM_FEATURES, 1)
        self.classifier = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden_states = self.blocks(F.relu6(self.stem(pixels)))
        features = F.relu6(self.head(hidden_states)).mean(dim=(2, 3))  # [batch, NUM_FEATURES]
        return self.classifier(features)
