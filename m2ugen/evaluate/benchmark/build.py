"""Makes the benchmark with known truth: recordings, questions, prompts, pictures, clips and edits under one seed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from m2ugen.data.nano.language.prompts import sample_picture_prompt, sample_prompt
from m2ugen.data.nano.language.questions import sample_question
from m2ugen.data.nano.recordings import RENDER_RATE, SECONDS, play, truth, window_of
from m2ugen.errors import InputError
from m2ugen.evaluate.benchmark.edits import sample_instruction
from m2ugen.evaluate.benchmark.items import (
    TASKS,
    Benchmark,
    Item,
    load_benchmark,
    plain_attributes,
    unique,
    with_others,
)
from m2ugen.evaluate.benchmark.pictures import make_clip, make_picture
from m2ugen.evaluate.benchmark.scores import held_out_scores
from m2ugen.media.audio import save_audio
from m2ugen.score.attributes import Attributes
from m2ugen.score.lexicon import read_tempo

NAME = "known truth 1"
QUESTION_KINDS = ("drums", "mode", "tempo_word", "tempo", "key", "metre", "genre", "instruments", "has_instrument")
GENERATED_SECONDS = 10.0
VARIANT_PROMPTS, VARIANTS = 2, 2  # prompts that are asked again, and how often, to see how much the seed changes
MIN_NOTES = 8  # of a recording

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Recipe:
    """What a benchmark is made from: items per task, the seed, a SoundFont (None: the packaged one), and a folder of
    ``m2ugen data nano`` (None: the packaged scores).
    """

    limit: int = 20
    seed: int = 0
    soundfont: Path | None = None
    data: Path | None = None
    tasks: tuple[str, ...] = TASKS

    def settings(self) -> dict[str, object]:
        """The recipe as the benchmark's settings; a folder with others is made anew."""
        return {
            "limit": self.limit,
            "seed": self.seed,
            "soundfont": None if self.soundfont is None else self.soundfont.name,
            "scores": "packaged" if self.data is None else str(self.data),
            "tasks": list(self.tasks),
        }


def build_benchmark(folder: Path, recipe: Recipe, report: Report = lambda label, share: None) -> Benchmark:
    """The benchmark of ``recipe`` in ``folder``; one that is there already is read. Raises InputError."""
    if (folder / "items.json").is_file():
        known = load_benchmark(folder)
        if known.settings == recipe.settings():
            return known
        if known.name != NAME:
            raise InputError(f"{folder} holds another benchmark ({known.name}); name another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    maker = _Maker(folder, recipe, report)
    return maker.run()


class _Maker:
    """One making of a benchmark."""

    def __init__(self, folder: Path, recipe: Recipe, report: Report) -> None:
        self.folder, self.recipe, self.report = folder, recipe, report
        self.clips: list[tuple[str, Attributes]] = []
        self.asked: list[tuple[Attributes, str]] = []

    def run(self) -> Benchmark:
        """Make everything and write it down."""
        limit = self.recipe.limit
        names = self._recordings(2 * limit)  # the second half is the reference of distances and no one's prompt
        makers = {
            "understanding": self._questions,
            "text2music": self._prompts,
            "image2music": lambda: self._pictures("image"),
            "video2music": lambda: self._pictures("video"),
            "editing": self._edits,
        }
        items: list[Item] = []
        for number, task in enumerate(self.recipe.tasks):
            self.report(f"preparing {task}", 0.8 + 0.2 * number / len(self.recipe.tasks))
            items += makers[task]()
        found = Benchmark(NAME, self.folder, unique(items), tuple(names[limit:]), self.recipe.settings())
        found.save()
        return found

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, *stream])

    def _recordings(self, count: int) -> list[str]:
        """Play windows of ``count`` held-out arrangements; their names."""
        scores = held_out_scores(self.recipe.data)
        order = self._rng(1).permutation(len(scores))
        names = []
        for number in range(count):
            self.report("playing held-out scores", 0.8 * number / count)
            arrangement = scores[int(order[number % len(order)])]
            rng = self._rng(2, number)
            plan, notes = window_of(arrangement, rng)
            while len(notes) < MIN_NOTES:
                arrangement = scores[int(rng.integers(len(scores)))]
                plan, notes = window_of(arrangement, rng)
            name = f"clip-{number:03d}.wav"
            sound = play(plan, notes, self.recipe.soundfont, rng)
            if not np.isfinite(sound).all():
                raise InputError(f"the SoundFont {self.recipe.soundfont} makes no usable sound; choose another")
            save_audio(self.folder / name, sound, RENDER_RATE)
            names.append(name)
            self.clips.append((name, truth(plan, notes)))
        return names

    def _questions(self) -> list[Item]:
        """One question of every kind about each recording that answers it."""
        items = []
        limit = self.recipe.limit
        for number, (name, known) in enumerate(self.clips[:limit]):
            rng = self._rng(3, number)
            for kind in QUESTION_KINDS:
                field = {"tempo_word": "tempo", "key": "tonic", "has_instrument": "instruments"}.get(kind, kind)
                if getattr(known, field) in (None, ()):
                    continue
                question, answer = sample_question(rng, known, {"duration": SECONDS}, kind=kind)
                items.append(
                    Item(f"understanding-{number:03d}-{kind}", "understanding", question, music=name, kind=kind,
                         asked=known, reference=answer)
                )  # fmt: skip
        return with_others(items, [name for name, _ in self.clips[:limit]])

    def _prompts(self) -> list[Item]:
        """A prompt that each recording would satisfy, and a few of them again with other seeds."""
        items = []
        for number, (name, known) in enumerate(self.clips[: self.recipe.limit]):
            prompt, asked, _ = sample_prompt(self._rng(4, number), known)
            facts = {"tempo_word": read_tempo(prompt) is None, "recording": plain_attributes(known)}
            items.append(
                Item(f"text2music-{number:03d}", "text2music", prompt, duration=GENERATED_SECONDS, seed=number,
                     asked=asked, reference=name, facts=facts)
            )  # fmt: skip
        again = [
            replace(item, id=f"{item.id}-seed{k}", kind="variant", of=item.id, seed=10_000 * k + item.seed)
            for item in items[:VARIANT_PROMPTS]
            for k in range(1, VARIANTS + 1)
        ]
        return items + again

    def _pictures(self, modality: str) -> list[Item]:
        items = []
        for number in range(self.recipe.limit):
            rng = self._rng(5 if modality == "image" else 6, number)
            stem = f"{modality}-{number:03d}"
            make = make_picture if modality == "image" else make_clip
            name, facts = make(self.folder / stem, rng)
            prompt = sample_picture_prompt(rng, Attributes(), modality)[0]
            seconds = GENERATED_SECONDS if modality == "image" else None
            item = Item(f"{modality}2music-{number:03d}", f"{modality}2music", prompt, seed=number, duration=seconds)
            items.append(replace(item, facts=facts, **{modality: name}))  # type: ignore[arg-type]
        return items

    def _edits(self) -> list[Item]:
        """One instruction for each recording, the operations in turn."""
        items = []
        for number, (name, known) in enumerate(self.clips[: self.recipe.limit]):
            instruction, command, after = sample_instruction(self._rng(7, number), known, number)
            facts = {"targets": list(command.targets), "amount": command.amount, "phrase": command.phrase()}
            items.append(
                Item(f"editing-{number:03d}", "editing", instruction, music=name, kind=command.operation, seed=number,
                     asked=after, facts=facts)
            )  # fmt: skip
        return items


def clip_names(items: Sequence[Item]) -> list[str]:
    """The recordings that items are about, without repetition."""
    return list(dict.fromkeys(item.music for item in items if item.music is not None))
