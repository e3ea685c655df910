"""``m2ugen eval``: a folder of another system's sound, a model, comparisons, and one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from m2ugen.cli import common
from m2ugen.cli.app import run_arguments
from m2ugen.evaluate.results import load_result
from m2ugen.media.audio import save_audio
from m2ugen.pipeline import M2UGen


def fails_in_one_line(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    capfd.readouterr()
    assert run_arguments(["eval", *arguments]) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("m2ugen: ")
    return lines[0]


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another system's folder: four files and their prompts."""
    folder = tmp_path_factory.mktemp("rival")
    rng, captions = np.random.default_rng(0), {}
    for number in range(4):
        time = np.arange(5 * 22_050) / 22_050
        beat = np.exp(-8 * (time % 0.5)) * np.sin(2 * np.pi * 220 * 2 ** (number / 12) * time)
        save_audio(
            folder / f"song{number}.wav", (0.4 * beat + rng.normal(0, 0.01, len(time))).astype(np.float32), 22_050
        )
        captions[f"song{number}.wav"] = (
            f"a piano piece at 120 bpm in a {'major' if number % 2 else 'minor'} key, no drums"
        )
    (folder / "captions.json").write_text(json.dumps(captions))
    return folder


def test_folder_of_another_system(rival: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "controls", "--outputs", str(rival), "--output", str(tmp_path / "r"), "--limit", "4", "--json"]
    assert run_arguments(arguments) == 0, capfd.readouterr().err
    told = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    assert told["benchmark"] == "captions" and told["system"] == rival.name
    assert "everything asked" in told["figures"]["controls"] and "loudness" in told["figures"]["controls"]
    found = load_result(tmp_path / "r")
    row = next(row for row in found.rows if row.name == "tempo")
    assert row.figure.count == 4 and set(row.scores) == {f"song{k}" for k in range(4)}
    assert "real" in row.baselines or row.baselines["shuffled"].count == 4
    for name in ("report.json", "report.md", "report.html"):
        assert (tmp_path / "r" / name).stat().st_size > 500

    (rival / "captions.json").rename(tmp_path / "captions.json")  # the same sound without a prompt
    try:
        bare = ["eval", "controls", "--outputs", str(rival), "--output", str(tmp_path / "bare"), "--limit", "4"]
        assert run_arguments(bare) == 0, capfd.readouterr().err
    finally:
        (tmp_path / "captions.json").rename(rival / "captions.json")
    names = {row.name for row in load_result(tmp_path / "bare").rows}
    assert "loudness" in names and "everything asked" not in names

    capfd.readouterr()
    assert run_arguments(["eval", "compare", str(tmp_path / "r"), str(tmp_path / "bare")]) == 0
    assert "| loudness |" in capfd.readouterr().out
    assert run_arguments(["eval", "card", str(tmp_path / "r"), "--output", str(tmp_path / "card.md")]) == 0
    assert "everything asked" in (tmp_path / "card.md").read_text()


def test_errors_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = ["--output", str(tmp_path / "out"), "--limit", "4"]
    assert "not a folder" in fails_in_one_line(capfd, "controls", "--outputs", str(tmp_path / "none"), *out)
    assert "not a folder" in fails_in_one_line(capfd, "controls", "--data", str(tmp_path / "none"), *out)
    assert "does not exist" in fails_in_one_line(capfd, "compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert "--set" in fails_in_one_line(capfd, "understanding", "--set", "musicqa", *out)
    (tmp_path / "empty").mkdir()
    line = fails_in_one_line(capfd, "all", "--outputs", str(tmp_path / "empty"), "--measure", "vggish=none.pth", *out)
    assert "none.pth" in line
    assert not (tmp_path / "out" / "report.json").exists()


@pytest.mark.slow
def test_everything_of_nano(nano: M2UGen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "load_model", lambda name: common.LoadedModel(nano, name, 0.0))
    assert run_arguments(["eval", "all", "--limit", "4", "--output", str(tmp_path)]) == 0
    found = load_result(tmp_path)
    assert found.tasks == ["understanding", "text2music", "controls", "image2music", "video2music", "editing"]
    answered = [row for row in found.rows if row.name == "items answered"]
    assert len(answered) == 5 and all(row.figure.value == 1.0 for row in answered)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<audio") >= 8 and "<video" in page
    first = (tmp_path / "report.json").read_text()
    assert run_arguments(["eval", "all", "--limit", "4", "--output", str(tmp_path)]) == 0  # outputs are kept
    again = load_result(tmp_path)
    assert again.rows == found.rows and first
