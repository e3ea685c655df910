"""The gallery holds what it promises, and an earlier one's sound beside its own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from m2ugen.demo import gallery
from m2ugen.demo.gallery import Gallery
from m2ugen.demo.page import write_page
from m2ugen.media.audio import load_audio, save_audio
from m2ugen.pipeline import M2UGen


def test_a_gallery_beside_an_earlier_one(nano: M2UGen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PROMPTS", ("a calm piano piece",))
    monkeypatch.setattr(gallery, "EDITS", ("add drums",))
    monkeypatch.setattr(gallery, "QUESTIONS", ("Are there drums?",))
    monkeypatch.setattr(gallery, "SECONDS", 3.0)
    monkeypatch.setattr(gallery, "LONG", ("a quiet waltz", 5.0))
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    old.mkdir()
    save_audio(old / "prompt-00.mp3", np.zeros((2, 4410), np.float32), 44_100)
    demo = Gallery(nano, new, old)
    cards = [card for step in (demo._from_text, demo._edit, demo._talk) for card in step()]
    assert [card.title for card in cards] == [
        "a calm piano piece",
        "a quiet waltz",
        f"To be edited: {gallery.EDITED}",
        "Editing: add drums",
        "Talk without music",
    ]
    assert [card.earlier is not None for card in cards] == [True, False, False, False, False]
    assert cards[3].given == [new / "edit-source.mp3"] and cards[3].plan is not None and "drums" in cards[3].plan
    assert not list(new.glob("*.wav")) and (new / "prompt-00.mid").is_file()
    assert load_audio(new / "prompt-00-before.mp3").is_silent and not load_audio(new / "prompt-00.mp3").is_silent

    write_page(new / "index.html", "a gallery", "", cards, embed=False)
    links = re.findall(r'(?:src|href)="([^"]+)"', (new / "index.html").read_text(encoding="utf-8"))
    assert len(links) > len(cards) and all((new / link).is_file() for link in links)
