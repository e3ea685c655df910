"""The demonstration's pictures and page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2ugen.demo.page import Card, write_page
from m2ugen.demo.pictures import HEIGHT, WIDTH, piano_roll, spectrogram
from m2ugen.score.plan import Chord, Part, Plan, Section

RATE = 22050


def test_a_tone_is_a_line_in_the_spectrogram() -> None:
    time = np.arange(RATE * 2) / RATE
    low, high = (np.sin(2 * np.pi * f * time)[None].astype(np.float32) for f in (110, 3520))
    rows = [np.asarray(spectrogram(sound, RATE)).sum(axis=(1, 2)).argmax() for sound in (low, high)]
    assert spectrogram(low, RATE).size == (WIDTH, HEIGHT)
    assert rows[0] > rows[1]  # low notes are drawn below high ones
    assert np.asarray(spectrogram(np.zeros((2, 100), dtype=np.float32), RATE)).shape == (HEIGHT, WIDTH, 3)


def test_notes_are_drawn_where_they_sound() -> None:
    plan = Plan(
        100.0, "4/4", 0, "major", "pop", 2, (Part("melody", "flute"),), (Section("A", 2, 2, (Chord(0, "maj"),) * 4),)
    )
    empty = np.asarray(piano_roll(np.zeros((0, 5), dtype=np.int32), plan)).astype(int)
    drawn = np.asarray(piano_roll(np.array([[48, 0, 72, 48, 100]], dtype=np.int32), plan)).astype(int)
    red = (drawn[..., 0] - drawn[..., 2] > 60).any(axis=0)
    assert not (empty[..., 0] - empty[..., 2] > 60).any()
    assert red[WIDTH // 2 + 5 : -5].all() and not red[: WIDTH // 2 - 5].any()


def test_the_page_needs_no_other_file_and_escapes_text(tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    spectrogram(np.zeros((1, 9000), dtype=np.float32), RATE).save(picture)
    write_page(tmp_path / "index.html", "t", "s", [Card("<b>", "m2ugen ask", "1 < 2", pictures=[("roll", picture)])])
    page = (tmp_path / "index.html").read_text()
    assert "1 &lt; 2" in page and "<b>" not in page and "data:image/png;base64," in page
    assert 'src="p.png"' not in page
