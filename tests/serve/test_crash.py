"""kill -9 of the worker with nano in it, while it has work."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from m2ugen.serve.client import Client, RemoteJob, ServerError
from tests.serve.conftest import start_server, wait_ready


def worker_of(server: int) -> int:
    """The process of the worker that a server has started (Linux)."""
    for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        if b"m2ugen.serve.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("there is no worker")


def outcome(job: RemoteJob) -> str:
    try:
        job.wait(400)
    except ServerError as error:
        return error.code
    return "done"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_other_requests_finish_and_the_job_reports_its_failure(tmp_path: Path) -> None:
    process, url = start_server("--batch", "4", log=tmp_path / "log")
    try:
        wait_ready(url)
        with Client(url) as client:
            jobs = [client.generate("a slow piano piece", duration=60, seed=seed) for seed in range(2)]
            while not any(job.state().progress > 0.25 for job in jobs):
                time.sleep(0.05)
            jobs += [client.ask("What is music?", max_tokens=8) for _ in range(6)]
            os.kill(worker_of(process.pid), signal.SIGKILL)
            outcomes = [outcome(job) for job in jobs]
        assert sorted(outcomes) == ["done"] * 7 + ["worker_lost"]
        assert outcomes.index("worker_lost") < 2
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
