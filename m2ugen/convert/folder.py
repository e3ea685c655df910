"""Whole models: a published checkpoint or Meta's LLaMA → a folder that ``from_pretrained`` reads, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from m2ugen.config import M2UGenConfig, TuningConfig
from m2ugen.convert.names import FROZEN, LLAMA, VOCABULARY, convert_tensor, published_tensor
from m2ugen.convert.sizes import base_sizes, llama_sizes, published_config, read_settings
from m2ugen.convert.sources import (
    CheckpointFile,
    MetaLlama,
    SafetensorsFolder,
    TensorSource,
    language_model_source,
    read_json,
)
from m2ugen.convert.writer import Entry, new_folder, write_safetensors, write_shards
from m2ugen.errors import InputError
from m2ugen.media.files import atomic_output
from m2ugen.model.modeling import BRIDGE, LLAMA_FOLDER, M2UGenModel
from m2ugen.model.prompting import AUDIO_TOKENS
from m2ugen.model.quiet import quietly
from m2ugen.weights import model_folder
from m2ugen.weights.tokenizer import add_audio_tokens, has_tokenizer, load_tokenizer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LISTED = 8  # names in an error's line


@dataclass
class Report:
    """What became of a checkpoint's tensors.

    ``written`` counts the tensors in the new folder; ``frozen`` the tensors of frozen parts that were left out, by
    prefix (they come from their own sources); ``unused`` are tensors that the published model holds and never reads;
    ``added`` are those that it does not have and that are zero here; ``tokenizer`` tells whether one was found.
    """

    output: Path
    written: int = 0
    frozen: dict[str, int] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    tokenizer: bool = False


class Mismatch(InputError):
    """A checkpoint that does not fit: ``missing`` and ``left_over`` are names of tensors, ``unfit`` such as have
    another shape than the configuration says.
    """

    def __init__(self, source: Path, missing: list[str], left_over: list[str], unfit: list[str]) -> None:
        self.missing, self.left_over, self.unfit = missing, left_over, unfit
        kinds = {"missing": missing, "left over": left_over, "of another shape": unfit}
        self._kinds = {kind: names for kind, names in kinds.items() if names}
        parts = [
            f"{len(names)} {kind} ({', '.join(names[:LISTED])}{' …' if len(names) > LISTED else ''})"
            for kind, names in self._kinds.items()
        ]
        super().__init__(f"{source} does not fit the model, tensors are " + "; ".join(parts))

    def lines(self) -> list[str]:
        """Every tensor in question, a line each."""
        return [f"{kind}: {name}" for kind, names in self._kinds.items() for name in names]


def convert(
    source: str | Path,
    output: str | Path,
    config: str | Path | None = None,
    preset: str | None = None,
    language_model: str | Path | None = None,
    dtype: str | None = None,
    force: bool = False,
) -> Report:
    """Write the model in ``source`` as the folder ``output``, tensor by tensor.

    ``source`` is a published M²UGen or MU-LLaMA checkpoint (a file, or a folder that holds one, with a ``config.json``
    where sizes cannot be told from its tensors), or Meta's LLaMA folder, which becomes a Hugging Face one. ``config``
    is a file with such sizes, or a whole M2UGenConfig; ``preset`` names the encoders and the decoder.
    ``language_model`` is the folder of the LLaMA, in Meta's or Hugging Face form, for a checkpoint without it, or for
    its tokenizer. ``dtype`` ("fp32", "bf16", "fp16") is that of the matrices; None keeps the checkpoint's. Raises
    InputError; Mismatch when a tensor is missing or left over. Nothing is left behind on failure.
    """
    source, output = Path(source), Path(output)
    wanted = None if dtype is None else _dtype(dtype)
    base_folder = None if language_model is None else Path(language_model)
    if base_folder is not None and not base_folder.is_dir():
        raise InputError(f"--language-model {base_folder} is not a folder")
    if any(source.glob("consolidated.*.pth")):
        return _convert_llama(source, output, wanted, force)
    path = _checkpoint_in(source)
    checkpoint = CheckpointFile(path)
    beside = path.parent / "config.json"
    settings = read_settings(Path(config)) if config is not None else read_json(beside)
    base = None if base_folder is None else language_model_source(base_folder)
    known = {} if base_folder is None else base_sizes(base_folder)
    if isinstance(base, MetaLlama):
        known = llama_sizes(base.tensors, base=known)
    model_config = published_config(checkpoint.tensors, settings, known, preset)
    report = Report(output)
    pieces = _pieces(checkpoint, model_config, report, path)
    if base is not None:
        pieces = {**_base_pieces(base, model_config), **pieces}
    bridge, llama, shapes = _expected(model_config)
    if not any(name in pieces for name in llama if "_proj" in name):
        raise InputError(f"{path} does not hold its language model: name its folder with --language-model")
    _fill_audio(pieces, shapes, report)
    _check(path, pieces, shapes)
    with new_folder(output, force) as folder:
        inner = folder / LLAMA_FOLDER
        inner.mkdir()
        tensors = _entries({llama[name]: pieces[name] for name in llama}, wanted)
        write_shards(inner, tensors)
        _save_llama_config(model_config.language_model, inner, tensors)
        write_safetensors(folder / BRIDGE, _entries({name: pieces[name] for name in bridge}, wanted))
        model_config.language_model_source = None
        model_config.save_pretrained(folder)
        places = [base_folder, path.parent, path.parent.parent]
        report.tokenizer = _save_tokenizer(places, inner, model_config.language_model.vocab_size, audio=True)
    report.written = len(shapes)
    return report


def _convert_llama(source: Path, output: Path, dtype: torch.dtype | None, force: bool) -> Report:
    """Meta's folder → a Hugging Face folder."""
    meta = MetaLlama(source)
    llama_config = LlamaConfig(**llama_sizes(meta.tensors, base=base_sizes(source)))
    config = M2UGenConfig(language_model=llama_config, tuning=TuningConfig(tuned_layers=0))
    report = Report(output)
    pieces = _pieces(meta, config, report, source)
    _, llama, shapes = _expected(config)
    _check(source, pieces, {name: shapes[name] for name in llama})
    with new_folder(output, force) as folder:
        tensors = _entries({llama[name]: pieces[name] for name in llama}, dtype)
        write_shards(folder, tensors)
        _save_llama_config(llama_config, folder, tensors)
        report.tokenizer = _save_tokenizer([source, source.parent], folder, llama_config.vocab_size, audio=False)
    report.written = len(llama)
    return report


# -- pieces: where a tensor of ours comes from -------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """A tensor of ours: result number ``index`` of converting the tensor ``name`` of ``source``."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    source: TensorSource | None = None
    name: str = ""
    index: int = 0
    config: M2UGenConfig | None = None

    def read(self) -> torch.Tensor:
        """The numbers; zeros without a source."""
        if self.source is None:
            return torch.zeros(self.shape, dtype=self.dtype)
        tensor = self.source.read(self.name)
        if self.config is None:
            return tensor
        return list(convert_tensor(self.name, tensor, self.config))[self.index][1]


def _pieces(source: TensorSource, config: M2UGenConfig, report: Report, path: Path) -> dict[str, Piece]:
    """Our names → where they come from, for all tensors with published names. Raises Mismatch for unknown ones."""
    pieces, unknown = {}, []
    for name, tensor in source.tensors.items():
        if name.startswith(FROZEN):
            prefix = next(prefix for prefix in FROZEN if name.startswith(prefix))
            report.frozen[prefix] = report.frozen.get(prefix, 0) + 1
            continue
        try:
            converted = list(convert_tensor(name, tensor, config))
        except InputError:
            unknown.append(name)
            continue
        if not converted:
            report.unused.append(name)
        for index, (own, piece) in enumerate(converted):
            pieces[own] = Piece(tuple(piece.shape), piece.dtype, source, name, index, config)
    if unknown:
        raise Mismatch(path, [], unknown, [])
    return pieces


def _base_pieces(base: TensorSource, config: M2UGenConfig) -> dict[str, Piece]:
    """The same for the language model that a checkpoint was trained on."""
    if isinstance(base, MetaLlama):
        return _pieces(base, config, Report(Path()), base.parts[0].path.parent)
    own = {inner: name for name, inner in _expected(config).llama.items()}
    return {
        own[name]: Piece(tuple(tensor.shape), tensor.dtype, base, name)
        for name, tensor in base.tensors.items()
        if name in own
    }


class Expected(NamedTuple):
    """The tensors of a model: names of those in ``bridge.safetensors``, our names of the language model's tensors →
    those in its own folder, and the shapes of all.
    """

    bridge: list[str]
    llama: dict[str, str]
    shapes: dict[str, tuple[int, ...]]


def _expected(config: M2UGenConfig) -> Expected:
    with torch.device("meta"):
        model = M2UGenModel(config)
        plain = LlamaForCausalLM(config.language_model).state_dict()
    state = model.state_dict()
    own = {name.replace(".base.", "."): name for name in state if name.startswith(LLAMA)}
    llama = {own[f"{LLAMA}{name}"]: name for name in plain}
    bridge = sorted(model.trained_state())
    return Expected(bridge, llama, {name: tuple(state[name].shape) for name in (*llama, *bridge)})


def _fill_audio(pieces: dict[str, Piece], shapes: Mapping[str, tuple[int, ...]], report: Report) -> None:
    """Zeros for the [AUD] tokens of a model that was trained without music decoder, and so without them."""
    names = [audio for _, audio in VOCABULARY.values()]
    if "projector.queries" in shapes or any(name in pieces for name in names):
        return
    for name in names:
        pieces[name] = Piece(shapes[name], torch.float32)
        report.added.append(name)


def _check(path: Path, pieces: Mapping[str, Piece], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises Mismatch unless every tensor that is wanted is there, fits, and none is left over."""
    missing = [name for name in shapes if name not in pieces]
    left_over = [pieces[name].name for name in pieces if name not in shapes]
    unfit = [name for name, shape in shapes.items() if name in pieces and pieces[name].shape != shape]
    if missing or left_over or unfit:
        raise Mismatch(path, missing, left_over, unfit)


# -- writing -----------------------------------------------------------------------------------------------------


def _entries(pieces: Mapping[str, Piece], dtype: torch.dtype | None) -> list[Entry]:
    """``dtype`` is for matrices: gates, norms and biases are small and stay as they are."""
    entries = []
    for name, piece in pieces.items():
        changed = dtype is not None and piece.dtype.is_floating_point and len(piece.shape) > 1
        entries.append(Entry(name, piece.shape, dtype if changed and dtype else piece.dtype, piece.read))
    return entries


def _save_llama_config(config: LlamaConfig, folder: Path, tensors: list[Entry]) -> None:
    config.architectures = ["LlamaForCausalLM"]
    config.dtype = next(entry.dtype for entry in tensors if len(entry.shape) > 1)
    config.save_pretrained(folder)


def _save_tokenizer(places: list[Path | None], folder: Path, vocab_size: int, audio: bool) -> bool:
    """Write the first tokenizer that is found as ``tokenizer.json``, with the [AUD] tokens where wanted."""
    found = next((place for place in places if place is not None and has_tokenizer(place)), None)
    if found is None:
        return False
    tokenizer = quietly(load_tokenizer)(found)
    if audio:
        tokenizer = add_audio_tokens(tokenizer, vocab_size, AUDIO_TOKENS)
    tokenizer.save_pretrained(folder)
    return True


def _checkpoint_in(source: Path) -> Path:
    """The checkpoint's file. Raises InputError when it is not clear which."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise InputError(f"{source}: no such file or folder")
    if (source / "checkpoint.pth").is_file():
        return source / "checkpoint.pth"
    files = sorted(source.glob("*.pth"))
    if len(files) != 1:
        raise InputError(f"{source} holds {len(files)} files *.pth: name the checkpoint itself")
    return files[0]


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise InputError(f"--dtype must be one of {', '.join(DTYPES)}, not {name!r}")
    return DTYPES[name]


# -- back to the published form ----------------------------------------------------------------------------------


def export(source: str | Path, output: str | Path, dtype: str | None = None, force: bool = False) -> Report:
    """Write the model in the folder ``source`` as a checkpoint with the published names, ``{"model": state_dict}``.

    Frozen encoders and decoder are not in it. Raises InputError for a model that the published implementation has no
    place for (a part of the layers tuned, a projector with standardised input).
    """
    source, output = Path(source), Path(output)
    if output.exists() and (output.is_dir() or not force):
        raise InputError(f"{output} exists already: choose another name, or pass --force to replace it")
    if not (source / BRIDGE).is_file():
        raise InputError(f"{source} is not a model's folder: {BRIDGE} is missing")
    config = M2UGenConfig.from_pretrained(source)
    if config.num_tuned_layers != config.language_model.num_hidden_layers or config.projector.normalise:
        raise InputError("the published form has every layer tuned and a plain output projector; this model has not")
    state = _published_state(config, source, None if dtype is None else _dtype(dtype))
    with atomic_output(output, (".pth", ".pt")) as temporary:
        torch.save({"model": state}, temporary)
    return Report(output, written=len(state))


def _published_state(config: M2UGenConfig, folder: Path, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """All tensors by published name. Those that need no new order stay mapped from their files."""
    inner = config.language_model_source
    llama = SafetensorsFolder(folder / LLAMA_FOLDER if inner is None else model_folder(inner))
    bridge = SafetensorsFolder(folder, BRIDGE)
    expected = _expected(config)
    state: dict[str, torch.Tensor] = {}
    for name in expected.shapes:
        source, own = (bridge, name) if name in bridge.tensors else (llama, expected.llama[name])
        if own == "lm_head.weight" and own not in llama.tensors:  # tied
            own = "model.embed_tokens.weight"
        tensor = source.read(own)
        if dtype is not None and tensor.ndim > 1:
            tensor = tensor.to(dtype)
        if (published := published_tensor(name, tensor, config)) is not None:
            state[published[0]] = published[1]
    if config.decoder is not None:
        for published_name, (_, audio) in VOCABULARY.items():
            words = state[published_name]
            state[published_name] = torch.cat([words, bridge.read(audio).to(words.dtype)])
    gate = torch.zeros(1, config.language_model.num_attention_heads, 1, 1)
    for layer in range(config.language_model.num_hidden_layers - config.num_adapted_layers):
        state[f"llama.layers.{layer}.attention.gate"] = gate.clone()  # the published model has one in every layer
    return state
