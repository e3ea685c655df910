"""The queue, batches, lost workers, limits and expiry, with real processes that only pretend to think."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from m2ugen.errors import InputError
from m2ugen.serve.engine import Draining, Engine, QueueFull
from m2ugen.serve.jobs import LOCK, PREFIX, Job, JobStore
from m2ugen.serve.process import WorkerProcess
from m2ugen.serve.settings import Settings, read_keys
from m2ugen.serve.tasks import Kind, Task
from tests.serve.conftest import eventually_async

PRETENDER = (sys.executable, "-m", "tests.serve.pretender")


def with_engine(act: Callable[[Engine], Awaitable[None]], **settings: Any) -> None:
    """Run ``act`` with a started engine whose workers are pretenders."""

    async def run() -> None:
        engine = Engine(Settings(**settings), lambda told: WorkerProcess(told, PRETENDER))
        await engine.start()
        try:
            await asyncio.wait_for(engine.wait_ready(), 60)
            await asyncio.wait_for(act(engine), 60)
        finally:
            root = engine.store.root
            await engine.close()
            assert not root.exists()

    asyncio.run(run())


def submit(engine: Engine, text: str, kind: Kind = "ask", **fields: Any) -> Job:
    name, folder = engine.store.new_folder()
    job = Job(Task(name, kind, text, folder, **fields))
    engine.submit(job)
    return job


def pid(engine: Engine) -> int:
    backend = engine._backends[0]
    assert isinstance(backend, WorkerProcess) and backend.process is not None
    return backend.process.pid


def test_jobs_that_arrive_together_are_read_together_and_each_gets_its_own_answer() -> None:
    async def act(engine: Engine) -> None:
        jobs = [submit(engine, f"word {index}") for index in range(5)]
        other = submit(engine, "drawn", temperature=1.0)
        music = submit(engine, "tune", kind="generate")
        for job in (*jobs, other, music):
            assert await job.wait(20) and job.state == "done"
        assert [job.text for job in jobs] == [f"WORD {index}" for index in range(5)]
        assert engine.metrics.text().count(b"m2ugen_batch_size_sum 7.0") == 1
        sizes = engine.metrics.registry.get_sample_value("m2ugen_batch_size_count")
        assert sizes == 4  # five asks in batches of four and one; what draws, and what makes music, by itself

    with_engine(act, batch=4)


def test_a_full_queue_says_when_to_come_again() -> None:
    async def act(engine: Engine) -> None:
        running = submit(engine, "sleep 2")
        await eventually_async(lambda: running.state == "running")
        waiting = [submit(engine, "next") for _ in range(2)]
        with pytest.raises(QueueFull) as refused:
            submit(engine, "too many")
        assert refused.value.retry_after >= 1
        engine.cancel(waiting[0])
        last = submit(engine, "fits now")
        for job in (running, waiting[1], last):
            assert await job.wait(20) and job.state == "done"
        assert waiting[0].state == "cancelled"

    with_engine(act, queue=2, batch=1)


def test_cancelling_a_running_job_frees_the_worker() -> None:
    async def act(engine: Engine) -> None:
        long = submit(engine, "sleep 30")
        await eventually_async(lambda: long.progress > 0.2)
        engine.cancel(long)
        assert long.state == "cancelled" and long.is_finished
        after = submit(engine, "after")
        assert await after.wait(20) and after.state == "done"

    with_engine(act, batch=1)


def test_a_killed_worker_costs_only_the_job_it_was_at() -> None:
    async def act(engine: Engine) -> None:
        at_work = submit(engine, "sleep 30")
        await eventually_async(lambda: at_work.progress > 0.2)
        others = [submit(engine, f"word {index}") for index in range(3)]
        os.kill(pid(engine), signal.SIGKILL)
        for job in (at_work, *others):
            assert await job.wait(30)
        assert at_work.state == "failed" and at_work.error is not None and at_work.error[0] == "worker_lost"
        assert [job.state for job in others] == ["done"] * 3
        assert engine.metrics.registry.get_sample_value("m2ugen_worker_losses_total") == 1

    with_engine(act)


def test_one_that_kills_the_worker_is_found_among_those_read_with_it() -> None:
    async def act(engine: Engine) -> None:
        jobs = [submit(engine, text) for text in ("one", "die early", "two", "die", "three")]
        for job in jobs:
            assert await job.wait(40)
        assert [job.state for job in jobs] == ["done", "failed", "done", "failed", "done"]

    with_engine(act, batch=8)


def test_a_job_that_takes_too_long_fails_and_the_next_is_done() -> None:
    async def act(engine: Engine) -> None:
        endless, after = submit(engine, "spin"), submit(engine, "after")
        assert await endless.wait(30) and await after.wait(30)
        assert endless.error is not None and endless.error[0] == "timeout"
        assert after.state == "done"

    with_engine(act, batch=1, timeout=1.0)


def test_refusals_reach_the_caller() -> None:
    async def act(engine: Engine) -> None:
        job = submit(engine, "refuse")
        assert await job.wait(20)
        assert job.error == ("invalid_input", "no such thing can be done")

    with_engine(act)


def test_results_expire_by_age_and_by_size_but_not_while_they_are_needed() -> None:
    async def act(engine: Engine) -> None:
        old, big, new = (submit(engine, text) for text in ("old", "big", "new"))
        for job in (old, big, new):
            await job.wait(20)
        assert old.finished is not None and big.finished is not None
        user = submit(engine, "sleep 3")
        user.source_id = old.id
        (big.task.folder / "file").write_bytes(bytes(3000))
        big.finished -= 1
        (new.task.folder / "file").write_bytes(bytes(500))
        engine.store.keep_bytes = 1000
        assert engine.store.expire() == 500
        assert engine.store.get(big.id) is None and not big.task.folder.exists()
        assert engine.store.get(new.id) is new
        engine.store.expire(time.time() + 10_000)
        assert engine.store.get(new.id) is None and engine.store.get(old.id) is old
        await user.wait(20)
        engine.store.expire(time.time() + 10_000)
        assert not engine.store.jobs

    with_engine(act)


def test_what_a_killed_server_left_is_swept_up(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = JobStore(1.0, 1)
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / LOCK).touch()
    for folder in (living.root, left):
        os.utime(folder / LOCK, (0, 0))
    another = JobStore(1.0, 1)
    assert not left.exists() and living.root.exists() and another.root.exists()
    for store in (living, another):
        store.close()
    assert list(tmp_path.iterdir()) == []


def test_draining_finishes_what_was_accepted_and_takes_nothing_more() -> None:
    async def act(engine: Engine) -> None:
        job = submit(engine, "sleep 1")
        drained = asyncio.create_task(engine.drain(30))
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            submit(engine, "late")
        assert not engine.is_ready
        await job.wait(20)
        assert job.state == "done" and not drained.done()
        job.fetched = True
        await asyncio.wait_for(drained, 5)

    with_engine(act)


def test_settings_that_make_no_sense_are_refused(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="queue"):
        Settings(queue=0)
    keys = tmp_path / "keys"
    keys.write_text("# ours\n\n0123456789abcdef\n")
    assert read_keys(keys) == ("0123456789abcdef",)
    keys.write_text("short\n")
    with pytest.raises(InputError, match="too short"):
        read_keys(keys)
