"""Samples from every layout, shard and folder; what is chosen for which stage, and what is reported."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from m2ugen.data.build.shards import export
from m2ugen.data.paper.places import holds_own_songs, is_nano_material, read_place
from m2ugen.data.paper.samples import MAKES, MediaFile, Sample
from m2ugen.data.paper.selection import hold_out, select
from m2ugen.data.paper.songs import caption_of_name
from m2ugen.errors import InputError
from tests.data.paper import sets

ALL = ("music", "image", "video")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    sets.write_all(root)
    return root


def chosen(folder: Path, stage: str) -> Counter[str]:
    places = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    samples = (sample for place in places for sample in read_place(place))
    return select(samples, stage, ALL, True)[1].used


def test_each_stage_gets_the_sets_of_the_paper(folder: Path) -> None:
    assert chosen(folder, "encoder") == {
        "mucaps/captions": 4, "coco/captions": 3, "muvideo/captions": 2, "muimage/captions": 3, "musicqa/pretrain": 3,
    }  # fmt: skip
    assert chosen(folder, "decoder") == {"mucaps/instructions": 4}
    assert chosen(folder, "instruct") == {
        "alpaca/instructions": 4, "mucaps/instructions": 4, "muedit/instructions": 2, "muimage/instructions": 3,
        "musicqa/finetune": 3, "muvideo/instructions": 2,
    }  # fmt: skip


def test_captions_alone_are_requests_as_well(tmp_path: Path) -> None:
    samples = list(read_place(sets.write_mucaps(tmp_path / "captions", instructions=False)))
    making = [sample for sample in samples if sample.purpose == MAKES]
    assert len(making) == 4 and all(s.request == s.caption and not s.media for s in making)
    shown = {s.media["music"].name.rpartition("/")[2] for s in samples if s.media}
    assert {s.group.removeprefix("mucaps/") for s in making} == shown  # held out together


def test_coco_and_alpaca(folder: Path) -> None:
    first = next(iter(read_place(folder / "coco")))
    assert first.answer == "A plain red area." and Path(first.media["image"].name).is_file()
    tasks = list(read_place(folder / "alpaca"))
    assert [task.request for task in tasks[:2]] == ["Add one to 0.\n\nUse a word.", "Add one to 1."]
    assert list(read_place(folder / "alpaca" / "alpaca_data.json")) == tasks


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
@pytest.mark.parametrize("name", ["muimage", "musicqa"])
def test_shards_hold_the_same_samples(folder: Path, tmp_path: Path, form: str, name: str) -> None:
    export(folder / name, tmp_path, form)
    for place in (str(tmp_path), f"file://{tmp_path}"):
        stored, plain = list(read_place(place)), list(read_place(folder / name))
        assert len(stored) == len(plain)
        for one, other in zip(stored, plain):
            assert (one.request, one.answer, one.split, one.caption) == (
                other.request,
                other.answer,
                other.split,
                other.caption,
            )
            assert one.media.keys() == other.media.keys()
            for kind, medium in one.media.items():
                assert medium.open() == Path(other.media[kind].name).read_bytes()
    keys = [medium.key for sample in stored for medium in sample.media.values()]
    assert len(set(keys)) == len(keys)


def test_damaged_shards_are_refused(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.tar"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_bytes(b"nothing of the kind" * 100)
        with pytest.raises(InputError, match="cannot read the shard"):
            list(read_place(folder))
    with pytest.raises(InputError, match="cannot open"):
        list(read_place("nowhere://at/all"))


def test_songs_with_a_table_texts_or_names(tmp_path: Path) -> None:
    for k, name in enumerate(("01 - calm_piano-in_D_minor (2).wav", "b.wav", "deeper/c.wav")):
        sets.write_song(tmp_path / name, k)
    (tmp_path / "b.txt").write_text("A waltz\nfor strings.\n")
    captions = {sample.caption for sample in read_place(tmp_path) if sample.caption is not None}
    assert captions == {"calm piano in D minor", "A waltz for strings.", "c"}
    assert holds_own_songs(tmp_path) and not is_nano_material(tmp_path)
    (tmp_path / "captions.csv").write_text("file,caption\nb.wav,Evening song\ndeeper/c.wav,\n", encoding="utf-8-sig")
    samples = list(read_place(tmp_path))
    assert [s.answer for s in samples] == ["Evening song", "Evening song", "c", "c"]
    assert [bool(s.media) for s in samples] == [True, False, True, False]  # to be described, and to be asked for
    (tmp_path / "captions.csv").write_text("file,caption\n../secret.wav,Evening song\n")
    with pytest.raises(InputError, match="must lie in"):
        list(read_place(tmp_path))
    (tmp_path / "captions.csv").write_text("title\nx\n")
    with pytest.raises(InputError, match="need the columns file and caption"):
        list(read_place(tmp_path))


@pytest.mark.parametrize(
    ("stem", "caption"),
    [("12_slow blues", "slow blues"), ("80s_pop.loud", "80s pop loud"), ("rock 2", "rock"), ("a - b", "a b")],
)
def test_captions_from_names(stem: str, caption: str) -> None:
    assert caption_of_name(stem) == caption


def test_a_folder_without_material_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        list(read_place(tmp_path))
    with pytest.raises(InputError, match="neither a folder nor"):
        list(read_place(tmp_path / "absent"))


def test_what_cannot_be_used_is_counted_and_named(tmp_path: Path) -> None:
    folder = sets.write_musicqa(tmp_path / "qa", count=6)
    (folder / "audio" / "finetune_0.wav").unlink()
    path = folder / "FinetuneMusicQA.json"
    entries = json.loads(path.read_text())
    entries[1]["conversation"][1]["value"] = "   "
    entries.append(entries[2])
    path.write_text(json.dumps(entries))
    kept, report = select(read_place(folder), "instruct", ALL, True)
    assert len(kept) == 4
    assert report.left_out == {"the file is missing": 1, "the text is empty": 1, "there more than once": 1}
    assert report.names["the file is missing"][0].endswith("finetune_0.wav")
    with pytest.raises(InputError, match="3 of 7 samples cannot be used"):
        report.check()
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["used"] == {"musicqa/finetune": 4}
    _, other = select(read_place(folder), "instruct", ("image",), True)
    assert other.left_out["the model does not understand music"] == 7
    with pytest.raises(InputError, match="0 of 0 samples cannot be used"):
        select([], "instruct", ALL, True)[1].check()


def test_groups_are_held_out_whole_and_always_alike(tmp_path: Path) -> None:
    file = sets.write_song(tmp_path / "x.wav", 0)
    samples = [
        Sample("s", "instructions", f"q{k}", "a", f"group {k // 3}", {"music": MediaFile(file)}) for k in range(60)
    ]
    train, valid = hold_out(samples, 0.2, seed=1)
    assert len(train) + len(valid) == 60 and len({s.group for s in valid}) == 4
    assert not {s.group for s in train} & {s.group for s in valid}
    more = [Sample("s", "instructions", "new", "a", f"new group {k}") for k in range(2)]
    assert {s.group for s in hold_out(samples + more, 0.2, seed=1)[1]} & {s.group for s in valid}
    assert hold_out(samples, 0.2, seed=1)[1] == valid != hold_out(samples, 0.2, seed=2)[1]
    with pytest.raises(InputError, match="at least two"):
        hold_out(samples[:3], 0.5, seed=0)
