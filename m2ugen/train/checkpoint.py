"""Checkpoints of a training run: written whole or not at all, holding what is trained and nothing that is frozen.

A checkpoint is a folder ``step-NNNNNNNN`` with ``weights.safetensors`` (trained parameters and the buffers beside
them), ``optimizer.safetensors``, ``ema.safetensors`` where an average is kept, ``random.pt`` (generators and data
loader) and ``state.json``. It is written under another name, flushed to the disk and renamed, so a run killed at any
moment leaves either the whole folder or one that is ignored and cleaned away.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from m2ugen.errors import InputError

FORMAT = 1
_NAME = re.compile(r"step-(\d{8})")
Tensors = dict[str, torch.Tensor]


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints under ``folder``, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and _NAME.fullmatch(path.name))


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters with ``requires_grad``, by name; shared ones appear once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def trained_buffers(model: nn.Module) -> Tensors:
    """Persistent buffers of the modules that own a trained parameter (running statistics of a trained norm, say)."""
    found: Tensors = {}
    for prefix, module in model.named_modules():
        if not any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            continue
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                found[f"{prefix}.{name}" if prefix else name] = buffer
    return found


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The full tensor on the CPU, gathered from all processes where it is sharded."""
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu().contiguous()


@torch.no_grad()
def place(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``value`` sharded over the processes as ``target`` is, or on its device."""
    value = value.to(target.device)
    if hasattr(target, "full_tensor"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(target, DTensor)
        return distribute_tensor(value, target.device_mesh, target.placements)
    return value


def model_tensors(model: nn.Module) -> Tensors:
    """Trained parameters and their buffers, whole and on the CPU."""
    return {name: whole(tensor) for name, tensor in {**trained_parameters(model), **trained_buffers(model)}.items()}


@torch.no_grad()
def load_model_tensors(model: nn.Module, tensors: Tensors, origin: Path) -> None:
    """Copy tensors into the model; raises InputError unless names and shapes are those of its trained part."""
    own = {**trained_parameters(model), **trained_buffers(model)}
    for name in sorted(own.keys() ^ tensors.keys()):
        side = "lacks" if name in own else "has the extra tensor"
        raise InputError(
            f"the checkpoint {origin} {side} {name!r}: it is of another model; choose another output folder"
        )
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise InputError(
                f"the checkpoint {origin} has {name!r} of shape {list(tensors[name].shape)}, the model "
                f"{list(tensor.shape)}: it is of another model; use another output"
            )
        tensor.copy_(place(tensors[name], tensor))


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]) -> Tensors:
    """State of the optimiser as ``parameter name/state name`` → tensor."""
    return {
        f"{name}/{key}": whole(torch.as_tensor(value))
        for name, parameter in parameters.items()
        for key, value in (optimizer.state.get(parameter) or _state_of_nothing(parameter)).items()
    }


def _state_of_nothing(parameter: nn.Parameter) -> Tensors:
    """What AdamW would keep for a parameter of which this process holds no element: its part in gathering what others
    hold. For any other parameter nothing.
    """
    if not hasattr(parameter, "to_local") or parameter.to_local().numel():
        return {}
    moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
    return {"step": torch.zeros(()), **moments}


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], tensors: Tensors
) -> None:
    """The inverse of ``optimizer_tensors``."""
    optimizer.state.clear()
    for full_name, value in tensors.items():
        name, key = full_name.rsplit("/", 1)
        parameter = parameters[name]
        # the step counter is a scalar that stays where the optimiser made it; moments live as their parameter does
        fused = optimizer.defaults.get("fused", False)
        kept = value.to(parameter.device) if key == "step" and fused else value if key == "step" else None
        optimizer.state[parameter][key] = place(value, parameter) if kept is None else kept


def write(
    folder: Path,
    step: int,
    weights: Tensors,
    optimizer: Tensors,
    ema: Tensors | None,
    random: Any,
    state: dict[str, Any],
) -> Path:
    """Write a checkpoint atomically and give its folder."""
    final = folder / f"step-{step:08d}"
    partial = folder / f"{final.name}.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(weights, partial / "weights.safetensors")
    save_file(optimizer, partial / "optimizer.safetensors")
    if ema is not None:
        save_file(ema, partial / "ema.safetensors")
    torch.save(random, partial / "random.pt")
    (partial / "state.json").write_text(json.dumps({"format": FORMAT, "step": step, **state}, indent=1))
    for path in partial.iterdir():
        _flush(path)
    _flush(partial)
    if final.exists():  # only when a forced or repeated run comes by the same step again
        shutil.rmtree(final)
    partial.rename(final)
    _flush(folder)
    return final


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The plain part of a checkpoint; raises InputError for another format."""
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text())
    if state.get("format") != FORMAT:
        raise InputError(f"the checkpoint {checkpoint} has format {state.get('format')}, this version reads {FORMAT}")
    return state


def read(checkpoint: Path) -> tuple[Tensors, Tensors, Tensors | None, Any]:
    """Weights, optimiser state, average (or None) and random state of a checkpoint."""
    ema = checkpoint / "ema.safetensors"
    return (
        load_file(checkpoint / "weights.safetensors"),
        load_file(checkpoint / "optimizer.safetensors"),
        load_file(ema) if ema.exists() else None,
        torch.load(checkpoint / "random.pt", weights_only=True),
    )


def prune(folder: Path, keep_last: int, best_step: int | None) -> None:
    """Remove unfinished checkpoints and all but the last ``keep_last`` and the best."""
    for path in folder.glob("step-*.tmp"):
        shutil.rmtree(path)
    for path in checkpoints(folder)[:-keep_last]:
        if path.name != f"step-{-1 if best_step is None else best_step:08d}":
            # renamed first, so that a kill in the middle of the removal leaves nothing that looks whole
            doomed = path.rename(path.with_name(f"{path.name}.tmp"))
            shutil.rmtree(doomed)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
