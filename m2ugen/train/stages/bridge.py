"""The three stages of the paper on a whole model: encoder alignment, decoder alignment, instruction tuning.

Each stage is the same task with other trainable groups and another mix of exchanges: cross-entropy on the answers,
and mean squared error between the projected [AUD] states and the decoder's conditioning (M²UGen, §3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m2ugen.config import M2UGenConfig
from m2ugen.data.nano.dialogue import STAGE_MIXES, Dialogue, DialogueSource
from m2ugen.data.nano.language.prompts import read_descriptions
from m2ugen.data.nano.recordings import load_recordings
from m2ugen.data.nano.shards import read_shards
from m2ugen.model.language_model import IGNORED
from m2ugen.model.modeling import M2UGenModel, M2UGenOutput
from m2ugen.model.prompting import MODALITIES, Turn, encode_answer, encode_prompt
from m2ugen.score.attributes import attributes_from_conditioning, same_tempo
from m2ugen.train.task import BatchSource, Task

BATCH_SIZE = 16
EPOCH_BATCHES = 400
SORTED_BATCHES = 16  # batches that are drawn together and sorted by length, so that little is padded
VALID_BATCHES = 12
VOCABULARY_SAMPLE, OTHER_TOKENS = 2000, 6000
CONDITIONING_WEIGHT = 30.0  # of the mean squared error, whose size is that of a few ones among 400 numbers


class DialogueBatches(BatchSource):
    """Dialogues as padded batches, laid out by ``prompt_format``; every epoch brings new ones, or with ``repeat`` the
    same, each with its number as "place".
    """

    def __init__(
        self,
        source: DialogueSource,
        tokenizer: Any,
        shapes: Mapping[str, tuple[int, int]],
        batches: int = EPOCH_BATCHES,
        repeat: bool = False,
        prompt_format: str = "chatml",
    ) -> None:
        self.source, self.tokenizer, self.shapes, self.batches = source, tokenizer, shapes, batches
        self.repeat, self.prompt_format = repeat, prompt_format
        self._group: tuple[int, list[list[Dialogue]]] = (-1, [])

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.batches:
            raise IndexError(index)
        epoch = 0 if self.repeat else self.epoch
        group, place = divmod(epoch * self.batches + index, SORTED_BATCHES)
        if self._group[0] != group:
            self._group = (group, self._draw(group))
        batch = self.collate(self._group[1][place])
        return {**batch, "place": index} if self.repeat else batch

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
        """Token ids, mask and labels [batch, length], features [batch, tokens, dim] with presence [batch] for each
        modality that occurs, and the conditioning targets of the rows that make music.
        """
        rows, labels = [], []
        for dialogue in dialogues:
            turn = Turn(dialogue.user, dialogue.attached, dialogue.reply, dialogue.target is not None)
            prompt = encode_prompt(self.tokenizer, [turn], self.prompt_format)
            answer = encode_answer(self.tokenizer, turn, self.prompt_format)
            rows.append(prompt + answer)
            labels.append([IGNORED] * len(prompt) + answer)
        length = max(map(len, rows))
        batch: dict[str, Any] = {
            "input_ids": torch.tensor([row + [0] * (length - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows]),
            "labels": torch.tensor([row + [IGNORED] * (length - len(row)) for row in labels]),
            "kinds": [dialogue.kind for dialogue in dialogues],
            "features": {},
            "present": {},
        }
        for name in MODALITIES:
            given = [getattr(dialogue, name) for dialogue in dialogues]
            if any(features is not None for features in given):
                blank = np.zeros(self.shapes[name], dtype=np.float32)
                stacked = np.stack([blank if f is None else np.asarray(f, dtype=np.float32) for f in given])
                batch["features"][name] = torch.from_numpy(stacked)
                batch["present"][name] = torch.tensor([f is not None for f in given])
        batch["audio_rows"] = torch.tensor([d.target is not None for d in dialogues])
        targets = [d.target for d in dialogues if d.target is not None]
        batch["targets"] = torch.from_numpy(np.stack(targets)) if targets else None
        return batch


class BridgeTask(Task):
    """Trains the parameter groups of ``stage`` ("encoder", "decoder" or "instruct") of a whole model."""

    model: M2UGenModel

    def __init__(self, model: M2UGenModel, stage: str, train: DialogueBatches, valid: DialogueBatches) -> None:
        self.name, self.model, self.source, self.valid = stage, model, train, valid
        self.target_scale = model.config.decoder.target_scale if model.config.decoder is not None else 1.0
        self.candidates = train.answer_tokens(model.language_model.vocab_size)
        self._kept: dict[int, torch.Tensor] = {}  # what the untrained lower layers give for a repeated batch
        model.train_only(stage)

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        labels = batch["labels"]
        said = labels[(labels != IGNORED) & (labels < self.model.language_model.vocab_size)]
        others = torch.randint(self.model.language_model.vocab_size, (OTHER_TOKENS,), generator=generator)
        output = self._forward(batch, torch.cat([self.candidates, said, others]).unique())
        assert output.cross_entropy is not None  # labels were given
        figures = {"cross_entropy": float(output.cross_entropy.detach())}
        if output.conditioning_error is None:
            return output.cross_entropy, figures
        figures["conditioning_error"] = float(output.conditioning_error.detach())
        return output.cross_entropy + CONDITIONING_WEIGHT * output.conditioning_error, figures

    def _forward(self, batch: dict[str, Any], candidates: torch.Tensor | None = None) -> M2UGenOutput:
        lower = self._kept.get(batch.get("place", -1))
        if lower is None:
            lower = self.model.language_model.forward_lower(batch["input_ids"], batch["attention_mask"])
            if "place" in batch:
                self._kept[batch["place"]] = lower
        names = ("input_ids", "attention_mask", "labels", "features", "present", "targets")
        return self.model(lower=lower, candidates=candidates, **{name: batch[name] for name in names})

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Held-out loss, and for the conditioning the share of slots that are read as they should be."""
        losses: list[float] = []
        correct: dict[str, list[bool]] = {}
        for index in range(len(self.valid)):
            batch = self.valid[index]
            output = self._forward(batch)
            assert output.cross_entropy is not None  # labels were given
            loss = float(output.cross_entropy)
            if output.conditioning_error is not None and output.conditioning is not None:
                loss += CONDITIONING_WEIGHT * float(output.conditioning_error)
                guesses = output.conditioning.numpy() / self.target_scale
                for guess, truth in zip(guesses, batch["targets"].numpy(), strict=True):
                    for name, hit in slot_hits(guess, truth).items():
                        correct.setdefault(name, []).append(hit)
            losses.append(loss)
        return {"loss": float(np.mean(losses)), **{f"slot_{k}": float(np.mean(v)) for k, v in sorted(correct.items())}}

    def export(self, folder: Path) -> None:
        self.model.save_trained(folder)


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
    preset: str, data: Path, init: Path | None, seed: int, mix: Mapping[str, float], corpora: Path | None
) -> tuple[M2UGenModel, DialogueBatches, DialogueBatches]:
    """The model to train and its dialogues for training and validation; ``mix`` maps kinds of exchange to shares.

    ``corpora`` names the folder with people's descriptions (None: none are used). Raises InputError where material is
    missing.
    """
    model = M2UGenModel.for_training(M2UGenConfig.from_preset(preset), init=init, seed=seed)
    descriptions = [] if corpora is None else read_descriptions(corpora)
    cut = len(descriptions) // 20  # a twentieth of the descriptions is held out
    encoders = {name: getattr(model.config, f"{name}_encoder") for name in model.config.modalities}
    shapes = {name: (encoder.num_tokens, encoder.dim) for name, encoder in encoders.items()}
    layout, found = model.config.prompt_format, []
    for split, texts, batches in (
        ("train", descriptions[cut:], EPOCH_BATCHES),
        ("valid", descriptions[:cut], VALID_BATCHES),
    ):
        pieces = [arrangement.plan.attributes() for arrangement in read_shards(data / "scores", split)]
        recordings = load_recordings(data / "recordings", split)
        source = DialogueSource(recordings, pieces, texts, mix, seed if split == "train" else seed + 1)
        found.append(DialogueBatches(source, model.tokenizer, shapes, batches, prompt_format=layout))
    return model, found[0], found[1]


def build(
    preset: str,
    data: Path,
    init: Path | None,
    seed: int,
    groups: str,
    corpora: Path | None = None,
    repeated_batches: int | None = None,
    **mix: float,
) -> BridgeTask:
    """The task of one stage. ``groups`` names it, ``corpora`` the folder with people's descriptions (optional).

    With ``repeated_batches`` every epoch has that many batches, and all epochs the same: what the layers below the
    trained ones compute is then kept, which saves two fifths of the time. ``mix`` overrules shares of
    m2ugen.data.nano.dialogue.STAGE_MIXES. Raises InputError where material is missing.
    """
    model, train, valid = load_material(preset, data, init, seed, {**STAGE_MIXES[groups], **mix}, corpora)
    if repeated_batches is not None:
        train.batches, train.repeat = repeated_batches, True
    return BridgeTask(model, groups, train, valid)
