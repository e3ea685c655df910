"""Builds that are killed: what they come to in the end is what an undisturbed build makes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m2ugen.data.build import engine
from m2ugen.data.build.build import build
from m2ugen.data.build.options import BuildOptions
from m2ugen.data.build.validation import validate
from tests.data.build.media import tree, write_songs

SMALL_BUNDLES = "from m2ugen.data.build import engine; engine.plan_bundles.__defaults__ = (2,); "


def command(source: Path, output: Path, name: str) -> list[str]:
    arguments = ["data", "build", name, str(source), "--output", str(output)]
    code = f"{SMALL_BUNDLES}from m2ugen.cli.app import run_arguments; raise SystemExit(run_arguments({arguments!r}))"
    return [sys.executable, "-c", code]


def finish(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr


def kill_after_progress(arguments: list[str], output: Path, rng: random.Random) -> bool:
    """Start a build, kill it at a random moment after something new is on disk; whether it was still running."""
    before = len(list(output.rglob("*")))
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted = before + rng.randint(1, 8)
    while process.poll() is None and len(list(output.rglob("*"))) < wanted:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.3))
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def survives(source: Path, folder: Path, name: str, kills: int, seed: int) -> None:
    finish(command(source, folder / "whole", name))
    output, rng, killed = folder / "killed", random.Random(seed), 0
    for _ in range(kills):
        killed += kill_after_progress(command(source, output, name), output, rng)
    assert killed >= min(kills, 2)
    finish(command(source, output, name))
    assert tree(output) == tree(folder / "whole")
    assert not [problem for problem in validate(output).problems if problem.level == "error"]


class StopError(Exception):
    """The build is left where it is."""


def test_a_build_that_is_left_at_any_bundle_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.plan_bundles, "__defaults__", (2,))
    source = write_songs(tmp_path / "in", 6, 2.0)
    rows = [{"music": f"song{k}.wav", "caption": f"A calm piano piece, number {k}."} for k in range(6)]
    (source / "list.json").write_text(json.dumps(rows))
    whole, stopped = (BuildOptions(source / "list.json", tmp_path / name) for name in ("whole", "stopped"))
    build("mucaps", whole)
    for limit in (2, 3, 6, 7):
        told: list[str] = []

        def tell(label: str, fraction: float, told: list[str] = told, limit: int = limit) -> None:
            told.append(label)
            if len(told) == limit:
                raise StopError

        with pytest.raises(StopError):
            build("mucaps", stopped, progress=tell)
    build("mucaps", stopped)
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mucaps", "musicqa"])
def test_ten_kills_change_nothing(name: str, tmp_path: Path) -> None:
    survives(write_songs(tmp_path / "in", 12, 3.0), tmp_path, name, kills=10, seed=1)


def test_two_builds_do_not_mix(tmp_path: Path) -> None:
    import fcntl

    from m2ugen.errors import InputError

    source = write_songs(tmp_path / "in", 1, 2.0)
    (tmp_path / "out" / ".build").mkdir(parents=True)
    with (tmp_path / "out" / ".build" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another build is at work"):
            build("mucaps", BuildOptions(source, tmp_path / "out"))
