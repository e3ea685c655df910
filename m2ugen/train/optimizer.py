"""The optimiser: AdamW with its groups."""

from __future__ import annotations

import torch
from torch import nn

from m2ugen.train.checkpoint import trained_parameters
from m2ugen.train.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    """AdamW over what is trained. Each group has its ``factor`` of the learning rate; weight decay is for matrices."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}  # (factor of the learning rate, weight decay) → members
    for name, parameter in trained_parameters(model).items():
        factor = next((f for words, f in config.learning_rate_factors.items() if f".{words}." in f".{name}."), 1.0)
        decay = config.weight_decay if parameter.ndim >= 2 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": members, "weight_decay": decay, "factor": factor} for (factor, decay), members in groups.items()],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        fused=device.type in ("cpu", "cuda"),
    )
