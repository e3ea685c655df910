"""The paper's stages on published layouts: what changes, that the loss falls, mixed batches, exact resuming."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from m2ugen.data.paper.features import FeatureStore
from m2ugen.errors import InputError
from m2ugen.model.modeling import M2UGenModel
from m2ugen.pipeline import M2UGen
from m2ugen.train import TrainConfig, train
from m2ugen.train.checkpoint import checkpoints
from m2ugen.train.stages import material
from m2ugen.train.stages.bridge import BridgeTask
from m2ugen.train.stages.material import SampleBatches, build
from tests.data.paper.sets import write_song

ROOT = Path(__file__).resolve().parents[2]
STAGE_SETS = {
    "encoder": ("mucaps", "coco", "muvideo"),
    "decoder": ("mucaps",),
    "instruct": ("musicqa", "alpaca", "muimage", "muvideo", "muedit"),
}
pytestmark = pytest.mark.training


def make_task(twin: Path, sets: Path, stage: str, **settings: Any) -> BridgeTask:
    values: dict[str, Any] = {"batch_size": 4, "held_out": 0.2, "max_tokens": 2000, "features": str(sets / "features")}
    return build(str(twin), [sets / name for name in STAGE_SETS[stage]], None, 0, stage, **{**values, **settings})


def config(folder: Path, steps: int, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {"learning_rate": 5e-3, "warmup_steps": 2, "log_every": 100}
    return TrainConfig(output=folder, max_steps=steps, device="cpu", **{**settings, **changes})


def stir(model: M2UGenModel) -> None:
    """What starts at zero hides what it is multiplied with."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(kind in name for kind in ("gate", "lora", "prefix", "bias")):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("stage", list(STAGE_SETS))
def test_a_stage_changes_its_groups_and_nothing_else(stage: str, twin: Path, sets: Path, tmp_path: Path) -> None:
    task = make_task(twin, sets, stage)
    stir(task.model)
    before = {name: parameter.detach().clone() for name, parameter in task.model.named_parameters()}
    start = task.evaluate()["loss"]
    result = train(task, config(tmp_path, steps=8))
    changed = {name for name, parameter in task.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == set(task.model.trainable_groups(stage))
    assert result.best_loss is not None and result.best_loss < (0.998 if stage == "encoder" else 0.97) * start


def test_modalities_mix_in_a_batch_and_do_not_disturb_one_another(twin: Path, sets: Path) -> None:
    task = make_task(twin, sets, "instruct", batch_size=64)
    stir(task.model)
    assert isinstance(task.source, SampleBatches)
    batch = task.source[0]
    assert all(0 < int(batch["present"][name].sum()) < len(batch["input_ids"]) for name in ("music", "image", "video"))
    task.model.eval().requires_grad_(False)
    together = task._forward(batch)
    singles = [task._forward({**alone, "ids": None}) for alone in map(alone_in(task), range(len(batch["input_ids"])))]
    counts = [int((batch["labels"][k, 1:] >= 0).sum()) for k in range(len(singles))]
    losses = [float(single.cross_entropy) for single in singles if single.cross_entropy is not None]
    assert together.cross_entropy is not None
    assert float(together.cross_entropy) == pytest.approx(float(np.average(losses, weights=counts)), rel=1e-4)
    errors = [float(s.conditioning_error) for s in singles if s.conditioning_error is not None]
    assert together.conditioning_error is not None
    assert float(together.conditioning_error) == pytest.approx(float(np.mean(errors)), rel=1e-4)


def alone_in(task: BridgeTask) -> Any:
    """Gives the rows of the first batch as batches of one, in their order."""
    source = task.source
    assert isinstance(source, SampleBatches)
    places = source._batches()[0]

    def one(row: int) -> dict[str, Any]:
        single = SampleBatches(
            [source.items[places[row]]], source.store, source.tokenizer, source.shapes, source.prompt_format, 1
        )
        return single[0]

    return one


def test_batches_are_of_one_length_and_every_sample_comes_once(twin: Path, sets: Path) -> None:
    source = make_task(twin, sets, "instruct", batch_size=2).source
    assert isinstance(source, SampleBatches)
    epochs = []
    for epoch in range(2):
        source.set_epoch(epoch)
        batches = source._batches()
        assert sorted(place for batch in batches for place in batch) == list(range(len(source.items)))
        lengths = [[source.items[place].length for place in batch] for batch in batches]
        spread = np.mean([max(batch) - min(batch) for batch in lengths])
        everything = [item.length for item in source.items]
        assert spread < 0.3 * (max(everything) - min(everything))
        epochs.append(batches)
    assert epochs[0] != epochs[1]
    source.set_epoch(0)
    assert source._batches() == epochs[0]


def test_shares_decide_how_often_a_set_comes(twin: Path, sets: Path) -> None:
    source = make_task(twin, sets, "instruct", shares={"alpaca": 2.0, "muimage": 0.5}).source
    assert isinstance(source, SampleBatches)
    seen = [source.items[place].sample.origin for batch in source._batches() for place in batch]
    own = [item.sample.origin for item in source.items]
    assert seen.count("alpaca") == 2 * own.count("alpaca")
    assert seen.count("muimage") == max(round(own.count("muimage") / 2), 1)
    assert seen.count("musicqa") == own.count("musicqa")
    with pytest.raises(InputError, match="shares name the set 'mucap'"):
        len(make_task(twin, sets, "instruct", shares={"mucap": 2.0}).source)


def test_features_are_computed_once(twin: Path, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_task(twin, sets, "instruct")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(material.FrozenParts, "_encode_together", refuse)
    monkeypatch.setattr("m2ugen.model.decoders.musicgen.decoder.MusicGenDecoder.encode_text", refuse)
    task = make_task(twin, sets, "instruct")
    assert task.report is not None and not task.report.left_out


def test_targets_are_the_decoders_text_states(twin: Path, sets: Path) -> None:
    task = make_task(twin, sets, "decoder", batch_size=64)
    batch = task.source[0]
    from m2ugen.model.registry import load_component

    decoder: Any = load_component(task.model.config.decoder, twin)  # type: ignore[arg-type]
    assert isinstance(task.source, SampleBatches)
    captions = [task.source.items[place].sample.caption for place in task.source._batches()[0]]
    torch.testing.assert_close(batch["targets"], decoder.encode_text(captions), atol=2e-3, rtol=2e-3)


def test_a_song_that_cannot_be_decoded_is_left_out(twin: Path, sets: Path, tmp_path: Path) -> None:
    for k in range(8):
        write_song(tmp_path / "songs" / f"calm tune {'abcdefgh'[k]}.wav", k)
    (tmp_path / "songs" / "broken tune.wav").write_bytes(b"RIFF nothing")
    places = [tmp_path / "songs"]
    task = build(str(twin), places, None, 0, "encoder", features=str(tmp_path / "features"), max_tokens=2000)
    assert task.report is not None and task.report.left_out.total() == 1
    assert "broken tune.wav" in next(iter(task.report.names.values()))[0]
    with pytest.raises(InputError, match="longer than max_tokens"):
        build(str(twin), places, None, 0, "encoder", features=str(tmp_path / "features"), max_tokens=16)


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write features"):
        FeatureStore(tmp_path / "file" / "below").put("key", torch.zeros(1))


def test_what_is_trained_can_be_loaded_and_heard(twin: Path, sets: Path, tmp_path: Path) -> None:
    task = make_task(twin, sets, "instruct", samples=2)
    result = train(task, config(tmp_path, steps=2))
    folder = tmp_path / "samples" / "step-00000002"
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [answer["audio"] for answer in answers] == ["0.wav", None]
    assert soundfile.info(folder / "0.wav").duration > 1
    assert result.exported is not None
    loaded = M2UGen.from_pretrained(result.exported, quantise=None)
    own = task.model.trained_state()
    for name, tensor in loaded.model.trained_state().items():
        torch.testing.assert_close(tensor, own[name], atol=2e-3, rtol=2e-3)
    assert loaded.generate("a song", duration=1, seed=1).audio is not None


def test_gradient_checkpointing_changes_memory_only(twin: Path, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for checkpointed in (False, True):
        task = make_task(twin, sets, "instruct", gradient_checkpointing=checkpointed)
        stir(task.model)
        task.model.train()
        calls: list[int] = []
        first = task.model.language_model.layers[-1].get_submodule("mlp")
        first.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        loss, _ = task.loss(task.source[0], torch.Generator())
        loss.backward()
        found.append({n: p.grad for n, p in task.model.named_parameters() if p.grad is not None})
        assert len(calls) == 1 + checkpointed  # computed again on the way back
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])


@pytest.mark.slow
def test_a_killed_run_on_sets_ends_with_the_same_bits(twin: Path, sets: Path, tmp_path: Path, one_thread: None) -> None:
    arguments = [str(twin), str(sets)]
    program = (
        "import sys, torch; torch.set_num_threads(1); from pathlib import Path;"
        "from tests.train.test_material_stages import resumable; resumable(*map(Path, sys.argv[1:]))"
    )
    resumable(twin, sets, tmp_path / "whole")
    command = [sys.executable, "-c", program, *arguments, str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not checkpoints(tmp_path / "killed" / "checkpoints"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert checkpoints(tmp_path / "killed" / "checkpoints")[-1].name < "step-00000012"
    resumable(twin, sets, tmp_path / "killed")
    whole, killed = (checkpoints(tmp_path / name / "checkpoints")[-1] for name in ("whole", "killed"))
    for name in ("weights.safetensors", "optimizer.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    assert load_file(whole / "weights.safetensors")


def resumable(twin: Path, sets: Path, output: Path) -> None:
    task = make_task(twin, sets, "instruct", batch_size=3, gradient_checkpointing=True)
    train(task, config(output, steps=12, save_every=1, evaluate_every=5, keep_last=2, accumulation=2))


def test_a_4_bit_base_learns(twin: Path, sets: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    task = make_task(twin, sets, "instruct", quantise="4bit")
    base = task.model.language_model.layers[0].get_submodule("self_attn.q_proj.base")
    assert type(base).__name__ == "Linear4bit"
    frozen = base.get_parameter("weight").clone()
    before = task.evaluate()["loss"]
    result = train(task, config(tmp_path, steps=6))
    assert result.best_loss is not None and result.best_loss < 0.97 * before
    assert torch.equal(base.get_parameter("weight"), frozen)
    saved = load_file(checkpoints(tmp_path / "checkpoints")[-1] / "weights.safetensors")
    assert set(saved) == set(task.model.trainable_groups("instruct"))
