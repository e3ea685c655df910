"""Stored features of recordings and their truth, as the stages learn from them that teach nano to hear."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m2ugen.data.nano.recordings import load_features
from m2ugen.errors import InputError
from m2ugen.model.encoders.nano_music import sounding
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
from m2ugen.train.task import BatchSource

BATCH_SIZE = 64
IGNORED = -100
TEMPO_SPREAD = 0.8  # bins; neighbouring tempi are almost right
VALID_SPLITS = ("valid", "held-out")
NOISE = {"chroma": 0.04, "tempogram": 0.03, "tags": 0.03, "statistics": 0.02}  # added to features while they are learnt

Tensors = dict[str, torch.Tensor]


def load_tensors(folder: Path, split: str, names: Sequence[str]) -> tuple[Tensors, Tensors]:
    """Features of these ``names`` and targets of a split. Raises InputError when there are none."""
    features, truths, _ = load_features(folder, split, names)
    return {name: torch.from_numpy(values) for name, values in features.items()}, targets_of(truths)


def load_held_out(folder: Path, names: Sequence[str]) -> dict[str, tuple[Tensors, Tensors]]:
    """Features and targets by split, of those of VALID_SPLITS that there are. Raises InputError when there are none."""
    found = {}
    for split in VALID_SPLITS:
        try:
            found[split] = load_tensors(folder, split, names)
        except InputError:
            continue  # a folder without a held-out SoundFont has no such set
    if not found:
        raise InputError(f"{folder} has no validation recordings; run: m2ugen data nano")
    return found


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


def noisy(features: Tensors, generator: torch.Generator) -> Tensors:
    """The features of NOISE with noise of its size."""
    return {
        name: values + NOISE[name] * torch.randn(values.shape, generator=generator) if name in NOISE else values
        for name, values in features.items()
    }


def tempo_targets(bpm: torch.Tensor) -> torch.Tensor:
    """Probabilities of the tempi of the grid [clips, TEMPOS] around true ones [clips]."""
    grid = torch.log(torch.from_numpy(TEMPOS).float())
    distance = (torch.log(bpm)[:, None] - grid) / (grid[1] - grid[0])
    return torch.softmax(-0.5 * (distance / TEMPO_SPREAD) ** 2, dim=1)


def held_out_figures(
    held_out: Mapping[str, tuple[Tensors, Tensors]],
    hear: Callable[[Tensors], Tensors],
    losses_of: Callable[[Tensors, Tensors], Tensors],
) -> dict[str, float]:
    """Loss and ``accuracies`` on every split of ``load_held_out``, and the mean loss. ``hear`` makes logits of
    features, ``losses_of`` losses of logits and targets.
    """
    figures: dict[str, float] = {}
    for split, (features, targets) in held_out.items():
        logits = hear(features)
        figures[f"{split}/loss"] = float(torch.stack(list(losses_of(logits, targets).values())).sum())
        figures |= {f"{split}/{name}": value for name, value in accuracies(logits, targets).items()}
    figures["loss"] = float(np.mean([figures[f"{split}/loss"] for split in held_out]))
    return figures


def accuracies(logits: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> dict[str, float]:
    """Shares of right answers per attribute that there are logits of, tempo within 8 % (also allowing half and double),
    and the F1 of instruments and of instrument families.
    """
    found: dict[str, float] = {}
    if "tempo" in logits:
        tempo = torch.from_numpy(TEMPOS).float()[logits["tempo"].argmax(dim=1)]
        near = [(tempo * factor / targets["bpm"] - 1).abs() <= TEMPO_TOLERANCE for factor in (1.0, 0.5, 2.0)]
        found["tempo"] = float(near[0].float().mean())
        found["tempo_octave"] = float(torch.stack(near).any(dim=0).float().mean())
    classes = {**targets, "mode": torch.where(targets["key"] < 0, IGNORED, targets["key"] % 2)}
    for name in ("key", "mode", "metre", "genre", "energy", "drums", "lead"):
        if name in logits:
            known = classes[name] >= 0
            found[name] = float((logits[name].argmax(dim=1) == classes[name])[known].float().mean())
    if "instruments" not in logits:
        return found
    present = torch.from_numpy(sounding(logits["instruments"].sigmoid().cpu().numpy()))
    found["instruments_f1"] = f1(present, targets["instruments"] > 0)
    families = torch.zeros(len(INSTRUMENTS), len(FAMILIES))
    for index, instrument in enumerate(INSTRUMENTS):
        families[index, FAMILIES.index(instrument.family)] = 1.0
    found["families_f1"] = f1((present.float() @ families) > 0, (targets["instruments"] @ families) > 0)
    return found


def f1(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Micro-averaged F1 of boolean [clips, labels]."""
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()).clamp(min=1))
