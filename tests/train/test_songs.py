"""A folder of one's own songs changes nano, by the command of the tutorial; plans and settings on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from m2ugen.cli.app import run_arguments
from m2ugen.data.paper.features import FeatureStore, FrozenParts
from m2ugen.data.paper.places import read_place
from m2ugen.pipeline import M2UGen
from m2ugen.score.attributes import attributes_from_conditioning
from m2ugen.train.plan import make_plan, meta_model
from m2ugen.train.stages import run_file
from m2ugen.train.stages.material import resolve
from m2ugen.weights import packaged_folder
from tests.data.paper.sets import write_song

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    lines = ["file,caption"]
    for k in range(5):
        write_song(folder / f"{k}.wav", k, seconds=3.2)
        lines.append(f"{k}.wav,sunrise number {['one', 'two', 'three', 'four', 'five'][k]}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_ones_own_songs_change_nano_measurably(songs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["train", "nano", "--stage", "instruct", "--data", str(songs), "--output", str(tmp_path / "run")]
    command += ["--steps", "4", "--learning-rate", "1e-3", "--set", "train.evaluate_first=true"]
    command += ["--set", "task.material={batch_size: 4, held_out: 0.3}", "--set", "train.warmup_steps=1", "--json"]
    command += ["--set", f"task.material.features={tmp_path / 'features'}", "--set", "train.evaluate_every=0"]
    assert run_arguments(command) == 0, capfd.readouterr().err
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    before, after = (line["cross_entropy"] for line in lines if line["split"] == "valid")
    assert after < 0.9 * before
    assert told["status"] == "finished" and told["exported"] == str(tmp_path / "run" / "export")
    settings = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert settings["train"]["learning_rate"] == 1e-3 and settings["task"]["material"]["held_out"] == 0.3
    assert json.loads((tmp_path / "run" / "data.json").read_text())["used"] == {
        "songs/captions": 5,
        "songs/instructions": 5,
    }
    mine = M2UGen.from_pretrained(tmp_path / "run" / "export")
    reply = mine.generate("sunrise number six", duration=4, seed=1)
    assert reply.audio is not None and reply.text
    assert run_arguments([*command, "--config", str(tmp_path / "run" / "run.yaml")]) == 0  # goes on where it ended


def test_targets_hold_what_the_song_is_like(songs: Path, nano: M2UGen, tmp_path: Path) -> None:
    config, _ = resolve("nano")
    store = FeatureStore(tmp_path)
    parts = FrozenParts(config, packaged_folder("nano"), store, nano.processor.tokenizer)
    samples = [sample for sample in read_place(songs) if sample.caption is not None][:2]
    keys, unusable = parts.prepare(samples)
    assert not unusable
    encoder = nano.processor.encoders["music"]
    for place, sample in enumerate(samples):
        assert sample.sound is not None
        heard = nano.processor.encode(nano.processor.load(music=sample.sound.open()))["music"]
        assert sample.caption is not None
        said = nano.model.decoder.refine(encoder.conditioning(heard), sample.caption)  # type: ignore[attr-defined]
        target = keys[place].target
        assert target is not None
        stored = store.get(target)
        assert stored is not None
        torch.testing.assert_close(stored.float(), said[0])
        likeliest = attributes_from_conditioning(stored.float().numpy())
        assert likeliest.drums is not None  # of drums or none one is always the likelier


def test_words_in_a_caption_go_before_what_is_heard(nano: M2UGen, tmp_path: Path) -> None:
    write_song(tmp_path / "songs" / "slow sad waltz in 3-4 with a flute.wav", 1, seconds=3.2)
    (tmp_path / "songs" / "slow sad waltz in 3-4 with a flute.txt").write_text("A waltz in 3/4 at 60 bpm in minor.")
    config, _ = resolve("nano")
    store = FeatureStore(tmp_path / "features")
    parts = FrozenParts(config, packaged_folder("nano"), store, nano.processor.tokenizer)
    samples = [sample for sample in read_place(tmp_path / "songs") if sample.caption is not None]
    keys, _ = parts.prepare(samples)
    target = keys[0].target
    assert target is not None
    stored = store.get(target)
    assert stored is not None
    found = attributes_from_conditioning(stored.float().numpy())
    assert found.metre == "3/4" and found.mode == "minor" and found.tempo == pytest.approx(60, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --data"),
        (["--data", "nowhere"], "neither a folder nor"),
        (["--data", ".", "--set", "seed=3"], "is not of the form"),
        (["--data", ".", "--set", "train.sed=3"], "unknown train setting 'sed'"),
        (["--data", ".", "--set", "task.material.size=3"], "nothing to train on|material setting"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_arguments(["train", "nano", "--stage", "instruct", *arguments]) == 2
    error = capfd.readouterr().err.strip().splitlines()
    assert len(error) == 1 and any(part in error[0] for part in message.split("|"))
    assert not list(tmp_path.iterdir())


def test_plan_counts_the_real_parameters(twin: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config, folder = resolve(str(twin))
    from m2ugen.model.modeling import M2UGenModel

    model = M2UGenModel.for_training(config, None, 0, folder)
    model.train_only("decoder")
    empty = meta_model(config, "decoder")
    assert all(parameter.is_meta for parameter in empty.parameters())
    plan = make_plan(str(twin), "decoder", run_file(str(twin), "decoder"))
    assert plan.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert plan.trained == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert run_arguments(["train", str(twin), "--stage", "decoder", "--plan", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["trained"] == plan.trained


def test_plan_of_the_papers_model() -> None:
    settings = run_file("musicgen", "instruct")
    plan = make_plan("musicgen", "instruct", settings)
    assert plan.parameters > 7e9 and plan.trained < 0.1 * plan.parameters
    small = {**settings, "task": {"material": {**settings["task"]["material"], "quantise": "4bit"}}}
    assert make_plan("musicgen", "instruct", small).memory[1] < plan.memory[1] - 8  # GiB
    assert plan.memory[8] < plan.memory[2] < plan.memory[1]
    whole = {**settings, "task": {"material": {**settings["task"]["material"], "gradient_checkpointing": False}}}
    assert make_plan("musicgen", "instruct", whole).memory[1] > plan.memory[1]
