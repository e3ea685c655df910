"""A page to listen to: prompts of every style, pictures, a video, edits before and after, and questions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from m2ugen.demo.page import Card
from m2ugen.demo.run import LIGHT_BIT_RATE, Demo
from m2ugen.examples import example
from m2ugen.media.audio import load_audio, save_audio
from m2ugen.reply import Reply

PROMPTS = (
    "an energetic rock song with distorted guitar, bass and drums in E minor",
    "a happy pop song with piano, bass and drums, 118 bpm",
    "a slow piano ballad with strings, without drums",
    "a swinging jazz trio with piano, bass and drums",
    "a lively latin piece with acoustic guitar, bass and drums",
    "a slow blues in A major with electric guitar and organ",
    "a country song with banjo, violin and acoustic bass",
    "a funky groove with electric bass, electric piano and drums",
    "a calm classical piece for harp and flute",
    "a string quartet in D minor, slow and sad",
    "electronic dance music with synth lead and synth bass, 128 bpm",
    "a quiet ambient piece with synth pad",
    "a waltz for accordion and strings",
    "a gentle 6/8 lullaby for vibraphone and harp",
    "a march for brass and drums, bright and loud",
    "music for a car chase",
    "something sad for a rainy evening on the piano",
    "a jazz ballad with saxophone, piano and bass, no drums",
    "cheerful music for a cooking video",
    "a dark cello solo with soft strings",
)
EDITS = (
    "add drums",
    "make it slower",
    "make it minor",
    "turn it into jazz",
    "replace the piano with a harp",
    "make it more energetic",
)
EDITED = "a happy pop song with piano and acoustic bass, without drums"
QUESTIONS = (
    "Describe this music.",
    "Which instruments play?",
    "Are there drums?",
    "Is it major or minor?",
    "How fast is it?",
    "What genre is this?",
    "What is the mood?",
)
TALK = ("What can you do?", "What is a waltz?", "What makes music sad?", "Which notes are in D minor?")
SECONDS = 12.0
LONG = ("a pop song with an intro, piano, acoustic guitar, bass and drums", 75.0)  # prompt, seconds


@dataclass
class Gallery(Demo):
    """The same kinds of cards as the demo's, more of them, and lighter: no spectrograms, no lossless sound.

    ``beside`` is the folder of an earlier gallery, whose sound stands beside the new one where the names agree.
    """

    beside: Path | None = None
    title = "m2ugen: a gallery"
    light = True

    def steps(self) -> list[Callable[[], list[Card]]]:
        return [self._from_text, self._from_pictures, self._from_video, self._edit, self._ask, self._talk]

    def _from_text(self) -> list[Card]:
        cards = []
        for number, (prompt, seconds) in enumerate([*((prompt, SECONDS) for prompt in PROMPTS), LONG]):
            reply = self.model.generate(prompt, duration=seconds, seed=number)
            command = f'm2ugen generate "{prompt}" --duration {seconds:.0f} --seed {number}'
            cards.append(self._card(prompt, command, f"prompt-{number:02d}", reply))
        return cards

    def _edit(self) -> list[Card]:
        source = self.model.generate(EDITED, duration=SECONDS, seed=0)
        cards = [self._card(f"To be edited: {EDITED}", f'm2ugen generate "{EDITED}"', "edit-source", source)]
        given = self.folder / "edit-source.mp3"
        for number, instruction in enumerate(EDITS):
            reply = self.model.edit(instruction, music=source, seed=0)
            command = f'm2ugen edit "{instruction}" --music {given.name}'
            cards.append(self._card(f"Editing: {instruction}", command, f"edit-{number:02d}", reply, [given]))
        return cards

    def _ask(self) -> list[Card]:
        cards = []
        for path in (self._copy(example("music")), self.folder / "prompt-03.mp3"):
            said = "\n".join(f"{question} {self.model.ask(question, music=path).text}" for question in QUESTIONS)
            cards.append(
                Card(f"Questions about {path.name}", f"m2ugen chat --music {path.name}", said, given=[self._copy(path)])
            )
        return cards

    def _talk(self) -> list[Card]:
        said = "\n".join(f"{question} {self.model.ask(question).text}" for question in TALK)
        return [Card("Talk without music", "m2ugen chat", said)]

    def _card(self, title: str, command: str, name: str, reply: Reply, given: list[Path] | None = None) -> Card:
        card = super()._card(title, command, name, reply, [self._copy(path) for path in given or []])
        earlier = None if self.beside is None else self.beside / f"{name}.mp3"
        if earlier is not None and earlier.is_file():
            sound = load_audio(earlier)
            copy = self.folder / f"{name}-before.mp3"
            card.earlier = save_audio(copy, sound.samples, sound.sample_rate, bit_rate=LIGHT_BIT_RATE)
        return card

    def _copy(self, path: Path) -> Path:
        """``path`` in the folder of the gallery, which is to be whole when it is moved."""
        return path if path.parent == self.folder else Path(shutil.copy(path, self.folder / f"given-{path.name}"))
