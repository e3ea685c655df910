"""Jobs: requests with a state that callers can watch, and the store that keeps and forgets them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from m2ugen.serve.results import AUDIO_FILES, OUTLINE
from m2ugen.serve.tasks import Task

State = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED: tuple[State, ...] = ("done", "failed", "cancelled")
PREFIX, LOCK = "m2ugen-serve-", "lock"
SETTLED_SECONDS = 60.0  # until a new folder's lock is surely held
VIDEO = "video"  # the result's file with the video and its new sound, before its ending


@dataclass
class Job:
    """A task on its way. Times are readings of time.time; ``error`` is (code, message)."""

    task: Task
    state: State = "queued"
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    progress: float = 0.0
    text: str = ""
    summary: dict[str, Any] | None = None
    error: tuple[str, str] | None = None
    source_id: str | None = None  # the job whose result is the music
    video_suffix: str | None = None  # of the uploaded video, where there is one
    keep_sound: bool = False
    alone: bool = False  # not to be read together with others, after a worker was lost over the batch it was in
    fetched: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def files(self) -> list[str]:
        """Names of the files that the result can be had as."""
        if self.state != "done" or self.summary is None:
            return []
        files = list(self.summary["files"])
        return [*files, VIDEO + self.video_suffix] if self.video_suffix and OUTLINE in files else files

    def change(self, **values: Any) -> None:
        """Set attributes and wake those who watch."""
        for name, value in values.items():
            setattr(self, name, value)
        self._changed.set()
        self._changed = asyncio.Event()

    def finish(self, state: State, **values: Any) -> None:
        """End the job; it keeps nothing but its result, and the video that the result may be put under."""
        self.change(state=state, finished=time.time(), **values)
        for path in self.task.folder.glob("*.npz"):
            path.unlink(missing_ok=True)
        for path in self.task.folder.glob("upload-*"):
            if state != "done" or path.name != "upload-video":
                path.unlink(missing_ok=True)

    async def changes(self) -> AsyncIterator[None]:
        """Yield now and after every change, until the job is finished."""
        while True:
            event, last = self._changed, self.is_finished
            yield
            if last:
                return
            await event.wait()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until the job is finished, ``seconds`` at most; tells whether it is."""

        async def watch() -> None:
            async for _ in self.changes():
                pass

        with suppress(TimeoutError):
            await asyncio.wait_for(watch(), seconds)
        return self.is_finished


class JobStore:
    """The jobs of a server and the folder, its own and private, in which their files lie."""

    def __init__(self, keep_seconds: float, keep_bytes: int) -> None:
        self.keep_seconds, self.keep_bytes = keep_seconds, keep_bytes
        sweep()
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = (self.root / LOCK).open("w")  # held while the server lives
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.jobs: dict[str, Job] = {}

    def new_folder(self) -> tuple[str, Path]:
        """An id that cannot be guessed, and its folder."""
        name = secrets.token_urlsafe(18)
        folder = self.root / name
        folder.mkdir(mode=0o700)
        return name, folder

    def add(self, job: Job) -> None:
        self.jobs[job.id] = job

    def get(self, name: str) -> Job | None:
        return self.jobs.get(name)

    def remove(self, job: Job) -> None:
        """Forget a job and delete its files."""
        self.jobs.pop(job.id, None)
        shutil.rmtree(job.task.folder, ignore_errors=True)

    def discard(self, folder: Path) -> None:
        """Delete the folder of a request that did not become a job."""
        shutil.rmtree(folder, ignore_errors=True)

    def expire(self, now: float | None = None) -> int:
        """Remove finished jobs that are too old, and the oldest while their files take too much room.

        Results that an unfinished job builds on stay. Returns the bytes of what is left.
        """
        now = time.time() if now is None else now
        jobs = list(self.jobs.values())  # this runs beside the loop that adds to them
        needed = {job.source_id for job in jobs if not job.is_finished}
        ended = sorted(
            (job for job in jobs if job.is_finished and job.id not in needed),
            key=lambda job: job.finished or 0.0,
        )
        sizes = {job.id: folder_bytes(job.task.folder) for job in ended}
        total = sum(sizes.values())
        for job in ended:
            if now - (job.finished or 0.0) > self.keep_seconds or total > self.keep_bytes:
                total -= sizes[job.id]
                self.remove(job)
        return total

    def unfinished(self) -> Iterable[Job]:
        return [job for job in list(self.jobs.values()) if not job.is_finished]

    def close(self) -> None:
        """Delete all files."""
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock.close()


def sweep() -> None:
    """Delete what servers left behind that were killed: their folders, whose locks nobody holds."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with suppress(OSError), lock.open("r+") as file:  # another user's, or just gone
            if time.time() - lock.stat().st_mtime > SETTLED_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)


def folder_bytes(folder: Path) -> int:
    """Size of the files in ``folder``."""
    total = 0
    try:
        for entry in os.scandir(folder):
            total += entry.stat().st_size
    except OSError:  # being deleted
        pass
    return total


def is_audio(name: str) -> bool:
    """Whether ``name`` is one of the formats that the sound of a result can be had in."""
    return name in AUDIO_FILES
