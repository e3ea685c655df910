"""The commands end to end: results, JSON, exit codes and one-line errors."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from m2ugen.cli import common
from m2ugen.cli.app import run_arguments
from m2ugen.examples import example
from m2ugen.pipeline import M2UGen


@dataclass
class Run:
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str


Runner = Callable[..., Run]


@pytest.fixture
def m2ugen(nano: M2UGen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Runner:
    """Runs a command line in an empty folder, with the model that is loaded already."""
    load = common.load_model

    def loaded(name: str, soundfont: Path | None = None, **options: Any) -> common.LoadedModel:
        known = name == "nano" and not options
        return common.LoadedModel(nano, name, 0.0) if known else load(name, soundfont, **options)

    monkeypatch.setattr(common, "load_model", loaded)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str = "") -> Run:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capfd.readouterr()
        code = run_arguments(list(arguments))
        told = capfd.readouterr()
        return Run(code, told.out, told.err)

    return run


def test_program_starts_and_is_quiet(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "m2ugen", "ask", "Are there drums?", "--music", str(example("music")), "--json"],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert json.loads(run.stdout)["model"] == "nano"


def fails_in_one_line(run: Run, *words: str) -> None:
    assert run.returncode == 2, run.stderr
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("m2ugen: ")
    for word in words:
        assert word in lines[0]


def test_help_names_every_command(m2ugen: Runner) -> None:
    run = m2ugen("--help")
    assert run.returncode == 0
    for name in ("ask", "generate", "edit", "chat", "demo", "info", "train", "data"):
        assert name in run.stdout


def test_generate_writes_audio_midi_plan_and_json(m2ugen: Runner, tmp_path: Path) -> None:
    arguments = ["generate", "a fast rock song with electric guitar, bass and drums", "--duration", "5", "--seed", "1"]
    arguments += ["--output", "a.wav", "--midi", "a.mid", "--save-plan", "plan.json", "--json"]
    run = m2ugen(*arguments)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.strip().splitlines()[-1])
    assert list(told) == ["text", "output", "midi", "duration", "sample_rate", "seed", "model", "seconds"]
    assert set(told["seconds"]) == {"load", "understand", "generate", "total"}
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert samples.shape[1] == 2 and len(samples) / rate == pytest.approx(5, rel=0.01)
    assert told["seed"] == 1 and told["duration"] == pytest.approx(5, rel=0.01)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mid", "a.wav", "plan.json"]
    first = (tmp_path / "a.wav").read_bytes()
    again = m2ugen(*arguments, "--plan", "plan.json", "--output", "b.flac", "--save-plan", "p2.json")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "p2.json").read_text()) == json.loads((tmp_path / "plan.json").read_text())
    assert m2ugen(*arguments).returncode == 0
    assert (tmp_path / "a.wav").read_bytes() == first


@dataclass
class Device:
    """Stands in for the library ``sounddevice``."""

    PortAudioError = OSError
    played: list[np.ndarray]
    interrupted: bool = False

    def check_output_settings(self) -> None: ...

    def OutputStream(self, **options: Any) -> Device:
        return self

    def write(self, sound: np.ndarray) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.played.append(sound)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    abort = close = start


@pytest.mark.parametrize("interrupted", [False, True])
def test_generate_plays_while_it_writes(
    interrupted: bool, m2ugen: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device([], interrupted)
    monkeypatch.setitem(sys.modules, "sounddevice", device)  # type: ignore[arg-type]
    run = m2ugen("generate", "a calm piano piece", "--duration", "6", "--seed", "1", "--play", "--output", "a.wav")
    assert run.returncode == 0, run.stderr
    audio, rate = soundfile.read(tmp_path / "a.wav")
    assert len(audio) == 6 * rate  # an interrupted sound loses no music
    assert sum(len(piece) for piece in device.played) == (0 if interrupted else 6 * rate)


def test_without_a_sound_device_nothing_is_begun(
    m2ugen: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute(Device):
        def check_output_settings(self) -> None:
            raise OSError("no default output device")

    for library in (Mute([]), None):
        monkeypatch.setitem(sys.modules, "sounddevice", library)  # type: ignore[arg-type]
        fails_in_one_line(m2ugen("generate", "a waltz", "--play", "--output", "a.wav"), "play")
        assert not list(tmp_path.iterdir())


def test_generate_puts_music_under_the_video(m2ugen: Runner, tmp_path: Path) -> None:
    import av

    arguments = ["generate", "a soundtrack", "--video", str(example("video")), "--seed", "1", "--output", "v.mp3"]
    run = m2ugen(*arguments, "--mux", "v.mp4")
    assert run.returncode == 0, run.stderr
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.streams.video and container.streams.audio


def test_ask_and_edit(m2ugen: Runner, tmp_path: Path) -> None:
    music = str(example("music"))
    asked = m2ugen("ask", "Are there drums?", "--music", music, "--json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["text"]
    edited = m2ugen("edit", "make it slower", "--music", music, "--output", "slow.wav", "--seed", "1")
    assert edited.returncode == 0, edited.stderr
    assert len(soundfile.read(tmp_path / "slow.wav")[0]) > len(soundfile.read(music)[0])


def test_chat_reads_lines(m2ugen: Runner, tmp_path: Path) -> None:
    run = m2ugen("chat", "--seed", "1", stdin="/music nothing.wav\n\n/save x.wav\n/quit\n")
    assert run.returncode == 0, run.stderr
    assert "there is no file nothing.wav" in run.stderr
    assert "no music to save" in run.stderr


def test_info_tells_the_parts(m2ugen: Runner, tmp_path: Path) -> None:
    run = m2ugen("info", "--json")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["complete"]
    sizes = {part["name"]: part["parameters"] for part in told["parts"]}
    assert sizes["language model"] > 1e8 and told["parameters"] == sum(sizes.values())


def test_info_tells_what_a_preset_lacks(m2ugen: Runner, tmp_path: Path) -> None:
    run = m2ugen("info", "--model", "mu-llama")
    assert run.returncode == 0, run.stderr
    assert "missing: language model, to be had from meta-llama/Llama-2-7b-hf (Llama 2 Community License" in run.stdout
    run = m2ugen("ask", "What is this?", "--model", "mu-llama")
    assert run.returncode == 2 and "m2ugen convert CHECKPOINT.pth --preset mu-llama" in run.stderr


@pytest.mark.parametrize("command", ["ask", "edit"])
def test_bad_music_is_one_line_and_leaves_nothing_behind(command: str, m2ugen: Runner, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is not sound")
    samples = np.zeros(20000, dtype=np.float32)
    soundfile.write(tmp_path / "whole.wav", samples, 16000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:30])
    samples[500] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16000, subtype="FLOAT")
    before = sorted(tmp_path.iterdir())
    for name in ("missing.wav", "empty.wav", "text.wav", "cut.wav", "nan.wav", "."):
        output = ["--output", "out.wav"] if command == "edit" else []
        fails_in_one_line(m2ugen(command, "add drums", "--music", name, *output))
        assert sorted(tmp_path.iterdir()) == before


def test_usage_errors(m2ugen: Runner, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"version": 1}')
    fails_in_one_line(m2ugen("generate"), "prompt")
    fails_in_one_line(m2ugen("generate", "x", "--output", "a.xyz"), ".wav")
    fails_in_one_line(m2ugen("generate", "x", "--output", "no/such/a.wav"), "does not exist")
    fails_in_one_line(m2ugen("generate", "x", "--mux", "a.mp4"), "--video")
    fails_in_one_line(m2ugen("generate", "x", "--duration", "-3"), "duration")
    fails_in_one_line(m2ugen("generate", "x", "--plan", "plan.json"), "plan")
    fails_in_one_line(m2ugen("generate", "x", "--model", "nothing"), "nothing")
    fails_in_one_line(m2ugen("ask", ""), "empty")
    fails_in_one_line(m2ugen("dance"), "dance")


def test_an_output_may_not_overwrite_an_input(m2ugen: Runner, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    run = m2ugen("edit", "make it slower", "--music", "a.wav", "--output", "a.wav")
    fails_in_one_line(run, "overwrite")
