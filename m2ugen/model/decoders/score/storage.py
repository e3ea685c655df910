"""The score decoder's files: ``score.safetensors`` with both networks in half precision, ``score.json`` beside it.

The two networks are trained apart; each training writes its half and leaves the other one as it is.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from m2ugen.errors import InputError, MissingWeights
from m2ugen.media.files import atomic_output
from m2ugen.model.decoders.score.config import PlayerConfig, SamplingConfig, ScoreConfig
from m2ugen.weights import save_tensors

if TYPE_CHECKING:
    from m2ugen.model.decoders.score.note_player import NotePlayer
    from m2ugen.model.decoders.score.plan_writer import PlanWriter

WEIGHTS, CONFIG = "score.safetensors", "score.json"
PLAYER, WRITER = "note_player", "plan_writer"  # names of the halves: prefixes of the tensors


def read_config(folder: Path) -> ScoreConfig:
    """The settings in ``folder``. Raises MissingWeights if there are none, InputError if they cannot be read."""
    path = Path(folder) / CONFIG
    if not path.exists():
        raise MissingWeights(f"there is no score decoder in {folder}: {CONFIG} is missing; reinstall m2ugen")
    try:
        return ScoreConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def store_half(folder: Path, name: str, model: NotePlayer | PlanWriter, sampling: SamplingConfig | None = None) -> None:
    """Write one network (``name`` is PLAYER or WRITER) into ``folder``, keeping the other one if it is there, and the
    ``sampling`` settings if any are given."""
    import torch
    from safetensors.torch import load_file

    folder = Path(folder)
    weights, config = folder / WEIGHTS, ScoreConfig()
    tensors: dict[str, torch.Tensor] = {}
    if weights.exists() and (folder / CONFIG).exists():
        config = read_config(folder)
        tensors = {key: value for key, value in load_file(weights).items() if not key.startswith(name + ".")}
    for key, value in model.state_dict().items():
        tensors[f"{name}.{key}"] = value.detach().to(torch.float16)
    if isinstance(model.config, PlayerConfig):
        config = replace(config, player=model.config)
    else:
        config = replace(config, writer=model.config)
    if sampling is not None:
        config = replace(config, sampling=sampling)
    save_tensors(weights, tensors)
    with atomic_output(folder / CONFIG, (".json",)) as temporary:
        temporary.write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")


def load_half(folder: Path, name: str, model: NotePlayer | PlanWriter) -> None:
    """Load one network in full precision. Raises MissingWeights if the file or this half of it is missing."""
    from safetensors.torch import load_file

    path = Path(folder) / WEIGHTS
    if not path.exists():
        raise MissingWeights(f"there is no score decoder in {folder}: {WEIGHTS} is missing; reinstall m2ugen")
    prefix = name + "."
    tensors = {
        key.removeprefix(prefix): value.float() for key, value in load_file(path).items() if key.startswith(prefix)
    }
    own = model.state_dict()
    wrong = [key for key in own if key not in tensors or tensors[key].shape != own[key].shape]
    if wrong:
        raise MissingWeights(f"{path} does not hold a fitting {name} ({wrong[0]}); reinstall m2ugen or train it")
    model.load_state_dict(tensors)
