"""The gallery holds what it promises, and an earlier one's sound beside its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2ugen.demo import gallery
from m2ugen.demo.gallery import Gallery
from m2ugen.pipeline import M2UGen


def test_a_gallery_beside_an_earlier_one(nano: M2UGen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PROMPTS", ("a calm piano piece",))
    monkeypatch.setattr(gallery, "EDITS", ("add drums",))
    monkeypatch.setattr(gallery, "QUESTIONS", ("Are there drums?",))
    monkeypatch.setattr(gallery, "SECONDS", 3.0)
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    old.mkdir()
    (old / "prompt-00.mp3").write_bytes(b"earlier sound")
    demo = Gallery(nano, new, old)
    cards = [card for step in (demo._from_text, demo._edit, demo._talk) for card in step()]
    assert [card.title for card in cards] == [
        "a calm piano piece",
        f"To be edited: {gallery.EDITED}",
        "Editing: add drums",
        "Talk without music",
    ]
    assert [card.earlier is not None for card in cards] == [True, False, False, False]
    assert cards[2].given == [new / "edit-source.mp3"] and cards[2].plan is not None and "drums" in cards[2].plan
    assert not list(new.glob("*.wav")) and (new / "prompt-00.mid").is_file()
