"""A server with nano, started once as users start it, and one with workers that only pretend to think."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")

START_SECONDS = 300


def start_server(*options: str, log: Path) -> tuple[subprocess.Popen[str], str]:
    """A running ``m2ugen serve`` and its address; it may still be loading the model."""
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "m2ugen", "serve", "--port", "0", *options],
            stdout=subprocess.PIPE, stderr=stderr, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def wait_ready(url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not get ready")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with nano and one worker."""
    process, url = start_server("--max-upload", "8", "--drain", "5", log=tmp_path_factory.mktemp("serve") / "log")
    try:
        wait_ready(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def eventually(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until ``holds()``."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


async def eventually_async(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """The same inside an event loop."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.02)
