"""What a checkpoint's tensors tell about the model: nearly every size, so that no configuration needs to be given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import LlamaConfig

from m2ugen.config import NUM_AUDIO_TOKENS, M2UGenConfig, preset_names
from m2ugen.convert.names import ADAPTERS
from m2ugen.convert.sources import read_json
from m2ugen.errors import InputError

# Presets whose frozen parts a checkpoint of their sizes is given when nothing else is said.
PUBLISHED_PRESETS = ("musicgen", "audioldm2", "mu-llama")
# What tensors do not tell: values of the published models.
PUBLISHED_PROJECTOR_HEADS = 4
PUBLISHED_TARGET_SCALE = 10.0
PUBLISHED_CONTEXT = 4096  # tokens
PUBLISHED_NORM_EPS, PUBLISHED_ROPE_THETA = 1e-5, 10000.0
DEFAULT_FORMATS = {True: "alpaca", False: "alpaca-input"}  # with music decoder: M²UGen; without: MU-LLaMA

Shapes = Mapping[str, torch.Tensor]


def read_settings(path: Path) -> dict[str, Any]:
    """The object in a JSON or YAML file. Raises InputError when it cannot be read."""
    if path.suffix not in (".yaml", ".yml"):
        if not path.is_file():
            raise InputError(f"there is no configuration {path}")
        return read_json(path)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not isinstance(settings, dict):
        raise InputError(f"cannot read {path}: it must hold names and values")
    return settings


def published_config(
    tensors: Shapes,
    settings: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
    preset: str | None = None,
) -> M2UGenConfig:
    """The configuration of the model in a published checkpoint, from the shapes of its ``tensors``.

    ``settings`` gives what shapes do not tell (``rms_norm_eps``, ``rope_theta``, ``projector_num_heads``,
    ``decoder_target_scale`` …), or is a whole M2UGenConfig as a dictionary. ``base`` is the configuration of a language
    model that the checkpoint leaves out. ``preset`` names where encoders and decoder come from; None: a preset with
    the sizes of the checkpoint, if there is one. Raises InputError where the sizes remain unknown or contradict.
    """
    settings = dict(settings or {})
    if "language_model" in settings:
        return M2UGenConfig(**{**settings, "language_model_source": None})
    families = {ADAPTERS[family]: family for family in ADAPTERS if f"{family}_agg.weight" in tensors}
    if not families or "prefix_query.weight" not in tensors:
        raise InputError("this is not a published M2UGen or MU-LLaMA checkpoint: it has no understanding adapters")
    first = next(iter(families.values()))
    tuned = "llama.layers.0.attention.lora_wq_l1.weight" in tensors
    found: dict[str, Any] = {
        f"{name}_encoder": {
            "num_tokens": tensors[f"{family}_agg.weight"].shape[1],
            "dim": tensors[f"{family}_proj.weight"].shape[1],
        }
        for name, family in families.items()
    }
    width = tensors[f"{first}_proj.weight"].shape[0]
    found["adapter"] = {
        "num_queries": tensors[f"{first}_agg.weight"].shape[0],
        "expansion": tensors[f"{first}_f1_1.weight"].shape[0] // width,
        "num_blocks": _count(tensors, rf"{first}_norm_(\d+)\.weight"),
    }
    found["tuning"] = {
        "layers_per_modality": tensors["prefix_query.weight"].shape[0] // len(families),
        "lora_rank": tensors["llama.layers.0.attention.lora_wq_l1.weight"].shape[0] if tuned else 1,
        "tuned_layers": None if tuned else 0,
    }
    found["language_model"] = llama_sizes(tensors, settings, base)
    if "output_projector.query_embs" in tensors:
        queries = tensors["output_projector.query_embs"]
        found["projector"] = {
            "hidden_size": queries.shape[2],
            "num_heads": settings.get("projector_num_heads", PUBLISHED_PROJECTOR_HEADS),
            "num_layers": 1 + _count(tensors, r"output_projector\.tfm\.encoder\.layers\.(\d+)\.norm1\.weight"),
        }
        found["decoder"] = {
            "conditioning_shape": [queries.shape[1], tensors["output_projector.model.weight"].shape[0]],
            "target_scale": settings.get("decoder_target_scale", PUBLISHED_TARGET_SCALE),
        }
    found["prompt_format"] = settings.get("prompt_format", DEFAULT_FORMATS["decoder" in found])
    return M2UGenConfig(**_with_parts(found, preset))


def llama_sizes(
    tensors: Shapes, settings: Mapping[str, Any] | None = None, base: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A LlamaConfig as a dictionary, from tensors with published names and from what else is known of the model.

    Raises InputError when neither tells the sizes.
    """
    settings = settings or {}
    known = dict(base or {})
    if "llama.tok_embeddings.weight" in tensors and "llama.layers.0.feed_forward.w1.weight" in tensors:
        rows, width = tensors["llama.tok_embeddings.weight"].shape
        audio = NUM_AUDIO_TOKENS if "output_projector.query_embs" in tensors else 0
        known["vocab_size"] = settings.get("base_vocab_size", rows - audio)
        known["hidden_size"] = width
        known["intermediate_size"] = tensors["llama.layers.0.feed_forward.w1.weight"].shape[0]
        known["num_hidden_layers"] = 1 + _count(tensors, r"llama\.layers\.(\d+)\.attention\.wq\.weight")
        if "llama.layers.0.attention.gate" in tensors:
            known["num_attention_heads"] = tensors["llama.layers.0.attention.gate"].shape[1]
    for name in ("num_attention_heads", "rms_norm_eps"):
        if name in settings:
            known[name] = settings[name]
    if "rope_theta" in settings:
        known["rope_parameters"] = {"rope_type": "default", "rope_theta": settings["rope_theta"]}
    missing = [name for name in ("hidden_size", "num_hidden_layers", "num_attention_heads") if name not in known]
    if missing:
        raise InputError("the checkpoint does not hold its language model: name its folder with --language-model")
    if "llama.layers.0.attention.wk.weight" in tensors:
        head_dim = known["hidden_size"] // known["num_attention_heads"]
        known["num_key_value_heads"] = tensors["llama.layers.0.attention.wk.weight"].shape[0] // head_dim
    defaults = {
        "max_position_embeddings": PUBLISHED_CONTEXT,
        "rms_norm_eps": PUBLISHED_NORM_EPS,
        "rope_parameters": {"rope_type": "default", "rope_theta": PUBLISHED_ROPE_THETA},
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {**defaults, **known}


def base_sizes(folder: Path) -> dict[str, Any]:
    """A LlamaConfig as a dictionary, from the ``params.json`` or ``config.json`` of a language model's folder; empty
    without either. Raises InputError for a model that is no plain LLaMA.
    """
    params, config = read_json(folder / "params.json"), read_json(folder / "config.json")
    if params:
        if params.get("use_scaled_rope"):
            raise InputError(f"{folder} has scaled rotary positions: use its Hugging Face form as --language-model")
        theta = params.get("rope_theta", PUBLISHED_ROPE_THETA)
        return {
            "hidden_size": params["dim"],
            "num_hidden_layers": params["n_layers"],
            "num_attention_heads": params["n_heads"],
            "rms_norm_eps": params.get("norm_eps", PUBLISHED_NORM_EPS),
            "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        }
    if config and config.get("model_type") != "llama":
        raise InputError(f"the model in {folder} is no Llama but {config.get('model_type')!r}")
    return {} if not config else _plain(LlamaConfig(**config))


def _plain(config: LlamaConfig) -> dict[str, Any]:
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    more = ("num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_parameters")
    ends = ("tie_word_embeddings", "bos_token_id", "eos_token_id")
    return {name: getattr(config, name) for name in (*names, *more, *ends)}


def _count(tensors: Shapes, pattern: str) -> int:
    """The largest number in the names that match."""
    return max((int(found[1]) for name in tensors if (found := re.fullmatch(pattern, name))), default=0)


def _with_parts(found: dict[str, Any], preset: str | None) -> dict[str, Any]:
    """``found`` with the encoders and the decoder of a preset that has its sizes."""
    if preset is not None and preset not in preset_names():
        raise InputError(f"there is no preset {preset!r}; presets are: {', '.join(preset_names())}")
    for name in PUBLISHED_PRESETS if preset is None else (preset,):
        config = M2UGenConfig.from_preset(name)
        parts = {part: getattr(config, part) for part in (*(f"{m}_encoder" for m in config.modalities), "decoder")}
        given = {part: value.to_diff_dict() for part, value in parts.items() if value is not None}
        sized = {part: values for part, values in found.items() if part.endswith("_encoder") or part == "decoder"}
        fits = given.keys() == sized.keys() and all(
            given[part].get(size) == sized[part][size]
            for part in sized
            for size in ("num_tokens", "dim", "conditioning_shape")
            if size in sized[part]
        )
        if fits:
            merged = {part: {**given[part], **sized[part]} for part in sized}
            kept = {"prompt_format": config.prompt_format, "language_model_licence": config.language_model_licence}
            return {**found, **merged, **kept}
        if preset is not None:
            raise InputError(f"the checkpoint does not have the sizes of the preset {preset!r}: leave --preset out")
    return found
