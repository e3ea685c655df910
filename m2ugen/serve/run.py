"""Running the application with uvicorn: the address, the signals, the orderly end."""

from __future__ import annotations

import asyncio
import socket
import sys
from types import FrameType

import uvicorn

from m2ugen.errors import InputError, MissingWeights
from m2ugen.serve.app import create_app
from m2ugen.serve.engine import Engine
from m2ugen.serve.logs import log
from m2ugen.serve.settings import Settings

BACKLOG = 128


class Server(uvicorn.Server):
    """Uvicorn that on the first SIGTERM or SIGINT lets accepted requests finish, and on the second stops at once."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self.engine = engine
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._watch())
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()
            self.engine.release()  # a forced exit leaves the application's own end out

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.engine.draining or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self.engine.draining = True
        self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._drain()))

    async def _drain(self) -> None:
        log("draining")
        await self.engine.drain(self.engine.settings.drain_seconds)
        self.should_exit = True

    async def _watch(self) -> None:
        """Stop when no worker can ever work."""
        while not self.started:
            await asyncio.sleep(0.05)
        await self.engine.wait_ready()
        if self.engine.broken is not None:
            self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 chooses a free one. Raises InputError when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}") from error
    return found


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until a signal ends it. Prints the address on stdout. Raises InputError and MissingWeights."""
    bound = listen(host, port)
    engine = Engine(settings)
    config = uvicorn.Config(
        create_app(settings, engine), log_config=None, access_log=False, server_header=False, lifespan="on",
        timeout_keep_alive=30, timeout_graceful_shutdown=10, h11_max_incomplete_event_size=64 << 10,
    )  # fmt: skip
    name = f"[{host}]" if ":" in host else host
    print(f"http://{name}:{bound.getsockname()[1]}", flush=True)
    if host not in LOOPBACK and not settings.api_keys:
        print("m2ugen: anybody who reaches this address may use the server; see --api-keys", file=sys.stderr)
    Server(config, engine).run([bound])
    if engine.broken is not None:
        raise MissingWeights(engine.broken)


LOOPBACK = ("127.0.0.1", "localhost", "::1")
