"""A whole model of tiny sizes for tests, with everything that starts at zero set to something."""

from __future__ import annotations

from typing import Any

import torch

from m2ugen.config import M2UGenConfig
from m2ugen.model.modeling import M2UGenModel

VOCABULARY = 50
SHAPES = {"music": (5, 12), "image": (4, 10), "video": (6, 10)}


def tiny_config(**changes: Any) -> M2UGenConfig:
    """Eight layers, six of them adapted and tuned; three queries per modality; grouped key and value heads."""
    encoders = {f"{name}_encoder": {"num_tokens": n, "dim": d} for name, (n, d) in SHAPES.items()}
    settings: dict[str, Any] = {
        **encoders,
        "language_model": {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 8,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        "adapter": {"num_queries": 3},
        "tuning": {"layers_per_modality": 2, "lora_rank": 4, "tuned_layers": 6, "freeze_audio_embeddings": True},
        "projector": {"hidden_size": 16, "num_layers": 1},
        "decoder": {"conditioning_shape": [3, 4], "target_scale": 10.0},
    }
    return M2UGenConfig(**{**settings, **changes})


def tiny_model(seed: int = 0, **changes: Any) -> M2UGenModel:
    """A model of ``tiny_config`` in which gates, LoRA and biases are as if trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = M2UGenModel(tiny_config(**changes))
    return randomised(model, seed)


def randomised(model: M2UGenModel, seed: int = 0) -> M2UGenModel:
    """``model`` with noise from ``seed`` on everything, so that nothing is zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny_features(batch: int, seed: int = 1) -> dict[str, torch.Tensor]:
    """Features [batch, tokens, dim] of every modality."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, *shape, generator=generator) for name, shape in SHAPES.items()}
