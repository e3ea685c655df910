"""The last step of decoder alignment: the output projector alone, on [AUD] states that are computed once.

With everything below it fixed, a request's eight states never change, so thousands of steps cost as much as one pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from m2ugen.model.modeling import M2UGenModel
from m2ugen.train.config import computes_bf16
from m2ugen.train.stages.bridge import DialogueBatches, load_material, slot_hits
from m2ugen.train.task import BatchSource, Task

BATCH_SIZE = 64
NOISE = 0.15  # of each dimension's spread, added to the states
MIX = {"prompt": 0.6, "description": 0.1, "edit": 0.1, "picture": 0.1, "video": 0.06, "similar": 0.04}


class StateBatches(BatchSource):
    """Shuffled batches of kept states [rows, 8, hidden] and their targets [rows, N, D]."""

    def __init__(self, states: torch.Tensor, targets: torch.Tensor, seed: int) -> None:
        self.states, self.targets, self.seed = states, targets, seed

    def __len__(self) -> int:
        return len(self.states) // BATCH_SIZE

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.states))
        rows = torch.from_numpy(order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE])
        return {"states": self.states[rows], "targets": self.targets[rows]}


class ProjectorTask(Task):
    """Mean squared error between the projected states and the conditioning."""

    name = "projector"
    model: M2UGenModel

    def __init__(self, model: M2UGenModel, train: DialogueBatches, valid: DialogueBatches, seed: int) -> None:
        self.model = model.requires_grad_(False).eval()
        states, targets = keep_states(model, train)
        self.source = StateBatches(states, targets, seed)
        self.valid_states, self.valid_targets = keep_states(model, valid)
        self.spread = states.std(dim=(0, 1))
        if model.projector is not None:
            model.projector.requires_grad_(True)

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        noise = torch.randn(batch["states"].shape, generator=generator) * self.spread * NOISE
        error = self._error(batch["states"] + noise, batch["targets"])
        return error * 100.0, {"conditioning_error": float(error.detach())}

    def _error(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(self.model.conditioning(states), targets)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        guesses = self.model.conditioning(self.valid_states)
        hits: dict[str, list[bool]] = {}
        for guess, truth in zip(guesses.numpy(), self.valid_targets.numpy(), strict=True):
            for name, hit in slot_hits(guess, truth).items():
                hits.setdefault(name, []).append(hit)
        figures = {f"slot_{name}": float(np.mean(found)) for name, found in sorted(hits.items())}
        return {"loss": float(torch.nn.functional.mse_loss(guesses, self.valid_targets)), **figures}

    def export(self, folder: Path) -> None:
        self.model.save_trained(folder)


@torch.inference_mode()
def keep_states(model: M2UGenModel, batches: DialogueBatches) -> tuple[torch.Tensor, torch.Tensor]:
    """The states that predict the [AUD] tokens [rows, 8, hidden] of all ``batches``, and the rows' targets."""
    from rich.progress import track

    states, targets = [], []
    language_model = model.language_model
    for index in track(range(len(batches)), "listening to requests"):
        batch = batches[index]
        ids = batch["input_ids"]
        with torch.autocast("cpu", torch.bfloat16, enabled=computes_bf16()):
            hidden = language_model(
                ids, model.adapter_states(batch["features"], batch["present"]), batch["attention_mask"]
            )
        states.append(model.audio_states(batch["labels"], hidden.float()))
        targets.append(batch["targets"])
    return torch.cat(states).clone(), torch.cat(targets).clone()


def build(
    preset: str, data: Path, init: Path | None, seed: int, corpora: Path | None = None, batches: int = 150
) -> ProjectorTask:
    """The task; ``init`` is the folder with the trained bridge (default: the packaged one), ``batches`` of sixteen
    requests are kept. Raises InputError and MissingWeights.
    """
    model, train, valid = load_material(preset, data, init, seed, MIX, corpora)
    train.batches, valid.batches = batches, max(batches // 10, 2)
    return ProjectorTask(model, train, valid, seed)
