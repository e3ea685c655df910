"""The settings of a training run, and their YAML form."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from m2ugen.config import merged
from m2ugen.errors import InputError

# What decides the numbers that a run computes. Anything else (where it writes, how often it reports, how long it may
# take, how batches are fetched) may change between the runs that share an output folder.
DECISIVE = (
    "max_steps",
    "learning_rate",
    "learning_rate_factors",
    "warmup_steps",
    "min_learning_rate_ratio",
    "weight_decay",
    "betas",
    "epsilon",
    "gradient_clip",
    "accumulation",
    "ema_decay",
    "mixed_precision",
    "seed",
)

RUN_FACTS = ("preset", "data", "init", "version")  # what a run's own file says beside its settings


@dataclass
class TrainConfig:
    """Settings of the one training loop.

    A *step* is one update of the weights; it consumes ``accumulation`` batches in every process. The learning rate
    rises linearly over ``warmup_steps``, then falls along a cosine to ``min_learning_rate_ratio`` times its peak at
    ``max_steps``. It is a function of the step alone, never of the clock.

    With ``max_minutes`` beside ``max_steps`` the run pauses when that much training time (summed over resumptions)
    is spent; a later run with more minutes goes on. With ``max_minutes`` alone the pace measured during the warm-up
    fixes ``max_steps`` once; the finishing time is then an estimate, but the schedule is complete.
    """

    output: Path
    max_steps: int | None = None
    max_minutes: float | None = None
    learning_rate: float = 3e-4
    learning_rate_factors: dict[str, float] = field(default_factory=dict)  # by words of parameters' names
    warmup_steps: int = 50
    min_learning_rate_ratio: float = 0.05
    weight_decay: float = 0.01  # matrices only; biases, norms and gates (tensors of at most one dimension) are spared
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    gradient_clip: float = 1.0  # largest global norm; 0 turns clipping off
    accumulation: int = 1
    ema_decay: float | None = None  # e.g. 0.999; evaluation, best weights and export then use the running average
    mixed_precision: Literal["no", "bf16", "fp16", "auto"] = "no"  # "auto": bf16 where the processor computes in it
    device: Literal["auto", "cpu"] = "auto"
    seed: int = 0
    evaluate_every: int = 500  # steps; 0: only at the end
    save_every: int = 500  # steps; 0: only with the best evaluation, on interruption and at the end
    log_every: int = 20  # steps
    keep_last: int = 2  # checkpoints kept beside the best one
    num_workers: int = 0  # processes that fetch batches
    evaluate_first: bool = False  # also before the first step, so that the change can be seen
    report_to: tuple[str, ...] = ()  # trackers by the names that accelerate knows: tensorboard, wandb, trackio …
    resume: Literal["auto", "force"] = "auto"  # "force" goes on although decisive settings have changed

    def __post_init__(self) -> None:
        self.output = Path(self.output)
        self.report_to = (self.report_to,) if isinstance(self.report_to, str) else tuple(self.report_to)
        self.betas = (float(self.betas[0]), float(self.betas[1]))
        if self.max_steps is None and self.max_minutes is None:
            raise InputError("a training run needs an end: set max_steps, max_minutes or both")
        checks = (
            ("max_steps", self.max_steps is None or self.max_steps >= 1, "at least 1"),
            ("max_minutes", self.max_minutes is None or self.max_minutes > 0, "above 0"),
            ("learning_rate", self.learning_rate > 0 and math.isfinite(self.learning_rate), "above 0"),
            ("learning_rate_factors", all(f > 0 for f in self.learning_rate_factors.values()), "all above 0"),
            ("warmup_steps", self.warmup_steps >= 0, "at least 0"),
            ("min_learning_rate_ratio", 0 <= self.min_learning_rate_ratio <= 1, "in 0-1"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers in 0-1"),
            ("gradient_clip", self.gradient_clip >= 0, "at least 0"),
            ("accumulation", self.accumulation >= 1, "at least 1"),
            ("ema_decay", self.ema_decay is None or 0 < self.ema_decay < 1, "in 0-1, or none"),
            ("mixed_precision", self.mixed_precision in ("no", "bf16", "fp16", "auto"), "no, bf16, fp16 or auto"),
            ("device", self.device in ("auto", "cpu"), "auto or cpu"),
            ("evaluate_every", self.evaluate_every >= 0, "at least 0"),
            ("save_every", self.save_every >= 0, "at least 0"),
            ("log_every", self.log_every >= 1, "at least 1"),
            ("keep_last", self.keep_last >= 1, "at least 1"),
            ("num_workers", self.num_workers >= 0, "at least 0"),
            ("resume", self.resume in ("auto", "force"), "auto or force"),
        )
        for name, fine, wanted in checks:
            if not fine:
                raise InputError(f"train setting {name} is {getattr(self, name)!r}; it must be {wanted}")

    def decisive(self) -> dict[str, Any]:
        """The settings that must not change when a run is resumed, as JSON values."""
        values = {name: getattr(self, name) for name in DECISIVE}
        return {**values, "betas": list(self.betas)}

    def plain(self) -> dict[str, Any]:
        """All settings but the output folder, as YAML values."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "output"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def override(self, **changes: Any) -> TrainConfig:
        """A copy with other values; None leaves a setting as it is. Minutes without steps choose the steps."""
        given = {name: value for name, value in changes.items() if value is not None}
        if "max_minutes" in given and "max_steps" not in given:
            given["max_steps"] = None
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return TrainConfig.from_dict({**own, **given})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Build from plain values; raises InputError for a name that is not a setting or a value of a wrong kind."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(f"unknown train setting {unknown[0]!r}; known are: {', '.join(sorted(known))}")
        if "output" not in values:
            raise InputError("a training run needs an output folder: set output")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise InputError(f"a train setting has a value of the wrong kind: {error}") from error


def computes_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether bfloat16 is native to ``device``; a CPU that only emulates it is many times slower than in float32."""
    if torch.device(device).type == "cpu":
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return torch.cuda.is_bf16_supported(including_emulation=False)


def learning_rate_at(config: TrainConfig, step: int, max_steps: int | None) -> float:
    """Learning rate of 0-based ``step``; the peak after the warm-up while ``max_steps`` is not yet known."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if max_steps is None:
        return config.learning_rate
    progress = min(1.0, (step - config.warmup_steps) / max(1, max_steps - config.warmup_steps))
    low = config.min_learning_rate_ratio
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))


def load_run_file(path: Path) -> dict[str, Any]:
    """Read a run description: YAML with ``stage`` (name), ``task`` (its arguments) and ``train`` (TrainConfig), as
    shipped, or as it stands beside a run's checkpoints. Raises InputError where the file cannot be used.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"cannot read the run file {path}: {error}".replace("\n", " ")) from error
    if not isinstance(content, dict) or not isinstance(content.get("stage"), str):
        raise InputError(f"the run file {path} must be a mapping that names its 'stage'")
    unknown = sorted(set(content) - {"stage", "task", "train", *RUN_FACTS})
    if unknown:
        raise InputError(f"the run file {path} has an unknown section {unknown[0]!r}; known are stage, task, train")
    return {"stage": content["stage"], "task": content.get("task") or {}, "train": content.get("train") or {}}


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """``["train.seed=3", "task.material.batch_size=4"]`` as nested sections ``train`` and ``task``; values are YAML.

    Raises InputError for another form.
    """
    import yaml

    sections: dict[str, Any] = {"train": {}, "task": {}}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        keys = name.strip().split(".")
        if not sign or len(keys) < 2 or keys[0] not in sections or not all(keys):
            raise InputError(f"{assignment!r} is not of the form train.NAME=VALUE or task.NAME=VALUE")
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"the value in {assignment!r} is not YAML") from error
        if isinstance(value, str) and _is_number(value):
            value = float(value)  # YAML wants 1.0e-4 where people write 1e-4
        for key in reversed(keys):
            value = {key: value}
        sections = merged(sections, value)
    return sections


def save_run_file(path: Path, content: Mapping[str, Any]) -> None:
    """Write a run's description as YAML, complete or not at all."""
    import yaml

    from m2ugen.media.files import atomic_output

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path, (".yaml",)) as temporary:
        temporary.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
