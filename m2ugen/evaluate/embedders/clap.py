"""CLAP (Wu et al., arXiv 2211.06687) through transformers: the text-music score, and a space for distances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m2ugen.errors import MissingWeights
from m2ugen.media.audio import Audio
from m2ugen.model.decoders.audioldm2.ranking import similarities
from m2ugen.weights import model_folder


class CLAP:
    """A CLAP model from a folder or hub id, for example laion/larger_clap_music."""

    name = "CLAP"

    def __init__(self, source: str | Path) -> None:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

        folder = model_folder(source)
        try:
            self.model: Any = ClapModel.from_pretrained(folder, dtype=torch.float32).eval()
            self.extractor: Any = ClapFeatureExtractor.from_pretrained(folder)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as error:
            raise MissingWeights(f"{folder} holds no CLAP model ({' '.join(str(error).split())[:120]})") from error
        self.sample_rate = int(self.extractor.sampling_rate)

    @torch.inference_mode()
    def embed(self, mono: np.ndarray) -> np.ndarray:
        """float32 [pieces of ten seconds, dim]."""
        count = max(-(-len(mono) // self.extractor.nb_max_samples), 1)
        inputs = self.extractor(
            np.array_split(mono, count), truncation="rand_trunc", sampling_rate=self.sample_rate, return_tensors="pt"
        )
        found = self.model.get_audio_features(
            input_features=inputs["input_features"], is_longer=torch.zeros(count, 1, dtype=torch.bool)
        )
        return np.asarray(found.pooler_output.float().numpy())

    @torch.inference_mode()
    def similarities(self, clips: Sequence[Audio], texts: Sequence[str]) -> list[float]:
        """Cosine of each clip with its text."""
        scores = []
        for clip, text in zip(clips, texts, strict=True):
            inputs = self.tokenizer([text], return_tensors="pt", padding=True, truncation=True)
            features = self.model.get_text_features(**inputs).pooler_output
            scores += similarities(self.model, self.extractor, features, [clip.mono()], clip.sample_rate)
        return scores
