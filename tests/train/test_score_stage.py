"""The trainings of the score decoder on small arrangements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from m2ugen.errors import InputError
from m2ugen.model.decoders.score import ScoreDecoder
from m2ugen.score.attributes import MULTI_SLOTS, SLOT_NAMES
from m2ugen.train.stages import score
from m2ugen.train.stages.score import Arrangements, NotesSource, NotesTask, PlanTask, partial_conditioning
from m2ugen.train.task import Task
from tests.model.decoders.score.helpers import TINY, example_notes, example_plan


def write_shard(folder: Path, split: str, number: int = 0, count: int = 6) -> None:
    """``count`` arrangements of the example plan in several metres, as ``m2ugen data`` writes them."""
    items = [example_plan(("4/4", "3/4", "6/8")[i % 3], ("major", "minor")[i % 2], i % 2 == 0) for i in range(count)]
    notes = [example_notes(plan, seed).astype(np.int16) for seed, plan in enumerate(items)]
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    stem = folder / "scores" / f"{split}-{number:04d}"
    lines = [json.dumps({"id": str(i), "plan": plan.to_dict()}) for i, plan in enumerate(items)]
    stem.with_suffix(".jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.savez(stem.with_suffix(".npz"), notes=np.concatenate(notes), offsets=np.cumsum([0, *map(len, notes)]))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in ("train", "valid"):
        write_shard(tmp_path, split)
    return tmp_path


def train_a_little(task: Task, steps: int) -> tuple[float, float]:
    """Held-out loss before and after a few steps."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    before = task.evaluate()["loss"]
    for step in range(steps):
        loss, _ = task.loss(task.source[step % len(task.source)], generator)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return before, task.evaluate()["loss"]


def test_notes_are_learnt(data: Path) -> None:
    before, after = train_a_little(NotesTask(data, config=TINY.player), 25)
    assert after < 0.6 * before


def test_plans_are_learnt(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "PLANS_PER_BATCH", 4)
    before, after = train_a_little(PlanTask(data, config=TINY.writer), 25)
    assert after < 0.6 * before


def test_both_exports_make_a_decoder(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    notes = NotesTask(data, config=TINY.player)
    notes.export(folder)
    PlanTask(data, config=TINY.writer).export(folder)
    decoder = ScoreDecoder.from_pretrained(folder)
    assert decoder.config == TINY
    torch.testing.assert_close(decoder.note_player.rows, notes.model.rows, rtol=1e-3, atol=1e-3)


def test_batches_depend_on_epoch_and_index_alone(data: Path) -> None:
    first, second = (NotesSource(Arrangements(data, "train"), seed=3) for _ in range(2))
    second.set_epoch(1)
    second.set_epoch(0)
    for index in range(len(first)):
        for name, value in first[index].items():
            assert torch.equal(value, second[index][name])
        assert first[index]["rows"].shape[0] * first[index]["rows"].shape[1] <= 1.2 * score.BATCH_POSITIONS


def test_new_shards_are_seen_at_the_next_epoch(data: Path) -> None:
    source = NotesSource(Arrangements(data, "train"), seed=0)
    before = len(source)
    for number in range(1, 4):
        write_shard(data, "train", number)
    assert len(source) == before
    source.set_epoch(1)
    assert len(source) > before


def test_missing_and_broken_material(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no arrangements"):
        NotesTask(tmp_path / "nowhere")
    path = data / "scores" / "train-0000.jsonl"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")
    with pytest.raises(InputError, match="build it again"):
        NotesTask(data)


def test_partial_conditioning_is_made_of_probabilities() -> None:
    rng = np.random.default_rng(0)
    attributes = example_plan().attributes()
    matrices = np.stack([partial_conditioning(attributes, rng) for _ in range(200)])
    assert matrices.min() >= 0
    assert matrices.max() <= 1.0 + 1e-6
    single = [slot for slot, name in enumerate(SLOT_NAMES) if name not in MULTI_SLOTS]
    np.testing.assert_allclose(matrices[:, single].sum(axis=2), 1.0, atol=1e-4)
    unspecified = (matrices[:, single, 0] > 0.5).mean()
    assert 0.2 < unspecified < 0.8
