"""The published layouts: what is written is read, and what is not of their form is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ugen.data.build.layouts import (
    INPUTS,
    LAYOUTS,
    Answer,
    Instruction,
    read_alpaca,
    read_answers,
    read_captions,
    read_coco,
    read_instructions,
    set_name,
    write_list,
)
from m2ugen.errors import InputError

TEXT = st.text("aB0 .,'\"\\/\n\t{}[]<|>é日\x00", max_size=20)
SIMPLE = st.none() | st.booleans() | st.integers(-3, 3) | TEXT
FILE = st.text("abcXYZ019_-. é", min_size=3, max_size=12)


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    modality = draw(st.sampled_from(sorted(INPUTS)))
    attached = {} if modality == "text" else {"input_file": draw(FILE), "input_caption": draw(st.none() | TEXT)}
    return Instruction(draw(TEXT), draw(TEXT), draw(FILE), draw(TEXT), modality, **attached)


@settings(max_examples=40, deadline=None)
@given(st.lists(instructions(), max_size=4))
def test_instructions_come_back(tmp_path_factory: pytest.TempPathFactory, entries: list[Instruction]) -> None:
    path = tmp_path_factory.mktemp("layout") / "x.json"
    write_list(path, entries)
    assert read_instructions(path) == entries


@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds(Answer, FILE, TEXT, TEXT), max_size=4))
def test_answers_come_back(tmp_path_factory: pytest.TempPathFactory, entries: list[Answer]) -> None:
    path = tmp_path_factory.mktemp("layout") / "x.json"
    write_list(path, entries)
    assert read_answers(path) == entries


@settings(max_examples=40, deadline=None)
@given(st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)))
def test_anything_else_is_refused_in_words(data: Any) -> None:
    for kind in (Instruction, Answer):
        with pytest.raises(ValueError, match=r"\w"):
            kind.from_json(data)


def test_the_published_form() -> None:
    entry = Instruction("music for this", "Here it is.", "a.mp3", "A song.", "image", "a.jpg", "A beach.")
    assert entry.to_json() == {
        "input_file": "a.jpg",
        "output_file": "a.mp3",
        "conversation": [
            {"from": "human", "value": "music for this", "input_modality": "image", "caption": "A beach."},
            {"from": "gpt", "value": "Here it is.", "caption": "A song.", "output_modality": "audio"},
        ],
    }
    answer = {
        "audio_name": "a.mp3",
        "conversation": [{"from": "human", "value": "Drums?"}, {"from": "gpt", "value": "No."}],
    }
    assert Answer("a.mp3", "Drums?", "No.").to_json() == answer
    assert {layout.modality for layout in LAYOUTS.values()} == set(INPUTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_file": "../a.mp3"}, "name of a file"),
        ({"output_file": 3}, "must be text"),
        ({"input_file": "a.jpg"}, "does not go with"),
        ({"conversation": []}, "two turns"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = Instruction("music", "Here.", "a.mp3", "A song.").to_json()
    (tmp_path / "x.json").write_text(json.dumps([good, {**good, **change}]))
    with pytest.raises(InputError, match=f"entry 1.*{message}"):
        read_instructions(tmp_path / "x.json")


def test_other_sets_are_read(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 7, "file_name": "7.jpg"}],
        "annotations": [{"image_id": 7, "caption": "A dog\n runs."}, {"image_id": 7, "caption": "A dog."}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    assert read_coco(tmp_path / "coco.json") == [("7.jpg", "A dog runs."), ("7.jpg", "A dog.")]
    rows = [{"instruction": "Add.", "input": "1 and 2", "output": "3"}, {"instruction": "Hi", "output": "Hello"}]
    (tmp_path / "alpaca.json").write_text(json.dumps(rows))
    assert [(t.instruction, t.input, t.output) for t in read_alpaca(tmp_path / "alpaca.json")][1] == ("Hi", "", "Hello")
    for read, text in (
        (read_coco, "[]"),
        (read_alpaca, '[{"instruction": 1}]'),
        (read_captions, "[]"),
        (read_captions, "{"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match="bad"):
            read(tmp_path / "bad.json")


def test_a_folder_without_a_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no set"):
        set_name(tmp_path)
    for layout in LAYOUTS.values():
        (tmp_path / layout.instructions).write_text("[]")
    with pytest.raises(InputError, match="more than one"):
        set_name(tmp_path)
