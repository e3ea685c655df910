"""What the metrics need of a model that hears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from m2ugen.media.audio import Audio, load_audio
from m2ugen.processor import FeatureCache, content_hash
from m2ugen.weights import cache_folder

CACHE_ENTRIES = 50_000


@runtime_checkable
class Embedder(Protocol):
    """``embed`` maps mono float32 [samples] at ``sample_rate`` Hz to float32 [frames, dim], one frame at least.

    ``name`` is what tables call it; a stand-in for a published model says so in its name.
    """

    name: str
    sample_rate: int

    def embed(self, mono: np.ndarray) -> np.ndarray: ...


@runtime_checkable
class Tagger(Protocol):
    """``probabilities`` maps mono float32 [samples] at ``sample_rate`` Hz to float32 [classes] that sum to one."""

    name: str
    sample_rate: int

    def probabilities(self, mono: np.ndarray) -> np.ndarray: ...


@runtime_checkable
class TextMatcher(Protocol):
    """``similarities`` gives the cosine of each clip with its own text."""

    name: str

    def similarities(self, clips: Sequence[Audio], texts: Sequence[str]) -> list[float]: ...


@runtime_checkable
class PictureMatcher(Protocol):
    """``audio`` and ``pictures`` give unit vectors [n, dim] in one space.

    A picture is uint8 [frames, height, width, 3], a still one with one frame.
    """

    name: str

    def audio(self, clips: Sequence[Audio]) -> np.ndarray: ...

    def pictures(self, media: Sequence[np.ndarray]) -> np.ndarray: ...


class EmbeddingCache:
    """Embeddings on disk by content of the clip and identity of the model, so that a second report is fast."""

    def __init__(self, cache: FeatureCache | None = None) -> None:
        self.cache = cache or FeatureCache(cache_folder() / "evaluation-1", CACHE_ENTRIES)

    def embeddings(self, embedder: Embedder, clips: Sequence[Audio]) -> list[np.ndarray]:
        """The frames of each clip, float32 [frames, dim]."""
        return [self._get(embedder.name, embedder, clip, embedder.embed) for clip in clips]

    def probabilities(self, tagger: Tagger, clips: Sequence[Audio]) -> np.ndarray:
        """Class probabilities, float32 [clips, classes]."""
        return np.stack([self._get(f"{tagger.name}-classes", tagger, clip, tagger.probabilities) for clip in clips])

    def _get(self, name: str, model: object, clip: Audio, compute: object) -> np.ndarray:
        rate: int = model.sample_rate  # type: ignore[attr-defined]
        mono = load_audio(clip, sample_rate=rate, mono=True).samples[0]
        safe = "".join(character if character.isalnum() else "-" for character in name)
        key = f"{safe}-{fingerprint(model)}-{content_hash(mono)}"
        known = self.cache.get(key)
        if known is None:
            known = torch.from_numpy(np.ascontiguousarray(compute(mono), dtype=np.float32))  # type: ignore[operator]
            self.cache.put(key, known)
        return np.asarray(known.numpy())


def fingerprint(model: object) -> str:
    """Identity of a model's weights: a sum over each tensor, cheap and enough to tell releases apart."""
    import hashlib

    digest = hashlib.sha256(type(model).__qualname__.encode())
    modules = [model] if isinstance(model, nn.Module) else [v for v in vars(model).values() if isinstance(v, nn.Module)]
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}{float(tensor.double().sum()):.6e}".encode())
    return digest.hexdigest()[:12]
