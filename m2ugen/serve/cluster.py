"""The server on Ray Serve: one web deployment, and replicas that read (encoders and language model) and that play
(the music decoder), each scaled by itself.

    serve run m2ugen.serve.cluster:build model=nano
    serve deploy deploy/ray-cluster.yaml

Jobs live in the one web replica; files travel as bytes, so that replicas need no common disk.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from m2ugen.errors import MissingExtra
from m2ugen.serve.process import WorkerLost
from m2ugen.serve.settings import Settings, read_keys
from m2ugen.serve.tasks import Event, Task

try:
    import ray
    from ray import serve
except ModuleNotFoundError as missing:
    raise MissingExtra(missing.name or "ray", "serve") from missing

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from m2ugen.pipeline import M2UGen, Understanding

SCALING = {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 1}
ATTEMPTS = 3  # for a piece of work whose replica was lost
READ_SHARE = 0.2  # of a job's time


class Arguments(BaseModel):
    """What a configuration may say under ``args``. ``readers`` and ``players`` fix the numbers of replicas, which
    otherwise follow the load; ``lanes`` is how many batches are under way at the same time."""

    model: str = "nano"
    lanes: int = 8
    queue: int = 64
    batch: int = 8
    timeout: float = 300.0
    api_keys: str | None = None
    readers: int | None = None
    players: int | None = None


@dataclass(frozen=True)
class Parcel:
    """A task with the files of its folder and of its source's, by name."""

    task: Task
    files: dict[str, bytes]
    source_files: dict[str, bytes]


def pack(task: Task) -> Parcel:
    """Read a task's decoded media; uploads as they came stay where they are."""
    source = {} if task.source is None else read_folder(task.source)
    return Parcel(task, read_folder(task.folder), source)


def read_folder(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(("upload-", "video."))
    }


@contextmanager
def unpacked(parcels: Sequence[Parcel]) -> Iterator[list[Task]]:
    """The tasks, with folders of this machine for a while."""
    with tempfile.TemporaryDirectory(prefix="m2ugen-replica-") as root:
        tasks = []
        for number, parcel in enumerate(parcels):
            folder, source = Path(root, f"task-{number}"), Path(root, f"source-{number}")
            for place, files in ((folder, parcel.files), (source, parcel.source_files)):
                place.mkdir()
                for name, content in files.items():
                    (place / name).write_bytes(content)
            changed = replace(parcel.task, folder=folder, source=source if parcel.source_files else None)
            tasks.append(changed)
        yield tasks


class Reader:
    """A replica that reads batches: encoders and language model."""

    def __init__(self, model: str) -> None:
        from m2ugen.pipeline import M2UGen

        start = time.perf_counter()
        self.pipeline: M2UGen = M2UGen.from_pretrained(model)
        self.makes_music = self.pipeline.model.decoder is not None
        self.pipeline.model.decoder = None  # the players have one
        self.name, self.seconds = model, time.perf_counter() - start

    def describe(self) -> dict[str, Any]:
        """What the engine wants to know of the model."""
        from m2ugen.serve.worker import describe

        return {**describe(self.pipeline, self.name, self.seconds), "makes_music": self.makes_music}

    def pid(self) -> int:
        """The process of the replica that answers."""
        return os.getpid()

    def read(self, parcels: Sequence[Parcel]) -> tuple[dict[str, Understanding], dict[str, str]]:
        """Understandings, and reasons of refusal, by the tasks' ids."""
        from m2ugen.serve.stages import understand

        refused: dict[str, str] = {}
        with unpacked(parcels) as tasks:
            read = understand(
                self.pipeline, tasks, lambda task, piece: None, lambda task, reason: refused.update({task.id: reason})
            )
        return {done.task.id: done.understanding for done in read}, refused


class MusicPlayer:
    """A replica that makes the music: the decoder alone."""

    def __init__(self, model: str) -> None:
        self.pipeline = decoder_alone(model)

    def pid(self) -> int:
        """The process of the replica that answers."""
        return os.getpid()

    def play(self, parcel: Parcel, understanding: Understanding) -> tuple[dict[str, Any] | str, dict[str, bytes]]:
        """The summary of the result (or the reason of a refusal) and its files."""
        from m2ugen.errors import M2UGenError
        from m2ugen.serve.stages import Understood, carry_out, load_media

        with unpacked([parcel]) as (task,):
            try:
                understood = Understood(task, load_media(task), understanding, time.perf_counter())
                summary = carry_out(self.pipeline, understood, lambda fraction: None)
            except M2UGenError as error:
                return str(error), {}
            made = {name: content for name, content in read_folder(task.folder).items() if name not in parcel.files}
            return summary, made


def decoder_alone(name: str) -> M2UGen:
    """A pipeline that can carry out what was understood, and nothing else. Raises InputError and MissingWeights."""
    from types import SimpleNamespace

    from m2ugen.config import M2UGenConfig, preset_names
    from m2ugen.model.modeling import parts_folder, preset_config
    from m2ugen.model.registry import load_component
    from m2ugen.pipeline import M2UGen
    from m2ugen.weights import model_folder, preset_folder

    if name in preset_names():
        config, folder = preset_config(name), preset_folder(name)
    else:
        folder = Path(name) if Path(name).is_dir() else model_folder(name)
        config = M2UGenConfig.from_pretrained(folder)
    decoder = None
    if config.decoder is not None and config.decoder.kind is not None:
        decoder = load_component(config.decoder, parts_folder(config, folder))
    pipeline = M2UGen.__new__(M2UGen)  # there is no whole model to make it of
    pipeline.model = SimpleNamespace(decoder=decoder)
    return pipeline


class RayBackend:
    """The engine's side: a batch goes to a reader, then each of its tasks to a player. Lost replicas cost a retry."""

    def __init__(self, reader: DeploymentHandle, player: DeploymentHandle) -> None:
        self.reader, self.player = reader, player
        self._cancelled: set[str] = set()

    async def start(self) -> dict[str, Any]:
        told: dict[str, Any] = await self.reader.describe.remote()
        return told

    async def run(self, tasks: Sequence[Task], tell: Callable[[Event], None], timeout: float) -> None:
        for task in tasks:
            tell(Event("started", task.id))
        try:
            await asyncio.wait_for(self._run(tasks, tell), timeout)
        finally:
            self._cancelled.difference_update(task.id for task in tasks)

    def cancel(self, task: Task) -> None:
        self._cancelled.add(task.id)

    def stop(self) -> None:
        """Nothing runs here."""

    async def _run(self, tasks: Sequence[Task], tell: Callable[[Event], None]) -> None:
        parcels = {task.id: await asyncio.to_thread(pack, task) for task in tasks}
        read, refused = await _again(lambda: self.reader.read.remote(list(parcels.values())))
        for name, reason in refused.items():
            tell(Event("refused", name, reason))
        await asyncio.gather(*(self._play(parcels[name], words, tell) for name, words in read.items()))

    async def _play(self, parcel: Parcel, words: Understanding, tell: Callable[[Event], None]) -> None:
        task = parcel.task
        if task.id in self._cancelled:
            return
        tell(Event("text", task.id, words.text))
        tell(Event("progress", task.id, READ_SHARE))
        try:
            summary, files = await _again(lambda: self.player.play.remote(parcel, words))
        except WorkerLost:
            tell(Event("failed", task.id, "every replica was lost"))
            return
        if isinstance(summary, str):
            tell(Event("refused", task.id, summary))
            return
        if task.folder.is_dir():  # else it was cancelled and deleted meanwhile
            for name, content in files.items():
                await asyncio.to_thread((task.folder / name).write_bytes, content)
            tell(Event("done", task.id, summary))


async def _again(work: Callable[[], Awaitable[Any]]) -> Any:
    """Do ``work`` on another replica when the one that had it was lost. Raises WorkerLost."""
    for _ in range(ATTEMPTS):
        try:
            return await work()
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError):
            continue
    raise WorkerLost("every replica that was tried was lost")


class Web:
    """The replica with the page, the API and the jobs."""

    def __init__(self, settings: Settings, reader: DeploymentHandle, player: DeploymentHandle) -> None:
        self.settings, self.reader, self.player = settings, reader, player

    def __serve_build_asgi_app__(self) -> Any:
        from m2ugen.serve.app import create_app
        from m2ugen.serve.engine import Engine

        return create_app(self.settings, Engine(self.settings, lambda _: RayBackend(self.reader, self.player)))


def build(args: dict[str, Any]) -> Any:
    """The application for Ray Serve; ``args`` are fields of Arguments."""
    told = Arguments.model_validate(args)
    settings = Settings(
        model=told.model,
        workers=told.lanes,
        queue=told.queue,
        batch=told.batch,
        timeout=told.timeout,
        api_keys=() if told.api_keys is None else read_keys(Path(told.api_keys)),
    )
    reader = _scaled(Reader, "reader", told.readers).bind(told.model)
    player = _scaled(MusicPlayer, "player", told.players).bind(told.model)
    web: Any = serve.deployment(serve.ingress()(Web), name="web", num_replicas=1, max_ongoing_requests=1000)
    return web.bind(settings, reader, player)


def _scaled(cls: type, name: str, replicas: int | None) -> Any:
    """A deployment of a fixed number of replicas, or one that follows the load."""
    number: dict[str, Any] = {"num_replicas": replicas} if replicas else {"autoscaling_config": SCALING}
    return serve.deployment(cls, name=name, max_ongoing_requests=1, **number)
