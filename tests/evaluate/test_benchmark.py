"""The benchmark: its truth is true, it is the same under the same seed, and published layouts are read."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m2ugen.data.nano.build import is_valid_work
from m2ugen.data.nano.language.questions import parse_answer
from m2ugen.errors import InputError, MissingWeights
from m2ugen.evaluate.benchmark.build import SECONDS, VARIANT_PROMPTS, VARIANTS, Recipe, build_benchmark
from m2ugen.evaluate.benchmark.edits import MAKERS, sample_instruction
from m2ugen.evaluate.benchmark.items import TASKS, Benchmark, Item, load_benchmark, unique, with_others
from m2ugen.evaluate.benchmark.layouts import chosen_option, read_layout
from m2ugen.evaluate.benchmark.pictures import make_clip, make_picture
from m2ugen.evaluate.benchmark.scores import held_out_scores, read_scores, write_scores
from m2ugen.evaluate.metrics.facts import SCORES
from m2ugen.evaluate.tasks.understanding import fact_score, is_checkable
from m2ugen.media.audio import load_audio, save_audio
from m2ugen.media.video import load_video
from m2ugen.score.attributes import Attributes
from tests.evaluate.conftest import LIMIT


def test_packaged_scores_are_held_out_works() -> None:
    scores = held_out_scores()
    assert len(scores) > 80 and all(is_valid_work(each.work) for each in scores)
    assert {each.source for each in scores} <= {"lieder", "blues"}
    assert len({each.plan.genre for each in scores}) == 10
    assert all(each.notes[:, 2].max() < 128 and len(each.notes) > 20 for each in scores)


def test_scores_round_trip(tmp_path: Path) -> None:
    some = held_out_scores()[:3]
    write_scores(tmp_path / "some.npz", some)
    again = read_scores(tmp_path / "some.npz")
    assert [a.plan for a in again] == [a.plan for a in some]
    assert all((a.notes == b.notes).all() for a, b in zip(again, some, strict=True))
    with pytest.raises(MissingWeights):
        read_scores(tmp_path / "none.npz")
    with pytest.raises(InputError, match="data nano"):
        held_out_scores(tmp_path)


def test_benchmark_has_every_task_and_known_truth(benchmark: Benchmark) -> None:
    counts = {task: len(benchmark.of(task)) for task in TASKS}
    assert counts["image2music"] == counts["video2music"] == counts["editing"] == LIMIT
    assert counts["text2music"] == LIMIT + VARIANT_PROMPTS * VARIANTS
    assert counts["understanding"] > 6 * LIMIT and len(benchmark.real) == LIMIT
    for item in benchmark.items:
        for name in (item.music, item.other, item.image, item.video):
            assert name is None or benchmark.path(name).is_file()
    clip = load_audio(benchmark.path("clip-000.wav"))
    assert clip.duration == pytest.approx(SECONDS) and not clip.is_silent
    prompted = {item.reference for item in benchmark.of("text2music")}
    assert not prompted & set(benchmark.real)  # no one's prompt is in the reference of distances


def test_reference_answers_are_right_by_their_own_test(benchmark: Benchmark) -> None:
    items = benchmark.of("understanding")
    assert {item.kind for item in items} >= set(SCORES)
    for item in items:
        assert is_checkable(item) and fact_score(item, item.reference or "") == 1.0, item
        assert item.other != item.music
        if item.kind == "drums":
            assert parse_answer("drums", item.reference or "") == item.asked.drums  # type: ignore[union-attr]


def test_same_seed_same_benchmark_and_another_one_differs(tmp_path: Path) -> None:
    recipe = Recipe(2, 3, tasks=("text2music",))
    one, again = (build_benchmark(tmp_path / name, recipe) for name in ("one", "again"))
    assert one.items == again.items
    assert (tmp_path / "one/clip-001.wav").read_bytes() == (tmp_path / "again/clip-001.wav").read_bytes()
    other = build_benchmark(tmp_path / "one", replace(recipe, seed=4))  # the folder is made anew
    assert [i.prompt for i in other.items] != [i.prompt for i in one.items]
    assert load_benchmark(tmp_path / "one") == other
    marked = tmp_path / "one" / "mark"
    marked.write_text("")
    assert build_benchmark(tmp_path / "one", replace(recipe, seed=4)) == other and marked.is_file()


def test_foreign_folders_are_not_overwritten(tmp_path: Path) -> None:
    Benchmark("mine", tmp_path, (Item("a", "text2music", "x"),)).save()
    with pytest.raises(InputError, match="another benchmark"):
        build_benchmark(tmp_path, Recipe(4))
    (tmp_path / "items.json").write_text('{"version": 9}')
    with pytest.raises(InputError, match="version 9"):
        load_benchmark(tmp_path)


def test_items_round_trip_and_are_unique(tmp_path: Path) -> None:
    asked = Attributes(tempo=90.0, instruments=("piano",), drums=False)
    item = Item("a", "text2music", "x", duration=4.0, asked=asked, facts={"tempo_word": True})
    Benchmark("mine", tmp_path, (item,), ("r.wav",), {"limit": 1}).save()
    assert load_benchmark(tmp_path) == Benchmark("mine", tmp_path, (item,), ("r.wav",), {"limit": 1})
    with pytest.raises(InputError, match="two items"):
        unique([item, item])
    assert with_others([replace(item, music="m")], ["m"])[0].other is None


def test_pictures_have_the_energy_that_they_were_given(tmp_path: Path) -> None:
    facts = [make_picture(tmp_path / f"p{k}", np.random.default_rng(k)) for k in range(10)]
    energies = [fact["energy"] for _, fact in facts]
    assert np.ptp(energies) > 0.25 and all(0 < energy < 1 for energy in energies)
    light = [np.asarray(Image.open(tmp_path / name)).mean() for name, _ in facts]
    assert np.corrcoef(light, energies)[0, 1] > 0.3


def test_clips_are_cut_where_they_say(tmp_path: Path) -> None:
    for seed in range(8):
        name, facts = make_clip(tmp_path / f"c{seed}", np.random.default_rng(seed))
        if facts["cuts"]:
            break
    frames = load_video(tmp_path / name, num_frames=200)
    assert frames.duration == pytest.approx(facts["duration"], abs=0.1)
    change = np.abs(np.diff(frames.array.astype(float), axis=0)).mean(axis=(1, 2, 3))
    for cut in facts["cuts"]:
        place = int(np.abs(frames.timestamps[1:] - cut).argmin())
        assert change[place] > 3 * np.median(change)


def test_every_edit_has_an_instruction_that_is_understood() -> None:
    from m2ugen.edit.apply import resolve
    from m2ugen.evaluate.tasks.editing import CHECKS

    known = Attributes(tempo=100.0, mode="major", tonic=0, energy=2, drums=True, instruments=("piano", "drums"))
    for number in range(2 * len(MAKERS)):
        text, command, _ = sample_instruction(np.random.default_rng(number), known, number)
        assert command.operation in CHECKS and resolve(text) == command, text


def clip(folder: Path, name: str) -> None:
    save_audio(folder / name, np.zeros(800, np.float32), 8000)


def test_published_layouts(tmp_path: Path) -> None:
    for name in ("a.wav", "b.mp3", "x1.wav"):
        clip(tmp_path, name)
    turns = [{"from": "human", "value": "Fast?"}, {"from": "gpt", "value": "Yes."}]
    write(tmp_path / "qa.json", [{"audio_name": "a.wav", "conversation": turns * 2}])
    first, second = read_layout("musicqa", tmp_path / "qa.json", tmp_path)
    assert (first.prompt, first.reference, first.music) == ("Fast?", "Yes.", str(tmp_path / "a.wav"))
    assert first.id != second.id

    write(tmp_path / "captions.json", {"b.mp3": "a fast rock song at 140 bpm with drums"})
    (item,) = read_layout("mucaps", tmp_path / "captions.json", tmp_path)
    assert item.asked is not None and (item.asked.tempo, item.asked.genre) == (140.0, "rock")
    assert item.facts["tempo_word"] is False and item.reference == str(tmp_path / "b.mp3")

    with (tmp_path / "caps.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["ytid", "caption"], ["a", "calm piano"], ["gone", "loud"]])
    found = read_layout("musiccaps", tmp_path / "caps.csv", tmp_path)
    assert [item.task for item in found] == ["understanding", "text2music", "text2music"]

    with (tmp_path / "sdd.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["caption_id", "track_id", "caption", "path"], ["1", "7", "jazz", "00/x1.mp3"]])
    assert read_layout("song-describer", tmp_path / "sdd.csv", tmp_path)[0].music == str(tmp_path / "x1.wav")

    row = {"question": "Key?", "answers": ["C", "D", "E"], "answer_orders": [2, 0, 1], "audio_path": "a.wav"}
    write(tmp_path / "mucho.json", {"1": row})
    (item,) = read_layout("muchomusic", tmp_path / "mucho.json", tmp_path)
    assert item.facts == {"options": ["E", "C", "D"], "right": 1} and "(B) C" in item.prompt

    rows = [{"id": "1", "audio_id": "./x/a.wav", "question": "Q", "choices": ["x", "y"], "answer": "y", "task": task}
            for task in ("music", "speech")]  # fmt: skip
    write(tmp_path / "mmau.json", rows)
    (item,) = read_layout("mmau", tmp_path / "mmau.json", tmp_path)
    assert item.facts["right"] == 1

    (tmp_path / "bench.jsonl").write_text(json.dumps({"location": "d/a.wav", "main_caption": "slow blues"}) + "\n")
    (item,) = read_layout("musicbench", tmp_path / "bench.jsonl", tmp_path)
    assert item.asked is not None and item.asked.genre == "blues"


def test_files_of_another_layout_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "x.json", [{"a": 1}])
    for layout in ("musicqa", "muchomusic", "mmau"):
        with pytest.raises(InputError, match=layout):
            read_layout(layout, tmp_path / "x.json", tmp_path)
    with pytest.raises(InputError, match="layouts are"):
        read_layout("other", tmp_path / "x.json", tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_layout("musicqa", tmp_path / "none.json", tmp_path)
    write(tmp_path / "qa.json", [{"audio_name": "no.wav", "conversation": [{"value": "a"}, {"value": "b"}]}])
    with pytest.raises(InputError, match=r"no\.wav"):
        read_layout("musicqa", tmp_path / "qa.json", tmp_path)


@pytest.mark.parametrize(
    ("text", "place"),
    [("B", 1), ("(C) piano", 2), ("It is a piano solo.", 2), ("A piano", 2), ("the piano", 2), ("nothing", None),
     ("D) x", None), ("Guitar", 0)],
)  # fmt: skip
def test_chosen_option(text: str, place: int | None) -> None:
    assert chosen_option(text, ["guitar", "drums", "piano"]) == place


def write(path: Path, data: object) -> None:
    path.write_text(json.dumps(data))
