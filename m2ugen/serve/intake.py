"""From what a caller sent to a job: files into the job's folder, checked and decoded, and the numbers within limits."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from m2ugen.checks import checked_duration, checked_seed, checked_text
from m2ugen.errors import InputError
from m2ugen.model.prompting import Turn
from m2ugen.serve.engine import Draining, Engine, QueueFull
from m2ugen.serve.jobs import Job
from m2ugen.serve.media import HEAD, fits, mixed_suffix
from m2ugen.serve.schemas import ServeError
from m2ugen.serve.tasks import Kind, Task

PICTURE_SIDE = 1024  # pixels; the encoders look at far fewer
CHUNK = 1 << 20
MODALITIES = {"music": "audio, MIDI or video", "image": "picture", "video": "video"}
_turns = itertools.count()


class Upload(Protocol):
    """A file that is being sent."""

    async def read(self, size: int = -1, /) -> bytes: ...


@dataclass
class Wish:
    """A request before it is a job. ``uploads`` by modality; ``source`` is the id of an earlier job."""

    kind: Kind
    text: str
    uploads: Mapping[str, Upload | bytes] = field(default_factory=dict)
    source: str | None = None
    history: tuple[Turn, ...] = ()
    duration: float | None = None
    seed: int | None = None
    guidance_scale: float | None = None
    temperature: float = 0.0
    max_new_tokens: int = 96
    keep_sound: bool = False
    live: bool = False


async def accept(engine: Engine, wish: Wish) -> Job:
    """Put a wish into the queue. Raises ServeError when it cannot be taken."""
    async with _answers():
        engine.check_room()
        text = checked_text(wish.text)
        seed = checked_seed(wish.seed)
        source = _source(engine, wish)
        name, folder = engine.store.new_folder()
        try:
            decoded = {kind: await _take(engine, folder, kind, upload) for kind, upload in wish.uploads.items()}
            duration = wish.duration
            if wish.kind in ("generate", "play", "chat"):
                video_seconds = decoded.get("video", {}).get("seconds")
                duration = checked_duration(duration, video_seconds)
                if duration > engine.settings.limits.duration:
                    raise InputError(
                        f"{duration:g} seconds of music are more than this server makes at a time; "
                        f"ask for at most {engine.settings.limits.duration:g}"
                    )
            task = Task(
                id=name, kind=wish.kind, text=text, folder=folder, attached=tuple(decoded), history=wish.history,
                source=None if source is None else source.task.folder, duration=duration, seed=seed,
                guidance_scale=wish.guidance_scale, temperature=wish.temperature,
                max_new_tokens=min(wish.max_new_tokens, engine.settings.limits.new_tokens),
                live=wish.live,
            )  # fmt: skip
            job = Job(
                task, source_id=None if source is None else source.id, keep_sound=wish.keep_sound,
                video_suffix=decoded["video"]["suffix"] if "video" in decoded else None,
            )  # fmt: skip
            engine.submit(job)
        except BaseException:
            engine.store.discard(folder)
            raise
        return job


@asynccontextmanager
async def _answers() -> AsyncIterator[None]:
    """Turns what can go wrong while a request is taken into answers."""
    try:
        yield
    except InputError as error:
        raise ServeError(400, "invalid_input", str(error)) from error
    except QueueFull as error:
        headers = {"Retry-After": str(error.retry_after)}
        raise ServeError(429, "queue_full", str(error), headers) from error
    except Draining as error:
        raise ServeError(503, "draining", str(error), {"Retry-After": "30"}) from error


def _source(engine: Engine, wish: Wish) -> Job | None:
    """The earlier job whose music is used. Raises InputError."""
    if not wish.source:
        if wish.kind == "edit" and "music" not in wish.uploads:
            raise InputError("there is no music to edit; attach a file, or name an earlier result")
        return None
    if "music" in wish.uploads:
        raise InputError("give either a music file or an earlier result, not both")
    job = engine.store.get(wish.source)
    if job is None or job.state != "done":
        raise InputError("the earlier result is unknown, unfinished or has expired")
    return job


async def _take(engine: Engine, folder: Path, modality: str, upload: Upload | bytes) -> dict[str, Any]:
    """Write an upload under a name of ours, look at what it is, and have it decoded. Raises InputError, ServeError."""
    limits, path = engine.settings.limits, folder / f"upload-{modality}"
    size = 0
    with path.open("wb") as file:
        while chunk := upload if isinstance(upload, bytes) else await upload.read(CHUNK):
            size += len(chunk)
            if size > limits.file_bytes:
                limit = limits.file_bytes >> 20
                raise ServeError(413, "file_too_large", f"the {modality} file is larger than {limit} MiB; shorten it")
            file.write(chunk)
            if isinstance(upload, bytes):
                break
    if not size:
        raise InputError(f"the {modality} file is empty")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not fits(modality, head):
        wanted = MODALITIES[modality]
        raise ServeError(415, "unsupported_media", f"the {modality} file is not a known kind of {wanted}")
    sandbox = engine.sandboxes[next(_turns) % len(engine.sandboxes)]
    told = await asyncio.to_thread(
        sandbox.run, modality, modality, limits.decode_seconds,
        source=str(path), target=str(folder / f"{modality}.npz"), memory=limits.decode_bytes,
        media_seconds=limits.media_seconds, pixels=limits.pixels, side=PICTURE_SIDE,
        num_frames=(engine.model or {}).get("num_frames", 32),
    )  # fmt: skip
    return {**told, "suffix": mixed_suffix(head)}
