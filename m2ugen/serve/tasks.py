"""One request as a worker gets it, and the messages between engine and worker. Plain data that can be pickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from m2ugen.model.prompting import Turn
from m2ugen.model.requests import wants_words

Kind = Literal["ask", "generate", "edit", "chat", "play"]
# Whether the language model ends its answer with the [AUD] tokens, and whether an answer may be an edit.
AUDIO_OF = {"ask": "never", "generate": "always", "edit": "always", "chat": "auto", "play": "always"}
EDIT_OF = {"ask": "never", "generate": "never", "edit": "always", "chat": "auto", "play": "auto"}


@dataclass(frozen=True)
class Task:
    """What is to be done. ``folder`` is the job's own: its decoded media lie in it, and its results will.

    ``kind`` "chat" lets the model choose between words and music, unless the text plainly wants words; "play" makes
    music, or edits where the words say so.
    ``source`` is the folder of an earlier result that serves as the music. ``history`` are the turns before.
    """

    id: str
    kind: Kind
    text: str
    folder: Path
    attached: tuple[str, ...] = ()  # of music, image and video, those whose files lie in the folder
    source: Path | None = None
    history: tuple[Turn, ...] = ()
    duration: float | None = None
    seed: int = 0
    guidance_scale: float | None = None
    temperature: float = 0.0
    max_new_tokens: int = 96
    live: bool = False  # whether what is composed is to be heard while it is being written

    @property
    def audio(self) -> str:
        """As ``Sampling.audio``: whether the language model is to end its answer with the [AUD] tokens."""
        return AUDIO_OF[self._plain_kind]

    @property
    def edit(self) -> str:
        """Whether the answer may be a changed version of the music: "never", "auto" or "always"."""
        return EDIT_OF[self._plain_kind]

    @property
    def _plain_kind(self) -> Kind:
        return "ask" if self.kind == "chat" and wants_words(self.text) else self.kind

    @property
    def batch_key(self) -> tuple[Any, ...] | None:
        """Tasks with the same key can be read together; None: alone, for what is drawn depends on its own seed."""
        return None if self.temperature > 0 else (self.audio, self.max_new_tokens)


@dataclass(frozen=True)
class Event:
    """What a worker tells about a task.

    ``kind`` is "started", "text" (``value``: the next piece), "progress" (0-1), "done" (a summary of the result),
    "refused" (the input is at fault; the reason) or "failed" (ours is; the reason). About itself, with an empty
    ``id``: "ready" (a description of the model), "idle" (the batch is done) or "broken" (it cannot start; the reason).
    """

    kind: str
    id: str = ""
    value: Any = None
