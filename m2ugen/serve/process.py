"""The engine's side of a worker process: start it, hand it batches, hear its events, end it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Protocol

from m2ugen.serve.settings import Settings
from m2ugen.serve.tasks import Event, Task

WORKER = (sys.executable, "-m", "m2ugen.serve.worker")
START_SECONDS = 600.0  # for loading a large model


class WorkerLost(Exception):
    """The worker died or was ended; what it had not finished is lost."""


class WorkerBroken(Exception):
    """The worker says that it cannot work; starting it again would not help."""


class Backend(Protocol):
    """Something that carries out batches: a process here, or replicas elsewhere."""

    async def start(self) -> dict[str, Any]:
        """Get ready; returns a description of the model. Raises WorkerLost and WorkerBroken."""
        ...

    async def run(self, tasks: Sequence[Task], tell: Callable[[Event], None], timeout: float) -> None:
        """Carry out ``tasks`` and ``tell`` their events. Raises WorkerLost, and TimeoutError when nothing was finished
        for ``timeout`` seconds."""
        ...

    def cancel(self, task: Task) -> None:
        """A running task's result is not wanted any more."""
        ...

    def stop(self) -> None:
        """End at once."""
        ...


class WorkerProcess:
    """A worker on this machine. ``command`` gets the descriptor of its pipe as a further argument."""

    def __init__(self, settings: Settings, command: Sequence[str] = WORKER) -> None:
        self.settings, self.command = settings, tuple(command)
        self.process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    async def start(self) -> dict[str, Any]:
        self.stop()
        ours, theirs = Pipe()
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.settings.worker_threads)}
        self.process = subprocess.Popen(
            [*self.command, str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._connection, self._events = ours, asyncio.Queue()
        self._send(self.settings)
        threading.Thread(
            target=_pump, args=(ours, self._events, asyncio.get_running_loop()), name="worker events", daemon=True
        ).start()
        try:
            event = await asyncio.wait_for(self._events.get(), START_SECONDS)
        except TimeoutError as error:
            self.stop()
            raise WorkerLost("the worker did not get ready in time") from error
        if event is None:
            self.stop()
            raise WorkerLost("the worker ended while it was loading")
        if event.kind == "broken":
            self.stop()
            raise WorkerBroken(event.value)
        return dict(event.value)

    async def run(self, tasks: Sequence[Task], tell: Callable[[Event], None], timeout: float) -> None:
        self._send(list(tasks))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            try:
                async with asyncio.timeout(max(deadline - loop.time(), 0.001)):
                    event = await self._events.get()
            except TimeoutError:
                self.stop()
                raise
            if event is None:
                self.stop()
                raise WorkerLost("the worker process ended")
            if event.kind == "idle":
                return
            if event.kind in ("done", "refused", "failed"):
                deadline = loop.time() + timeout
            tell(event)

    def cancel(self, task: Task) -> None:
        self._send(task.id)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, message: Any) -> None:
        if self._connection is not None:
            with suppress(OSError):  # it has died; the reader finds that out
                self._connection.send(message)


def _pump(connection: Connection, events: asyncio.Queue[Event | None], loop: asyncio.AbstractEventLoop) -> None:
    """Bring events from the pipe into the loop, and None when the pipe ends."""
    while True:
        try:
            event = connection.recv()
        except (EOFError, OSError, TypeError, ValueError):  # the last two: the connection was closed while it was read
            event = None
        try:
            loop.call_soon_threadsafe(events.put_nowait, event)
        except RuntimeError:  # the loop has ended
            return
        if event is None:
            return
