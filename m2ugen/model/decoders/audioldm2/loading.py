"""Reading a folder in which diffusers has saved an AudioLDM2Pipeline, part by part.

The classes are named here and not taken from the folder, so that nothing in it is ever run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2ugen.errors import InputError, MissingExtra, MissingWeights

INDEX = "model_index.json"
PIPELINE = "AudioLDM2Pipeline"
MODELS = {
    "text_encoder": ("transformers", "ClapModel"),
    "text_encoder_2": ("transformers", "T5EncoderModel"),
    "projection_model": ("diffusers", "AudioLDM2ProjectionModel"),
    "language_model": ("transformers", "GPT2Model"),
    "unet": ("diffusers", "AudioLDM2UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "vocoder": ("transformers", "SpeechT5HifiGan"),
}
TOKENIZERS = ("tokenizer", "tokenizer_2")


def load_parts(folder: Path, scheduler: str | None = None) -> dict[str, Any]:
    """The parts of the pipeline in ``folder`` by the names that diffusers gives them, in fp32 on the CPU.

    ``scheduler`` is the name of another diffusers class than the folder's. ``feature_extractor``, which only ranking
    needs, is None where the folder has none. Raises MissingExtra without diffusers, MissingWeights for what is
    missing, InputError for a folder of another kind and for an unknown scheduler.
    """
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtra("diffusers", "diffusion") from error
    import transformers

    _check_index(folder)
    libraries = {"diffusers": diffusers, "transformers": transformers}
    parts: dict[str, Any] = {
        name: _load_model(getattr(libraries[library], kind), folder, name) for name, (library, kind) in MODELS.items()
    }
    for name in TOKENIZERS:
        parts[name] = _load_tokenizer(folder, name)
    parts["scheduler"] = _load_scheduler(folder, scheduler)
    extractor = folder / "feature_extractor"
    parts["feature_extractor"] = (
        transformers.ClapFeatureExtractor.from_pretrained(extractor, local_files_only=True)
        if (extractor / "preprocessor_config.json").is_file()
        else None
    )
    return parts


def _check_index(folder: Path) -> None:
    index = _read_json(folder / INDEX, folder, INDEX)
    found = index.get("_class_name")
    if found != PIPELINE:
        raise InputError(f"{folder} holds {found}, not {PIPELINE}; give a folder of cvssp/audioldm2 or its siblings")
    encoder = (index.get("text_encoder_2") or [None, None])[1]
    if encoder != MODELS["text_encoder_2"][1]:
        raise InputError(f"{folder} is a speech model, whose text encoder is {encoder}; give one that makes music")


def _read_json(path: Path, folder: Path, part: str) -> dict[str, Any]:
    if not path.is_file():
        raise MissingWeights(f"no AudioLDM 2 in {folder}: {part} is missing; download the whole repository")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _load_model(kind: Any, folder: Path, part: str) -> nn.Module:
    """A model with all its parameters. A folder may say float64 or half precision; what is loaded is fp32."""
    _read_json(folder / part / "config.json", folder, part)
    dtype = {"torch_dtype" if kind.__module__.startswith("diffusers") else "dtype": torch.float32}
    try:
        model, report = kind.from_pretrained(folder / part, local_files_only=True, output_loading_info=True, **dtype)
    except OSError as error:
        raise MissingWeights(f"the weights of {part} in {folder} are missing; download the whole repository") from error
    absent = set(report["missing_keys"]) & {name for name, _ in model.named_parameters()}
    if absent:
        raise MissingWeights(f"the weights of {part} in {folder} are incomplete (for one, {min(absent)})")
    loaded: nn.Module = model.eval()
    return loaded


def _load_tokenizer(folder: Path, part: str) -> Any:
    from transformers import AutoTokenizer

    _read_json(folder / part / "tokenizer_config.json", folder, part)
    try:
        return AutoTokenizer.from_pretrained(folder / part, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise MissingWeights(f"{part} in {folder} cannot be read; download the whole repository") from error


def _load_scheduler(folder: Path, name: str | None) -> Any:
    import diffusers

    config = _read_json(folder / "scheduler" / "scheduler_config.json", folder, "scheduler")
    name = name or str(config.get("_class_name"))
    kind = getattr(diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise InputError(f"{name!r} is not a scheduler of diffusers; try DDIMScheduler or DPMSolverMultistepScheduler")
    return kind.from_config(config)
