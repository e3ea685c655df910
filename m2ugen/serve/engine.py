"""The engine: a bounded queue, workers that take batches from it, and what happens when one of them is lost."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from m2ugen.serve.jobs import Job, JobStore
from m2ugen.serve.logs import log
from m2ugen.serve.metrics import Metrics
from m2ugen.serve.process import Backend, WorkerBroken, WorkerLost, WorkerProcess
from m2ugen.serve.sandbox import Sandbox
from m2ugen.serve.settings import Settings
from m2ugen.serve.stages import UNDERSTANDING_SHARE
from m2ugen.serve.tasks import Event

EXPIRY_SECONDS = 5.0  # between looks at what has expired
FIRST_GUESS = 5.0  # seconds that a request takes, before any was seen
MEMORY = 0.9  # of the running mean of how long a request takes
RETRY_AFTER = (1, 300)  # seconds, least and most
BACKOFF = (0.5, 30.0)  # seconds before a worker is started again, first and most
# Seconds until a task is cancelled again: Python 3.11's wait_for forgets a cancellation that comes with its result.
CANCEL_AGAIN = 0.2
LOST = "the process that worked on this request ended unexpectedly; send it again"


class QueueFull(Exception):
    """No more requests can wait; ``retry_after`` tells in how many seconds it is worth trying again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests are waiting; try again in {retry_after} seconds")
        self.retry_after = retry_after


class Draining(Exception):
    """The server is about to stop and takes no further requests."""


class Engine:
    """Jobs in, results out. Lives in one event loop; ``backend`` makes what carries batches out, one per lane."""

    def __init__(self, settings: Settings, backend: Callable[[Settings], Backend] = WorkerProcess) -> None:
        self.settings = settings
        self.started = time.time()
        self.store = JobStore(settings.keep_seconds, settings.keep_bytes)
        self.metrics = Metrics()
        self.sandboxes = [Sandbox() for _ in range(2)]
        self.model: dict[str, Any] | None = None  # what the first worker that was ready told
        self.broken: str | None = None
        self.draining = False
        self._queue: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._running: dict[str, Backend] = {}
        self._ready = asyncio.Event()
        self._mean_seconds = FIRST_GUESS
        self._backends = [backend(settings) for _ in range(settings.workers)]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the workers; does not wait for them."""
        for sandbox in self.sandboxes:
            sandbox.warm()
        self._tasks = [asyncio.create_task(self._lane(backend)) for backend in self._backends]
        self._tasks.append(asyncio.create_task(self._expire()))

    async def close(self) -> None:
        """Stop everything and delete all results; what is unfinished fails."""
        while open_tasks := [task for task in self._tasks if not task.done()]:
            for task in open_tasks:
                task.cancel()
            await asyncio.wait(open_tasks, timeout=CANCEL_AGAIN)
        for job in self.store.unfinished():
            job.finish("failed", error=("shutdown", "the server was stopped"))
        self.release()

    def release(self) -> None:
        """End all processes and delete all files, without waiting for anything; may be called again."""
        for task in self._tasks:
            task.cancel()
        for backend in self._backends:
            backend.stop()
        for sandbox in self.sandboxes:
            sandbox.close()
        self.store.close()

    async def wait_ready(self) -> None:
        """Return as soon as a worker is ready, or all are broken."""
        await self._ready.wait()

    @property
    def is_ready(self) -> bool:
        """Whether requests would be carried out."""
        return self.model is not None and self.broken is None and not self.draining

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def check_room(self) -> None:
        """Raises QueueFull or Draining when a request would not be taken."""
        if self.draining:
            raise Draining("the server is about to stop and takes no new requests")
        if len(self._queue) >= self.settings.queue:
            self.metrics.rejected.inc()
            raise QueueFull(self.retry_after())

    def submit(self, job: Job) -> None:
        """Put a job into the queue. Raises QueueFull and Draining."""
        self.check_room()
        self.store.add(job)
        self._enqueue(job)

    def cancel(self, job: Job) -> None:
        """End a job that its caller does not want any more; nothing happens to a finished one."""
        if job.is_finished:
            return
        if job in self._queue:
            self._queue.remove(job)
        elif (backend := self._running.get(job.id)) is not None:
            backend.cancel(job.task)
        self._finish(job, "cancelled", error=("cancelled", "the request was cancelled"))

    def retry_after(self) -> int:
        """Seconds until the queue should have moved on."""
        seconds = self._mean_seconds * (len(self._queue) + 1) / len(self._backends) / 2
        return int(min(max(seconds, RETRY_AFTER[0]), RETRY_AFTER[1]))

    async def drain(self, seconds: float) -> None:
        """Take no further requests, and wait until the accepted ones are done and fetched, ``seconds`` at most."""
        self.draining = True
        end = time.monotonic() + seconds
        mine = list(self.store.unfinished())
        while time.monotonic() < end and not all(
            job.is_finished and (job.fetched or job.state != "done") for job in mine
        ):
            await asyncio.sleep(0.05)

    def _enqueue(self, job: Job, first: bool = False) -> None:
        if first:
            self._queue.appendleft(job)
        else:
            self._queue.append(job)
        self.metrics.queue.set(len(self._queue))
        self._arrived.set()

    async def _next_batch(self) -> list[Job]:
        """The first job of the queue and those that can be read together with it."""
        while True:
            while not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            if self.settings.batch > 1 and len(self._queue) < self.settings.batch and self.settings.batch_window:
                await asyncio.sleep(self.settings.batch_window)
            if self._queue:
                break
        first = self._queue.popleft()
        batch, key = [first], first.task.batch_key
        if key is not None and not first.alone:
            for job in list(self._queue):
                if len(batch) < self.settings.batch and not job.alone and job.task.batch_key == key:
                    self._queue.remove(job)
                    batch.append(job)
        self.metrics.queue.set(len(self._queue))
        return batch

    async def _lane(self, backend: Backend) -> None:
        """Start a worker, keep it busy, start it again when it is lost."""
        pause = BACKOFF[0]
        while True:
            try:
                self.model = await backend.start()
            except WorkerBroken as error:
                self.broken = str(error)
                self._ready.set()
                log("worker broken", level="error")
                return
            except WorkerLost:
                self.metrics.restarts.inc()
                log("worker lost while loading", level="error")
                await asyncio.sleep(pause)
                pause = min(2 * pause, BACKOFF[1])
                continue
            pause = BACKOFF[0]
            self._ready.set()
            log("worker ready", seconds=self.model.get("seconds"))
            try:
                while True:
                    await self._run(backend, await self._next_batch())
            except (WorkerLost, TimeoutError):
                self.metrics.restarts.inc()
                log("worker lost", level="error")

    async def _run(self, backend: Backend, batch: Sequence[Job]) -> None:
        """Have a batch carried out; a lost worker costs the job that it was at, the others go back into the queue."""
        begun = time.monotonic()
        jobs = {job.id: job for job in batch}
        self._running.update({job.id: backend for job in batch})
        self.metrics.batch.observe(len(batch))
        try:
            await backend.run([job.task for job in batch], lambda event: self._hear(jobs, event), self.settings.timeout)
        except TimeoutError:
            limit = f"the request took longer than {self.settings.timeout:g} seconds"
            self._recover(batch, ("timeout", limit))
            raise
        except WorkerLost:
            self._recover(batch, ("worker_lost", LOST))
            raise
        finally:
            for job in batch:
                self._running.pop(job.id, None)
            seconds = (time.monotonic() - begun) / len(batch)
            self._mean_seconds = MEMORY * self._mean_seconds + (1 - MEMORY) * seconds
        for job in batch:  # a worker that forgets one would leave its caller waiting for ever
            if not job.is_finished:
                self._finish(job, "failed", error=("internal", "the worker did not finish the request"))

    def _recover(self, batch: Sequence[Job], error: tuple[str, str]) -> None:
        """The worker is gone: who is at fault fails, the others are tried again.

        While the batch was read together nobody knows whose fault it was: each is tried again, alone.
        """
        left = [job for job in batch if not job.is_finished]
        at_work = [job for job in left if job.progress >= UNDERSTANDING_SHARE]
        guilty = at_work[:1] if at_work else left if len(left) == 1 else []
        for job in guilty:
            self._finish(job, "failed", error=error)
        for job in reversed([job for job in left if job not in guilty]):
            job.change(state="queued", started=None, progress=0.0, text="", alone=job.alone or not at_work)
            self._enqueue(job, first=True)

    def _hear(self, jobs: dict[str, Job], event: Event) -> None:
        job = jobs.get(event.id)
        if job is None or job.is_finished:
            return
        if event.kind == "started":
            now = time.time()
            job.change(state="running", started=now)
            self.metrics.waited.observe(now - job.created)
        elif event.kind == "text":
            job.change(text=job.text + event.value)
        elif event.kind == "progress":
            job.change(progress=event.value)
        elif event.kind == "done":
            self._finish(job, "done", progress=1.0, text=event.value["text"], summary=event.value)
        elif event.kind == "refused":
            self._finish(job, "failed", error=("invalid_input", event.value))
        elif event.kind == "failed":
            log("request failed", level="error", error=event.value, kind=job.task.kind)
            self._finish(job, "failed", error=("internal", "the request could not be carried out; this is our fault"))

    def _finish(self, job: Job, state: Any, **values: Any) -> None:
        job.finish(state, **values)
        self.metrics.jobs.labels(job.task.kind, state if job.error is None else job.error[0]).inc()
        if job.started is not None and job.finished is not None:
            self.metrics.ran.labels(job.task.kind).observe(job.finished - job.started)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            self.metrics.kept.set(await asyncio.to_thread(self._expired_bytes))

    def _expired_bytes(self) -> int:
        return self.store.expire()
