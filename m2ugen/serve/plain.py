"""The plain interface: submit a job, watch it, fetch its result, cancel it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Request, Response, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, StreamingResponse

from m2ugen.checks import MAX_DURATION, MAX_SEED, MAX_TEXT, MIN_DURATION, is_unicode
from m2ugen.errors import InputError
from m2ugen.model.prompting import Turn
from m2ugen.serve import live as live_sound
from m2ugen.serve.engine import Engine
from m2ugen.serve.intake import Upload, Wish, accept
from m2ugen.serve.jobs import VIDEO, Job, is_audio
from m2ugen.serve.results import SOUND, converted
from m2ugen.serve.schemas import ErrorAnswer, JobAnswer, ServeError, job_answer

PING_SECONDS = 15.0
MEDIA_TYPES = {
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mid": "audio/midi",
    ".json": "application/json", ".mp4": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska",
}  # fmt: skip
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": words}
    for status, words in {
        400: "The input is at fault.", 401: "An API key is needed.", 403: "Not from this origin or host.",
        404: "Unknown or expired.", 413: "Too large.", 415: "Not a kind of file that is understood.",
        422: "The form is at fault.", 429: "Too many requests wait.", 503: "Not ready, or about to stop.",
    }.items()
}  # fmt: skip


def only(*statuses: int, ok: str | None = None) -> dict[int | str, dict[str, Any]]:
    """The documentation of the errors that every route may answer with, of ``statuses``, and of an answer of the media
    type ``ok`` where it is not JSON."""
    told: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in (401, 403, 422, *statuses)}
    return told if ok is None else {**told, 200: {"content": {ok: {}}, "description": "As said above."}}


async def engine_of(request: Request) -> Engine:
    """The server's engine."""
    engine: Engine = request.app.state.engine
    return engine


Engined = Annotated[Engine, Depends(engine_of)]
Text = Annotated[str, Form(min_length=1, max_length=MAX_TEXT)]
Media = Annotated[UploadFile | None, File()]
Duration = Annotated[float | None, Form(ge=MIN_DURATION, le=MAX_DURATION, allow_inf_nan=False, description="seconds")]
Seed = Annotated[int | None, Form(ge=0, lt=MAX_SEED)]
Guidance = Annotated[float | None, Form(ge=0, le=20, allow_inf_nan=False)]
Temperature = Annotated[float, Form(ge=0, le=2, allow_inf_nan=False)]
Live = Annotated[bool, Form(description="let the sound be heard at .../live while it is being written")]
Source = Annotated[str | None, Form(max_length=64, description="id of an earlier job whose result is the music")]
JobId = Annotated[str, PathParameter(max_length=64)]

router = APIRouter(prefix="/v1/music", tags=["music"])
SUBMIT: dict[str, Any] = {"status_code": 202, "response_model": JobAnswer, "responses": only(400, 413, 415, 429, 503)}


@router.post("/ask", **SUBMIT)
async def ask(
    engine: Engined, response: Response, question: Text, music: Media = None, image: Media = None, video: Media = None,
    source: Source = None, temperature: Temperature = 0.0, seed: Seed = None,
    max_tokens: Annotated[int, Form(ge=1, le=1024)] = 96,
) -> JobAnswer:  # fmt: skip
    """Answer a question in words, about attached media if there are any."""
    wish = Wish(
        "ask", question, _given(music=music, image=image, video=video), source,
        temperature=temperature, seed=seed, max_new_tokens=max_tokens,
    )  # fmt: skip
    return await _submitted(engine, response, wish)


@router.post("/generate", **SUBMIT)
async def generate(
    engine: Engined, response: Response, prompt: Text, music: Media = None, image: Media = None, video: Media = None,
    source: Source = None, duration: Duration = None, seed: Seed = None, guidance_scale: Guidance = None,
    temperature: Temperature = 0.0,
    keep_sound: Annotated[bool, Form(description="keep the video's own sound under the music")] = False,
    live: Live = False,
) -> JobAnswer:  # fmt: skip
    """Make music from words, a picture, a video or other music. With a video it is as long as that by default."""
    wish = Wish(
        "generate", prompt, _given(music=music, image=image, video=video), source, duration=duration, seed=seed,
        guidance_scale=guidance_scale, temperature=temperature, keep_sound=keep_sound, live=live,
    )  # fmt: skip
    return await _submitted(engine, response, wish)


@router.post("/edit", **SUBMIT)
async def edit(
    engine: Engined, response: Response, instruction: Text, music: Media = None, source: Source = None,
    seed: Seed = None,
) -> JobAnswer:  # fmt: skip
    """Change music as told and keep the rest; give ``music``, or the ``source`` of an earlier result."""
    wish = Wish("edit", instruction, _given(music=music), source, seed=seed)
    return await _submitted(engine, response, wish)


@router.post("/chat", **SUBMIT)
async def chat(
    engine: Engined, response: Response, message: Text, music: Media = None, image: Media = None,
    video: Media = None, source: Source = None, duration: Duration = None, seed: Seed = None,
    guidance_scale: Guidance = None, temperature: Temperature = 0.0, keep_sound: Annotated[bool, Form()] = False,
    live: Live = False,
    history: Annotated[
        str, Form(max_length=100_000, description='JSON: [{"user": "...", "reply": "...", "music": true}, ...]')
    ] = "[]",
) -> JobAnswer:  # fmt: skip
    """One message of a conversation: the model answers in words, makes music, or changes the attached music."""
    turns = read_history(history, engine.settings.limits.history)
    wish = Wish(
        "chat", message, _given(music=music, image=image, video=video), source, turns, duration, seed, guidance_scale,
        temperature, keep_sound=keep_sound, live=live,
    )  # fmt: skip
    return await _submitted(engine, response, wish)


@router.get("/jobs/{job_id}", response_model=JobAnswer, responses=only(404))
async def job(
    engine: Engined, job_id: JobId,
    wait: Annotated[float, Query(ge=0, le=60, allow_inf_nan=False, description="seconds to wait for the end")] = 0.0,
) -> JobAnswer:  # fmt: skip
    """A job's state, progress and result."""
    found = find_job(engine, job_id)
    if wait:
        await found.wait(wait)
    found.fetched = found.fetched or found.is_finished
    return job_answer(found)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses=only(404, ok="text/event-stream"),
)
async def events(engine: Engined, job_id: JobId) -> StreamingResponse:
    """A job's changes as server-sent events, until it is finished."""
    found = find_job(engine, job_id)
    return StreamingResponse(_changes(found), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get("/jobs/{job_id}/live", response_class=StreamingResponse, responses=only(404, ok="audio/wav"))
async def heard(engine: Engined, job_id: JobId) -> StreamingResponse:
    """The sound of a composition from its beginning while the rest is still being written: WAV of unknown length."""
    found = find_job(engine, job_id)
    if not await live_sound.has_begun(found):
        raise ServeError(404, "not_found", "this job has no sound that could be heard before its end")
    return StreamingResponse(live_sound.stream(found), media_type="audio/wav", headers={"Cache-Control": "no-store"})


@router.delete("/jobs/{job_id}", response_model=JobAnswer, responses=only(404))
async def cancel(engine: Engined, job_id: JobId) -> JobAnswer:
    """Cancel a job; one that is finished is deleted with its result."""
    found = find_job(engine, job_id)
    if found.is_finished:
        engine.store.remove(found)
    else:
        engine.cancel(found)
    return job_answer(found)


@router.get(
    "/jobs/{job_id}/files/{name}",
    response_class=FileResponse,
    responses=only(400, 404, 503, ok="application/octet-stream"),
)
async def result_file(
    engine: Engined, job_id: JobId, name: Annotated[str, PathParameter(max_length=32)]
) -> FileResponse:
    """A file of a result: audio.wav, audio.mp3, audio.flac, audio.ogg, score.mid, plan.json, outline.json (what a page
    draws), or the video with its new sound."""
    found = find_job(engine, job_id)
    if name not in found.files:
        raise ServeError(404, "not_found", "the result has no such file; its list names those that there are")
    path = await _made(engine, found, name)
    found.fetched = True
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], filename=f"m2ugen-{name}")


def read_history(text: str, limit: int) -> tuple[Turn, ...]:
    """Earlier turns from JSON. Raises ServeError."""
    try:
        turns = tuple(
            Turn(str(turn["user"])[:MAX_TEXT], (), str(turn["reply"])[:MAX_TEXT], bool(turn.get("music")))
            for turn in json.loads(text)
        )
        if not all(is_unicode(f"{turn.user}{turn.reply}") for turn in turns):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ServeError(
            400, "invalid_input", "the history must be a JSON list of turns with user and reply"
        ) from error
    return turns[-limit:]


def find_job(engine: Engine, job_id: str) -> Job:
    """A job by its id. Raises ServeError."""
    found = engine.store.get(job_id)
    if found is None:
        raise ServeError(404, "not_found", "there is no such job; it may have expired")
    return found


def _given(**uploads: UploadFile | None) -> dict[str, Upload | bytes]:
    return {name: upload for name, upload in uploads.items() if upload is not None}


async def _submitted(engine: Engine, response: Response, wish: Wish) -> JobAnswer:
    found = await accept(engine, wish)
    response.headers["Location"] = f"/v1/music/jobs/{found.id}"
    return job_answer(found)


async def _changes(job: Job) -> AsyncIterator[str]:
    changes = job.changes()
    pending: asyncio.Task[None] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(changes))
            done, _ = await asyncio.wait([pending], timeout=PING_SECONDS)
            if not done:
                yield ": still there\n\n"
                continue
            try:
                pending.result()
            except StopAsyncIteration:
                return
            finally:
                pending = None
            yield f"data: {job_answer(job).model_dump_json()}\n\n"
    finally:
        if pending is not None:
            pending.cancel()


async def _made(engine: Engine, job: Job, name: str) -> Path:
    """The path of a result's file; other formats of the sound and the video are made when they are asked for."""
    folder = job.task.folder
    try:
        if is_audio(name):
            return await asyncio.to_thread(converted, folder, name)
        if name.startswith(VIDEO) and not (folder / name).is_file():
            limits = engine.settings.limits
            await asyncio.to_thread(
                engine.sandboxes[0].run, "mix", "video", limits.decode_seconds,
                source=str(folder / "upload-video"), music=str(folder / SOUND), target=str(folder / name),
                memory=limits.decode_bytes, keep_sound=job.keep_sound,
            )  # fmt: skip
    except InputError as error:
        raise ServeError(400, "invalid_input", str(error)) from error
    if not (folder / name).is_file():
        raise ServeError(404, "not_found", "the result has expired")
    return folder / name
