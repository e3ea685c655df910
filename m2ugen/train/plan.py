"""What a training would take: memory and time, from a model on the meta device and published speeds of processors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from m2ugen.config import M2UGenConfig
from m2ugen.errors import InputError
from m2ugen.model.modeling import STAGES, M2UGenModel
from m2ugen.train.stages.material import Material, resolve

GIB = 1 << 30
DEVICES = (1, 2, 8, 16)  # GPUs: one, two, a machine, two machines
GPU_FLOPS = 312e12  # an A100's bfloat16 multiply-adds a second, times two (its data sheet)
UTILISATION = 0.35  # of that, which training at this size is known to reach without kernels of its own
OVERHEAD = 1.5 * GIB  # of the driver and the allocator
BYTES = {None: 2.0, "4bit": 0.55}  # a frozen weight's: bfloat16, NF4 with its scales
TRAINED_BYTES = 16  # fp32 weight, gradient and two moments of a trained one
FULL_VOCABULARY_BYTES = 8  # fp32 logits and their gradient
# Activations of a layer that are kept for the backward pass, in bytes per token and unit of width: the input alone
# with gradient checkpointing, else what attention and MLP need (after arXiv 2205.05198, with a fused softmax).
KEPT_CHECKPOINTED, KEPT_WHOLE = 2, 34


@dataclass(frozen=True)
class Plan:
    """Parameters in all and trained ones, the tokens of a step on each device, by number of GPUs the memory of each
    (GiB) and the hours of the run, and what the memory of a single one consists of (GiB).
    """

    preset: str
    stage: str
    parameters: int
    trained: int
    steps: int
    tokens_per_step: int
    memory: dict[int, float]
    hours: dict[int, float]
    parts: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        lines = [
            f"{self.preset}, stage {self.stage}: {self.parameters / 1e6:,.0f} M parameters, "
            f"{self.trained / 1e6:,.1f} M of them trained (encoders and decoder rest: their features are on disk)",
            f"{self.steps:,} steps of at most {self.tokens_per_step:,} tokens on each device",
            *(f"  {name}: {size:.2f} GiB" for name, size in self.parts.items()),
        ]
        lines += [
            f"{n} GPU{'s' if n > 1 else ''}: {self.memory[n]:.1f} GiB each, {self.hours[n]:.1f} h" for n in DEVICES
        ]
        lines.append(
            f"hours: an estimate for {GPU_FLOPS / 1e12:.0f} TFLOPS at {UTILISATION:.0%}, as many samples for all"
        )
        return "\n".join(lines)


def meta_model(config: M2UGenConfig, stage: str) -> M2UGenModel:
    """The model without weights, what ``stage`` trains marked."""
    with torch.device("meta"):
        model = M2UGenModel(config)
    model.train_only(stage)
    return model


def make_plan(preset: str, stage: str, settings: dict[str, Any]) -> Plan:
    """Memory and time of ``stage`` with ``settings`` (sections task and train). Raises InputError for a stage that is
    not one of the paper's, or has no number of steps.
    """
    if stage not in STAGES:
        raise InputError(f"plans are for the paper's stages: {', '.join(STAGES)}")
    material = Material(**settings["task"].get("material", {}))
    steps, accumulation = settings["train"].get("max_steps"), settings["train"].get("accumulation", 1)
    if steps is None:
        raise InputError("a plan needs a number of steps: --set train.max_steps=N")
    config, _ = resolve(preset)
    model = meta_model(config, stage)
    language = config.language_model
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    tokens = material.batch_size * material.max_tokens
    # below the first layer that is trained, or that a trained layer's gradient must pass, nothing is kept
    passed = model.language_model.audio_embeddings.weight.requires_grad
    layers = language.num_hidden_layers - (0 if passed else model.language_model.first_upper)
    kept = KEPT_CHECKPOINTED if material.gradient_checkpointing else KEPT_WHOLE
    activations = layers * tokens * language.hidden_size * kept
    if material.gradient_checkpointing:  # one layer is whole while it is computed again
        activations += tokens * language.hidden_size * KEPT_WHOLE
    logits = tokens * language.vocab_size * FULL_VOCABULARY_BYTES
    shared = frozen * BYTES[material.quantise] + trained * TRAINED_BYTES  # divided among the processes by FSDP
    own = activations + logits + OVERHEAD
    # forward 2, backward 2 for the activations' gradients where they pass, and 2 for trained weights: small here
    per_token = (2 + 2 * layers / language.num_hidden_layers) * (frozen + trained) + 2 * trained
    if material.gradient_checkpointing:
        per_token += 2 * layers / language.num_hidden_layers * frozen
    seconds = steps * accumulation * tokens * per_token / (GPU_FLOPS * UTILISATION)
    return Plan(
        preset,
        stage,
        frozen + trained,
        trained,
        steps,
        tokens * accumulation,
        {count: round((shared / count + own) / GIB, 2) for count in DEVICES},
        {count: round(seconds / 3600 / count, 2) for count in DEVICES},
        {
            "frozen weights": frozen * BYTES[material.quantise] / GIB,
            "trained weights, gradients, moments": trained * TRAINED_BYTES / GIB,
            "activations": activations / GIB,
            "logits": logits / GIB,
        },
    )
