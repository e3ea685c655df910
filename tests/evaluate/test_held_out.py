"""The readings behind the held-out figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2ugen.data.nano.recordings import Recording
from m2ugen.evaluate import held_out
from m2ugen.evaluate.held_out import SCORES, Row, expected_energy, knows, markdown, recordings_by_sound
from m2ugen.score.attributes import SLOT_INDEX, Attributes


def test_expected_energy_is_the_mean_class() -> None:
    assert expected_energy(Attributes(energy=3).to_conditioning()) == 3.0
    blurred = np.zeros_like(Attributes().to_conditioning())
    blurred[SLOT_INDEX["energy"], [1, 5]] = 0.25, 0.75
    assert expected_energy(blurred) == pytest.approx(3.0)
    assert expected_energy(Attributes().to_conditioning()) == 2.0


@pytest.mark.parametrize(
    ("kind", "text", "score"),
    [
        ("drums", "Yes, there are drums.", 1.0),
        ("drums", "No, there are no drums.", 0.0),
        ("mode", "It is in a minor key.", 1.0),
        ("tempo", "About 94 bpm.", 1.0),
        ("tempo", "About 60 bpm.", 0.0),
        ("tempo", "I cannot tell.", 0.0),
        ("tempo_word", "It is medium tempo.", 1.0),
        ("key", "It is in D minor.", 1.0),
        ("key", "It is in D major.", 0.0),
        ("instruments", "You hear piano and trumpet.", 0.5),
    ],
)
def test_answers_are_held_against_the_truth(kind: str, text: str, score: float) -> None:
    truth = Attributes(tempo=90.0, mode="minor", tonic=2, drums=True, instruments=("piano", "drums"))
    assert SCORES[kind](text, truth) == pytest.approx(score)


def test_a_recording_answers_only_what_is_known_of_it() -> None:
    recording = Recording(np.zeros((1, 1)), Attributes(tempo=90.0, drums=False))
    assert knows("tempo_word", recording) and knows("drums", recording)
    assert not knows("key", recording) and not knows("instruments", recording)


def test_clean_and_degraded_recordings_stand_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "held-out-000.npz").touch()
    made = [Recording(np.zeros((1, 1)), Attributes(), extras={"degraded": k % 3 > 0}) for k in range(9)]
    monkeypatch.setattr(held_out, "load_recordings", lambda _folder, split: made if split == "held-out" else [])
    found = recordings_by_sound(tmp_path, 4)
    assert list(found) == ["a SoundFont never heard, clean", "a SoundFont never heard, degraded"]
    assert [len(recordings) for recordings in found.values()] == [3, 4]
    assert [{r.extras["degraded"] for r in recordings} for recordings in found.values()] == [{False}, {True}]


def test_the_table_shows_what_a_figure_is_worth() -> None:
    text = markdown("Title", [Row("drums", 0.9, 0.6, 0.7, 50), Row("key", 0.5, 0.1, None, 40)])
    assert "| drums | 90% | 60% | 70% | 50 |" in text and "| key | 50% | 10% | – | 40 |" in text
