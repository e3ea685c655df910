"""The end of a server: what was accepted is finished and can be fetched, nothing new is taken."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from m2ugen.cli.app import run_arguments
from m2ugen.serve.client import Client, ServerError
from tests.serve.conftest import eventually

PROGRAM = """
import sys
import uvicorn
from m2ugen.serve.app import create_app
from m2ugen.serve.engine import Engine
from m2ugen.serve.process import WorkerProcess
from m2ugen.serve.run import Server, listen
from m2ugen.serve.settings import Settings

settings = Settings(batch=1, drain_seconds=30)
engine = Engine(settings, lambda told: WorkerProcess(told, (sys.executable, "-m", "tests.serve.pretender")))
bound = listen("127.0.0.1", 0)
print(bound.getsockname()[1], engine.store.root, flush=True)
Server(uvicorn.Config(create_app(settings, engine), log_config=None), engine).run([bound])
"""


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[str], Client, Path]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    port, root = process.stdout.readline().split()
    with Client(f"http://127.0.0.1:{port}") as client:
        eventually(lambda: is_ready(client), 60)
        yield process, client, Path(root)
    process.kill()
    process.wait()


def is_ready(client: Client) -> bool:
    try:
        return client.request("GET", "/readyz").is_success
    except ServerError:
        return False


def test_sigterm_lets_accepted_requests_finish(running: tuple[subprocess.Popen[str], Client, Path]) -> None:
    process, client, root = running
    jobs = [client.ask("sleep 1"), client.ask("and one that waits")]
    process.send_signal(signal.SIGTERM)
    eventually(lambda: not is_ready(client))
    with pytest.raises(ServerError) as refused:
        client.ask("too late")
    assert refused.value.code == "draining"
    assert [job.wait(20).text for job in jobs] == ["SLEEP 1", "AND ONE THAT WAITS"]
    assert process.wait(20) == 0
    assert not root.exists()


def test_a_second_signal_ends_it_at_once(running: tuple[subprocess.Popen[str], Client, Path]) -> None:
    process, client, root = running
    client.ask("sleep 60")
    begun = time.monotonic()
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    assert process.wait(20) == 0
    assert time.monotonic() - begun < 20 and not root.exists()


def test_bad_usage_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--api-keys", str(tmp_path / "none")],
        ["--host", "not an address"],
        ["--model", "nothing", "--port", "0"],
    ):
        assert run_arguments(["serve", *arguments]) == 2
        told = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("{")]
        assert len(told) == 1 and told[0].startswith("m2ugen: ")
