"""BERTScore (Zhang et al., arXiv 1904.09675): how well the tokens of two texts match in a language model's space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from m2ugen.weights import local_folder, model_folder

PUBLISHED = "roberta-large"  # what the published evaluation uses, at LAYER
LAYER = 17
STAND_IN = "smollm2"
BATCH = 32


@dataclass(frozen=True)
class Match:
    """Precision, recall and F1 of one pair, as cosines (not rescaled)."""

    precision: float
    recall: float
    f1: float


class BERTScore:
    """A text model from a folder or hub id, read at hidden layer ``layer`` (None: two thirds of the way up)."""

    def __init__(self, source: str | Path, layer: int | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = model_folder(source)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        layers = int(self.model.config.num_hidden_layers)
        self.layer = min(layer if layer is not None else round(layers * 2 / 3), layers)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "right"

    def __call__(self, candidates: Sequence[str], references: Sequence[str]) -> list[Match]:
        """The match of each pair; empty texts match nothing."""
        texts = list(dict.fromkeys([*candidates, *references]))
        vectors = dict(zip(texts, self._embed([text or " " for text in texts]), strict=True))
        found = []
        for candidate, reference in zip(candidates, references, strict=True):
            if not candidate.strip() or not reference.strip():
                found.append(Match(0.0, 0.0, 0.0))
                continue
            (left, counted), (right, wanted) = vectors[candidate], vectors[reference]
            cosines = left @ right.T  # [candidate tokens, reference tokens]
            precision, recall = float(cosines.amax(dim=1)[counted].mean()), float(cosines.amax(dim=0)[wanted].mean())
            total = precision + recall
            found.append(Match(precision, recall, 2 * precision * recall / total if total > 0 else 0.0))
        return found

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Unit vectors of the tokens of each text, [tokens, dim], and which of them count: tokens of the text itself.
        Those that mark its ends can be matched, as in the reference implementation, but need no match.
        """
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        ends = {self.tokenizer.cls_token_id, self.tokenizer.sep_token_id} - {None}
        for first in range(0, len(texts), BATCH):
            batch = self.tokenizer(
                list(texts[first : first + BATCH]), return_tensors="pt", padding=True, truncation=True, max_length=512
            )
            states = self.model(**batch, output_hidden_states=True).hidden_states[self.layer]
            states = torch.nn.functional.normalize(states, dim=-1)
            for row, mask, tokens in zip(states, batch["attention_mask"].bool(), batch["input_ids"], strict=True):
                counted = torch.tensor([int(token) not in ends for token in tokens[mask]])
                found.append((row[mask], counted if counted.any() else ~counted))
        return found


def default_bert_score(source: str | None = None) -> tuple[str, BERTScore]:
    """The scorer and its name: of ``source`` if given, else the published model if this machine has it, else a
    stand-in, nano's own language model. Raises MissingWeights for a source that is not there.
    """
    if source is not None:
        return f"BERTScore ({Path(source).name})", BERTScore(source)
    if local_folder(PUBLISHED) is not None:
        return "BERTScore", BERTScore(PUBLISHED, LAYER)
    return "BERTScore (stand-in: SmolLM2)", BERTScore(STAND_IN)
