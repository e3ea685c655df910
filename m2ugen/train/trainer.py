"""The training loop: every stage of every preset runs through ``train``.

It runs on accelerate (one process, data parallel, or sharded with FSDP 2), fetches batches through torchdata's
stateful loader, and resumes exactly: on the CPU a run that was killed at any moment and started again ends with the
same bits as one that was left alone.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from m2ugen.errors import InputError, MissingExtra
from m2ugen.train import checkpoint as store
from m2ugen.train.batches import Batches
from m2ugen.train.config import TrainConfig, computes_bf16, learning_rate_at
from m2ugen.train.export import export, load_best
from m2ugen.train.guards import NonFiniteLoss, identity, memory_advice
from m2ugen.train.journal import Journal
from m2ugen.train.optimizer import make_optimizer
from m2ugen.train.sharding import is_sharded, reshard, shard, whole_weights
from m2ugen.train.signals import Signals
from m2ugen.train.task import Task

if TYPE_CHECKING:
    from accelerate import Accelerator

LIBRARIES_REMARKS = (".*set_vital.* is deprecated", "Mismatch dtype between input and weight")  # of no use to anybody


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    ``status`` is "finished", "paused" (``max_minutes`` spent) or "interrupted" (SIGTERM, Ctrl-C); the last two go on
    when started again. ``seconds`` is the training time over all resumptions, ``metrics`` are the figures of the last
    evaluation, ``exported`` is the folder of the best weights in the form that the package loads.
    """

    status: str
    step: int
    max_steps: int | None
    seconds: float
    metrics: dict[str, float]
    best_loss: float | None
    best_step: int | None
    exported: Path | None


def train(task: Task, config: TrainConfig) -> TrainResult:
    """Train what ``task`` marks as trainable, resuming from ``config.output`` if a run was begun there.

    When the run finishes or pauses, the best evaluated weights are loaded and exported to ``output/export``. Raises
    InputError when the run in the folder was begun with other settings or another model, NonFiniteLoss when the loss
    leaves the numbers, MissingExtra without accelerate or torchdata.
    """
    # Dropout inside modules knows only torch's global generator: it is seeded in here and given back untouched.
    with torch.random.fork_rng(), Signals() as signals, warnings.catch_warnings():
        for remark in LIBRARIES_REMARKS:
            warnings.filterwarnings("ignore", remark)
        torch.manual_seed(config.seed)
        run = _Run(task, config)
        try:
            return run.go(signals)
        finally:
            run.journal.close()


class _Loss(nn.Module):
    """The task's loss as a module, so that wrappers (data parallel, sharding, autocast) see one forward pass."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self._task = task

    def forward(
        self, batch: dict[str, Any] | None, generator: torch.Generator
    ) -> tuple[torch.Tensor | None, dict[str, float]]:
        """The loss of a batch, or without one the evaluation: sharded weights are whole only in here."""
        return (None, self._task.evaluate()) if batch is None else self._task.loss(batch, generator)


class _Run:
    """The state of one run and what is done with it."""

    def __init__(self, task: Task, config: TrainConfig) -> None:
        try:
            from accelerate import Accelerator
            from accelerate.state import AcceleratorState
        except ImportError as error:
            raise MissingExtra("accelerate", "train") from error
        self.task, self.config = task, config
        self.folder = config.output / "checkpoints"
        if not store.trained_parameters(task.model):
            raise InputError(f"the task {task.name!r} has nothing to train: no parameter requires a gradient")
        on_cpu = config.device == "cpu" or not torch.cuda.is_available()
        self.precision: str = config.mixed_precision
        if self.precision == "auto":
            self.precision = "bf16" if computes_bf16("cpu" if on_cpu else "cuda") else "no"
        AcceleratorState._reset_state()  # else an earlier run in this process would decide the precision of this one
        self.accelerator: Accelerator = Accelerator(
            mixed_precision=self.precision, cpu=config.device == "cpu", step_scheduler_with_optimizer=False
        )
        self.main: bool = self.accelerator.is_main_process
        self.device: torch.device = self.accelerator.device
        self.journal = Journal(config.output, task.name, config.report_to if self.main else (), config.decisive())
        task.model.to(self.device)
        shard(task.shards(), self.accelerator)
        optimizer = make_optimizer(task.model, config, self.device)
        self.forward, self.optimizer = self.accelerator.prepare(_Loss(task), optimizer)
        self.parameters = store.trained_parameters(task.model)
        self.sharded = any(map(is_sharded, self.parameters.values()))
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        self.batches = Batches(task.source, config, rank, world)
        self.generator = torch.Generator(self.device).manual_seed(config.seed * 1009 + rank)
        self.ema = None
        if config.ema_decay is not None:
            self.ema = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.step = 0
        self.max_steps = config.max_steps
        self.seconds = 0.0
        self.metrics: dict[str, float] = {}
        self.best_loss: float | None = None
        self.best_step: int | None = None
        self.window: dict[str, float] = {}  # sums of figures since the last line of the journal
        self._clock = time.monotonic()

    # -- the loop ------------------------------------------------------------------------------------------------

    def go(self, signals: Signals) -> TrainResult:
        self._resume()
        if self.main:
            self.journal.start(self.step, self.max_steps)
        batches = iter(self.batches)
        if self.config.evaluate_first and self.step == 0:
            self._evaluate()
            self.best_loss = self.best_step = None  # there is no checkpoint of it
        self._training_mode()
        self._clock = time.monotonic()
        status = "finished"
        saved = self.step
        while self.max_steps is None or self.step < self.max_steps:
            self._update(batches)
            self._tick()
            calibrated = self._calibrate()
            last = self.step == self.max_steps
            stop = self._agreed(signals.stop)
            pause = not last and self._agreed(
                self.config.max_steps is not None
                and self.config.max_minutes is not None
                and self.seconds >= self.config.max_minutes * 60
            )
            if self.step % self.config.log_every == 0 or last:
                self._log()
            improved = False
            if last or pause or _due(self.step, self.config.evaluate_every):
                improved = self._evaluate()
            if improved or calibrated or stop or pause or last or _due(self.step, self.config.save_every):
                self._save()
                saved = self.step
            if last:
                break
            if stop or pause:
                status = "interrupted" if stop else "paused"
                break
        if self.step != saved:
            self._save()
        exported = self._export() if status != "interrupted" else None
        if self.main:
            self.journal.draw()
            self.journal.say(f"{self.task.name}: {status} at step {self.step} after {self.seconds / 60:.1f} minutes")
        return TrainResult(
            status, self.step, self.max_steps, self.seconds, self.metrics, self.best_loss, self.best_step, exported
        )

    def _update(self, batches: Iterator[tuple[int, int, dict[str, Any]]]) -> None:
        """One step: accumulate gradients, clip, change the weights."""
        config, accelerator = self.config, self.accelerator
        rate = learning_rate_at(config, self.step, self.max_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        where = ""
        for part in range(config.accumulation):
            epoch, index, batch = next(batches)
            where = f"batch {index} of epoch {epoch} (step {self.step}{identity(batch)})"
            if self.device.type != "cpu":
                from accelerate.utils import send_to_device

                batch = send_to_device(batch, self.device, non_blocking=True)
            with ExitStack() as stack:
                stack.enter_context(memory_advice(where, batch))
                if accelerator.num_processes > 1 and part < config.accumulation - 1:
                    stack.enter_context(accelerator.no_sync(self.forward))
                loss, figures = self.forward(batch, self.generator)
                value = loss.item()
                if not math.isfinite(value):
                    raise NonFiniteLoss(f"the loss is {value} on {where}; look at it or lower the learning rate")
                accelerator.backward(loss / config.accumulation)
            for key, figure in {"loss": value, **figures, "batches": 1.0}.items():
                self.window[key] = self.window.get(key, 0.0) + float(figure)
        if config.gradient_clip and accelerator.sync_gradients:
            norm = float(accelerator.clip_grad_norm_(list(self.parameters.values()), config.gradient_clip))
            # with fp16 the scaler skips such steps by itself
            if not math.isfinite(norm) and self.precision != "fp16":
                raise NonFiniteLoss(f"the gradient is {norm} on {where}; look at it or lower the learning rate")
            self.window["gradient_norm"] = self.window.get("gradient_norm", 0.0) + norm * config.accumulation
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None:
            assert config.ema_decay is not None
            # the average of a young run is over its own length, else the first weights linger
            decay = min(config.ema_decay, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    self.ema[name].lerp_(parameter, 1 - decay)
        self.step += 1
        if self.main:
            self.journal.advance(self.step, self.max_steps)

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now

    def _calibrate(self) -> bool:
        """Fix the number of steps of a run that has only minutes, once its pace is known."""
        if self.max_steps is not None:
            return False
        assert self.config.max_minutes is not None
        budget = self.config.max_minutes * 60
        measured = self.step >= max(self.config.warmup_steps, 10) or self.seconds > budget / 4
        if not self._agreed(measured):
            return False
        # all processes must take the same number: the slowest one decides
        pace = self.seconds / self.step
        if self.accelerator.num_processes > 1:
            paces = self.accelerator.gather(torch.tensor([pace], device=self.device, dtype=torch.float32))
            pace = float(paces.max())
        self.max_steps = max(self.step, int(budget / pace))
        if self.main:
            self.journal.say(f"{self.task.name}: {pace:.2f} s a step; the run will have {self.max_steps} steps")
        return True

    def _agreed(self, flag: bool) -> bool:
        """True in all processes as soon as it is in one."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.device)).item() > 0)

    def _training_mode(self) -> None:
        """Training mode, except in modules that are frozen as a whole: their dropout and running statistics rest."""
        self.forward.train()
        for module in self.task.model.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()

    def _log(self) -> None:
        windows = [self.window]
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            windows = gather_object(windows)
        count = sum(window["batches"] for window in windows)
        keys = dict.fromkeys(key for window in windows for key in window if key != "batches")
        figures = {key: sum(window.get(key, 0.0) for window in windows) / count for key in keys}
        self.window = {}
        figures["learning_rate"] = learning_rate_at(self.config, self.step - 1, self.max_steps)
        figures["seconds"] = round(self.seconds, 2)
        if self.main:
            self.journal.record(self.step, "train", figures, self.max_steps)

    # -- evaluation and export -----------------------------------------------------------------------------------

    def _evaluate(self) -> bool:
        """Evaluate; True when the loss is the lowest so far."""
        with self._averaged(), torch.no_grad(), torch.random.fork_rng():
            self.forward.eval()
            figures = self.forward(None, self.generator)[1] if self.sharded else self.task.evaluate()
            if self.sharded:
                reshard(self.forward)
            if self.main and not self.sharded:
                self.task.sample(self.config.output / "samples" / f"step-{self.step:08d}")
        self._training_mode()
        if "loss" not in figures:
            raise InputError(f"the evaluation of {self.task.name!r} gives no 'loss'")
        self.metrics = {key: float(value) for key, value in figures.items()}
        improved = self.best_loss is None or self.metrics["loss"] < self.best_loss
        if improved:
            self.best_loss, self.best_step = self.metrics["loss"], self.step
        if self.main:
            self.journal.record(self.step, "valid", self.metrics, self.max_steps)
            self.journal.draw()
        return improved

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in the model's place, if an average is kept."""
        if self.ema is None:
            yield
            return
        own = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.ema[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(own[name])

    def _export(self) -> Path | None:
        self.accelerator.wait_for_everyone()
        if not self.sharded:
            return export(self.task, self.config.output) if self.main else None
        load_best(self.task, self.config.output)
        with whole_weights(self.task.model):
            if not self.main:
                return None
            folder = self.config.output / "export"
            folder.mkdir(parents=True, exist_ok=True)
            self.task.export(folder)
        return folder

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _save(self) -> None:
        # gathering sharded tensors is everybody's work, writing only the first process'
        weights = store.model_tensors(self.task.model)
        optimizer = store.optimizer_tensors(self.optimizer.optimizer, self.parameters)
        ema = None if self.ema is None else {name: store.whole(tensor) for name, tensor in self.ema.items()}
        scaler = self.accelerator.scaler
        random = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "generator": self.generator.get_state(),
            "batches": self.batches.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        everyone = [random]
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            everyone = gather_object([random])
        if self.main:
            state = {
                "task": self.task.name,
                "settings": self.config.decisive(),
                "max_steps": self.max_steps,
                "seconds": self.seconds,
                "metrics": self.metrics,
                "best_loss": self.best_loss,
                "best_step": self.best_step,
                "window": self.window,
            }
            store.write(self.folder, self.step, weights, optimizer, ema, everyone, state)
            store.prune(self.folder, self.config.keep_last, self.best_step)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        found = store.checkpoints(self.folder)
        if not found:
            return
        newest = found[-1]
        state = store.read_state(newest)
        self._check(state, newest)
        weights, optimizer, ema, everyone = store.read(newest)
        store.load_model_tensors(self.task.model, weights, newest)
        store.load_optimizer_tensors(self.optimizer.optimizer, self.parameters, optimizer)
        if self.ema is not None:
            for name, parameter in self.parameters.items():
                self.ema[name] = store.place((ema or weights)[name], parameter).clone()
        if len(everyone) != self.accelerator.num_processes:
            raise InputError(
                f"the run in {self.config.output} was begun with {len(everyone)} processes and cannot go on with "
                f"{self.accelerator.num_processes}; use as many"
            )
        random = everyone[self.accelerator.process_index]
        self.batches.load_state_dict(random["batches"])
        self.generator.set_state(random["generator"])
        torch.set_rng_state(random["torch"])
        if random["cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"])
        if random["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(random["scaler"])
        self.step, self.seconds, self.window = state["step"], state["seconds"], state["window"]
        self.max_steps = self.config.max_steps or state["max_steps"]
        self.metrics, self.best_loss, self.best_step = state["metrics"], state["best_loss"], state["best_step"]
        if self.main:
            self.journal.say(f"{self.task.name}: resuming at step {self.step}")

    def _check(self, state: dict[str, Any], origin: Path) -> None:
        """Refuse to mix two different runs in a folder."""
        if state["task"] != self.task.name:
            raise InputError(
                f"{origin} is of the task {state['task']!r}, not {self.task.name!r}; choose another output"
            )
        now = self.config.decisive()
        then = state["settings"]
        changed = [f"{key} was {then.get(key)}, is {now[key]}" for key in now if then.get(key) != now[key]]
        if changed and self.config.resume != "force":
            raise InputError(
                f"the run in {self.config.output} was begun with other settings ({'; '.join(changed)}); put them back, "
                "choose another output folder, or set resume to 'force'"
            )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
