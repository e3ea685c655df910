"""A worker: a process with a pipeline of its own, which reads batches of tasks from a pipe and reports events.

When it dies, the engine loses what it was doing and starts another; when the engine goes, it goes too.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from m2ugen.errors import M2UGenError
from m2ugen.serve.stages import UNDERSTANDING_SHARE, Cancelled, carry_out, understand
from m2ugen.serve.tasks import Event, Task

if TYPE_CHECKING:
    from m2ugen.pipeline import M2UGen

PROGRESS_STEP = 0.02  # smaller steps are not told


class Worker:
    """The process's side of the pipe. ``inbox`` receives lists of tasks; those in ``cancelled`` (ids) are given up."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.inbox: queue.Queue[list[Task]] = queue.Queue()
        self.cancelled: set[str] = set()
        self._told: dict[str, float] = {}
        self._sending = threading.Lock()

    def listen(self) -> None:
        """Take what the engine sends; ends the process when the engine is gone."""
        while True:
            try:
                message = self.connection.recv()
            except (EOFError, OSError):
                os._exit(0)
            if isinstance(message, list):
                self.inbox.put(message)
            else:
                self.cancelled.add(message)

    def tell(self, kind: str, task: Task | None = None, value: Any = None) -> None:
        with self._sending:
            self.connection.send(Event(kind, "" if task is None else task.id, value))

    def check(self, task: Task) -> None:
        """Raises Cancelled when the task is not wanted any more."""
        if task.id in self.cancelled:
            raise Cancelled

    def progress(self, task: Task, fraction: float) -> None:
        self.check(task)
        if fraction - self._told.get(task.id, 0.0) >= PROGRESS_STEP:
            self._told[task.id] = fraction
            self.tell("progress", task, fraction)

    def run(self, model: M2UGen, tasks: list[Task]) -> None:
        """Carry out a batch; every task ends with "done", "refused", "failed" or "cancelled"."""

        def on_text(task: Task, piece: str) -> None:
            if all(other.id in self.cancelled for other in tasks):
                raise Cancelled
            self.tell("text", task, piece)

        for task in tasks:
            self.tell("started", task)
        try:
            batch = understand(model, tasks, on_text, lambda task, reason: self.tell("refused", task, reason))
        except Cancelled:
            return
        except Exception as error:  # the edge of the process: the engine is told, and the next batch is another matter
            for task in tasks:
                self._fail(task, error)
            return
        for understood in batch:
            task = understood.task
            try:
                self.progress(task, UNDERSTANDING_SHARE)
                self.tell("done", task, carry_out(model, understood, lambda fraction: self.progress(task, fraction)))  # noqa: B023
            except Cancelled:
                continue
            except Exception as error:
                self._fail(task, error)

    def _fail(self, task: Task, error: Exception) -> None:
        if isinstance(error, M2UGenError):
            self.tell("refused", task, str(error))
            return
        import traceback

        places = [
            f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
        ]
        self.tell("failed", task, f"{type(error).__name__} at {places[-1] if places else '?'}")

    def forget(self, tasks: list[Task]) -> None:
        for task in tasks:
            self.cancelled.discard(task.id)
            self._told.pop(task.id, None)


def describe(model: M2UGen, name: str, seconds: float) -> dict[str, Any]:
    """What the engine is told about a loaded model."""
    decoder = model.model.decoder
    return {
        "model": name,
        "modalities": list(model.model.config.modalities),
        "num_frames": model.processor.num_frames,
        "makes_music": decoder is not None,
        "seconds": round(seconds, 2),
    }


def main() -> None:
    """Run on the pipe whose descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine decides when a worker goes
    connection = Connection(int(sys.argv[1]))
    settings = connection.recv()
    worker = Worker(connection)
    start = time.perf_counter()
    try:
        import torch

        from m2ugen.pipeline import M2UGen

        torch.set_num_threads(settings.worker_threads)
        model = M2UGen.from_pretrained(settings.model, soundfont=settings.soundfont)
    except M2UGenError as error:
        worker.tell("broken", value=str(error))
        return
    threading.Thread(target=worker.listen, daemon=True).start()
    worker.tell("ready", value=describe(model, settings.model, time.perf_counter() - start))
    while True:
        tasks = worker.inbox.get()
        worker.run(model, tasks)
        worker.forget(tasks)
        worker.tell("idle")


if __name__ == "__main__":
    main()
