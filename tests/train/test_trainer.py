"""The trainer: exact resumption, whole checkpoints, guards and schedule, on a toy task with dropout."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from m2ugen.errors import InputError, MissingExtra
from m2ugen.train import BatchSource, NonFiniteLoss, OutOfMemory, Task, TrainConfig, export, load_best, train
from m2ugen.train.checkpoint import checkpoints, prune
from m2ugen.train.config import learning_rate_at, load_run_file, parse_overrides
from m2ugen.train.stages import STAGES, stage_config

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.training


class ToySource(BatchSource):
    """Points of a fixed linear map; seven batches an epoch, one more in each following epoch."""

    def __init__(self, poison: tuple[int, int] | None = None) -> None:
        self.poison = poison

    def __len__(self) -> int:
        return 7 + self.epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1000 * self.epoch + index)
        x = torch.randn(16, 8, generator=generator)
        if (self.epoch, index) == self.poison:
            x[0, 0] = float("nan")
        return {"x": x, "y": x.cumsum(1), "ids": [f"toy-{self.epoch}-{index}"]}


class ToyTask(Task):
    """A frozen layer, a trained one with dropout and a normalisation with running statistics."""

    name = "toy"

    def __init__(self, pause: float = 0.0, width: int = 32, poison: tuple[int, int] | None = None) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.model = nn.Sequential(
                nn.Linear(8, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.1), nn.Linear(width, 8)
            )
        self.model[0].requires_grad_(False)
        self.source = ToySource(poison)
        self.pause = pause
        self.seen: list[str] = []
        self.evaluations: list[float] | None = None

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        assert not self.model[0].training and self.model[3].training
        self.seen += batch["ids"]
        time.sleep(self.pause)
        noise = 0.01 * torch.randn(batch["x"].shape, generator=generator)
        error = (self.model(batch["x"] + noise) - batch["y"]).square().mean()
        return error, {"root": error.item() ** 0.5}

    def evaluate(self) -> dict[str, float]:
        assert not self.model.training
        if self.evaluations is not None:
            return {"loss": self.evaluations.pop(0)}
        x = torch.randn(64, 8, generator=torch.Generator().manual_seed(99))
        return {"loss": (self.model(x) - x.cumsum(1)).square().mean().item()}

    def export(self, folder: Path) -> None:
        save_file(self.model.state_dict(), folder / "toy.safetensors")


def settings(output: Path, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "output": output,
        "max_steps": 40,
        "learning_rate": 1e-2,
        "warmup_steps": 5,
        "evaluate_every": 10,
        "save_every": 4,
        "log_every": 3,
        "accumulation": 2,
        "ema_decay": 0.9,
        "device": "cpu",
    }
    return TrainConfig(**{**values, **changes})


def last_files(output: Path) -> dict[str, bytes]:
    folder = checkpoints(output / "checkpoints")[-1]
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def start(output: Path, pause: float) -> subprocess.Popen[bytes]:
    """The toy run in a process of its own."""
    program = (
        "import sys; from pathlib import Path; from tests.train.test_trainer import ToyTask, settings;"
        "from m2ugen.train import train; result = train(ToyTask(float(sys.argv[2])), settings(Path(sys.argv[1])));"
        "sys.exit(0 if result.status == 'finished' else 3)"
    )
    command = [sys.executable, "-c", program, str(output), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


def wait_for_step(output: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not any(int(path.name[5:]) >= step for path in checkpoints(output / "checkpoints")):
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = train(ToyTask(), settings(tmp_path / "whole"))
    process = start(tmp_path / "killed", pause=0.02)
    wait_for_step(tmp_path / "killed", 8, process)
    process.kill()
    process.wait()
    reached = checkpoints(tmp_path / "killed" / "checkpoints")[-1].name
    assert reached < "step-00000040"
    resumed = train(ToyTask(), settings(tmp_path / "killed"))
    assert resumed.status == "finished"
    assert resumed.best_loss == whole.best_loss and resumed.metrics == whole.metrics
    assert last_files(tmp_path / "killed") == last_files(tmp_path / "whole")
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps.count(20) == 1  # nothing told twice


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_gives_the_batches_that_were_left(tmp_path: Path, workers: int) -> None:
    whole = ToyTask()
    train(whole, settings(tmp_path / "whole", num_workers=workers))
    first, second = ToyTask(), ToyTask()
    config = settings(tmp_path / "parts", num_workers=workers)

    def stop_after(count: int) -> None:
        original = first.loss

        def counted(batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
            if len(first.seen) + 1 == count:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(batch, generator)

        first.loss = counted  # type: ignore[method-assign]

    stop_after(30)  # step 15 uses up the second epoch's last batch: 7 + 8 batches, two a step, and then one more epoch
    assert train(first, config).status == "interrupted"
    train(second, config)
    assert first.seen + second.seen == whole.seen
    assert whole.seen[:15] == [f"toy-0-{i}" for i in range(7)] + [f"toy-1-{i}" for i in range(8)]


def test_sigterm_saves_and_ends_cleanly(tmp_path: Path) -> None:
    process = start(tmp_path, pause=0.02)
    wait_for_step(tmp_path, 4, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 3
    assert not list((tmp_path / "checkpoints").glob("*.tmp"))
    assert train(ToyTask(), settings(tmp_path)).step == 40


def test_loss_falls_and_the_best_weights_are_exported(tmp_path: Path) -> None:
    task = ToyTask()
    before = task.model[0].weight.clone()
    result = train(task, settings(tmp_path, max_steps=150, evaluate_every=50))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    assert losses[-1] < 0.3 * losses[0]
    assert torch.equal(task.model[0].weight, before)
    assert (tmp_path / "curve.png").exists()
    assert result.exported is not None
    task.model.load_state_dict(load_file(result.exported / "toy.safetensors"))
    task.model.eval()
    assert task.evaluate()["loss"] == result.best_loss  # the averaged weights are what was evaluated


def test_last_two_and_the_best_checkpoint_stay(tmp_path: Path) -> None:
    task = ToyTask()
    task.evaluations = [3.0, 1.0, 2.0, 2.5]
    result = train(task, settings(tmp_path))
    assert (result.best_step, result.metrics["loss"]) == (20, 2.5)
    names = [path.name for path in checkpoints(tmp_path / "checkpoints")]
    assert names == ["step-00000020", "step-00000036", "step-00000040"]
    content = set(load_file(tmp_path / "checkpoints" / names[0] / "weights.safetensors"))
    assert {"4.weight", "4.bias", "1.running_mean"} < content and not any(name.startswith("0.") for name in content)


def test_unfinished_checkpoints_are_ignored_and_removed(tmp_path: Path) -> None:
    train(ToyTask(), settings(tmp_path, max_steps=8))
    partial = tmp_path / "checkpoints" / "step-00000099.tmp"
    partial.mkdir()
    (partial / "weights.safetensors").write_bytes(b"half")
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "step-00000008"
    prune(tmp_path / "checkpoints", keep_last=2, best_step=None)
    assert not partial.exists()


def test_other_settings_are_refused_unless_forced(tmp_path: Path) -> None:
    train(ToyTask(), settings(tmp_path, max_steps=8))
    with pytest.raises(InputError, match=r"learning_rate was 0\.01, is 0\.02"):
        train(ToyTask(), settings(tmp_path, max_steps=8, learning_rate=0.02))
    assert train(ToyTask(), settings(tmp_path, max_steps=8, log_every=1, save_every=1)).step == 8  # not decisive
    assert train(ToyTask(), settings(tmp_path, max_steps=12, resume="force")).step == 12


def test_another_model_is_refused(tmp_path: Path) -> None:
    train(ToyTask(), settings(tmp_path, max_steps=4))
    with pytest.raises(InputError, match="another model"):
        train(ToyTask(width=16), settings(tmp_path, max_steps=4))


def test_a_bad_batch_is_named(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"batch 3 of epoch 1 .*toy-1-3"):
        train(ToyTask(poison=(1, 3)), settings(tmp_path))
    assert all(
        torch.isfinite(t).all()
        for t in load_file(checkpoints(tmp_path / "checkpoints")[-1] / "weights.safetensors").values()
    )


def test_a_run_pauses_when_its_time_is_spent_and_goes_on(tmp_path: Path) -> None:
    paused = train(ToyTask(pause=0.01), settings(tmp_path, max_minutes=0.005))
    assert paused.status == "paused" and paused.step < 40 and paused.exported is not None
    assert train(ToyTask(), settings(tmp_path, max_minutes=5)).status == "finished"


def test_minutes_alone_fix_the_number_of_steps(tmp_path: Path) -> None:
    result = train(ToyTask(pause=0.005), settings(tmp_path, max_steps=None, max_minutes=0.1))
    assert result.max_steps == result.step and 11 <= result.step <= 650
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if line["split"] == "train"]
    assert rates[-1] < 0.1 * max(rates)


def test_the_callers_generator_and_handlers_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    handler = signal.getsignal(signal.SIGTERM)
    train(ToyTask(), settings(tmp_path, max_steps=4))
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))
    assert signal.getsignal(signal.SIGTERM) is handler


def test_runs_in_one_process_may_differ_in_precision(tmp_path: Path) -> None:
    for precision in ("no", "bf16", "no"):
        result = train(
            ToyTask(), settings(tmp_path / precision, max_steps=2, mixed_precision=precision, resume="force")
        )
        assert result.step == 2


def test_schedule(tmp_path: Path) -> None:
    config = settings(tmp_path, max_steps=100, warmup_steps=10, learning_rate=1.0, min_learning_rate_ratio=0.1)
    rates = [learning_rate_at(config, step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0 and rates[100] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.55) and all(math.isfinite(rate) for rate in rates)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_export_of_a_running_or_missing_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        export(ToyTask(), tmp_path)
    train(ToyTask(), settings(tmp_path, max_steps=4))
    assert (export(ToyTask(), tmp_path) / "toy.safetensors").exists()


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown train setting 'learning_rat'"):
        TrainConfig.from_dict({"output": tmp_path, "max_steps": 3, "learning_rat": 1})
    with pytest.raises(InputError, match="needs an end"):
        TrainConfig.from_dict({"output": tmp_path})
    with pytest.raises(InputError, match="accumulation is 0"):
        TrainConfig.from_dict({"output": tmp_path, "max_steps": 3, "accumulation": 0})
    run = tmp_path / "run.yaml"
    run.write_text("stage: toy\ntrain:\n  max_steps: 3\n  learning_rate: 1.0e-3\n")
    assert load_run_file(run)["train"] == {"max_steps": 3, "learning_rate": 1e-3}
    run.write_text("stage: toy\nmodel: big\n")
    with pytest.raises(InputError, match="unknown section 'model'"):
        load_run_file(run)


def test_every_shipped_run_file_is_valid(tmp_path: Path) -> None:
    folder = ROOT / "m2ugen" / "train" / "configs"
    files = sorted(folder.glob("*.yaml"))
    assert files
    for file in files:
        run = load_run_file(file)
        assert run["stage"] in STAGES
        TrainConfig.from_dict({"output": tmp_path, **run["train"]})


def test_stage_settings_can_be_overridden(tmp_path: Path) -> None:
    config = stage_config("nano", "score")
    assert config.max_steps is not None
    assert config.override(output=tmp_path, max_steps=None, seed=None) == config.override(output=tmp_path)
    timed = config.override(max_minutes=5.0)
    assert (timed.max_steps, timed.max_minutes, timed.learning_rate) == (None, 5.0, config.learning_rate)
    with pytest.raises(InputError, match="unknown training stage 'dance'"):
        stage_config("nano", "dance")


def test_a_run_may_begin_with_the_best_weights_of_another(tmp_path: Path) -> None:
    first = ToyTask()
    result = train(first, settings(tmp_path, ema_decay=None))
    second = ToyTask()
    load_best(second, tmp_path)
    second.model.eval()
    assert second.evaluate()["loss"] == result.best_loss
    with pytest.raises(InputError, match="no checkpoint"):
        load_best(second, tmp_path / "elsewhere")


def test_figures_before_the_first_step(tmp_path: Path) -> None:
    task = ToyTask()
    before = task.evaluate
    task.model.eval()
    first = before()["loss"]
    result = train(task, settings(tmp_path, max_steps=4, evaluate_first=True, evaluate_every=0, ema_decay=None))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    valid = [(line["step"], line["loss"]) for line in lines if line["split"] == "valid"]
    assert valid == [(0, first), (4, result.metrics["loss"])] and result.best_step == 4


def test_samples_are_written_with_each_evaluation(tmp_path: Path) -> None:
    task = ToyTask()
    task.sample = lambda folder: folder.mkdir(parents=True)  # type: ignore[method-assign]
    train(task, settings(tmp_path, max_steps=20))
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["step-00000010", "step-00000020"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_missing_memory_comes_with_advice(error: Exception, tmp_path: Path) -> None:
    task = ToyTask()

    def loss(batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        raise error

    task.loss = loss  # type: ignore[method-assign]
    with pytest.raises(OutOfMemory, match=r"batch 0 of epoch 0 .*toy-0-0.*batch_size.*gradient_checkpointing"):
        train(task, settings(tmp_path))


def test_other_errors_are_not_taken_for_missing_memory(tmp_path: Path) -> None:
    task = ToyTask()

    def loss(batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        return self_made(batch), {}

    def self_made(batch: dict[str, Any]) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    task.loss = loss  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(task, settings(tmp_path))


def test_tensorboard_reads_what_a_run_told(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = train(ToyTask(), settings(tmp_path, report_to="tensorboard"))
    events = accumulator.EventAccumulator(str(tmp_path / "m2ugen"))
    events.Reload()
    told = {event.step: event.value for event in events.Scalars("valid/loss")}
    assert sorted(told) == [10, 20, 30, 40] and told[40] == pytest.approx(result.metrics["loss"])


def test_trackers_are_known_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tracker 'diary'.*tensorboard.*wandb"):
        train(ToyTask(), settings(tmp_path, report_to=["diary"]))
    with pytest.raises(MissingExtra, match="aim is not installed"):
        train(ToyTask(), settings(tmp_path, report_to=["aim"]))


def test_overrides_are_nested_and_read_as_yaml() -> None:
    found = parse_overrides(["train.learning_rate=1e-4", "task.material.batch_size=4", "task.material.shares={a: 2}"])
    assert found == {"train": {"learning_rate": 1e-4}, "task": {"material": {"batch_size": 4, "shares": {"a": 2}}}}
    for wrong in ("learning_rate=1", "train.seed", "model.size=3", "train..x=1"):
        with pytest.raises(InputError, match="is not of the form"):
            parse_overrides([wrong])
