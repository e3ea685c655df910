"""The configuration of a model: what it is made of, in sizes and registry names. No code asks for a model's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from transformers import LlamaConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from m2ugen.errors import InputError

FORMAT_VERSION = 1  # of a saved model's files
NUM_AUDIO_TOKENS = 8
MODALITIES = ("music", "image", "video")  # the order of the thirds in the language model
PROMPT_FORMATS = ("chatml", "alpaca", "alpaca-input", "plain")  # what they are: m2ugen.model.prompting.FORMATS
PRESETS = Path(__file__).parent / "presets"


class ComponentConfig(PreTrainedConfig):
    """A frozen part: an encoder or the decoder.

    ``kind`` is a name in m2ugen.model.registry and ``options`` go to what loads it; without a kind nothing is loaded
    and others hand in the features or take the conditioning. ``source`` is the folder or hub id of its weights, or a
    folder inside the model's (None: the model's own folder). ``parameters`` and ``licence`` tell users what they
    would download.
    """

    model_type = "m2ugen_component"

    kind: str | None = None
    source: str | None = None
    options: dict[str, Any] | None = None
    parameters: int | None = None
    licence: str | None = None


class EncoderConfig(ComponentConfig):
    """An encoder gives hidden states [batch, num_tokens, dim].

    ``told`` says that what they contain is also told to the language model in words, in front of the user's: only for
    encoders that name what they find.
    """

    model_type = "m2ugen_encoder"

    told: bool = False

    num_tokens: int = 1
    dim: int = 1


class DecoderConfig(ComponentConfig):
    """A music decoder takes conditioning [batch, *conditioning_shape], trained against ``target_scale`` × its text
    states: the output projector's result is divided by that before the decoder sees it.
    """

    model_type = "m2ugen_decoder"

    conditioning_shape: list[int] | None = None
    target_scale: float = 1.0


class AdapterConfig(PreTrainedConfig):
    """Understanding adapters: vectors per modality, and width and number of their SwiGLU blocks."""

    model_type = "m2ugen_adapter"

    num_queries: int = 1
    expansion: int = 1
    num_blocks: int = 3


class TuningConfig(PreTrainedConfig):
    """What is added to the language model.

    ``layers_per_modality``: gated adapter attention stands in the last ``3 * layers_per_modality`` layers (fewer
    when the model has fewer modalities), with gates that start at ``gate_start``: 0 as in the paper, or open, with
    prefix vectors of zero, for adapters that start silent. ``tuned_layers``: LoRA of ``lora_rank``, biases and norms
    are tuned in that many last layers (None: all). ``freeze_audio_embeddings`` keeps the [AUD] tokens' input vectors as
    they were drawn, so that the layers below the adapted ones never change.
    """

    model_type = "m2ugen_tuning"

    layers_per_modality: int = 6
    gate_start: float = 0.0
    lora_rank: int = 16
    tuned_layers: int | None = None
    freeze_audio_embeddings: bool = False


class ProjectorConfig(PreTrainedConfig):
    """Output projector: width, heads, and layers of encoder and decoder each.

    ``normalise`` standardises each dimension of the hidden states first, by running statistics. The published model
    reads them as they are; in a small one what all requests share is so much larger than what tells them apart that
    the projector learns nothing from it.
    """

    model_type = "m2ugen_projector"

    hidden_size: int = 512
    num_heads: int = 4
    num_layers: int = 4
    normalise: bool = False


class M2UGenConfig(PreTrainedConfig):
    """All parts of a model.

    ``language_model`` is a LlamaConfig whose vocabulary does not count the [AUD] tokens: those follow it, so
    ``audio_token_ids`` are ``vocab_size … vocab_size + 7``. ``language_model_source`` says where its frozen weights
    come from: a name in m2ugen.weights.SOURCES, a folder or a hub id; None: the model's folder holds them.
    ``parts_source`` says the same for encoders and decoder: a preset whose weights are in the package, or a folder; a
    part's own ``source`` goes before it. ``bridge_source`` names who publishes trained weights to convert, if anyone.
    ``prompt_format``, one of PROMPT_FORMATS, is the layout of conversations that the language model was trained in.
    A modality whose encoder is None does not exist in the model. Parts may be given as dictionaries; those left
    out take their defaults. Raises InputError for parts that do not fit.
    """

    model_type = "m2ugen"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "music_encoder": SubConfigSpec(EncoderConfig, optional=True),
        "image_encoder": SubConfigSpec(EncoderConfig, optional=True),
        "video_encoder": SubConfigSpec(EncoderConfig, optional=True),
        "language_model": SubConfigSpec(LlamaConfig),
        "adapter": SubConfigSpec(AdapterConfig),
        "tuning": SubConfigSpec(TuningConfig),
        "projector": SubConfigSpec(ProjectorConfig),
        "decoder": SubConfigSpec(DecoderConfig, optional=True),
    }

    format_version: int = FORMAT_VERSION
    music_encoder: EncoderConfig | None = None
    image_encoder: EncoderConfig | None = None
    video_encoder: EncoderConfig | None = None
    language_model: LlamaConfig = None  # type: ignore[assignment]
    language_model_source: str | None = None
    language_model_licence: str | None = None
    parts_source: str | None = None
    bridge_source: str | None = None
    adapter: AdapterConfig = None  # type: ignore[assignment]
    tuning: TuningConfig = None  # type: ignore[assignment]
    projector: ProjectorConfig = None  # type: ignore[assignment]
    decoder: DecoderConfig | None = None
    audio_token_ids: list[int] = None  # type: ignore[assignment]
    prompt_format: str = "chatml"

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        first = self.language_model.vocab_size
        expected = list(range(first, first + NUM_AUDIO_TOKENS))
        if self.audio_token_ids is None:
            self.audio_token_ids = expected
        if list(self.audio_token_ids) != expected:
            raise InputError(f"audio_token_ids must follow the vocabulary: {expected[0]} … {expected[-1]}")
        if self.format_version > FORMAT_VERSION:
            raise InputError(f"the model has format {self.format_version}; update m2ugen, which reads {FORMAT_VERSION}")
        if self.prompt_format not in PROMPT_FORMATS:
            raise InputError(f"unknown prompt_format {self.prompt_format!r}; known are: {', '.join(PROMPT_FORMATS)}")
        layers = self.language_model.num_hidden_layers
        if self.num_adapted_layers > layers or (self.tuning.tuned_layers or 0) > layers:
            raise InputError(f"more adapted or tuned layers than the language model has ({layers})")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the model understands, in the order of the language model's layers."""
        return tuple(name for name in MODALITIES if getattr(self, f"{name}_encoder") is not None)

    @property
    def num_adapted_layers(self) -> int:
        """Number of layers with gated adapter attention, counted from the last."""
        return self.tuning.layers_per_modality * len(self.modalities)

    @property
    def num_tuned_layers(self) -> int:
        """Number of layers with LoRA, tuned biases and norms, counted from the last."""
        tuned = self.tuning.tuned_layers
        return self.language_model.num_hidden_layers if tuned is None else tuned

    @classmethod
    def from_preset(cls, name: str) -> M2UGenConfig:
        """The configuration ``m2ugen/presets/NAME.yaml``. Raises InputError when there is none of that name."""
        return cls(**_read_preset(name))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the entries of ``above``; mappings in both are merged in the same way."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def preset_names() -> list[str]:
    """Names that ``M2UGenConfig.from_preset`` takes."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _read_preset(name: str) -> dict[str, Any]:
    """The settings of a preset: its file's, over those of the preset that the file calls its ``base``."""
    path = PRESETS / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"there is no preset {name!r}; presets are: {', '.join(preset_names())}")
    settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    base = settings.pop("base", None)
    return settings if base is None else merged(_read_preset(base), settings)
