"""The three stages of the paper on a whole model: encoder alignment, decoder alignment, instruction tuning.

Each stage is the same task with other trainable groups and another mix of exchanges: cross-entropy on the answers,
and mean squared error between the projected [AUD] states and the decoder's conditioning (M²UGen, §3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from m2ugen.config import M2UGenConfig
from m2ugen.data.nano.dialogue import STAGE_MIXES, Dialogue, DialogueSource
from m2ugen.data.nano.language.own_words import read_own_words
from m2ugen.data.nano.language.plain_text import manual, passages
from m2ugen.data.nano.language.prompts import read_descriptions
from m2ugen.data.nano.recordings import load_recordings
from m2ugen.data.nano.shards import read_shards
from m2ugen.data.paper.places import is_nano_material
from m2ugen.data.paper.selection import Report
from m2ugen.errors import InputError
from m2ugen.model.encoders.nano_music import NanoMusicEncoder
from m2ugen.model.language_model import IGNORED
from m2ugen.model.modeling import M2UGenModel, M2UGenOutput
from m2ugen.model.prompting import Describe
from m2ugen.model.registry import describers
from m2ugen.score.attributes import NUM_SLOTS, SLOT_DIM, attributes_from_conditioning, same_tempo
from m2ugen.train.base import half_precision_of
from m2ugen.train.collate import NOT_TOLD, collate
from m2ugen.train.samples import Sampler
from m2ugen.train.task import BatchSource, Task

BATCH_SIZE = 16
EPOCH_BATCHES = 400
SORTED_BATCHES = 16  # batches that are drawn together and sorted by length, so that little is padded
VALID_BATCHES = 12
VOCABULARY_SAMPLE, OTHER_TOKENS = 2000, 6000
CONDITIONING_WEIGHT = 30.0  # of the mean squared error, whose size is that of a few ones among 400 numbers


class DialogueBatches(BatchSource):
    """Dialogues as padded batches, laid out by ``prompt_format``; every epoch brings new ones."""

    def __init__(
        self,
        source: DialogueSource,
        tokenizer: Any,
        shapes: Mapping[str, tuple[int, int]],
        batches: int = EPOCH_BATCHES,
        prompt_format: str = "chatml",
        describers: Mapping[str, Describe] = NOT_TOLD,
    ) -> None:
        self.source, self.tokenizer, self.shapes, self.batches = source, tokenizer, shapes, batches
        self.prompt_format, self.describers = prompt_format, describers
        self._group: tuple[int, list[list[Dialogue]]] = (-1, [])

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.batches:
            raise IndexError(index)
        group, place = divmod(self.epoch * self.batches + index, SORTED_BATCHES)
        if self._group[0] != group:
            self._group = (group, self._draw(group))
        return self.collate(self._group[1][place])

    def answer_tokens(self, vocab_size: int) -> torch.Tensor:
        """Tokens over which training always normalises: those of VOCABULARY_SAMPLE answers. To these come OTHER_TOKENS
        that are drawn anew for each batch: a token that is never among them would rise unseen.
        """
        tokens: set[int] = set()
        for index in range(VOCABULARY_SAMPLE):
            tokens.update(self.tokenizer(self.source.sample(index).reply, add_special_tokens=False)["input_ids"])
        return torch.tensor(sorted(token for token in tokens if token < vocab_size))

    def _draw(self, group: int) -> list[list[Dialogue]]:
        first = group * SORTED_BATCHES * BATCH_SIZE
        dialogues = [self.source.sample(first + k) for k in range(SORTED_BATCHES * BATCH_SIZE)]
        dialogues.sort(key=lambda d: len(d.user) + len(d.reply))
        order = np.random.default_rng((self.source.seed, group)).permutation(SORTED_BATCHES)
        return [dialogues[k * BATCH_SIZE : (k + 1) * BATCH_SIZE] for k in order]

    def collate(self, dialogues: Sequence[Dialogue]) -> dict[str, Any]:
        """As m2ugen.train.collate."""
        return collate(dialogues, self.tokenizer, self.shapes, self.prompt_format, self.describers)


class Exchanges(Protocol):
    """Batches of exchanges, as BridgeTask takes them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def answer_tokens(self, vocab_size: int) -> torch.Tensor | None:
        """Tokens over which training always normalises; None: all."""


class BridgeTask(Task):
    """Trains the parameter groups of ``stage`` ("encoder", "decoder" or "instruct") of a whole model.

    The loss is the cross-entropy of the answers plus ``conditioning_weight`` times the mean squared error between the
    projected [AUD] states and ``target_scale`` times the decoder's text states.
    """

    model: M2UGenModel
    report: Report | None = None  # on the material that it was given
    whole_export = False  # whether exports can be loaded by themselves, or are weights of a preset

    def __init__(
        self,
        model: M2UGenModel,
        stage: str,
        train: BatchSource,
        valid: Exchanges,
        conditioning_weight: float = CONDITIONING_WEIGHT,
        sampler: Sampler | None = None,
    ) -> None:
        self.name, self.model, self.source, self.valid = stage, model, train, valid
        self.conditioning_weight, self.sampler = conditioning_weight, sampler
        self.candidates = train.answer_tokens(model.language_model.vocab_size)  # type: ignore[attr-defined]
        model.train_only(stage)
        shape = None if model.config.decoder is None else model.config.decoder.conditioning_shape
        self._has_slots = shape is not None and tuple(shape) == (NUM_SLOTS, SLOT_DIM)
        # below the first trained layer nothing changes, unless the [AUD] tokens' input vectors are learnt
        self._lower_rests = not model.language_model.audio_embeddings.weight.requires_grad

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        output = self._forward(batch, self._candidates(batch, generator))
        assert output.cross_entropy is not None  # labels were given
        figures = {"cross_entropy": float(output.cross_entropy.detach())}
        if output.conditioning_error is None:
            return output.cross_entropy + self._idle_projector(), figures
        figures["conditioning_error"] = float(output.conditioning_error.detach())
        return output.cross_entropy + self.conditioning_weight * output.conditioning_error, figures

    def _candidates(self, batch: dict[str, Any], generator: torch.Generator) -> torch.Tensor | None:
        """The tokens among which the next one is sought; see answer_tokens."""
        if self.candidates is None:
            return None
        vocab_size, labels = self.model.language_model.vocab_size, batch["labels"]
        said = labels[(labels != IGNORED) & (labels < vocab_size)]
        others = torch.randint(vocab_size, (OTHER_TOKENS,), generator=generator, device=generator.device)
        return torch.cat([self.candidates.to(labels.device), said, others.to(labels.device)]).unique()

    def _idle_projector(self) -> torch.Tensor | float:
        """Nothing, through every trained parameter of the projector: a process whose batch makes no music must not
        leave those of the others waiting for its gradients.
        """
        projector = self.model.projector
        if projector is None or not next(projector.parameters()).requires_grad:
            return 0.0
        was_training = projector.training
        table = self.model.language_model.audio_embeddings.weight
        states = table.new_zeros(1, *table.shape)
        projector.eval()  # what it is like is no example for its running statistics
        nothing = self.model.conditioning(states).sum()
        projector.train(was_training)
        return 0.0 * nothing

    def _forward(self, batch: dict[str, Any], candidates: torch.Tensor | None = None) -> M2UGenOutput:
        with half_precision_of(self.model):
            return self._compute(batch, candidates)

    def _compute(self, batch: dict[str, Any], candidates: torch.Tensor | None) -> M2UGenOutput:
        lower = None
        if self._lower_rests:
            lower = self.model.language_model.forward_lower(batch["input_ids"], batch["attention_mask"])
        names = ("input_ids", "attention_mask", "labels", "features", "present", "targets")
        return self.model(lower=lower, candidates=candidates, **{name: batch[name] for name in names})

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Held-out losses, and for nano's conditioning the share of slots that are read as they should be."""
        from accelerate.utils import send_to_device

        device = self.model.language_model.audio_embeddings.weight.device
        figures: dict[str, list[float]] = {}
        for index in range(len(self.valid)):
            batch = send_to_device(self.valid[index], device)
            output = self._forward(batch)
            assert output.cross_entropy is not None  # labels were given
            loss = float(output.cross_entropy)
            figures.setdefault("cross_entropy", []).append(loss)
            if output.conditioning_error is not None and output.conditioning is not None:
                error = float(output.conditioning_error)
                figures.setdefault("conditioning_error", []).append(error)
                loss += self.conditioning_weight * error
                if self._has_slots:
                    guesses = (output.conditioning.float() / self.model.target_scale).cpu().numpy()
                    for guess, truth in zip(guesses, batch["targets"].cpu().numpy(), strict=True):
                        for name, hit in slot_hits(guess, truth).items():
                            figures.setdefault(f"slot_{name}", []).append(hit)
            figures.setdefault("loss", []).append(loss)
        return {name: float(np.mean(values)) for name, values in sorted(figures.items())}

    def shards(self) -> Sequence[nn.Module]:
        """The frozen matrices one by one, since the gated adapters reach into the attention's; adapters; projector."""
        llama = self.model.language_model.llama
        frozen = [
            module
            for module in llama.model.layers.modules()
            if isinstance(module, nn.Linear) and not any(parameter.requires_grad for parameter in module.parameters())
        ]
        tied = llama.lm_head.weight is llama.model.embed_tokens.weight  # one weight cannot be in two units
        ends = [] if tied else [llama.model.embed_tokens, llama.lm_head]
        projector = [] if self.model.projector is None else [self.model.projector]
        return [*frozen, *ends, *self.model.adapters.values(), *projector]

    def sample(self, folder: Path) -> None:
        if self.sampler is not None:
            with half_precision_of(self.model):
                self.sampler(self.model, folder)

    def export(self, folder: Path) -> None:
        self.model.save_trained(folder)
        if self.whole_export:
            self.model.config.save_pretrained(folder)


def slot_hits(guess: np.ndarray, truth: np.ndarray) -> dict[str, bool]:
    """For every specified attribute of ``truth`` [N, D]: does ``guess`` say the same (tempo: within 8 %)?"""
    told, wanted = attributes_from_conditioning(guess), attributes_from_conditioning(truth)
    hits = {}
    for name, value in vars(wanted).items():
        if value is None or value == ():
            continue
        found = getattr(told, name)
        hits[name] = found is not None and same_tempo(found, value) if name == "tempo" else found == value
    return hits


def load_material(
    preset: str,
    data: Path,
    init: Path | None,
    seed: int,
    mix: Mapping[str, float],
    corpora: Path | None,
    mosaics: float = 0.0,
    believe_the_ear: bool = False,
) -> tuple[M2UGenModel, DialogueBatches, DialogueBatches]:
    """The model to train and its dialogues for training and validation; ``mix`` maps kinds of exchange to shares.

    ``corpora`` names the folder with people's descriptions (None: none are used), ``mosaics`` is the share of training
    recordings that are put together from several. With ``believe_the_ear`` what the ear says of a training recording
    counts as true: the language model is to learn to say it, not to doubt it, which it can only do by knowing the clip.
    Raises InputError where material is missing.
    """
    model = M2UGenModel.for_training(M2UGenConfig.from_preset(preset), init=init, seed=seed)
    descriptions = [] if corpora is None else read_descriptions(corpora)
    cut = len(descriptions) // 20  # a twentieth of the descriptions is held out
    own_words, plain = read_own_words(data), passages(manual(held_out=False))
    encoders = {name: getattr(model.config, f"{name}_encoder") for name in model.config.modalities}
    shapes = {name: (encoder.num_tokens, encoder.dim) for name, encoder in encoders.items()}
    layout, found = model.config.prompt_format, []
    for split, texts, batches, number, joined in (
        ("train", descriptions[cut:], EPOCH_BATCHES, seed, mosaics),
        ("valid", descriptions[:cut], VALID_BATCHES, seed + 1, 0.0),
    ):
        pieces = [arrangement.plan.attributes() for arrangement in read_shards(data / "scores", split)]
        recordings = load_recordings(data / "recordings", split)
        if believe_the_ear and split == "train":
            recordings = [replace(r, attributes=NanoMusicEncoder.likeliest(r.features)) for r in recordings]
        source = DialogueSource(recordings, pieces, texts, mix, number, joined, own_words, plain + texts)
        told = describers(model.config)
        found.append(DialogueBatches(source, model.tokenizer, shapes, batches, prompt_format=layout, describers=told))
    return model, found[0], found[1]


def build(
    preset: str,
    data: Path | Sequence[str | Path],
    init: Path | None,
    seed: int,
    groups: str,
    corpora: Path | None = None,
    mosaics: float = 0.0,
    believe_the_ear: bool = False,
    material: Mapping[str, Any] | None = None,
    **mix: float,
) -> BridgeTask:
    """The task of one stage. ``groups`` names it, ``corpora`` the folder with people's descriptions (optional).

    ``data`` is what `m2ugen data nano` wrote, or places with sets, shards or songs, to which ``material`` applies (see
    m2ugen.train.stages.material.build).

    ``mosaics`` and ``believe_the_ear`` as in load_material; ``mix`` overrules shares of
    m2ugen.data.nano.dialogue.STAGE_MIXES. Raises InputError where material is missing.
    """
    places = [data] if isinstance(data, str | Path) else list(data)
    if not any(is_nano_material(place) for place in places):
        from m2ugen.train.stages.material import build as build_from_material

        return build_from_material(preset, places, init, seed, groups, **(material or {}))
    if len(places) > 1:
        raise InputError("nano's own material comes alone: give one --data, or sets and songs only")
    shares = {**STAGE_MIXES[groups], **mix}
    model, train, valid = load_material(preset, Path(places[0]), init, seed, shares, corpora, mosaics, believe_the_ear)
    return BridgeTask(model, groups, train, valid)
