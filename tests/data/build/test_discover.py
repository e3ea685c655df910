"""What is found in folders and manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m2ugen.data.build.discover import discover
from m2ugen.data.build.media import frames_of, music_of
from m2ugen.data.build.options import BuildOptions
from m2ugen.data.build.records import Record
from m2ugen.errors import InputError
from m2ugen.media.audio import save_audio
from tests.data.build.media import RATE, tones, write_picture, write_video


def found(name: str, source: Path, **options: Any) -> dict[str, Record]:
    records = discover(name, BuildOptions(source, source.parent / "out", **options))
    return {record.name: record for record in records}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    (place / "deep").mkdir(parents=True)
    for name in ("a.wav", "deep/b.mp3", ".hidden.wav"):
        save_audio(place / name, tones(1.0), RATE)
    write_picture(place / "a.png")
    write_picture(place / "pictures" / "b.jpg")
    write_picture(place / "alone.jpg")
    write_video(place / "c.mp4")
    (place / "notes.txt").write_text("no music")
    return place


def test_a_folder_is_searched_with_its_subfolders(folder: Path) -> None:
    assert list(found("mucaps", folder)) == ["a.wav", "deep/b.mp3"]
    pictures = found("muimage", folder)
    assert set(pictures) == {"a.png", "pictures/b.jpg", "alone.jpg", "c.mp4"}
    assert Path(pictures["pictures/b.jpg"].music or "").name == "b.mp3"
    assert pictures["c.mp4"].music == pictures["c.mp4"].video
    assert [name for name, record in pictures.items() if not record.alive] == ["alone.jpg"]
    assert set(found("muvideo", folder)) == {"c.mp4"}


def test_names_follow_from_the_material_and_versions_from_its_content(folder: Path, tmp_path: Path) -> None:
    before = found("mucaps", folder)
    moved = folder.rename(tmp_path / "elsewhere")
    after = found("mucaps", moved)
    assert [(r.id, r.version) for r in before.values()] == [(r.id, r.version) for r in after.values()]
    save_audio(moved / "a.wav", tones(2.0), RATE)
    changed = found("mucaps", moved)["a.wav"]
    assert changed.id == before["a.wav"].id and changed.version != before["a.wav"].version


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl"])
def test_manifests_name_files_and_more(folder: Path, form: str) -> None:
    rows = [
        {"music": "a.wav", "start": "0.25", "end": "0.75", "licence": "CC0", "caption": "A slow, calm cello."},
        {"music": "deep/b.mp3", "labels": "Rock, Drums"},
        {"music": "gone.wav"},
    ]
    path = folder / f"list.{form}"
    if form in ("json", "jsonl"):
        path.write_text(json.dumps(rows) if form == "json" else "".join(json.dumps(row) + "\n" for row in rows))
    else:
        sign = "," if form == "csv" else "\t"
        columns = ["music", "start", "end", "licence", "caption", "labels"]
        cells = [columns, *([f'"{row.get(c, "")}"' for c in columns] for row in rows)]
        path.write_text("\n".join(sign.join(row) for row in cells))
    records = found("mucaps", path, licence="CC-BY")
    first, second, third = (records[name] for name in ("a.wav (0.25 to 0.75 s)", "deep/b.mp3", "gone.wav"))
    assert (first.start, first.end, first.licence) == (0.25, 0.75, "CC0")
    assert first.facts == {"caption": "A slow, calm cello."}
    assert second.licence == "CC-BY" and second.labels == ["Rock", "Drums"]
    assert third.rejected == ("discover", "gone.wav is not there")
    assert music_of(first).samples.shape == (1, RATE // 2)


def test_audiosets_lists_work_as_they_are(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    save_audio(media / "--4gqARaEJE.wav", tones(4.0), RATE)
    write_video(media / "video-id_x.mp4", seconds=3.0, sound=tones(3.0))
    path = tmp_path / "segments.csv"
    path.write_text(
        "# Segments csv created\n# num_ytids=3\n# YTID, start_seconds, end_seconds, positive_labels\n"
        '--4gqARaEJE, 1.000, 3.000, "/m/068hy,/m/07q6cd_"\nvideo-id_x, 0.500, 1.500, "/m/04rlf"\n'
        'absent, 0.0, 10.0, "/m/1"\n'
    )
    records = list(discover("mucaps", BuildOptions(path, tmp_path / "out", media=media)))
    assert [record.alive for record in records] == [True, False, True]
    assert records[0].labels == ["/m/068hy", "/m/07q6cd_"]
    np.testing.assert_allclose(music_of(records[0]).samples[0], tones(4.0)[RATE : 3 * RATE], atol=1e-3)
    video = next(r for r in discover("muvideo", BuildOptions(path, tmp_path / "out", media=media)) if r.video)
    assert music_of(video).duration == pytest.approx(1.0, abs=0.02)
    assert frames_of(video, 64).array.shape[0] == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("music,start\na.wav,soon", "entry 1: start must be a number"),
        ("music,start,end\na.wav,3,2", "the end must come after the start"),
        ("music,start\na.wav,-1", "0 seconds or more"),
        ("song\na.wav", "no column"),
        ("music,start\na.wav,1,2", "more cells"),
        ("music\n", "names no media"),
        ("music,title\n,x", "there is no file"),
    ],
)
def test_bad_manifests_are_refused_in_words(folder: Path, text: str, message: str) -> None:
    (folder / "list.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        found("mucaps", folder / "list.csv")


def test_nothing_to_use_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="needs music"):
        found("mucaps", tmp_path / "in")
    (tmp_path / "in" / "list.doc").write_text("x")
    with pytest.raises(InputError, match="neither a folder nor a manifest"):
        found("mucaps", tmp_path / "in" / "list.doc")
