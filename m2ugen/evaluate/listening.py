"""What a recording is like, as the shipped ear hears it: the measuring instrument of controls and edits.

It is fallible, and it is the model's own ear where nano is measured. So every figure that rests on it stands beside
the same figure for real music of known truth, which is the best that any system can reach with this instrument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from m2ugen.media.audio import Audio, load_audio
from m2ugen.model.encoders.ear import HEADS
from m2ugen.model.encoders.nano_music import NanoMusicEncoder, family_odds, likeliest_of, probabilities
from m2ugen.score.attributes import (
    ENERGIES,
    NUM_SLOTS,
    SLOT_DIM,
    SLOT_INDEX,
    Attributes,
    family_of,
)
from m2ugen.weights import packaged_folder

BATCH = 16


@dataclass(frozen=True)
class Heard:
    """Attributes of a clip, and the probability of every value of each (by attribute, float [values])."""

    attributes: Attributes
    odds: dict[str, np.ndarray]

    @property
    def energy(self) -> float:
        """The mean energy class, 0 to 4."""
        return float(self.odds["energy"] @ np.arange(len(ENERGIES)))

    def plays(self, instrument: str) -> bool:
        """Whether an instrument of this one's family is heard, as an answer about the clip would name it."""
        return family_of(instrument) in {family_of(name) for name in self.attributes.instruments}

    def odds_of(self, instrument: str) -> float:
        """Probability that any instrument of this one's family sounds."""
        if instrument == "drums":
            return float(self.odds["drums"][1])
        return float(family_odds(self.odds["instruments"], family_of(instrument)))


class Listener:
    """Hears clips in batches."""

    def __init__(self, encoder: NanoMusicEncoder) -> None:
        self.encoder = encoder

    @torch.inference_mode()
    def hear(self, clips: Sequence[Audio], progress: Callable[[float], None] = lambda share: None) -> list[Heard]:
        """What each clip is like."""
        found: list[Heard] = []
        for features in self._features(clips):
            logits = self.encoder.ear(**features)
            odds = {name: probabilities(name, logits[name]).numpy() for name in HEADS}
            found += [
                _heard({name: values[row] for name, values in odds.items()}) for row in range(len(features["tags"]))
            ]
            progress(len(found) / len(clips))
        return found

    @torch.inference_mode()
    def tags(self, clips: Sequence[Audio]) -> np.ndarray:
        """What the taggers hear of each clip, float32 [clips, TAGGER_DIM]."""
        return np.concatenate([features["tags"].numpy() for features in self._features(clips)])

    def _features(self, clips: Sequence[Audio]) -> Iterator[dict[str, torch.Tensor]]:
        """The ear's inputs of one batch after the other."""
        for first in range(0, len(clips), BATCH):
            prepared = [
                self.encoder.prepare(load_audio(clip, self.encoder.sample_rate, mono=True).samples[0])
                for clip in clips[first : first + BATCH]
            ]
            batch = {name: torch.stack([each[name] for each in prepared]) for name in prepared[0]}
            heard = batch.pop("patches"), batch.pop("patch_mask")
            yield {**batch, "tags": self.encoder.tags(*heard), "timbre": self.encoder.ear.listen(*heard)}


@lru_cache(maxsize=1)
def default_listener() -> Listener:
    """The listener with the packaged weights."""
    return Listener(NanoMusicEncoder.from_folder(packaged_folder("nano")))


def _heard(odds: dict[str, np.ndarray]) -> Heard:
    matrix = np.zeros((NUM_SLOTS, SLOT_DIM), dtype=np.float32)
    for name, values in odds.items():
        matrix[SLOT_INDEX[name], 1 : 1 + len(values)] = values
    return Heard(likeliest_of(matrix), odds)
