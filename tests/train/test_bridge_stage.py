"""The three stages on a whole tiny model: who is trained, that the loss falls, and that answers come from the music."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m2ugen.config import M2UGenConfig
from m2ugen.data.nano.dialogue import Dialogue, DialogueSource
from m2ugen.data.nano.recordings import Recording
from m2ugen.model.modeling import M2UGenModel
from m2ugen.score.attributes import Attributes
from m2ugen.train.config import TrainConfig
from m2ugen.train.stages import projector
from m2ugen.train.stages.bridge import BridgeTask, DialogueBatches
from m2ugen.train.trainer import train
from tests.model.tiny import tiny_config

SHAPES = {"music": (11, 230), "image": (5, 147), "video": (7, 192)}  # nano's, as the dialogues have its features
BYTES = 256


class ByteTokenizer:
    """A token for each byte, and the [AUD] tokens behind them."""

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        ids: list[int] = []
        for piece in re.split(r"(\[AUD\d\])", text):
            ids += [BYTES + int(piece[4])] if piece.startswith("[AUD") else list(piece.encode())
        return {"input_ids": ids}


def bridge_config() -> M2UGenConfig:
    base = tiny_config()
    language_model = {**base.language_model.to_dict(), "vocab_size": BYTES}
    encoders = {f"{name}_encoder": {"num_tokens": n, "dim": d} for name, (n, d) in SHAPES.items()}
    decoder = {"conditioning_shape": [10, 40], "target_scale": 1.0}
    tuning = {**base.tuning.to_dict(), "gate_start": 1.0}
    return tiny_config(**encoders, language_model=language_model, decoder=decoder, tuning=tuning)


def recordings(count: int = 6) -> list[Recording]:
    rng = np.random.default_rng(0)
    modes, players = ("major", "minor"), ("flute", "piano")
    truths = [
        Attributes(90.0 + 10 * k, "4/4", modes[k % 2], k, "rock", k % 5, k % 2 == 0, "flute", players)
        for k in range(count)
    ]
    return [Recording(rng.random(SHAPES["music"], dtype=np.float32), truth) for truth in truths]


def batches(mix: dict[str, float], seed: int = 0) -> DialogueBatches:
    pieces = [recording.attributes for recording in recordings()]
    texts = ["A slow piano piece with strings.", "Fast rock with drums and a distorted guitar."]
    source = DialogueSource(recordings(), pieces, texts, mix, seed)
    return DialogueBatches(source, ByteTokenizer(), SHAPES, batches=2)


MIXES = {  # every modality occurs in every batch
    "encoder": {"question": 0.3, "picture_caption": 0.7},
    "decoder": {"prompt": 0.75, "description": 0.25},
    "instruct": {"question": 0.2, "edit": 0.2, "picture": 0.3, "video": 0.3},
}


def bridge_task(stage: str, source: Any = None) -> BridgeTask:
    torch.manual_seed(0)
    model = M2UGenModel(bridge_config())
    model.language_model.init_audio_tokens(torch.Generator().manual_seed(0))
    data = source or batches(MIXES[stage])
    return BridgeTask(model, stage, data, data)


def config(folder: Path, steps: int, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {"learning_rate": 5e-3, "learning_rate_factors": {"gate": 5}, "warmup_steps": 2}
    return TrainConfig(output=folder, max_steps=steps, device="cpu", log_every=100, **{**settings, **changes})


@pytest.mark.parametrize("stage", ["encoder", "decoder", "instruct"])
def test_a_stage_changes_its_groups_and_nothing_else(stage: str, tmp_path: Path) -> None:
    task = bridge_task(stage)
    with torch.no_grad():  # what starts at zero hides what it is multiplied with
        for parameter in task.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    before = {name: parameter.detach().clone() for name, parameter in task.model.named_parameters()}
    train(task, config(tmp_path, steps=3))
    changed = {name for name, parameter in task.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == set(task.model.trainable_groups(stage))


@pytest.mark.parametrize("stage", ["encoder", "decoder", "instruct"])
def test_the_loss_of_a_stage_falls(stage: str, tmp_path: Path) -> None:
    task = bridge_task(stage)
    before = task.evaluate()["loss"]
    result = train(task, config(tmp_path, steps=20))
    share = 0.996 if stage == "encoder" else 0.93  # there is little that adapters alone can tell a random Llama
    assert result.best_loss is not None and result.best_loss < share * before


def test_the_projector_alone_learns_on_kept_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "BATCH_SIZE", 8)
    model = bridge_task("decoder").model
    data = batches({"prompt": 0.5, "edit": 0.3, "similar": 0.2})
    task = projector.ProjectorTask(model, data, data, seed=0)
    before = task.evaluate()["loss"]
    result = train(task, config(tmp_path, steps=30))
    assert result.best_loss is not None and result.best_loss < 0.7 * before


class Drums:
    """Are there drums? Only the music tells."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def sample(self, index: int) -> Dialogue:
        rng = np.random.default_rng((self.seed, index))
        drums = bool(rng.random() < 0.5)
        music = 0.05 * rng.random(SHAPES["music"], dtype=np.float32)
        music[6, 67 + int(drums)] = 1.0
        return Dialogue("question", "drums?", "y" if drums else "n", music=music)


def test_answers_come_from_the_music(tmp_path: Path) -> None:
    source = DialogueBatches(Drums(0), ByteTokenizer(), SHAPES, batches=40)  # type: ignore[arg-type]
    task = bridge_task("instruct", source)
    train(task, config(tmp_path, steps=150, learning_rate=1e-2))
    held_out = [Drums(1).sample(index) for index in range(32)]
    swapped = [replace(d, music=held_out[k - 1].music) for k, d in enumerate(held_out)]
    assert accuracy(task, held_out) > 0.95
    assert accuracy(task, swapped) < 0.8


@torch.no_grad()
def accuracy(task: BridgeTask, dialogues: list[Dialogue]) -> float:
    task.model.eval()
    batch = DialogueBatches(Drums(0), ByteTokenizer(), SHAPES).collate(dialogues)  # type: ignore[arg-type]
    hidden = task.model(batch["input_ids"], batch["attention_mask"], features=batch["features"]).hidden_states
    first = (batch["labels"] >= 0).int().argmax(dim=1)
    logits = task.model.language_model.logits(hidden[torch.arange(len(first)), first - 1])
    said = logits[:, [ord("n"), ord("y")]].argmax(dim=1)
    return float(np.mean([bool(s) == (d.reply == "y") for s, d in zip(said.tolist(), dialogues, strict=True)]))
