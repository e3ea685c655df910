"""Trains the heads of nano's music encoder on the features of recordings with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.data.nano.recordings import FEATURES, PATCHES, patches_of
from m2ugen.model.encoders.ear import Ear
from m2ugen.model.encoders.nano_music import NanoMusicEncoder
from m2ugen.train.config import computes_bf16
from m2ugen.train.stages.hearing import (
    BATCH_SIZE,
    IGNORED,
    FeatureBatches,
    Tensors,
    held_out_figures,
    load_held_out,
    load_tensors,
    noisy,
)
from m2ugen.train.task import Task
from m2ugen.weights import packaged_folder

HEARD_PATCHES = 2  # of a clip's, in each step
LEVEL_SPREAD, EQUALISER_SPREAD, EQUALISER_KNOTS = 0.25, 0.18, 8  # in the patches' unit, decades of power
GAP, QUIET = 8, 0.05  # widest gap in mel channels; below QUIET there is nothing to amplify


class MusicEncoderTask(Task):
    """The Ear's cross-entropies; features of clips whose tonic is turned at random keep key and mode apart."""

    name = "music-encoder"
    model: Ear

    def __init__(self, data: Path, seed: int) -> None:
        self.model = Ear()
        folder = data / "recordings"
        tensors, targets = load_tensors(folder, "train", (*FEATURES, PATCHES))
        self.valid = load_held_out(folder, (*FEATURES, PATCHES))
        inputs = Ear.inputs(tensors["tempogram"], tensors["statistics"], tensors["tags"])
        self.model.standardise_by(inputs)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.dim() > 1:
                    nn.init.kaiming_uniform_(parameter, a=5**0.5, generator=generator)
            for added in (self.model.straight, self.model.timbral):
                for parameter in added.parameters():
                    nn.init.zeros_(parameter)
        self.source = FeatureBatches(tensors, targets, seed)
        packaged = NanoMusicEncoder.from_folder(packaged_folder("nano")).ear
        self.model.beat_key_net.load_state_dict(packaged.beat_key_net.state_dict())
        self.model.beat_key_net.requires_grad_(False)  # which has a stage of its own

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        features = noisy(batch["features"], generator)
        patches = _varied(_some(features.pop(PATCHES), generator), generator)
        features["tags"] = features["tags"] * (torch.rand(features["tags"].shape, generator=generator) > 0.1)
        features["timbre"] = self._timbre(patches)
        losses = self._losses(self.model(**features), batch["targets"])
        return torch.stack(list(losses.values())).sum(), {name: float(value.detach()) for name, value in losses.items()}

    def _timbre(self, patches: torch.Tensor) -> torch.Tensor:
        with torch.autocast(patches.device.type, torch.bfloat16, enabled=computes_bf16(patches.device.type)):
            timbre: torch.Tensor = self.model.listen(patches)
        return timbre.float()

    @staticmethod
    def _losses(logits: Tensors, targets: Tensors) -> Tensors:
        losses = {}
        for name in ("genre", "energy", "drums", "lead"):
            if (targets[name] != IGNORED).any():
                losses[name] = F.cross_entropy(logits[name], targets[name], ignore_index=IGNORED)
        if (known := targets["drums"] != IGNORED).any():
            losses["struck"] = F.binary_cross_entropy_with_logits(
                logits["struck"][known], targets["drums"][known].float()
            )
        losses["instruments"] = 6 * F.binary_cross_entropy_with_logits(logits["instruments"], targets["instruments"])
        return losses

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        return held_out_figures(self.valid, self._hear, self._losses)

    def _hear(self, stored: Tensors) -> Tensors:
        """Logits of clips with all their patches."""
        features = dict(stored)
        parts = features.pop(PATCHES).split(BATCH_SIZE)
        features["timbre"] = torch.cat([self._timbre(patches_of(part)) for part in parts])
        logits: Tensors = self.model(**features)
        return logits

    def export(self, folder: Path) -> None:
        # for the taggers, which stay as they are
        encoder = NanoMusicEncoder.from_folder(packaged_folder("nano"), deaf=True)
        encoder.ear.load_state_dict(self.model.state_dict())
        encoder.save(folder)


def _some(stored: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """HEARD_PATCHES of each clip's patches [batch, patches, frames, mels], drawn anew each time."""
    chosen = torch.rand(stored.shape[:2], generator=generator).argsort(dim=1)[:, :HEARD_PATCHES]
    return patches_of(stored[torch.arange(len(stored))[:, None], chosen])


def _varied(patches: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Log-mel patches at other levels, equalised, and with gaps in the spectrum (SpecAugment, arXiv 1904.08779)."""
    batch, _, _, mels = patches.shape
    level = LEVEL_SPREAD * torch.randn(batch, 1, 1, 1, generator=generator)
    knots = EQUALISER_SPREAD * torch.randn(batch, 1, EQUALISER_KNOTS, generator=generator)
    equaliser = F.interpolate(knots, size=mels, mode="linear", align_corners=True)[:, None]
    varied = (patches + (level + equaliser) * (patches > QUIET)).clamp(min=0)
    low = torch.randint(mels, (batch, 1), generator=generator)
    width = torch.randint(GAP + 1, (batch, 1), generator=generator)
    channels = torch.arange(mels)
    gaps = (channels >= low) & (channels < low + width)
    return varied.masked_fill(gaps[:, None, None], 0.0)
