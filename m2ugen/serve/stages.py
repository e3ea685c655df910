"""What a worker does with tasks: read them together, then carry out each. Knows the pipeline, not where it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m2ugen.checks import checked_text
from m2ugen.errors import InputError, M2UGenError
from m2ugen.model.prompting import Turn
from m2ugen.serve.live import LiveSound
from m2ugen.serve.media import load_image, load_music, load_video
from m2ugen.serve.results import read_result, write_result
from m2ugen.serve.tasks import Task

if TYPE_CHECKING:
    from m2ugen.pipeline import M2UGen, Understanding
    from m2ugen.processor import LoadedMedia

UNDERSTANDING_SHARE = 0.2  # of the time that music takes
MAX_PROMPT_TOKENS = 2048  # that are read; the time and memory for more grow with the square


class Cancelled(Exception):
    """The caller does not want the result any more."""


@dataclass
class Understood:
    """A task with its decoded media and what the language model made of it."""

    task: Task
    loaded: LoadedMedia
    understanding: Understanding
    start: float  # clock reading (time.perf_counter)


def load_media(task: Task) -> LoadedMedia:
    """The task's decoded media, from its folder. Raises InputError when an earlier result holds no music."""
    from m2ugen.media.image import load_image as to_picture
    from m2ugen.processor import LoadedMedia

    loaded = LoadedMedia()
    if task.source is not None:
        loaded.reply = read_result(task.source)
        samples, sample_rate = loaded.reply.sound
        from m2ugen.media.audio import Audio

        loaded.music = Audio(samples, sample_rate)
    elif "music" in task.attached:
        loaded.music = load_music(task.folder)
    if "image" in task.attached:
        loaded.image = to_picture(load_image(task.folder))
    if "video" in task.attached:
        loaded.video, loaded.motion = load_video(task.folder)
    return loaded


def understand(
    model: M2UGen,
    tasks: Sequence[Task],
    on_text: Callable[[Task, str], None],
    on_refusal: Callable[[Task, str], None],
) -> list[Understood]:
    """Tasks of one batch key, read together; those whose input cannot be used go to ``on_refusal`` and are left out."""
    from m2ugen.model.generation import Sampling

    start = time.perf_counter()
    ready: list[tuple[Task, LoadedMedia, list[Turn]]] = []
    for task in tasks:
        try:
            loaded = load_media(task)
            model.processor.encode(loaded)  # kept by the processor's cache, so that it costs nothing below
            turns = [*task.history, Turn(checked_text(task.text), loaded.attached)]
            ready.append((task, loaded, fitted(model, turns)))
        except M2UGenError as error:
            on_refusal(task, str(error))
    if not ready:
        return []
    first = ready[0][0]
    audio: Any = first.audio if model.model.projector is not None else "never"
    sampling = Sampling(max_new_tokens=first.max_new_tokens, temperature=first.temperature, audio=audio)
    understood = model.understand(
        [(turns, loaded) for _, loaded, turns in ready],
        sampling,
        first.seed,
        lambda row, piece: on_text(ready[row][0], piece),
    )
    return [Understood(task, loaded, words, start) for (task, loaded, _), words in zip(ready, understood)]


def fitted(model: M2UGen, turns: list[Turn]) -> list[Turn]:
    """The last of ``turns`` and as many before it as MAX_PROMPT_TOKENS hold. Raises InputError when it is too long."""
    from m2ugen.model.prompting import encode_prompt

    for first in range(len(turns)):
        kept = turns[first:]
        if len(encode_prompt(model.processor.tokenizer, kept, model.processor.prompt_format)) <= MAX_PROMPT_TOKENS:
            return kept
    raise InputError(f"the text is longer than {MAX_PROMPT_TOKENS} tokens; shorten it")


def carry_out(model: M2UGen, understood: Understood, progress: Callable[[float], None]) -> dict[str, Any]:
    """Make what was asked for and write it into the task's folder; returns the summary. Raises InputError."""
    from m2ugen.model.decoders.base import Player

    task = understood.task
    if task.kind in ("generate", "edit", "play"):
        model.need_decoder()
    options: dict[str, Any] = {} if task.guidance_scale is None else {"guidance_scale": task.guidance_scale}
    decoder: Any = model.model.decoder
    plays = isinstance(decoder, Player)
    if task.live and plays:
        options["on_audio"] = LiveSound(task.folder, decoder.sample_rate)
    edit: Any = task.edit
    reply = model.carry_out(
        understood.understanding,
        understood.loaded,
        task.seed,
        edit,
        task.duration,
        understood.start,
        lambda fraction: progress(UNDERSTANDING_SHARE + (1 - UNDERSTANDING_SHARE) * fraction),
        **options,
    )
    return {**write_result(task.folder, reply), "tokens": understood.understanding.tokens}
