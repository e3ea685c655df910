"""Each set from media to the published layout with nano, and what can be done with it then."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m2ugen.cli.app import run_arguments
from m2ugen.data.build.build import Built, build
from m2ugen.data.build.editing import MakeEdit
from m2ugen.data.build.examples import read_examples
from m2ugen.data.build.layouts import LAYOUTS, SPLITS, read_answers, read_captions, read_instructions
from m2ugen.data.build.options import BuildOptions
from m2ugen.data.build.shards import export
from m2ugen.data.build.understanding import Caption
from m2ugen.data.build.validation import validate
from m2ugen.errors import InputError
from m2ugen.media.audio import load_audio, save_audio
from m2ugen.pipeline import M2UGen
from tests.data.build.media import RATE, tones, tree, write_picture, write_songs, write_video


def made(name: str, source: Path, output: Path, **options: Any) -> Built:
    return build(name, BuildOptions(source, output, **options))


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A manifest with a caption for each of five songs: no model is needed."""
    write_songs(tmp_path / "in", 5, 2.0)
    rows = [
        {"music": f"song{k}.wav", "caption": f"A {word} piano piece in C major.", "licence": "CC0"}
        for k, word in enumerate(("calm", "happy", "slow", "fast", "lively"))
    ]
    (tmp_path / "in" / "list.json").write_text(json.dumps(rows))
    return tmp_path / "in" / "list.json"


def test_mucaps(model: M2UGen, songs: Path, tmp_path: Path) -> None:
    source = shutil.copytree(songs, tmp_path / "in")
    save_audio(source / "song3.mp3", tones(4.0, 50, 100), RATE)
    save_audio(source / "zagain.ogg", load_audio(source / "song0.wav").samples, RATE)
    save_audio(source / "silent.wav", np.zeros(RATE * 2), RATE)
    (source / "broken.mp3").write_bytes(b"\0" * 2000)
    built = made("mucaps", source, tmp_path / "out", licence="CC0")
    assert built.units == 4 and not built.report.problems
    reasons = {r.record: (r.stage, r.reason) for r in built.rejected}
    assert set(reasons) == {"zagain.ogg", "silent.wav", "broken.mp3"}
    assert reasons["zagain.ogg"] == ("duplicates", "it is the same recording as song0.wav")
    assert "silent" in reasons["silent.wav"][1] and str(tmp_path) not in reasons["broken.mp3"][1]
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"] for line in lines] == sorted(reasons)
    captions = read_captions(tmp_path / "out" / "MUCapsCaptions.json")
    for entry in read_instructions(tmp_path / "out" / LAYOUTS["mucaps"].instructions):
        assert captions[entry.output_file] == entry.caption
        assert load_audio(tmp_path / "out" / "audio" / entry.output_file).duration == pytest.approx(4.0, abs=0.1)
    linked = [path for path in (tmp_path / "out" / "audio").iterdir() if path.samefile(source / "song3.mp3")]
    assert len(linked) == 1
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| CC0 | 4 |" in card and "4 recordings, 0.004 hours" in card and "same recording" in card


def test_pictures_and_videos(model: M2UGen, songs: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_picture(source / "a.png", "blue", (300, 200))
    write_video(source / "b.mkv", "green", 2.0, tones(2.0))
    write_video(source / "c.mp4", "red")
    for name, song in (("a", 0), ("c", 1)):
        shutil.copy(songs / f"song{song}.wav", source / f"{name}.wav")
    images = made("muimage", source, tmp_path / "images")
    assert images.units == 3 and not images.report.problems
    videos = made("muvideo", source, tmp_path / "videos")
    assert videos.units == 2 and not videos.report.problems
    assert not validate(tmp_path / "images", decode=True).problems
    assert not validate(tmp_path / "videos", decode=True).problems
    for folder, kind in ((tmp_path / "images", "image"), (tmp_path / "videos", "video")):
        found = list(read_examples(folder))
        assert {example.split for example in found} == {"captions", "instructions"}
        assert all(set(example.media) == {kind} for example in found)
        assert all((example.target is None) == (example.split == "captions") for example in found)


def test_musicqa(model: M2UGen, songs: Path, tmp_path: Path) -> None:
    built = made("musicqa", songs, tmp_path / "out")
    assert built.units == 3 and not built.report.errors
    names: list[set[str]] = []
    for file in SPLITS.values():
        answers = read_answers(tmp_path / "out" / file)
        names.append({answer.audio_name for answer in answers})
        assert len({(a.audio_name, a.question) for a in answers}) == len(answers)
    assert sum(map(len, names)) == len(set.union(*names)) == 3
    assert len(list(read_examples(tmp_path / "out"))) >= 3 * 3


def test_muedit_pairs_what_goes_together(model: M2UGen, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    save_audio(source / "soft.wav", tones(10.0, 57, 120, (1.0, 0.1)), RATE)
    save_audio(source / "harsh.wav", tones(8.0, 57, 120, (0.5, 1.0, 0.3, 0.8, 0.2)), RATE)  # same song, other sound
    save_audio(source / "other.wav", tones(10.0, 55, 87, (1.0, 0.4)), RATE)
    built = made("muedit", source, tmp_path / "out")
    assert built.units == 2 and not built.report.problems
    assert [(r.record, r.stage) for r in built.rejected] == [("other.wav", "pair")]
    entries = read_instructions(tmp_path / "out" / LAYOUTS["muedit"].instructions)
    assert {(e.input_file, e.output_file) for e in entries} == {(e.output_file, e.input_file) for e in entries}


def test_muedit_makes_edits(model: M2UGen, songs: Path, tmp_path: Path) -> None:
    built = made("muedit", songs, tmp_path / "out", edits=True)
    assert built.units == 3 and not built.report.errors
    for entry in read_instructions(tmp_path / "out" / LAYOUTS["muedit"].instructions):
        before, after = (load_audio(tmp_path / "out" / "audio" / str(f)) for f in (entry.input_file, entry.output_file))
        assert before.samples.shape != after.samples.shape or not np.allclose(before.samples, after.samples, atol=1e-3)
    assert MakeEdit("x").settings() == MakeEdit("y").settings()


def test_a_second_run_changes_nothing_and_works_on_nothing(
    described: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    made("mucaps", described, out)
    first = tree(out)
    worked: list[list[str]] = []
    monkeypatch.setattr(Caption, "__call__", _spy(worked, Caption.__call__))
    made("mucaps", described, out)
    assert tree(out) == first and not worked
    shutil.rmtree(out / "audio")
    (out / "audio").mkdir()
    (out / "audio" / ".mucaps_x-123.mp3").write_bytes(b"half")  # as a killed build leaves it
    (out / ".MUCapsCaptions-abc.json").write_text("half")
    made("mucaps", described, out)  # what was taken away is written again, what is left over goes
    assert tree(out) == first and not worked
    build("mucaps", BuildOptions(described, out), resume=False)
    assert tree(out) == first and len(worked) == 1
    shutil.rmtree(out / ".build")
    made("mucaps", described, out)
    assert tree(out) == first


def _spy(worked: list[list[str]], function: Any) -> Any:
    def call(self: Any, records: Any) -> Any:
        worked.append([record.name for record in records])
        return function(self, records)

    return call


def test_a_set_grows_and_shrinks_with_its_material(
    described: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    rows = json.loads(described.read_text())
    described.write_text(json.dumps(rows[:3]))
    made("mucaps", described, out)
    before = read_captions(out / "MUCapsCaptions.json")
    worked: list[list[str]] = []
    monkeypatch.setattr(Caption, "__call__", _spy(worked, Caption.__call__))
    described.write_text(json.dumps(rows))
    made("mucaps", described, out)
    after = read_captions(out / "MUCapsCaptions.json")
    assert before.items() <= after.items() and len(after) == 5
    assert worked == [["song3.wav", "song4.wav"]]
    described.write_text(json.dumps(rows[1:3]))
    built = made("mucaps", described, out)
    assert built.units == 2 and len(list((out / "audio").iterdir())) == 2 and not built.report.problems


def test_limits_are_heeded_without_measuring_again(described: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert made("mucaps", described, out).units == 5
    shards = sorted((out / ".build").glob("measure-*/*/*"))
    with pytest.raises(InputError, match=r"nothing .* could be used"):
        made("mucaps", described, out, min_snr=90.0)
    assert made("mucaps", described, out, min_snr=-20.0).units == 5
    assert sorted((out / ".build").glob("measure-*/*/*")) == shards


def test_a_folder_that_holds_something_else_is_left_alone(described: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty"):
        made("mucaps", described, out)
    assert tree(out) == {"thesis.txt": b"dear"} and len(list(out.iterdir())) == 1
    made("mucaps", described, tmp_path / "set")
    with pytest.raises(InputError, match="holds mucaps"):
        made("musicqa", described, tmp_path / "set")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_speech": 2.0}, "between 0 and 1"),
        ({"edits": True}, "muedit"),
        ({"writer": "http://localhost:1"}, "--writer-model"),
        ({"writer_model": "x"}, "http address"),
        ({"media": Path("nowhere")}, "not a folder"),
    ],
)
def test_bad_options_are_refused(described: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made("mucaps", described, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_validation_finds_what_is_wrong(described: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made("mucaps", described, out)
    path = out / LAYOUTS["mucaps"].instructions
    entries = json.loads(path.read_text())
    first, second = (entry["output_file"] for entry in entries[:2])
    entries[2]["conversation"][0]["value"] = " "
    entries[3]["conversation"][1]["value"] = "la la la la la la"
    del entries[4]["conversation"][1]["caption"]
    path.write_text(json.dumps([*entries, entries[0]]))
    (out / "audio" / first).unlink()
    (out / "audio" / "stray.mp3").write_bytes(b"x")
    audio = out / "audio" / second
    audio.unlink()
    audio.write_bytes(b"\0" * 500)
    told = "\n".join(map(str, validate(out, decode=True).problems))
    for words in (
        f"audio/{first}: the file is missing",
        "stray.mp3: nothing refers to it",
        "entry 2: request: the text is empty",
        "entry 3: answer: the text repeats itself",
        "entry 4: caption must be text",
        "1 entries are there more than once",
        f"audio/{second}: ",
    ):
        assert words in told, told
    assert len(validate(out).errors) == 4


def test_splits_must_not_share_music(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.mp3").write_bytes(b"x")
    turns = [{"from": "human", "value": "Drums?"}, {"from": "gpt", "value": "No drums."}]
    for file in SPLITS.values():
        (tmp_path / file).write_text(json.dumps([{"audio_name": "a.mp3", "conversation": turns}]))
    assert sum("as well" in str(problem) for problem in validate(tmp_path).errors) == 3


def test_shards_hold_everything(described: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out"
    made("mucaps", described, out)
    monkeypatch.setattr("m2ugen.data.build.shards.SHARD_BYTES", 150_000)
    examples = list(read_examples(out))
    for form in ("parquet", "webdataset"):
        export(out, out / form, form)
        assert len(export(out, out / form, form)) == len(list((out / form).iterdir())) > 1
    rows = [row for path in sorted((out / "parquet").iterdir()) for row in parquet.read_table(path).to_pylist()]
    assert [row["request"] for row in rows] == [example.request for example in examples]
    for row, example in zip(rows, examples):
        file = example.music or example.target
        medium = row["music"] or row["target"]
        assert file is not None and medium == {"bytes": file.read_bytes(), "path": file.name}
    described_types = json.loads(parquet.read_schema(next((out / "parquet").iterdir())).metadata[b"huggingface"])
    assert described_types["info"]["features"]["target"] == {"_type": "Audio"}
    names: list[str] = []
    for path in sorted((out / "webdataset").iterdir()):
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert names[:2] == ["00000000.json", "00000000.music.mp3"] and len(names) == 2 * len(examples)
    assert not validate(out).errors


def test_the_commands(
    described: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run_arguments(["data", *arguments])
        out, err = capfd.readouterr()
        return code, out, err

    build_it = ("build", "mucaps", str(described), "--output", "set")
    code, out, err = run(*build_it, "--shards", "webdataset", "--json")
    assert code == 0 and not err
    told = json.loads(out.splitlines()[-1])
    assert told["units"] == 5 and told["rejected"] == told["problems"] == 0 and len(told["shards"]) == 1
    assert told["entries"] == {"MUCapsCaptions.json": 5, "MUCapsInstructions.json": 5}
    code, out, _ = run("validate", "set", "--decode")
    assert code == 0 and "10 entries, 0 problems" in out
    code, out, _ = run("inspect", "set", "--count", "3")
    page = Path("set/inspect.html")
    assert code == 0 and page.read_text().count("<audio") == 3 and out.strip() == "set/inspect.html"
    assert run("validate", "set")[0] == 0
    next(Path("set/audio").iterdir()).unlink()
    code, out, _ = run("validate", "set", "--json")
    assert code == 2 and json.loads(out.splitlines()[-1])["problems"][0]["message"] == "the file is missing"
    for arguments in (
        ("validate", "nowhere"),
        ("inspect", "nowhere"),
        ("build", "mucaps", "nowhere", "--output", "other"),
        ("build", "nothing", str(described), "--output", "other"),
        ("build", "mucaps", str(described), "--output", "other", "--model", "nowhere-model", "--restart"),
    ):
        code, out, err = run(*arguments)
        if "nowhere-model" in arguments:  # captions are given: the model is not needed
            assert code == 0
            continue
        assert code == 2 and len(err.strip().splitlines()) == 1 and not out.strip(), (arguments, err)
