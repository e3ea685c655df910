"""Operators that listen: a model's features of music, its captions and its answers, in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ugen.data.build.engine import Operator, attempt
from m2ugen.data.build.media import music_of
from m2ugen.data.build.records import Outcome, Record, digest, file_version
from m2ugen.data.build.texts import fault, whole_sentences
from m2ugen.errors import InputError
from m2ugen.media.audio import load_audio

if TYPE_CHECKING:
    import torch

    from m2ugen.pipeline import M2UGen

ENCODER_BATCH = 4  # files that an encoder gets at once; more gain nothing on a CPU
ROWS = 32  # texts that the language model writes at once
CAPTION_REQUEST = "Describe this music."
CAPTION_TOKENS = 64
NUM_QUESTIONS = 5

_LOADED: dict[tuple[str, str], Any] = {}
_LOCK = threading.RLock()


def loaded(kind: str, name: str, load: Callable[[], Any]) -> Any:
    """What ``load`` gives, kept in this process under ``kind`` and ``name``."""
    with _LOCK:
        if (kind, name) not in _LOADED:
            _LOADED[kind, name] = load()
        return _LOADED[kind, name]


def device() -> str:
    """Where models compute."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_model(name: str) -> M2UGen:
    """An M2UGen model, loaded once in this process. Raises InputError, MissingWeights."""

    def load() -> M2UGen:
        from m2ugen.pipeline import M2UGen

        return M2UGen.from_pretrained(name, device=device())

    model: M2UGen = loaded("m2ugen", name, load)
    return model


def model_identity(name: str) -> str:
    """``name`` and, of a folder or a preset, its files: what tells that the model is another."""
    from m2ugen.config import preset_names
    from m2ugen.weights import preset_folder

    folder = preset_folder(name) if name in preset_names() else Path(name)
    if not folder.is_dir():
        return name
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".bin", ".json"))
    return f"{folder.name}-{digest([[path.name, *file_version(path)] for path in files])[:16]}"


def encode_batch(encoder: Any, inputs: Sequence[Mapping[str, torch.Tensor]]) -> list[np.ndarray]:
    """Hidden states float32 [tokens, dim] of prepared ``inputs``."""
    import torch

    parameter = next(encoder.parameters(), torch.zeros(0))
    hidden: list[np.ndarray] = []
    for start in range(0, len(inputs), ENCODER_BATCH):
        part = list(inputs[start : start + ENCODER_BATCH])
        if hasattr(encoder, "collate"):
            batch = encoder.collate(part)
        else:
            batch = {key: torch.stack([each[key] for each in part]) for key in part[0]}
        batch = {
            key: value.to(parameter.device, parameter.dtype if value.is_floating_point() else None)
            for key, value in batch.items()
        }
        with torch.inference_mode():
            hidden += list(encoder(**batch).float().cpu().numpy())
    return hidden


def answer_batch(
    model: M2UGen, modality: str, features: Sequence[np.ndarray], questions: Sequence[str], max_new_tokens: int
) -> list[str]:
    """The model's greedy answers to ``questions``, in whole sentences, each about the medium with the ``features``
    [tokens, dim] at its place.
    """
    import torch

    from m2ugen.model.generation import Sampling, StopText, generate
    from m2ugen.model.prompting import FORMATS, Turn, encode_prompt, findings

    inner, processor = model.model, model.processor
    layout = inner.config.prompt_format
    ends = StopText(processor.tokenizer, FORMATS[layout].stop_strings)
    order = sorted(range(len(questions)), key=lambda k: (len(questions[k]), k))  # rows of like length: less padding
    answers = [""] * len(questions)
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        told = [findings(processor.describers, {modality: features[k]}) for k in rows]
        turns = [Turn(questions[k], (modality,), found=found) for k, found in zip(rows, told)]
        prompts = [encode_prompt(processor.tokenizer, [turn], layout) for turn in turns]
        with torch.inference_mode():
            hidden = torch.from_numpy(np.stack([features[k] for k in rows])).to(inner.device)
            written = generate(
                inner.language_model,
                prompts,
                inner.adapter_states({modality: hidden}),
                Sampling(max_new_tokens=max_new_tokens, audio="never"),
                stop_ids=inner.stop_ids,
                stop_text=ends,
            )
        for k, tokens in zip(rows, written.tokens):
            answers[k] = whole_sentences(ends.cut(processor.decode(tokens)))
    return answers


def encoder_of(model: M2UGen, modality: str) -> Any:
    """The model's encoder. Raises InputError where it has none."""
    encoder = model.processor.encoders.get(modality)
    if encoder is None:
        raise InputError(f"this model does not understand {modality}; choose another --model or --captioner")
    return encoder


@dataclass(frozen=True)
class Listen(Operator):
    """The music encoder's hidden states of the whole recording. ``all_records``: also where a caption is given."""

    model_name: str = "nano"
    identity: str = ""
    all_records: bool = False
    name = "listen"
    model = True

    def __call__(self, records: list[Record]) -> list[Outcome]:
        heard = [record for record in records if self.all_records or "caption" not in record.facts]
        if not heard:
            return [Outcome() for _ in records]
        encoder = encoder_of(load_model(self.model_name), "music")
        inputs: dict[str, Any] = {}

        def prepare(record: Record) -> Outcome:
            audio = load_audio(music_of(record), sample_rate=encoder.sample_rate, mono=True)
            inputs[record.id] = encoder.prepare(audio.samples[0])
            return Outcome()

        outcomes = {record.id: attempt(prepare, record) for record in heard}
        for name, hidden in zip(inputs, encode_batch(encoder, list(inputs.values()))):
            outcomes[name].arrays["music"] = hidden
        return [outcomes.get(record.id, Outcome()) for record in records]


@dataclass(frozen=True)
class Caption(Operator):
    """A caption of the music by an M2UGen model (in the paper MU-LLaMA); one that is given is kept."""

    model_name: str = "nano"
    identity: str = ""
    name = "caption"
    needs = ("listen",)
    model = True

    def __call__(self, records: list[Record]) -> list[Outcome]:
        silent = [record for record in records if "caption" not in record.facts]
        captions: dict[str, str] = {}
        if silent:
            features = [record.array("music") for record in silent]
            requests = [CAPTION_REQUEST] * len(silent)
            written = answer_batch(load_model(self.model_name), "music", features, requests, CAPTION_TOKENS)
            captions = dict(zip((record.id for record in silent), written))
        outcomes = []
        for record in records:
            caption = captions.get(record.id, record.facts.get("caption", ""))
            wrong = fault(caption, "music") if record.id in captions else None
            outcomes.append(Outcome({"caption": caption}, rejected=wrong))
        return outcomes


@dataclass(frozen=True)
class Question(Operator):
    """Questions about the music with the model's answers: ``answers`` [[question, answer], …], a caption first."""

    model_name: str = "nano"
    identity: str = ""
    name = "question"
    needs = ("listen",)
    model = True

    def __call__(self, records: list[Record]) -> list[Outcome]:
        asked = [(record, question) for record in records for question in self.questions(record)]
        features = {record.id: record.array("music") for record in records}
        written = answer_batch(
            load_model(self.model_name),
            "music",
            [features[record.id] for record, _ in asked],
            [question for _, question in asked],
            CAPTION_TOKENS,
        )
        kept: dict[str, list[list[str]]] = {record.id: [] for record in records}
        for (record, question), answer in zip(asked, written):
            if fault(answer) is None:
                kept[record.id].append([question, answer])
        return [
            Outcome({"answers": pairs}, rejected=None if pairs else "no answer of the model can be used")
            for pairs in kept.values()
        ]

    @staticmethod
    def questions(record: Record) -> list[str]:
        """A request for a caption and NUM_QUESTIONS questions of different kinds."""
        from m2ugen.data.nano.language.captions import CAPTION_REQUESTS
        from m2ugen.data.nano.language.fragments import pick
        from m2ugen.data.nano.language.questions import QUESTIONS, sample_question
        from m2ugen.score.attributes import INSTRUMENT_NAMES, Attributes

        rng = record.generator("questions")
        kinds = [kind for kind in QUESTIONS if kind != "duration"]
        chosen = [kinds[k] for k in rng.permutation(len(kinds))[:NUM_QUESTIONS]]
        asked = [pick(rng, CAPTION_REQUESTS)]
        for kind in chosen:
            if kind == "has_instrument":  # its question names one; what plays is not known here
                some = Attributes(instruments=(pick(rng, INSTRUMENT_NAMES),))
                asked.append(sample_question(rng, some, kind=kind)[0])
            else:
                asked.append(pick(rng, QUESTIONS[kind]))
        return asked
