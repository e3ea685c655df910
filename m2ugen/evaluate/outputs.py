"""What a system gave for a benchmark: a folder of answers and music, made here by a model or brought by a user."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ugen.errors import InputError
from m2ugen.evaluate.benchmark.items import ANSWERS_FILE, OTHER, Benchmark, Item, read_json
from m2ugen.evaluate.replies import answers
from m2ugen.media.audio import Audio, load_audio
from m2ugen.media.files import AUDIO_SUFFIXES, atomic_output

if TYPE_CHECKING:
    from m2ugen.pipeline import M2UGen
    from m2ugen.reply import Reply
    from m2ugen.score.plan import Plan

NOTES = ".npz"
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Outputs:
    """A system's folder."""

    folder: Path

    def sound(self, item: Item) -> Path | None:
        """The music for an item, None where there is none."""
        names = (self.folder / f"{item.id}{suffix}" for suffix in (*AUDIO_SUFFIXES, ".mid"))
        return next((path for path in names if path.is_file()), None)

    def audio(self, item: Item) -> Audio | None:
        """The same, decoded. Raises InputError for a damaged file."""
        path = self.sound(item)
        return None if path is None else load_audio(path)

    def answered(self) -> dict[str, str]:
        """The answers by item id; empty where there are none. Raises InputError for a damaged file."""
        path = self.folder / ANSWERS_FILE
        if not path.is_file():
            return {}
        data = read_json(path)
        if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
            raise InputError(f"{path} must hold an object of item ids and texts")
        return data

    def notes(self, item: Item) -> tuple[Plan, np.ndarray] | None:
        """Plan and notes of an item, where the system composed them here."""
        from m2ugen.score.plan import Plan

        path = self.folder / f"{item.id}{NOTES}"
        if not path.is_file():
            return None
        with np.load(path) as data:
            return Plan.from_dict(json.loads(str(data["plan"]))), data["notes"].astype(np.int32)


def produce(
    model: M2UGen, benchmark: Benchmark, tasks: Sequence[str], folder: Path, report: Report = lambda label, share: None
) -> Outputs:
    """Let ``model`` answer the items of ``tasks``; what is in ``folder`` already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = Outputs(folder)
    if "understanding" in tasks:
        _answer(model, benchmark, outputs, report)
    todo = [
        item for task in tasks if task != "understanding" for item in benchmark.of(task) if outputs.sound(item) is None
    ]
    for number, item in enumerate(todo):
        report(f"making music: {item.task}", number / len(todo))
        try:
            _save(folder, item, _make(model, benchmark, item))
        except InputError as error:  # an item that this system cannot do counts as missing, and says why
            (folder / f"{item.id}.failed.txt").write_text(f"{error}\n", encoding="utf-8")
    return outputs


def _make(model: M2UGen, benchmark: Benchmark, item: Item) -> Reply:
    if item.task == "editing":
        assert item.music is not None
        return model.edit(item.prompt, music=benchmark.path(item.music), seed=item.seed)
    media: dict[str, Any] = {
        name: benchmark.path(value)
        for name in ("music", "image", "video")
        if (value := getattr(item, name)) is not None
    }
    return model.generate(item.prompt, duration=item.duration, seed=item.seed, **media)


def _save(folder: Path, item: Item, reply: Reply) -> None:
    """Notes first: the sound marks the item as finished."""
    if reply.notes is not None and reply.plan is not None:
        with atomic_output(folder / f"{item.id}{NOTES}", (NOTES,)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, notes=reply.notes, plan=np.array(json.dumps(reply.plan.to_dict())))
    reply.save(folder / f"{item.id}.wav")


def _answer(model: M2UGen, benchmark: Benchmark, outputs: Outputs, report: Report) -> None:
    """Every question about its recording and about the other one, in batches over encoded features."""
    known = outputs.answered()
    asked: list[tuple[str, str, str]] = []  # id, question, recording
    for item in benchmark.of("understanding"):
        asked += [(item.id, item.prompt, item.music)] if item.music else []
        asked += [(item.id + OTHER, item.prompt, item.other)] if item.other else []
    asked = [entry for entry in asked if entry[0] not in known]
    if not asked:
        return
    features = {}
    names = list(dict.fromkeys(name for _, _, name in asked))
    for number, name in enumerate(names):
        report("listening", 0.3 * number / len(names))
        encoded = model.processor.encode(model.processor.load(music=benchmark.path(name)))
        features[name] = encoded["music"][0].float().cpu().numpy()
    pairs = [(question, features[name]) for _, question, name in asked]
    texts = answers(model, pairs, lambda share: report("answering", 0.3 + 0.7 * share))
    known.update({key: text for (key, _, _), text in zip(asked, texts, strict=True)})
    with atomic_output(outputs.folder / ANSWERS_FILE, (".json",)) as temporary:
        temporary.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
