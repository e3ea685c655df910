"""The interface of OpenAI's chat completions: words, pictures, sound and video in; words and music out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from m2ugen.checks import MAX_DURATION, MAX_SEED, MAX_TEXT, MIN_DURATION, is_unicode
from m2ugen.errors import InputError
from m2ugen.media.audio import load_audio, pcm16
from m2ugen.model.prompting import Turn
from m2ugen.serve.engine import Engine
from m2ugen.serve.intake import Wish, accept
from m2ugen.serve.jobs import Job
from m2ugen.serve.plain import Engined, only
from m2ugen.serve.results import SOUND, converted
from m2ugen.serve.schemas import ServeError, error_body, job_error

FORMATS = {"wav": "audio.wav", "mp3": "audio.mp3", "flac": "audio.flac", "ogg": "audio.ogg"}
PCM_RATE = 24_000  # Hz, of "pcm16": 16-bit little-endian, mono
AUDIO_CHUNK = 48_000  # bytes of sound in one event of a stream; a multiple of 3, so that base64 pieces can be joined
DEFAULT_TOKENS = 96  # of an answer, unless the request says more
POLL_SECONDS = 0.5  # between looks whether the caller is still there
DATA_URL = re.compile(r"data:[\w.+/;=-]*;base64,", re.ASCII)
WELCOME = "{what} must be given as data (a data: URL or base64); this server fetches nothing from elsewhere"


class Model(BaseModel):
    """A model that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["m2ugen"] = "m2ugen"


class Models(BaseModel):
    """The models of this server."""

    object: Literal["list"] = "list"
    data: list[Model]


class Link(BaseModel):
    """A picture or a video as a data: URL."""

    url: str


class SoundPart(BaseModel):
    """Base64 of a sound file of any kind."""

    data: str
    format: str = "wav"


class FilePart(BaseModel):
    """A file as base64 or a data: URL; videos come this way."""

    file_data: str | None = None
    filename: str | None = None


class Part(BaseModel):
    """A piece of a message."""

    type: Literal["text", "image_url", "input_audio", "file", "video_url", "refusal"]
    text: str | None = None
    image_url: Link | None = None
    video_url: Link | None = None
    input_audio: SoundPart | None = None
    file: FilePart | None = None


class Earlier(BaseModel):
    """Music of an earlier answer: the id that came with it."""

    id: str


class Message(BaseModel):
    """One message. Those of the roles system and developer are read over: the models have no place for them."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None
    audio: Earlier | None = None


class AudioOptions(BaseModel):
    """The format of the music; ``voice`` is accepted and has no meaning here."""

    format: Literal["wav", "mp3", "flac", "ogg", "pcm16"] = "wav"
    voice: Any = None


class StreamOptions(BaseModel):
    """Whether a stream ends with the number of tokens."""

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """A chat completion. ``duration`` (seconds of music), ``guidance_scale`` and ``keep_sound`` are this server's own;
    fields that are not named here are not looked at."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[Message] = Field(min_length=1, max_length=200)
    modalities: list[Literal["text", "audio"]] = ["text"]
    audio: AudioOptions | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    seed: int | None = Field(None, ge=0, lt=MAX_SEED)
    n: Literal[1] = 1
    duration: float | None = Field(None, ge=MIN_DURATION, le=MAX_DURATION, allow_inf_nan=False)
    guidance_scale: float | None = Field(None, ge=0, le=20, allow_inf_nan=False)
    keep_sound: bool = False


router = APIRouter(prefix="/v1", tags=["openai"])


def served(engine: Engine) -> Model:
    """The model of this server, under the last part of its name."""
    return Model(id=Path(engine.settings.model).name, created=int(engine.started))


@router.get("/models", responses=only())
async def models(engine: Engined) -> Models:
    """The models that can be asked."""
    return Models(data=[served(engine)])


@router.get("/models/{name}", responses=only(404))
async def model(engine: Engined, name: str) -> Model:
    """One of them."""
    return _known(engine, name)


@router.post(
    "/chat/completions",
    responses=only(400, 404, 413, 415, 429, 503)
    | {200: {"description": "A chat completion, or with ``stream`` its pieces as events.", "model": dict[str, Any]}},
    response_model=None,
)
async def completions(engine: Engined, request: Request, body: CompletionRequest) -> Any:
    """Answer the last message: in words, and with ``modalities: ["text", "audio"]`` in music. Where music is attached
    or was made before, and the words ask to change it, it is edited."""
    named = _known(engine, body.model)
    wish = _wish(body, engine)
    found = await accept(engine, wish)
    if body.stream:
        return StreamingResponse(_stream(engine, found, body, named.id), media_type="text/event-stream")
    try:
        while not await found.wait(POLL_SECONDS):
            if await request.is_disconnected():
                raise ServeError(499, "client_gone", "the caller went away")
    finally:
        engine.cancel(found)  # of no effect on a finished job
    if found.state != "done" or found.summary is None:
        raise job_error(found)
    found.fetched = True
    message: dict[str, Any] = {"role": "assistant", "content": found.summary["text"], "refusal": None}
    if SOUND in found.files:
        data = base64.b64encode(await asyncio.to_thread(_sound, found, body)).decode()
        expires = int(time.time() + engine.settings.keep_seconds)
        message["audio"] = {"id": found.id, "data": data, "transcript": found.summary["text"], "expires_at": expires}
    choice = {"index": 0, "message": message, "finish_reason": _reason(found), "logprobs": None}
    return _completion("chat.completion", found, named.id, choices=[choice], usage=_usage(found))


def _known(engine: Engine, name: str) -> Model:
    own = served(engine)
    if name not in (own.id, engine.settings.model):
        raise ServeError(404, "model_not_found", f"there is no such model here; this server has {own.id}")
    return own


def _wish(body: CompletionRequest, engine: Engine) -> Wish:
    """The request behind a conversation: its last user message, with what came before. Raises ServeError."""
    last = body.messages[-1]
    if last.role != "user":
        raise ServeError(400, "invalid_input", "the last message must be one of the user's")
    text, uploads = _content(last)
    history, source = _history(body.messages[:-1], engine)
    if "music" in uploads:
        source = None
    elif isinstance(source, bytes):
        uploads, source = {**uploads, "music": source}, None
    wanted = body.max_completion_tokens or body.max_tokens or DEFAULT_TOKENS
    return Wish(
        "play" if "audio" in body.modalities else "ask",
        text, uploads, source, history, body.duration, body.seed, body.guidance_scale, body.temperature, wanted,
        body.keep_sound,
    )  # fmt: skip


def _history(messages: Sequence[Message], engine: Engine) -> tuple[tuple[Turn, ...], str | bytes | None]:
    """Earlier turns, and the last music: a file that the user sent, or the id of an answer that made some."""
    turns: list[Turn] = []
    music: str | bytes | None = None
    asked: tuple[str, tuple[str, ...]] | None = None
    for message in messages:
        if message.role == "user":
            text, uploads = _content(message)
            asked = (text, tuple(uploads))
            music = uploads.get("music", music)
        elif message.role == "assistant":
            music = music if message.audio is None else message.audio.id
            if asked is not None:
                reply, _ = _content(message)
                if not is_unicode(asked[0] + reply):
                    raise ServeError(400, "invalid_input", "a message holds halves of characters; send it as UTF-8")
                turns.append(Turn(asked[0][:MAX_TEXT], asked[1], reply[:MAX_TEXT], message.audio is not None))
                asked = None
    return tuple(turns[-engine.settings.limits.history :]), music


def _content(message: Message) -> tuple[str, dict[str, Any]]:
    """The words and the files of a message. Raises ServeError."""
    if message.content is None or isinstance(message.content, str):
        return message.content or "", {}
    words: list[str] = []
    files: dict[str, Any] = {}
    for part in message.content:
        if part.text is not None:
            words.append(part.text)
        for name, data in (
            ("image", part.image_url and part.image_url.url),
            ("video", part.video_url and part.video_url.url),
            ("music", part.input_audio and part.input_audio.data),
            ("file", part.file and part.file.file_data),
        ):
            if data:
                content = _bytes(data, name)
                kind = name if name != "file" else _kind(content)
                if kind in files:
                    raise ServeError(400, "invalid_input", f"one {kind} file at a time can be understood")
                files[kind] = content
    return "\n".join(words), files


def _kind(content: bytes) -> str:
    """The modality of a file part, by its content. Raises ServeError."""
    from m2ugen.serve.media import HEAD, sniff

    kind = {"audio": "music", "midi": "music", "image": "image", "video": "video"}.get(sniff(content[:HEAD]) or "")
    if kind is None:
        raise ServeError(415, "unsupported_media", "the file is not a known kind of sound, picture or video")
    return kind


def _bytes(data: str, what: str) -> bytes:
    if (match := DATA_URL.match(data)) is not None:
        data = data[match.end() :]
    elif ":" in data[:16]:
        raise ServeError(400, "invalid_input", WELCOME.format(what=what))
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServeError(400, "invalid_input", f"the {what} is not valid base64") from error


def _sound(job: Job, body: CompletionRequest) -> bytes:
    """The music in the format that was asked for."""
    form = body.audio.format if body.audio is not None else "wav"
    folder = job.task.folder
    if form == "pcm16":
        samples = load_audio(folder / SOUND, sample_rate=PCM_RATE, mono=True).samples[0]
        return pcm16(samples)
    return converted(folder, FORMATS[form]).read_bytes()


def _reason(job: Job) -> str:
    written = (job.summary or {}).get("tokens", (0, 0))[1]
    return "length" if written >= job.task.max_new_tokens else "stop"


def _usage(job: Job) -> dict[str, int]:
    read, written = (job.summary or {}).get("tokens", (0, 0))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _completion(kind: str, job: Job, name: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"chatcmpl-{job.id}", "object": kind, "created": int(job.created), "model": name, **fields}


async def _stream(engine: Engine, job: Job, body: CompletionRequest, name: str) -> AsyncIterator[str]:
    """The pieces of an answer as events; a caller that goes away cancels the job."""

    def event(delta: dict[str, Any], reason: str | None = None) -> str:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]
        return f"data: {json.dumps(_completion('chat.completion.chunk', job, name, choices=choices))}\n\n"

    try:
        yield event({"role": "assistant", "content": ""})
        sent = 0
        async for _ in job.changes():
            if len(job.text) > sent:
                yield event({"content": job.text[sent:]})
                sent = len(job.text)
        if job.state != "done" or job.summary is None:
            failure = job_error(job)
            yield f"data: {json.dumps(error_body(failure.status, failure.code, failure.message))}\n\n"
            return
        if SOUND in job.files:
            try:
                data = await asyncio.to_thread(_sound, job, body)
            except (InputError, OSError):
                yield f"data: {json.dumps(error_body(404, 'not_found', 'the result has expired'))}\n\n"
                return
            yield event({"audio": {"id": job.id, "transcript": job.summary["text"]}})
            for start in range(0, len(data), AUDIO_CHUNK):
                piece = base64.b64encode(data[start : start + AUDIO_CHUNK]).decode()
                yield event({"audio": {"id": job.id, "data": piece}})
            expires = int(time.time() + engine.settings.keep_seconds)
            yield event({"audio": {"id": job.id, "expires_at": expires}})
        job.fetched = True
        yield event({}, _reason(job))
        if body.stream_options is not None and body.stream_options.include_usage:
            last = _completion("chat.completion.chunk", job, name, choices=[], usage=_usage(job))
            yield f"data: {json.dumps(last)}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        engine.cancel(job)
