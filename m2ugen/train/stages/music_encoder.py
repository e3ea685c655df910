"""Trains the heads of nano's music encoder on the features of recordings with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.data.nano.recordings import PATCHES, load_features, patches_of
from m2ugen.errors import InputError
from m2ugen.model.encoders.nano_music import PRESENT, Ear, NanoMusicEncoder
from m2ugen.score.attributes import (
    FAMILIES,
    GENRES,
    INSTRUMENT_INDEX,
    INSTRUMENTS,
    METRES,
    MODES,
    TEMPO_TOLERANCE,
    TEMPOS,
    Attributes,
)
from m2ugen.train.config import computes_bf16
from m2ugen.train.task import BatchSource, Task
from m2ugen.weights import packaged_folder

BATCH_SIZE = 64
IGNORED = -100
HEARD_PATCHES = 2  # of a clip's, in each step
LEVEL_SPREAD, EQUALISER_SPREAD, EQUALISER_KNOTS = 0.25, 0.18, 8  # in the patches' unit, decades of power
GAP, QUIET = 8, 0.05  # widest gap in mel channels; below QUIET there is nothing to amplify
TEMPO_SPREAD = 0.8  # bins; neighbouring tempi are almost right
VALID_SPLITS = ("valid", "held-out")


def targets_of(truths: list[Attributes]) -> dict[str, torch.Tensor]:
    """Class indices [clips] per attribute (IGNORED where unknown), multi-hot instruments, and tempi in bpm."""

    def column(values: list[int | None]) -> torch.Tensor:
        return torch.tensor([IGNORED if value is None else int(value) for value in values])

    instruments = torch.zeros(len(truths), len(INSTRUMENTS))
    for row, truth in enumerate(truths):
        instruments[row, [INSTRUMENT_INDEX[name] for name in truth.instruments]] = 1.0
    modes = [MODES.index(t.mode) if t.mode else None for t in truths]
    return {
        "bpm": torch.tensor([t.tempo or float("nan") for t in truths]),
        "metre": column([METRES.index(t.metre) if t.metre else None for t in truths]),
        "key": column(
            [None if m is None or t.tonic is None else t.tonic * 2 + m for t, m in zip(truths, modes, strict=True)]
        ),
        "genre": column([GENRES.index(t.genre) if t.genre else None for t in truths]),
        "energy": column([t.energy for t in truths]),
        "drums": column([t.drums for t in truths]),
        "lead": column([INSTRUMENT_INDEX[t.lead] if t.lead else None for t in truths]),
        "instruments": instruments,
    }


class FeatureBatches(BatchSource):
    """Shuffled batches of stored features."""

    def __init__(self, features: dict[str, torch.Tensor], targets: dict[str, torch.Tensor], seed: int) -> None:
        self.features, self.targets, self.seed = features, targets, seed

    def __len__(self) -> int:
        return len(self.features["tags"]) // BATCH_SIZE

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.features["tags"]))
        rows = torch.from_numpy(order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE])
        return {
            "features": {name: values[rows] for name, values in self.features.items()},
            "targets": {name: values[rows] for name, values in self.targets.items()},
        }


class MusicEncoderTask(Task):
    """The Ear's cross-entropies; features of clips whose tonic is turned at random keep key and mode apart."""

    name = "music-encoder"
    model: Ear

    def __init__(self, data: Path, seed: int) -> None:
        self.model = Ear()
        folder = data / "recordings"
        features, truths, _ = load_features(folder, "train")
        tensors = {name: torch.from_numpy(values) for name, values in features.items()}
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
        self.source = FeatureBatches(tensors, targets_of(truths), seed)
        self.valid: dict[str, tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = {}
        for split in VALID_SPLITS:
            try:
                held, held_truths, _ = load_features(folder, split)
            except InputError:
                continue  # a folder without a held-out SoundFont has no such set
            self.valid[split] = ({k: torch.from_numpy(v) for k, v in held.items()}, targets_of(held_truths))
        if not self.valid:
            raise InputError(f"{folder} has no validation recordings; run: m2ugen data nano")

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        features = dict(batch["features"])
        patches = _varied(_some(features.pop(PATCHES), generator), generator)
        for name, size in (("chroma", 0.04), ("tempogram", 0.03), ("tags", 0.03), ("statistics", 0.02)):
            features[name] = features[name] + size * torch.randn(features[name].shape, generator=generator)
        features["tags"] = features["tags"] * (torch.rand(features["tags"].shape, generator=generator) > 0.1)
        features["timbre"] = self._timbre(patches)
        losses = self._losses(features, batch["targets"])
        return torch.stack(list(losses.values())).sum(), {name: float(value.detach()) for name, value in losses.items()}

    def _timbre(self, patches: torch.Tensor) -> torch.Tensor:
        with torch.autocast(patches.device.type, torch.bfloat16, enabled=computes_bf16(patches.device.type)):
            timbre: torch.Tensor = self.model.listen(patches)
        return timbre.float()

    def _losses(self, features: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        logits = self.model(**features)
        grid = torch.log(torch.from_numpy(TEMPOS).float())
        step = grid[1] - grid[0]
        distance = (torch.log(targets["bpm"])[:, None] - grid) / step
        soft = torch.softmax(-0.5 * (distance / TEMPO_SPREAD) ** 2, dim=1)
        losses = {"tempo": F.cross_entropy(logits["tempo"], soft)}
        for name in ("metre", "key", "genre", "energy", "drums", "lead"):
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
        figures: dict[str, float] = {}
        for split, (stored, targets) in self.valid.items():
            features = dict(stored)
            parts = features.pop(PATCHES).split(BATCH_SIZE)
            features["timbre"] = torch.cat([self._timbre(patches_of(part)) for part in parts])
            losses = self._losses(features, targets)
            figures[f"{split}/loss"] = float(torch.stack(list(losses.values())).sum())
            logits = self.model(**features)
            figures |= {f"{split}/{name}": value for name, value in accuracies(logits, targets).items()}
        figures["loss"] = float(np.mean([figures[f"{split}/loss"] for split in self.valid]))
        return figures

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


def accuracies(logits: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> dict[str, float]:
    """Shares of right answers per attribute, tempo within 8 % (also allowing half and double), and the mean F1 of
    instruments and of instrument families over clips.
    """
    tempo = torch.from_numpy(TEMPOS).float()[logits["tempo"].argmax(dim=1)]
    near = [(tempo * factor / targets["bpm"] - 1).abs() <= TEMPO_TOLERANCE for factor in (1.0, 0.5, 2.0)]
    found = {"tempo": float(near[0].float().mean()), "tempo_octave": float(torch.stack(near).any(dim=0).float().mean())}
    key = logits["key"].argmax(dim=1)
    found["key"] = float((key == targets["key"]).float().mean())
    mode = logits["mode"].argmax(dim=1)
    found["mode"] = float((mode == targets["key"] % 2).float().mean())
    for name in ("metre", "genre", "energy", "drums", "lead"):
        known = targets[name] != IGNORED
        found[name] = float((logits[name].argmax(dim=1) == targets[name])[known].float().mean())
    present = logits["instruments"].sigmoid() > PRESENT
    found["instruments_f1"] = f1(present, targets["instruments"] > 0)
    families = torch.zeros(len(INSTRUMENTS), len(FAMILIES))
    for index, instrument in enumerate(INSTRUMENTS):
        families[index, FAMILIES.index(instrument.family)] = 1.0
    found["families_f1"] = f1((present.float() @ families) > 0, (targets["instruments"] @ families) > 0)
    return found


def f1(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Micro-averaged F1 of boolean [clips, labels]."""
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()).clamp(min=1))


def build(preset: str, data: Path, init: Path | None, seed: int) -> MusicEncoderTask:
    """The task; it starts from nothing, so ``init`` is not used. The preset's name plays no part."""
    return MusicEncoderTask(data, seed)
