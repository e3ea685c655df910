"""The paper's stages on sets, shards and songs: any preset, with the frozen parts' features kept on disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from m2ugen.config import M2UGenConfig, preset_names
from m2ugen.data.nano.dialogue import Dialogue
from m2ugen.data.paper.features import FeatureStore, FrozenParts, Keys
from m2ugen.data.paper.places import holds_own_songs, read_place
from m2ugen.data.paper.samples import Sample
from m2ugen.data.paper.selection import Report, hold_out, select
from m2ugen.errors import InputError
from m2ugen.model.modeling import BRIDGE, LLAMA_FOLDER, M2UGenModel, parts_folder, preset_config
from m2ugen.model.prompting import Describe
from m2ugen.model.registry import describers
from m2ugen.train.base import DTYPES, keep_differentiable, load_options
from m2ugen.train.collate import NOT_TOLD, collate, encode
from m2ugen.train.samples import Sampler
from m2ugen.train.stages.bridge import BridgeTask
from m2ugen.train.task import BatchSource
from m2ugen.weights import cache_folder, preset_folder

FEATURES_FOLDER = "training-features"
SORTED_BATCHES = 50  # batches that are sorted by length together, so that little is padded
SEED_SALT = 7919


@dataclass(frozen=True)
class Material:
    """How samples become batches.

    ``batch_size`` samples, of about the same length; longer ones than ``max_tokens`` (request and answer) are left
    out. ``held_out`` is the share of files that validates. ``shares`` multiply how often a set comes in an epoch, by
    its name (``{alpaca: 0.5}``). ``conditioning_weight`` multiplies the mean squared error. ``features`` is the folder
    of the features. ``samples`` held-out requests are answered at each evaluation, with music. ``quantise``: "4bit"
    for the frozen language model; ``base_dtype`` is that of its matrices ("auto": as mixed_precision).
    ``gradient_checkpointing`` computes layers twice and keeps less.
    """

    batch_size: int = 8
    max_tokens: int = 512
    held_out: float = 0.05
    shares: Mapping[str, float] | None = None
    conditioning_weight: float = 1.0
    features: str | None = None
    samples: int = 0
    quantise: Literal["4bit"] | None = None
    base_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        checks = (
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("max_tokens", self.max_tokens >= 16, "at least 16"),
            ("held_out", 0 < self.held_out < 1, "between 0 and 1"),
            ("shares", all(share > 0 for share in (self.shares or {}).values()), "all above 0"),
            ("conditioning_weight", self.conditioning_weight >= 0, "at least 0"),
            ("samples", self.samples >= 0, "at least 0"),
            ("quantise", self.quantise in (None, "4bit"), "4bit or none"),
            ("base_dtype", self.base_dtype in ("auto", *DTYPES), "auto, float32, bfloat16 or float16"),
        )
        for name, fine, wanted in checks:
            if not fine:
                raise InputError(f"material setting {name} is {getattr(self, name)!r}; it must be {wanted}")


@dataclass(frozen=True)
class Item:
    """A sample with the keys of its features and its length in tokens."""

    sample: Sample
    keys: Keys
    length: int


class SampleBatches(BatchSource):
    """Samples as batches of about equal length. In an epoch every sample comes as often as its set's share says, in an
    order that follows from the seed and the epoch.
    """

    def __init__(
        self,
        items: Sequence[Item],
        store: FeatureStore,
        tokenizer: Any,
        shapes: Mapping[str, tuple[int, int]],
        prompt_format: str,
        batch_size: int,
        seed: int = 0,
        shares: Mapping[str, float] | None = None,
        shuffle: bool = True,
        describers: Mapping[str, Describe] = NOT_TOLD,
    ) -> None:
        self.items, self.store, self.tokenizer, self.shapes = items, store, tokenizer, shapes
        self.prompt_format, self.batch_size, self.seed, self.shuffle = prompt_format, batch_size, seed, shuffle
        self.shares, self.describers = dict(shares or {}), describers
        self._order: tuple[int, list[list[int]]] = (-1, [])

    def __len__(self) -> int:
        return len(self._batches())

    def __getitem__(self, index: int) -> dict[str, Any]:
        members = [self.items[place] for place in self._batches()[index]]
        dialogues = [self.dialogue(item) for item in members]
        batch = collate(dialogues, self.tokenizer, self.shapes, self.prompt_format, self.describers)
        return {**batch, "ids": [_name(item.sample) for item in members]}

    def answer_tokens(self, vocab_size: int) -> torch.Tensor | None:
        """All tokens: any word may come in an answer."""
        return None

    def dialogue(self, item: Item) -> Dialogue:
        """A sample with its features. Raises InputError when they have gone from the disk."""
        sample = item.sample
        given: dict[str, Any] = {name: self._features(key) for name, key in item.keys.media.items()}
        target = None if item.keys.target is None else self._features(item.keys.target)
        return Dialogue(sample.split, sample.request, sample.answer, target=target, **given)

    def _features(self, key: str) -> np.ndarray:
        found = self.store.get(key)
        if found is None:
            raise InputError(f"the features {self.store.path(key)} have gone; start the run again to compute them")
        features: np.ndarray = found.float().numpy()
        return features

    def _batches(self) -> list[list[int]]:
        """Places of the samples of each batch of this epoch."""
        if self._order[0] != self.epoch:
            self._order = (self.epoch, self._arranged(np.random.default_rng((self.seed, SEED_SALT, self.epoch))))
        return self._order[1]

    def _arranged(self, rng: np.random.Generator) -> list[list[int]]:
        places = np.arange(len(self.items))
        if self.shuffle:
            places = rng.permutation(self._drawn(rng))
        width = self.batch_size * SORTED_BATCHES
        batches: list[list[int]] = []
        for first in range(0, len(places), width):
            near = sorted(places[first : first + width].tolist(), key=lambda place: self.items[place].length)
            batches += [near[k : k + self.batch_size] for k in range(0, len(near), self.batch_size)]
        return [batches[k] for k in rng.permutation(len(batches))] if self.shuffle else batches

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Places of the samples of an epoch, those of a set with a share below 1 in part, above 1 repeated."""
        sets: dict[str, list[int]] = {}
        for place, item in enumerate(self.items):
            sets.setdefault(item.sample.origin, []).append(place)
        unknown = sorted(set(self.shares) - set(sets))
        if unknown:
            raise InputError(f"shares name the set {unknown[0]!r}; the data have: {', '.join(sets)}")
        drawn = []
        for origin, members in sets.items():
            wanted = max(round(self.shares.get(origin, 1.0) * len(members)), 1)
            rounds = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
            drawn.append(np.concatenate(rounds)[:wanted])
        return np.concatenate(drawn)


def _name(sample: Sample) -> str:
    """What a sample is called in messages."""
    medium = next(iter(sample.media.values()), None)
    return f"{sample.origin}: {sample.request[:40] if medium is None else medium.name}"


def build(
    preset: str,
    places: Sequence[str | Path],
    init: Path | None,
    seed: int,
    stage: str,
    **settings: Any,
) -> BridgeTask:
    """The task of ``stage`` on what lies in ``places``, for a preset or a folder that save_pretrained wrote.

    ``init`` is a folder with trained weights to begin with; songs of one's own begin with the preset's, where those are
    on this machine. ``settings`` are those of Material. What is used and what is not goes to stderr and stays as the
    task's ``report``. Raises InputError and MissingWeights.
    """
    try:
        material = Material(**settings)
    except TypeError as error:
        raise InputError(f"a material setting is unknown or of the wrong kind: {error}") from error
    config, folder = resolve(preset)
    if init is None and all(holds_own_songs(place) for place in places):
        trained = folder if folder is not None else preset_folder(preset)
        init = trained if (trained / BRIDGE).is_file() else None
    samples, report = select(
        (sample for place in places for sample in read_place(place)),
        stage,
        config.modalities,
        config.decoder is not None and config.decoder.conditioning_shape is not None,
    )
    report.check()
    model = M2UGenModel.for_training(config, init, seed, folder, **load_options(material.quantise, material.base_dtype))
    keep_differentiable(model)
    if material.gradient_checkpointing:
        llama = model.language_model.llama
        llama.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        llama.disable_input_require_grads()  # below the first trained layer no gradient is needed
    store = FeatureStore(Path(material.features) if material.features else cache_folder() / FEATURES_FOLDER)
    parts = FrozenParts(config, parts_folder(config, folder or Path()), store, model.tokenizer, _device())
    items = _items(samples, parts, model, material, report)
    report.check()
    for line in report.lines() if os.environ.get("RANK", "0") == "0" else ():
        print(line, file=sys.stderr, flush=True)
    train, valid = _divided(items, material.held_out, seed)
    shapes = {name: _shape(config, name) for name in config.modalities}
    layout = (store, model.tokenizer, shapes, config.prompt_format, material.batch_size, seed)
    told = describers(config)
    source = SampleBatches(train, *layout, shares=material.shares, describers=told)
    held_out = SampleBatches(valid, *layout, shuffle=False, describers=told)
    sampler = None
    if material.samples:
        sampler = Sampler([held_out.dialogue(item) for item in _varied(valid, material.samples)], parts.decoder)
    task = BridgeTask(model, stage, source, held_out, material.conditioning_weight, sampler)
    task.report, task.whole_export = report, True
    return task


def resolve(preset: str) -> tuple[M2UGenConfig, Path | None]:
    """The configuration of a preset, or that of a folder that save_pretrained wrote, and that folder."""
    if preset in preset_names():
        return preset_config(preset), None
    folder = Path(preset).resolve()
    if not (folder / "config.json").is_file():
        raise InputError(f"{preset!r} is neither a preset ({', '.join(preset_names())}) nor a model's folder")
    config = M2UGenConfig.from_pretrained(folder)
    # what is exported elsewhere finds its frozen parts where they are
    config.parts_source = config.parts_source or str(folder)
    config.language_model_source = config.language_model_source or str(folder / LLAMA_FOLDER)
    return config, folder


def _items(
    samples: Sequence[Sample], parts: FrozenParts, model: M2UGenModel, material: Material, report: Report
) -> list[Item]:
    """Samples with features, and in the report why others have none."""
    keys, unusable = parts.prepare(samples, _progress())
    items = []
    for place, sample in enumerate(samples):
        reason = unusable.get(place)
        length = 0
        if reason is None:
            target = np.zeros(0) if keys[place].target is not None else None
            blank: dict[str, Any] = {name: np.zeros(0) for name in sample.media}
            plain = Dialogue(sample.split, sample.request, sample.answer, target=target, **blank)
            length = sum(map(len, encode(plain, model.tokenizer, model.config.prompt_format)))
            reason = None if length <= material.max_tokens else "longer than max_tokens"
        if reason is not None:
            report.used[f"{sample.origin}/{sample.split}"] -= 1
            report.leave_out(reason, _name(sample))
        else:
            items.append(Item(sample, keys[place], length))
    return items


def _divided(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    _, valid = hold_out([item.sample for item in items], share, seed)
    groups = {sample.group for sample in valid}
    chosen = set(map(id, valid))
    return [item for item in items if item.sample.group not in groups], [i for i in items if id(i.sample) in chosen]


def _varied(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` items, music and words in turn as long as there are both."""
    making = [item for item in items if item.keys.target is not None]
    saying = [item for item in items if item.keys.target is None]
    turns = [item for pair in zip(making, saying) for item in pair]
    return (turns + making[len(saying) :] + saying[len(making) :])[:count]


def _shape(config: M2UGenConfig, name: str) -> tuple[int, int]:
    encoder = getattr(config, f"{name}_encoder")
    return encoder.num_tokens, encoder.dim


def _device() -> torch.device:
    """Where the frozen parts compute: this process' GPU, else the CPU."""
    import os

    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )


@lru_cache(maxsize=1)
def _progress() -> Any:
    """Tells at every tenth how far the features are."""
    told: dict[str, int] = {}

    def tell(label: str, share: float) -> None:
        if (tenth := int(10 * share)) > told.get(label, 0):
            told[label] = tenth
            print(f"{label}: {share:.0%}", file=sys.stderr, flush=True)

    return tell
