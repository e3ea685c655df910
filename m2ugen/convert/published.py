"""Checkpoints of the published M²UGen and MU-LLaMA implementations, as whole state dicts.

``{"model": state_dict}`` in a pickle, read without running code. Keys of frozen parts (``mert_model.`` and the like)
are left to those parts' own sources.
"""

from __future__ import annotations

from pathlib import Path

import torch

from m2ugen.config import M2UGenConfig
from m2ugen.convert.names import FROZEN, convert_tensor
from m2ugen.convert.sources import CheckpointFile


def read_published(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a published checkpoint by their published names, without ``module.`` prefixes.

    Raises InputError when the file is not such a checkpoint.
    """
    file = CheckpointFile(Path(path))
    return {name: file.read(name) for name in file.tensors}


def convert_published(state: dict[str, torch.Tensor], config: M2UGenConfig) -> dict[str, torch.Tensor]:
    """``state`` with published names → a (partial) state of M2UGenModel of the sizes in ``config``.

    Raises InputError for names that are not known.
    """
    converted: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith(FROZEN):
            converted.update(convert_tensor(name, tensor, config))
    return converted
