"""MERT as a space for distances: the mean over time of the last layer, window by window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from m2ugen.model.encoders.mert import MERTEncoder
from m2ugen.weights import model_folder

SECONDS = 5.0  # of the pieces that become one frame each


class MERT:
    """A MERT model from a folder or hub id."""

    name = "MERT"

    def __init__(self, source: str | Path) -> None:
        self.encoder = MERTEncoder.from_pretrained(model_folder(source))
        self.sample_rate = int(self.encoder.sample_rate)

    @torch.inference_mode()
    def embed(self, mono: np.ndarray) -> np.ndarray:
        """float32 [pieces of five seconds, dim]."""
        count = max(round(len(mono) / SECONDS / self.sample_rate), 1)
        rows = []
        for piece in np.array_split(mono, count):
            inputs = self.encoder.prepare(piece)
            hidden = self.encoder(**{name: value[None] for name, value in inputs.items()})  # [1, layers, dim]
            rows.append(hidden[0, -1].numpy())
        return np.asarray(np.stack(rows), dtype=np.float32)
