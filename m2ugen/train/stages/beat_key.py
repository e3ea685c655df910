"""Trains the network that tells tempo, metre, key and mode from measured features, and has a say in the genre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.data.nano.recordings import FEATURES
from m2ugen.model.encoders.beat_key_net import BeatKeyNet
from m2ugen.model.encoders.nano_music import NanoMusicEncoder
from m2ugen.score.attributes import METRES, TEMPOS
from m2ugen.train.stages.hearing import (
    IGNORED,
    FeatureBatches,
    Tensors,
    held_out_figures,
    load_held_out,
    load_tensors,
    noisy,
    tempo_targets,
)
from m2ugen.train.task import Task
from m2ugen.weights import packaged_folder

MAX_SHIFT = 3  # bins of the tempo grid by which a batch is played faster or slower
SMOOTHING = 0.05  # of genres, whose borders are a matter of taste


class BeatKeyTask(Task):
    """Cross-entropies of tempo and metre together, of tonic and mode together, and of the genre."""

    name = "beat-key"
    model: BeatKeyNet

    def __init__(self, data: Path, seed: int) -> None:
        folder = data / "recordings"
        tensors, targets = load_tensors(folder, "train", FEATURES)
        self.valid = load_held_out(folder, FEATURES)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = BeatKeyNet()
        self.model.standardise_by(tensors["statistics"], tensors["tags"])
        nn.init.zeros_(self.model.expected.weight)
        self.source = FeatureBatches(tensors, targets, seed)

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        features, targets = noisy(batch["features"], generator), dict(batch["targets"])
        shift = int(torch.randint(-MAX_SHIFT, MAX_SHIFT + 1, (), generator=generator))
        features["tempogram"] = features["tempogram"].roll(shift, dims=2)
        targets["bpm"] = targets["bpm"] * float(TEMPOS[1] / TEMPOS[0]) ** shift
        losses = self._losses(self.model(**features), targets)
        return torch.stack(list(losses.values())).sum(), {name: float(value.detach()) for name, value in losses.items()}

    @staticmethod
    def _losses(logits: Tensors, targets: Tensors) -> Tensors:
        known = targets["metre"] != IGNORED
        pairs = F.log_softmax(logits["beat"][known], dim=1).unflatten(1, (len(METRES), len(TEMPOS)))
        own = pairs[torch.arange(len(pairs)), targets["metre"][known]]  # [clips, tempi]
        return {
            "beat": -(own * tempo_targets(targets["bpm"][known])).sum(dim=1).mean(),
            "key": F.cross_entropy(logits["key"], targets["key"], ignore_index=IGNORED),
            "genre": F.cross_entropy(
                logits["genre"], targets["genre"], ignore_index=IGNORED, label_smoothing=SMOOTHING
            ),
        }

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        return held_out_figures(self.valid, lambda features: self.model(**features), self._losses)

    def export(self, folder: Path) -> None:
        encoder = NanoMusicEncoder.from_folder(packaged_folder("nano"))
        encoder.ear.beat_key_net.load_state_dict(self.model.state_dict())
        encoder.save(folder)
