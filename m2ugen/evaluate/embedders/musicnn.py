"""The offline stand-in: the musicnn taggers that come with nano hear for distances and class divergences.

They are not what the paper used, so figures with them compare systems with each other, never with published numbers.
"""

from __future__ import annotations

import numpy as np
import torch

from m2ugen.model.encoders.musicnn import DENSE_DIM, NUM_TAGS
from m2ugen.model.encoders.nano_music import NanoMusicEncoder
from m2ugen.processor import content_hash
from m2ugen.weights import packaged_folder

REMEMBERED = 256  # clips


class MusicnnSpace:
    """Penultimate features of both taggers for every three-second patch; tags as class probabilities."""

    name = "musicnn, stand-in"

    def __init__(self, encoder: NanoMusicEncoder | None = None) -> None:
        self.encoder = encoder or NanoMusicEncoder.from_folder(packaged_folder("nano"), deaf=True)
        self.taggers = self.encoder.taggers  # what the results depend on
        self.sample_rate = self.encoder.sample_rate
        self._known: dict[str, np.ndarray] = {}

    def embed(self, mono: np.ndarray) -> np.ndarray:
        """float32 [patches, 2 * DENSE_DIM]."""
        heard = self._heard(mono).reshape(-1, len(self.taggers), DENSE_DIM + NUM_TAGS)
        return np.asarray(heard[:, :, :DENSE_DIM].reshape(len(heard), -1))

    def probabilities(self, mono: np.ndarray) -> np.ndarray:
        """The tags' mean probabilities, made to sum to one: float32 [2 * NUM_TAGS]."""
        heard = self._heard(mono).reshape(-1, len(self.taggers), DENSE_DIM + NUM_TAGS)
        tags = heard[:, :, DENSE_DIM:].mean(axis=0).reshape(-1)
        return np.asarray(tags / max(float(tags.sum()), 1e-9))

    @torch.inference_mode()
    def _heard(self, mono: np.ndarray) -> np.ndarray:
        """What the taggers hear of each patch, float32 [patches, TAGGER_DIM]; the last clips are remembered, since
        embeddings and tags are asked for in turn.
        """
        key = content_hash(mono)
        if key not in self._known:
            inputs = self.encoder.prepare(mono)
            patches = inputs["patches"][inputs["patch_mask"]]  # [patches, frames, mels]
            single = torch.ones(len(patches), 1, dtype=torch.bool)
            if len(self._known) >= REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key] = self.encoder.tags(patches[:, None], single).numpy()
        return self._known[key]
