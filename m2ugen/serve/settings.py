"""What a server may be told: how much it takes on, from whom, and for how long it keeps results."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from m2ugen.errors import InputError

SHORTEST_KEY = 16  # characters


@dataclass(frozen=True)
class Limits:
    """What one request may ask for. Bytes, pixels of a picture, seconds, characters, tokens."""

    file_bytes: int = 64 << 20
    body_bytes: int = 160 << 20
    media_seconds: float = 600.0
    pixels: int = 40_000_000
    duration: float = 300.0  # of the music that is made
    new_tokens: int = 256
    history: int = 24  # earlier messages
    decode_seconds: float = 60.0  # of a file, in the sandbox
    decode_bytes: int = 3 << 30  # memory of the sandbox
    upload_seconds: float = 120.0  # until a request has arrived


@dataclass(frozen=True)
class Settings:
    """A server's settings.

    ``queue`` requests wait at most, ``batch`` of them are read together when they wait at the same moment or arrive
    within ``batch_window`` seconds. A request may run for ``timeout`` seconds. Results are kept for ``keep_seconds``
    and as long as all of them fit into ``keep_bytes``. Without ``api_keys`` everybody who reaches the server may use
    it. ``origins`` are the web origins that may call it from a browser besides its own page; ``hosts``, if not empty,
    the names under which it may be called.
    """

    model: str = "nano"
    soundfont: Path | None = None
    workers: int = 1
    threads: int | None = None  # of each worker; None: OMP_NUM_THREADS, or the cores shared out
    queue: int = 32
    batch: int = 8
    batch_window: float = 0.02
    timeout: float = 300.0
    keep_seconds: float = 3600.0
    keep_bytes: int = 4 << 30
    drain_seconds: float = 60.0
    api_keys: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in ("workers", "queue", "batch", "timeout", "keep_seconds", "keep_bytes"):
            if getattr(self, name) <= 0:
                raise InputError(f"the server's {name} must be above 0, not {getattr(self, name)}")

    @property
    def worker_threads(self) -> int:
        """Threads that each worker computes with."""
        told = os.environ.get("OMP_NUM_THREADS", "")
        return self.threads or (int(told) if told.isdecimal() else 0) or max((os.cpu_count() or 1) // self.workers, 1)


def read_keys(path: Path) -> tuple[str, ...]:
    """The API keys in a file, one a line; empty lines and those that begin with # do not count. Raises InputError."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the API keys in {path}: {getattr(error, 'strerror', None) or error}") from error
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise InputError(f"there are no API keys in {path}; write one a line")
    if any(len(key) < SHORTEST_KEY or not key.isascii() for key in keys):
        raise InputError(
            f"an API key in {path} is too short or not plain ASCII; use at least {SHORTEST_KEY} characters"
        )
    return keys
