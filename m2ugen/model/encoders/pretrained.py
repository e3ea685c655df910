"""Folders in Hugging Face's format: configuration, preprocessing and weights, read without running anyone's code."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedConfig

from m2ugen.errors import InputError, MissingWeights

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
SHOWN = 3  # names in an error's line

Config = TypeVar("Config", bound=PreTrainedConfig)

# Names of parts in published ViT and ViViT files → in transformers' current modules.
VISION_NAMES = {
    "encoder.layer.": "layers.",
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
VISION_HEADS = ("pooler.", "classifier.")  # in published files; the hidden states do not pass them


def read_config(folder: Path, config_class: type[Config]) -> Config:
    """The configuration in ``folder``/config.json.

    Raises MissingWeights when there is none, InputError when it is damaged or another kind of model's.
    """
    settings = _read_json(folder / CONFIG)
    if settings is None:
        raise MissingWeights(f"no model in {folder}: it has no {CONFIG}; download the whole folder of the model")
    if settings.get("model_type") != config_class.model_type:
        raise InputError(
            f"{folder} holds a model of type {settings.get('model_type')!r}; give one of {config_class.model_type!r}"
        )
    try:
        config: Config = config_class.from_dict(settings)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{folder / CONFIG} cannot be used ({reason}); download it again") from error
    return config


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """The settings in ``folder``/preprocessor_config.json; empty when there is none. Raises InputError if damaged."""
    return _read_json(folder / PREPROCESSOR) or {}


def read_state(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors in ``folder``, in fp32: those of model*.safetensors, else of pytorch_model*.bin (as plain tensors:
    nothing in the file is executed). Raises MissingWeights when there are none, or damaged ones.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    paths = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not paths:
        raise MissingWeights(f"no weights in {folder}: it needs model.safetensors or pytorch_model.bin")
    state: dict[str, torch.Tensor] = {}
    for path in paths:
        try:
            if path.suffix == ".safetensors":
                state.update(load_file(path))
            else:
                state.update(torch.load(path, map_location="cpu", weights_only=True))
        except (
            SafetensorError,
            OSError,
            RuntimeError,
            ValueError,
            TypeError,
            EOFError,
            pickle.UnpicklingError,
        ) as error:
            raise MissingWeights(f"{path} cannot be read; it is damaged, download it again") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


class VisionEncoder(nn.Module):
    """What ViT and ViViT share: patches and the class token as hidden states [batch, num_tokens, dim].

    ``model`` is transformers' without its pooler, ``processor`` brings pictures into the form it was trained on.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.num_tokens: int = model.embeddings.position_embeddings.shape[1]
        self.dim: int = model.config.hidden_size
        self.register_buffer("settings", settings_tensor(**processor.to_dict()))
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """``pixel_values`` as ``prepare`` gives them, batched → [batch, num_tokens, dim]."""
        hidden_states: torch.Tensor = self.model(pixel_values).last_hidden_state
        return hidden_states


def load_vision_model(folder: Path, model_class: Any) -> Any:
    """The ViT or ViViT in ``folder``, without its pooler. Raises MissingWeights, InputError."""
    config = read_config(folder, model_class.config_class)
    with torch.device("meta"):
        model = model_class(config, add_pooling_layer=False)
    load_state(model, vision_state(read_state(folder), f"{config.model_type}."), folder)
    return model


def check_picture_size(folder: Path, given: Any, taken: Any) -> None:
    """Raises InputError unless the preprocessor in ``folder`` brings pictures to the size that the model takes."""
    if given != taken:
        raise InputError(f"{folder / PREPROCESSOR} brings pictures to {given}, but the model takes {taken}")


def vision_state(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """``state`` of a published ViT or ViViT, without ``prefix`` and its heads, under transformers' current names (which
    pass as they are).
    """
    renamed = {}
    for name, tensor in state.items():
        name = name.removeprefix(prefix)
        if name.startswith(VISION_HEADS):
            continue
        for old, new in VISION_NAMES.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


def load_state(module: nn.Module, state: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Make the tensors of ``state`` the parameters of ``module``, which may stand on the meta device.

    Raises MissingWeights unless names and shapes are exactly the module's own; ``folder`` is named in the message.
    """
    own = module.state_dict()
    faults = {
        "misses": sorted(own.keys() - state.keys()),
        "has too much": sorted(state.keys() - own.keys()),
        "has in another shape": sorted(
            name for name in own.keys() & state.keys() if own[name].shape != state[name].shape
        ),
    }
    found = "; ".join(f"{fault} {_listed(names)}" for fault, names in faults.items() if names)
    if found:
        raise MissingWeights(f"the weights in {folder} do not fit its {CONFIG}: it {found}; download it again")
    module.load_state_dict(state, assign=True)


def picture_size(side: int | Sequence[int]) -> dict[str, int]:
    """A configuration's ``image_size``, one number or two, as preprocessors write it."""
    height, width = (side, side) if isinstance(side, int) else side
    return {"height": height, "width": width}


def settings_tensor(**settings: Any) -> torch.Tensor:
    """Settings as bytes, uint8 [n]. As a buffer they are part of an encoder's state: features that were kept for a
    state are never taken for those of the same weights with other settings.
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return torch.tensor(list(text.encode()), dtype=torch.uint8, device="cpu")  # also while a model is made on "meta"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _read_json(path: Path) -> dict[str, Any] | None:
    """A file's object; None when there is no file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); download it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold an object of settings; download it again")
    return content
