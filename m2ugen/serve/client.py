"""A typed client of the plain interface.

>>> with Client("http://127.0.0.1:8000") as client:
...     job = client.generate("a calm piano piece", duration=20, seed=7)
...     job.wait().save("calm.wav")
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from m2ugen.errors import InputError, M2UGenError, MissingExtra
from m2ugen.media.files import AUDIO_SUFFIXES, MIDI_SUFFIXES, VIDEO_SUFFIXES, atomic_output

if TYPE_CHECKING:
    import httpx

FileInput: TypeAlias = str | Path | bytes | BinaryIO
POLL_SECONDS = 20.0  # that the server may take to answer that a job goes on
FINISHED = ("done", "failed", "cancelled")


class ServerError(M2UGenError):
    """The server refused, or could not carry out, what was asked. ``code`` is for programs; ``retry_after`` in seconds
    when the server was too busy."""

    def __init__(self, message: str, code: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code, self.retry_after = code, retry_after


@dataclass(frozen=True)
class JobState:
    """How far a job is: ``state`` is queued, running, done, failed or cancelled; ``progress`` 0-1; the words so far."""

    state: str
    progress: float
    text: str


@dataclass(frozen=True)
class Result:
    """A finished job's result; its files stay on the server until they are saved, and expire there."""

    client: Client
    job_id: str
    text: str
    duration: float | None
    sample_rate: int | None
    seed: int | None
    plan: str | None
    files: tuple[str, ...]

    def read(self, name: str) -> bytes:
        """The content of one of ``files``. Raises ServerError."""
        return self.client.request("GET", f"/v1/music/jobs/{self.job_id}/files/{name}").content

    def save(self, path: str | Path) -> Path:
        """Write the music: as sound, MIDI, or the video with its new sound, by the extension of ``path``. Raises
        ServerError when the result has no such file, InputError when it cannot be written."""
        suffix = Path(path).suffix.lower()
        name = (
            f"audio{suffix}"
            if suffix in AUDIO_SUFFIXES
            else "score.mid"
            if suffix in MIDI_SUFFIXES
            else f"video{suffix}"
        )
        with atomic_output(path, (*AUDIO_SUFFIXES, *MIDI_SUFFIXES, *VIDEO_SUFFIXES)) as temporary:
            temporary.write_bytes(self.read(name))
        return Path(path)


@dataclass(frozen=True)
class RemoteJob:
    """A job on the server."""

    client: Client
    id: str

    def state(self, wait: float = 0.0) -> JobState:
        """How far it is; waits up to ``wait`` seconds (60 at most) for its end."""
        told = self._told(wait)
        return JobState(told["state"], told["progress"], told["text"])

    def watch(self) -> Iterator[JobState]:
        """Yield every change until the job is finished."""
        for told in self.client.events(f"/v1/music/jobs/{self.id}/events"):
            yield JobState(told["state"], told["progress"], told["text"])

    def wait(self, timeout: float | None = None) -> Result:
        """The result. Raises ServerError when the job did not succeed, TimeoutError after ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = POLL_SECONDS if end is None else min(POLL_SECONDS, end - time.monotonic())
            told = self._told(max(left, 0.0))
            if told["state"] in FINISHED:
                break
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"the job was not finished after {timeout:g} seconds")
        if told["error"] is not None:
            raise ServerError(told["error"]["message"], told["error"]["code"])
        fields = {name: told["result"][name] for name in ("text", "duration", "sample_rate", "seed", "plan")}
        return Result(self.client, self.id, **fields, files=tuple(told["result"]["files"]))

    def cancel(self) -> None:
        """Cancel it, or delete its result."""
        self.client.request("DELETE", f"/v1/music/jobs/{self.id}")

    def _told(self, wait: float) -> dict[str, Any]:
        told: dict[str, Any] = self.client.request("GET", f"/v1/music/jobs/{self.id}", params={"wait": wait}).json()
        return told


class Client:
    """A server at ``url``. ``timeout`` in seconds is that of a single answer. Raises MissingExtra without httpx."""

    def __init__(self, url: str = "http://127.0.0.1:8000", api_key: str | None = None, timeout: float = 120.0) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise MissingExtra("httpx", "serve") from error
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http: httpx.Client = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(
        self, question: str, music: FileInput | None = None, image: FileInput | None = None,
        video: FileInput | None = None, temperature: float = 0.0, max_tokens: int = 96, seed: int | None = None,
    ) -> RemoteJob:  # fmt: skip
        """Ask about media; media are paths, bytes or binary files."""
        fields = {"question": question, "temperature": temperature, "max_tokens": max_tokens, "seed": seed}
        return self._submit("ask", fields, music=music, image=image, video=video)

    def generate(
        self, prompt: str, music: FileInput | None = None, image: FileInput | None = None,
        video: FileInput | None = None, duration: float | None = None, seed: int | None = None,
        guidance_scale: float | None = None, keep_sound: bool = False,
    ) -> RemoteJob:  # fmt: skip
        """Have music made; ``duration`` in seconds. With ``keep_sound`` a video's own sound stays under the music."""
        fields = {"prompt": prompt, "duration": duration, "seed": seed, "guidance_scale": guidance_scale}
        return self._submit("generate", {**fields, "keep_sound": keep_sound}, music=music, image=image, video=video)

    def edit(self, instruction: str, music: FileInput | Result, seed: int | None = None) -> RemoteJob:
        """Have music changed: a file, or an earlier result."""
        fields = {"instruction": instruction, "seed": seed}
        if isinstance(music, Result):
            return self._submit("edit", {**fields, "source": music.job_id})
        return self._submit("edit", fields, music=music)

    def chat(
        self, message: str, history: Sequence[tuple[str, str, bool]] = (), music: FileInput | Result | None = None,
        image: FileInput | None = None, video: FileInput | None = None, duration: float | None = None,
        seed: int | None = None,
    ) -> RemoteJob:  # fmt: skip
        """One message of a conversation; ``history`` holds (what was said, what was answered, whether with music)."""
        turns = [{"user": user, "reply": reply, "music": made} for user, reply, made in history]
        fields = {"message": message, "history": json.dumps(turns), "duration": duration, "seed": seed}
        if isinstance(music, Result):
            return self._submit("chat", {**fields, "source": music.job_id}, image=image, video=video)
        return self._submit("chat", fields, music=music, image=image, video=video)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request. Raises ServerError when it is refused or the server cannot be reached."""
        import httpx

        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServerError(
                f"the server at {self._http.base_url} cannot be reached ({error})", "unreachable"
            ) from error
        _check(response)
        return response

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """The JSON of each server-sent event. Raises ServerError."""
        import httpx

        try:
            with self._http.stream("GET", path) as response:
                if response.is_error:
                    response.read()
                    _check(response)
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        yield json.loads(line[6:])
        except httpx.TransportError as error:
            raise ServerError(f"the connection to {self._http.base_url} was lost ({error})", "unreachable") from error

    def _submit(self, kind: str, fields: dict[str, Any], **media: FileInput | None) -> RemoteJob:
        given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in fields.items()}
        data = {name: value for name, value in given.items() if value is not None}
        with ExitStack() as stack:
            files = {name: _opened(source, stack) for name, source in media.items() if source is not None}
            told = self.request("POST", f"/v1/music/{kind}", data=data, files=files).json()
        return RemoteJob(self, told["id"])


def _opened(source: FileInput, stack: ExitStack) -> bytes | BinaryIO:
    if not isinstance(source, str | Path):
        return source
    try:
        return stack.enter_context(Path(source).open("rb"))
    except OSError as error:
        raise InputError(f"cannot open {source}: {error.strerror}") from error


def _check(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        told = response.json()["error"]
        message, code = str(told["message"]), str(told["code"])
    except (ValueError, KeyError, TypeError):
        message, code = f"the server answered with status {response.status_code}", str(response.status_code)
    wait = response.headers.get("retry-after")
    raise ServerError(message, code, float(wait) if wait and wait.isdecimal() else None)
