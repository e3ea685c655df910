"""Operators that word requests: by nano's grammar, or by a chat model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from m2ugen.data.build.chat import Messages, load_chat, persuade
from m2ugen.data.build.engine import Operator
from m2ugen.data.build.records import Outcome, Record
from m2ugen.data.build.texts import fault
from m2ugen.edit.command import EditCommand
from m2ugen.score.attributes import Attributes
from m2ugen.score.lexicon import read_attributes

GRAMMAR = "grammar"
MAX_WORDS = 60  # of a request or an answer
MAX_QUESTIONS = 8
ENERGY_STEP = 1  # from which a difference in energy is worth a word

TASKS = {
    "mucaps": "A user asks for music in words. The music that is made: {caption}",
    "muimage": "A user shows a picture and asks for music to it. The picture: {picture_caption} The music: {caption}",
    "muvideo": "A user shows a video and asks for music to it. The video: {picture_caption} The music: {caption}",
    "muedit": "A user has this music: {source_caption} The user asks for a change, so that it becomes: {caption}",
}
SYSTEM = (
    "You write training examples for an assistant that makes music. Answer with one JSON object and nothing else: "
    '{"request": "what the user says, one sentence", "answer": "what the assistant says before the music plays, one '
    'sentence"}. Do not mention captions or descriptions.'
)
QUESTION_SYSTEM = (
    "You write questions about a piece of music and short, true answers. Answer with one JSON object and nothing else: "
    '{"questions": [{"question": "…", "answer": "…"}, …]}, five of them. Ask only what the description answers.'
)


@dataclass(frozen=True)
class Instruct(Operator):
    """A request that leads to the music, and the answer that precedes it: ``request`` and ``answer``.

    ``set_name`` says what is attached; ``writer`` is "grammar" or as load_chat takes it.
    """

    set_name: str
    writer: str = GRAMMAR
    writer_model: str | None = None
    identity: str = ""
    name = "instruct"
    needs = ("caption", "look")

    @property
    def model(self) -> bool:  # type: ignore[override]
        return self.writer != GRAMMAR

    def __call__(self, records: list[Record]) -> list[Outcome]:
        if self.writer == GRAMMAR:
            word = GRAMMARS[self.set_name]
            pairs = [word(record.generator("request"), record.facts) for record in records]
            return [Outcome({"request": request, "answer": answer}) for request, answer in pairs]
        chat = load_chat(self.writer, self.writer_model)
        results = persuade(chat, [self._messages(record) for record in records], read_exchange)
        return [Outcome(found or {}, rejected=reason) for found, reason in results]

    def _messages(self, record: Record) -> Messages:
        task = TASKS[self.set_name].format(**record.facts)
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": task}]


@dataclass(frozen=True)
class WriteQuestions(Operator):
    """Questions and answers that a chat model makes of the caption, as in MU-LLaMA (arXiv 2308.11276): ``answers``."""

    writer: str
    writer_model: str | None = None
    identity: str = ""
    name = "question"
    needs = ("caption",)
    model = True

    def __call__(self, records: list[Record]) -> list[Outcome]:
        conversations = [
            [{"role": "system", "content": QUESTION_SYSTEM}, {"role": "user", "content": record.facts["caption"]}]
            for record in records
        ]
        results = persuade(load_chat(self.writer, self.writer_model), conversations, read_questions)
        return [Outcome({} if found is None else {"answers": found}, rejected=reason) for found, reason in results]


def read_exchange(data: Any) -> dict[str, str]:
    """``request`` and ``answer`` of a chat model's JSON. Raises ValueError."""
    if not isinstance(data, dict) or set(data) != {"request", "answer"}:
        raise ValueError("the chat model's JSON has other fields than request and answer")
    return {key: checked_sentence(data[key]) for key in ("request", "answer")}


def read_questions(data: Any) -> list[list[str]]:
    """Pairs of question and answer of a chat model's JSON. Raises ValueError."""
    rows = data.get("questions") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_QUESTIONS:
        raise ValueError("the chat model's JSON has no list of questions")
    if not all(isinstance(row, dict) and set(row) == {"question", "answer"} for row in rows):
        raise ValueError("the chat model's questions have other fields than question and answer")
    return [[checked_sentence(row["question"]), checked_sentence(row["answer"])] for row in rows]


def checked_sentence(text: Any) -> str:
    """``text`` in one line. Raises ValueError when it is no text, or there is something wrong with it."""
    if not isinstance(text, str):
        raise ValueError("the chat model writes something that is not text")
    wrong = fault(text, max_words=MAX_WORDS)
    if wrong is not None:
        raise ValueError(wrong)
    return " ".join(text.split())


def _words(rng: np.random.Generator, facts: dict[str, Any]) -> tuple[str, str]:
    """A request in words for music with this caption."""
    from m2ugen.data.nano.language.prompts import prompt_from_description, sample_prompt

    attributes = read_attributes(facts["caption"])
    if attributes == Attributes():  # nothing that the grammar has words for: the description itself is the request
        request, _, answer = prompt_from_description(rng, facts["caption"])
        return request, answer
    request, _, answer = sample_prompt(rng, attributes)
    return request, answer


def _picture(media: str) -> Callable[[np.random.Generator, dict[str, Any]], tuple[str, str]]:
    def word(rng: np.random.Generator, facts: dict[str, Any]) -> tuple[str, str]:
        from m2ugen.data.nano.language.prompts import sample_picture_prompt

        return sample_picture_prompt(rng, read_attributes(facts["caption"]), media)

    return word


def _edit(rng: np.random.Generator, facts: dict[str, Any]) -> tuple[str, str]:
    """The request that leads from one recording to another, by what their captions differ in."""
    from m2ugen.data.nano.language.edits import word_edit

    commands = differences(read_attributes(facts["source_caption"]), read_attributes(facts["caption"]))
    if not commands:
        return "Make a variation of this.", "Here is a variation of it."
    said = [word_edit(rng, command) for command in commands[:2]]
    return " and ".join(said), " ".join(command.phrase() for command in commands[:2])


def differences(before: Attributes, after: Attributes) -> list[EditCommand]:
    """Edits that lead from one piece to another, as far as both are known: players first, then style and mode."""
    commands = []
    gone = [name for name in before.instruments if name not in after.instruments]
    new = [name for name in after.instruments if name not in before.instruments]
    if gone and new and "drums" not in (gone[0], new[0]):
        commands.append(EditCommand("swap", (gone[0], new[0])))
    elif new and before.instruments:
        commands.append(EditCommand("add", tuple(new[:2])))
    elif gone and after.instruments:
        commands.append(EditCommand("remove", (gone[0],)))
    if before.genre and after.genre and before.genre != after.genre:
        commands.append(EditCommand("genre", (after.genre,)))
    if before.mode and after.mode and before.mode != after.mode:
        commands.append(EditCommand("mode", (after.mode,)))
    if before.energy is not None and after.energy is not None and abs(after.energy - before.energy) >= ENERGY_STEP:
        commands.append(EditCommand("energy", (), float(np.sign(after.energy - before.energy))))
    return commands


GRAMMARS = {"mucaps": _words, "muimage": _picture("image"), "muvideo": _picture("video"), "muedit": _edit}
