"""A worker process without a model, that speaks the engine's protocol and does what the text of a task says.

"sleep S": takes S seconds, with progress; "spin": never ends and hears nothing; "die": kills itself; "refuse": says
that the input is at fault; anything else is answered at once. Run on a pipe's descriptor, as a worker is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

from m2ugen.serve.stages import Cancelled
from m2ugen.serve.tasks import Task
from m2ugen.serve.worker import Worker


def act(worker: Worker, task: Task) -> None:
    word, _, number = task.text.partition(" ")
    worker.progress(task, 0.2)
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "spin":
        while True:
            time.sleep(1)
    if word == "refuse":
        worker.tell("refused", task, "no such thing can be done")
        return
    if word == "sleep":
        for step in range(1, 11):
            time.sleep(float(number) / 10)
            worker.progress(task, 0.2 + 0.08 * step)
    summary = {"text": task.text.upper(), "duration": None, "sample_rate": None, "seed": task.seed, "plan": None}
    worker.tell("done", task, {**summary, "files": [], "seconds": {}, "tokens": (3, 4)})


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    connection.recv()
    worker = Worker(connection)
    threading.Thread(target=worker.listen, daemon=True).start()
    about = {"model": "pretender", "modalities": [], "num_frames": 8, "makes_music": True, "seconds": 0.0}
    worker.tell("ready", value=about)
    while True:
        tasks = worker.inbox.get()
        if any(task.text == "die early" for task in tasks):
            os.kill(os.getpid(), signal.SIGKILL)
        for task in tasks:
            worker.tell("started", task)
            worker.tell("text", task, f"{len(tasks)} ")
        for task in tasks:
            try:
                act(worker, task)
            except Cancelled:
                continue
        worker.forget(tasks)
        worker.tell("idle")


if __name__ == "__main__":
    main()
