"""Which of several takes fits a text best, by CLAP (arXiv 2211.06687)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from m2ugen.media.audio import resample


@torch.no_grad()
def similarities(
    clap: Any, feature_extractor: Any, text_features: torch.Tensor, takes: Sequence[np.ndarray], sample_rate: int
) -> list[float]:
    """Cosine similarity of each take (mono samples at ``sample_rate``) with ``text_features`` [1, dim].

    CLAP hears ten seconds: a longer take is heard in equal pieces whose features are averaged, where the feature
    extractor by itself would cut one piece out at random.
    """
    # What each form of CLAP expects of a piece that need not be cut.
    mode = "fusion" if clap.config.audio_config.enable_fusion else "rand_trunc"
    scores = []
    for take in takes:
        sound = resample(take[None], sample_rate, feature_extractor.sampling_rate)[0]
        count = -(-len(sound) // feature_extractor.nb_max_samples)
        pieces = np.array_split(sound, count)
        inputs = feature_extractor(
            pieces, truncation=mode, sampling_rate=feature_extractor.sampling_rate, return_tensors="pt"
        )
        features = clap.get_audio_features(
            input_features=inputs["input_features"].to(clap.device, clap.dtype),
            is_longer=torch.zeros(count, 1, dtype=torch.bool, device=clap.device),
        ).pooler_output
        mean = features.float().mean(dim=0, keepdim=True)  # [1, dim]
        scores.append(float(F.cosine_similarity(mean, text_features.float())))
    return scores
