"""Sharing a model among devices: PyTorch's FSDP 2, as accelerate is configured for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from m2ugen.train.checkpoint import whole

if TYPE_CHECKING:
    from accelerate import Accelerator


def shard(modules: Sequence[nn.Module], accelerator: Accelerator) -> None:
    """Make each of ``modules`` a unit of its own, if accelerate is to shard at all; it makes one of the rest.

    accelerate's own rules find units by size or class, and would take containers that are never called.
    """
    if not accelerator.is_fsdp2:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    plugin: Any = accelerator.state.fsdp_plugin
    for module in modules:
        fully_shard(
            module,
            reshard_after_forward=plugin.reshard_after_forward,
            offload_policy=plugin.cpu_offload,
            mp_policy=plugin.mixed_precision_policy or MixedPrecisionPolicy(),
        )


def is_sharded(parameter: torch.Tensor) -> bool:
    """Whether this process holds a part of ``parameter`` only."""
    return hasattr(parameter, "full_tensor")


def reshard(model: nn.Module) -> None:
    """Give up whole weights that an evaluation left behind: they are copies, which would outlive a change of their
    parts.
    """
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """Whole tensors in a sharded model's place, on the CPU of every process; frozen matrices that are units by
    themselves stay as they are.
    """
    from torch.distributed.fsdp import FSDPModule

    replaced: list[tuple[nn.Module, str, nn.Parameter]] = []
    for module in model.modules():
        own = dict(module.named_parameters(recurse=False))
        leaf = isinstance(module, FSDPModule) and not any(True for _ in module.children())
        if leaf and not any(parameter.requires_grad for parameter in own.values()):
            continue
        replaced += [(module, name, parameter) for name, parameter in own.items() if is_sharded(parameter)]
    for module, name, parameter in replaced:
        module._parameters[name] = nn.Parameter(whole(parameter), requires_grad=parameter.requires_grad)
    try:
        yield
    finally:
        for module, name, parameter in replaced:
            module._parameters[name] = parameter
