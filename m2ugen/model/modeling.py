"""M2UGenModel: encoders, understanding adapters, language model, output projector and music decoder in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.utils import ModelOutput

from m2ugen.config import M2UGenConfig, preset_names
from m2ugen.errors import InputError, MissingWeights
from m2ugen.model import rounded
from m2ugen.model.adapters import UnderstandingAdapter
from m2ugen.model.language_model import ATTENTION, LanguageModel
from m2ugen.model.projector import OutputProjector
from m2ugen.model.prompting import AUDIO_TOKENS, TURN_END
from m2ugen.model.quantize import Form
from m2ugen.model.quiet import quietly
from m2ugen.model.registry import load_component
from m2ugen.weights import model_folder, packaged_folder, preset_folder, save_tensors
from m2ugen.weights.tokenizer import add_audio_tokens, has_tokenizer, load_tokenizer

BRIDGE = "bridge.safetensors"  # everything that is trained
AUTO_INT8_PARAMETERS = 10_000_000  # above which decoding on a CPU waits for the weights to be read
LLAMA_FOLDER = "language_model"  # inside a saved model that has no source for its language model

# Kinds of parameters that each stage of the paper trains; "decoder" also tunes the language model a little, because
# without it the [AUD] states of a small model carry too little.
STAGES: dict[str, tuple[str, ...]] = {
    "encoder": ("adapters", "gate", "prefix"),
    "decoder": ("projector", "audio", "lora", "bias", "norm"),
    "instruct": ("adapters", "gate", "prefix", "projector", "audio", "lora", "bias", "norm"),
}


@dataclass
class M2UGenOutput(ModelOutput):
    """``loss`` is ``cross_entropy`` + ``conditioning_error``; None where there was nothing to compare with.

    ``hidden_states`` [batch, length, hidden] are the last layer's, before the final norm; ``conditioning``
    [rows with audio, N, D] is the projector's output, at the scale in which it is trained.
    """

    loss: torch.Tensor | None = None
    cross_entropy: torch.Tensor | None = None
    conditioning_error: torch.Tensor | None = None
    hidden_states: torch.Tensor | None = None
    conditioning: torch.Tensor | None = None


class M2UGenModel(PreTrainedModel):
    """The whole model (M²UGen, arXiv 2311.11255).

    ``encoders`` and ``decoder`` are frozen and may be absent: features can be handed in, and training needs no
    decoder. ``tokenizer`` knows the [AUD] tokens; None where no folder with one is known.
    """

    config: M2UGenConfig
    config_class = M2UGenConfig
    base_model_prefix = "m2ugen"

    def __init__(self, config: M2UGenConfig, llama: LlamaForCausalLM | None = None) -> None:
        super().__init__(config)
        hidden_size = config.language_model.hidden_size
        adapter = config.adapter
        self.adapters = nn.ModuleDict()
        for name in config.modalities:
            encoder = getattr(config, f"{name}_encoder")
            self.adapters[name] = UnderstandingAdapter(
                encoder.num_tokens,
                encoder.dim,
                hidden_size,
                adapter.num_queries,
                adapter.expansion,
                adapter.num_blocks,
                silent=config.tuning.gate_start != 0,
            )
        self.language_model = LanguageModel(config, llama)
        self.projector: OutputProjector | None = None
        if config.decoder is not None and config.decoder.conditioning_shape is not None:
            rows, columns = config.decoder.conditioning_shape
            shape = config.projector
            self.projector = OutputProjector(
                hidden_size, (rows, columns), shape.hidden_size, shape.num_heads, shape.num_layers, shape.normalise
            )
        self.encoders = nn.ModuleDict()
        self.decoder: Any = None
        self.tokenizer: Any = None

    # -- computing ---------------------------------------------------------------------------------------------

    def adapter_states(
        self, features: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor] | None = None
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What the adapted layers attend to, from features by modality; see LanguageModel.adapter_states."""
        adapters = {}
        for name, hidden in features.items():
            adapter = self.adapters[name]
            adapters[name] = adapter(hidden.to(next(adapter.parameters()).dtype))
        return self.language_model.adapter_states(adapters, present)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        features: Mapping[str, torch.Tensor] | None = None,
        present: Mapping[str, torch.Tensor] | None = None,
        targets: torch.Tensor | None = None,
        lower: torch.Tensor | None = None,
        candidates: torch.Tensor | None = None,
    ) -> M2UGenOutput:
        """Losses of a batch, padded on either side.

        ``labels`` [batch, length]: next-token cross-entropy, -100 is ignored. ``features`` by modality
        [batch, num_tokens, dim], ``present`` by modality boolean [batch]. ``targets`` [rows with audio, N, D]: what
        the decoder's text encoder gives for the rows in which the [AUD] tokens stand, in their order; the projector
        is compared with ``target_scale`` times that. ``lower`` is a kept result of LanguageModel.forward_lower, and
        ``candidates`` as in LanguageModel.cross_entropy.
        """
        model = self.language_model
        states = self.adapter_states(features or {}, present)
        if lower is None:
            hidden_states = model(input_ids, states, attention_mask)
        else:
            hidden_states = model.forward_upper(lower, states, attention_mask)
        output = M2UGenOutput(hidden_states=hidden_states)
        if labels is not None:
            output.cross_entropy = model.cross_entropy(hidden_states, labels, candidates)
        said = input_ids if labels is None else labels  # [AUD] tokens of earlier turns have no targets
        if self.projector is not None and bool((has_audio := (said == model.vocab_size).any(dim=1)).any()):
            output.conditioning = self.project_audio(said[has_audio], hidden_states[has_audio])
            if targets is not None:
                wanted = targets * self.target_scale
                output.conditioning_error = F.mse_loss(output.conditioning.float(), wanted.float())
        losses = [part for part in (output.cross_entropy, output.conditioning_error) if part is not None]
        output.loss = torch.stack(losses).sum() if losses else None
        return output

    def project_audio(self, input_ids: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        """The projector's output [rows, N, D], unscaled, for rows in all of which the [AUD] tokens stand:
        ``input_ids`` [rows, length] and the last layer's output.
        """
        return self._project(self.audio_states(input_ids, hidden_states))

    def audio_states(self, input_ids: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        """The states [rows, 8, hidden] that predict the [AUD] tokens, which must stand in every row of ``input_ids``
        [rows, length]; of ``hidden_states`` [rows, length, hidden].
        """
        first = (input_ids == self.language_model.vocab_size).int().argmax(dim=1)  # the place of [AUD0] in each row
        before = first[:, None] + torch.arange(len(AUDIO_TOKENS), device=first.device) - 1  # [rows, 8]
        return hidden_states.gather(1, before[..., None].expand(-1, -1, hidden_states.shape[-1]))

    def conditioning(self, audio_states: torch.Tensor) -> torch.Tensor:
        """The decoder's conditioning [rows, N, D] from the hidden states [rows, 8, hidden] that predict the [AUD]
        tokens, as ``generate`` collects them; the training's scale is undone.
        """
        return self._project(audio_states) / self.target_scale

    def _project(self, audio_states: torch.Tensor) -> torch.Tensor:
        if self.projector is None:
            raise InputError("this model has no music decoder: it answers in words only")
        embeddings = self.language_model.audio_embeddings.weight.expand(len(audio_states), -1, -1)
        return self.projector(audio_states, embeddings)

    @property
    def target_scale(self) -> float:
        """How much larger than the decoder's conditioning the projector's output is."""
        return 1.0 if self.config.decoder is None else self.config.decoder.target_scale

    @property
    def stop_ids(self) -> list[int]:
        """Tokens that end an answer."""
        end = self.config.language_model.eos_token_id
        ids = set(end if isinstance(end, list) else [] if end is None else [end])
        if self.tokenizer is not None and TURN_END in (vocabulary := self.tokenizer.get_vocab()):
            ids.add(vocabulary[TURN_END])
        return sorted(ids)

    # -- training ----------------------------------------------------------------------------------------------

    def trainable_groups(self, stage: str) -> list[str]:
        """Names of the parameters that ``stage`` ("encoder", "decoder", "instruct") trains, as in the paper.

        Raises InputError for another stage.
        """
        if stage not in STAGES:
            raise InputError(f"unknown stage {stage!r}; stages are: {', '.join(STAGES)}")
        groups = {
            kind: [f"language_model.{name}" for name in names]
            for kind, names in self.language_model.parameter_groups().items()
        }
        for kind in ("adapters", "projector"):
            groups[kind] = [name for name, _ in self.named_parameters() if name.startswith(f"{kind}.")]
        return [name for kind in STAGES[stage] for name in groups[kind]]

    def train_only(self, stage: str) -> None:
        """Set ``requires_grad`` for exactly the parameters of ``trainable_groups(stage)``."""
        trained = set(self.trainable_groups(stage))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in trained)

    # -- loading and saving ------------------------------------------------------------------------------------

    @classmethod
    def load(cls, name: str | Path = "nano", **options: Any) -> M2UGenModel:
        """A preset, a folder written by ``save_pretrained``, or a hub id; ``options`` as for ``from_pretrained``."""
        if str(name) in preset_names():
            return cls.from_preset(str(name), **options)
        return cls.from_pretrained(name, **options)

    @classmethod
    def from_preset(cls, name: str, **options: Any) -> M2UGenModel:
        """A preset with the weights in the package, or those that ``m2ugen convert --preset NAME`` made of a published
        checkpoint. Raises InputError and MissingWeights.
        """
        config, folder = preset_config(name), preset_folder(name)
        if not (folder / BRIDGE).is_file():
            raise MissingWeights(
                f"the trained weights of {name} are not on this machine: download the checkpoint that "
                f"{config.bridge_source} publishes and run: m2ugen convert CHECKPOINT.pth --preset {name}"
            )
        return cls._load(config, folder, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> M2UGenModel:  # type: ignore[override]
        """A folder written by ``save_pretrained``, or a hub id. Raises InputError and MissingWeights.

        ``device`` ("cpu"), ``dtype`` (fp32 on the CPU, bf16 elsewhere), ``quantise``: None, "int8" (CPU; decoding
        about twice as fast), "int4" (CPU; coarse, unless the weights were made for it), or "auto", which on a CPU
        without a dtype is 4 bits for weights that have no more and 8 for others, except for language models so small
        that they gain nothing. Further options, such as ``quantization_config`` for 4- and 8-bit weights on a GPU,
        go to transformers for the language model.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = model_folder(str(pretrained_model_name_or_path))
        if not (folder / "config.json").is_file():
            raise MissingWeights(f"there is no model in {folder}: config.json is missing")
        return cls._load(M2UGenConfig.from_pretrained(folder), folder, **options)

    @classmethod
    def for_training(
        cls,
        config: M2UGenConfig,
        init: Path | None = None,
        seed: int = 0,
        folder: Path | None = None,
        dtype: torch.dtype = torch.float32,
        **llama_options: Any,
    ) -> M2UGenModel:
        """A model with its language model's weights, fresh adapters, LoRA and projector (drawn from ``seed``), no
        encoders and no decoder; ``init`` is a folder whose trained weights take the fresh ones' place.

        ``folder`` holds a language model without a source (default: ``init``). ``dtype`` is that of its matrices; all
        that may be trained is fp32. ``llama_options``, such as ``quantization_config``, go to transformers. Raises
        MissingWeights.
        """
        folder = folder or init or Path()
        with torch.random.fork_rng(devices=[]):  # torch's initialisers know no generator
            torch.manual_seed(seed)
            model = cls(config, _load_llama(config, folder, dtype, **llama_options))
        model.language_model.widen_norms()
        model.language_model.init_audio_tokens(torch.Generator().manual_seed(seed))
        if init is not None:
            model.load_trained(init)
        model._attach_tokenizer(folder)
        return model

    @classmethod
    def _load(
        cls,
        config: M2UGenConfig,
        folder: Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        quantise: Form | None = "auto",
        **llama_options: Any,
    ) -> M2UGenModel:
        on_cpu = torch.device(device).type == "cpu"
        if quantise not in (None, "auto", "int8", "int4"):
            raise InputError(f"quantise must be 'int8', 'int4', 'auto' or None, not {quantise!r}")
        size = _matrix_parameters(config.language_model)
        large = size > AUTO_INT8_PARAMETERS
        form = quantise
        if quantise == "auto" and not (large and on_cpu and dtype is None and not llama_options):
            form = None
        if form and not on_cpu:
            raise InputError(f"{form} weights are for the CPU; on a GPU pass a quantization_config")
        dtype = dtype or (torch.float32 if on_cpu else torch.bfloat16)
        stored = "auto" if form else dtype  # rounded matrices are made of what the files hold, one after the other
        with torch.random.fork_rng(devices=[]):
            model = cls(config, _load_llama(config, folder, stored, **llama_options))
        if form:
            model.language_model.widen_norms()
        model.load_trained(folder)
        if llama_options:  # transformers has placed the language model; what is added follows
            trained = model.trained_state()
            for name, parameter in model.named_parameters():
                if name in trained:
                    parameter.data = parameter.data.to(dtype)
            for part in (model.adapters, model.projector):
                if part is not None:
                    part.to(model.language_model.audio_embeddings.weight.device)
        elif form:
            place = rounded.place(config, _llama_folder(config, folder), folder / BRIDGE, size, form)
            known = None if place is None else rounded.read(place)
            model.language_model.quantize_for_cpu(form, known)
            if place is not None and known is None:
                rounded.keep(place, model.language_model)
        else:
            model.language_model.merge_lora()
            nn.Module.to(model, device=device, dtype=dtype)
        parts = parts_folder(config, folder)
        for name in config.modalities:
            encoder = getattr(config, f"{name}_encoder")
            if encoder.kind is not None:
                model.encoders[name] = load_component(encoder, parts, device, dtype)
        if config.decoder is not None and config.decoder.kind is not None:
            model.decoder = load_component(config.decoder, parts, device, dtype, form is not None)
        model._attach_tokenizer(folder)
        return model.eval()

    def _attach_tokenizer(self, folder: Path) -> None:
        source = _llama_folder(self.config, folder)
        if has_tokenizer(source):
            vocab_size = self.config.language_model.vocab_size
            self.tokenizer = add_audio_tokens(load_tokenizer(source), vocab_size, AUDIO_TOKENS)

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Every tensor that training may change, by name."""
        state = {f"language_model.{name}": tensor for name, tensor in self.language_model.own_state().items()}
        for part, module in (("adapters", self.adapters), ("projector", self.projector)):
            if module is not None:
                state.update({f"{part}.{name}": tensor for name, tensor in module.state_dict().items()})
        return state

    def load_trained(self, folder: Path) -> None:
        """Read ``bridge.safetensors``. Raises MissingWeights when it is absent or of another model."""
        from safetensors.torch import load_file

        path = folder / BRIDGE
        if not path.is_file():
            raise MissingWeights(f"{path} is missing: the model was not trained, or the package is incomplete")
        tensors, own = load_file(path), self.trained_state()
        wrong = [name for name in own if name not in tensors or tensors[name].shape != own[name].shape]
        if wrong or len(tensors) != len(own):
            raise MissingWeights(
                f"{path} does not fit this model (for one, {(wrong or sorted(set(tensors) - set(own)))[0]})"
            )
        self.load_state_dict(tensors, strict=False)

    def save_trained(self, folder: Path, dtype: torch.dtype | None = torch.float16) -> None:
        """Write ``bridge.safetensors``, in half precision as it is shipped or in ``dtype`` (None: unchanged)."""
        state = {name: tensor.detach() for name, tensor in self.trained_state().items()}
        for name, tensor in state.items():
            if dtype is not None and tensor.is_floating_point() and tensor.abs().max() < torch.finfo(dtype).max:
                state[name] = tensor.to(dtype)
        save_tensors(folder / BRIDGE, state)

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:  # type: ignore[override]
        """Write configuration and trained weights; frozen parts stay where they came from and are named in the
        configuration. A language model without a source is written too; that needs LoRA not to be merged.
        """
        folder = Path(save_directory)
        self.save_trained(folder, dtype=None)
        self.config.save_pretrained(folder)
        if self.config.language_model_source is None:
            quietly(self.language_model.save_llama)(folder / LLAMA_FOLDER)


def preset_config(name: str) -> M2UGenConfig:
    """The configuration of a preset: what stands beside its weights, where they were converted, else the preset's own.

    Raises InputError when there is no such preset.
    """
    config, folder = M2UGenConfig.from_preset(name), preset_folder(name)
    return M2UGenConfig.from_pretrained(folder) if (folder / "config.json").is_file() else config


def _llama_folder(config: M2UGenConfig, folder: Path) -> Path:
    source = config.language_model_source
    return folder / LLAMA_FOLDER if source is None else model_folder(source)


def parts_folder(config: M2UGenConfig, folder: Path) -> Path:
    """Where the encoders and the decoder of the model in ``folder`` are, those without a source of their own."""
    source = config.parts_source
    if source is None:
        return folder
    return packaged_folder(source) if source in preset_names() else Path(source)


def _matrix_parameters(config: LlamaConfig) -> int:
    """Number of parameters in the layers of a Llama, roughly."""
    return int(config.num_hidden_layers * config.hidden_size * (2 * config.hidden_size + 3 * config.intermediate_size))


def _load_llama(config: M2UGenConfig, folder: Path, dtype: torch.dtype | str, **options: Any) -> LlamaForCausalLM:
    """The language model without additions. Raises MissingWeights."""
    source = _llama_folder(config, folder)
    try:
        llama: LlamaForCausalLM = quietly(LlamaForCausalLM.from_pretrained)(
            source, attn_implementation=ATTENTION, dtype=dtype, local_files_only=True, **options
        )
    except OSError as error:
        raise MissingWeights(f"no language model in {source}: {error}") from error
    if llama.config.hidden_size != config.language_model.hidden_size:
        raise MissingWeights(f"the language model in {source} has another size than the configuration says")
    return llama
