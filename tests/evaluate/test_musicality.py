"""Figures about notes, on pieces whose figures are known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.evaluate.controls import Request, adherence, compare, heard, shuffled
from m2ugen.evaluate.musicality import MelodyIndex, bar_similarity, key_of, melody_steps, musicality
from m2ugen.score.attributes import Attributes
from m2ugen.score.plan import Chord, Part, Plan, Section

PARTS = (Part("melody", "flute"), Part("bass", "acoustic bass"), Part("drums", "drums"))
TONIC, DOMINANT = Chord(0, "maj"), Chord(7, "maj")


def plan() -> Plan:
    chords = (TONIC, TONIC, DOMINANT, DOMINANT, TONIC, TONIC, TONIC, TONIC)
    return Plan(120.0, "4/4", 0, "major", "pop", 2, PARTS, (Section("A", 4, 2, chords),)).validated()


def notes() -> np.ndarray:
    melody = [(12 * k, 0, pitch, 12, 90) for k, pitch in enumerate([72, 76, 79, 76, 74, 79, 83, 79] * 2)]
    bass = [(0, 1, 36, 48, 90), (48, 1, 43, 48, 90), (96, 1, 36, 48, 90)]
    return np.array(melody + bass, dtype=np.int32)


def test_known_piece() -> None:
    figures = musicality(notes(), plan())
    assert figures["in_key"] == 1.0
    assert figures["bass_on_root_at_changes"] == 1.0
    assert figures["melody_notes_per_bar"] == 4.0
    assert figures["parts_silent"] == 1.0  # the drums
    assert figures["melody_leaps"] == 0.0


def test_wrong_notes_lower_the_figures() -> None:
    wrong = notes()
    wrong[:, 2] += 1
    figures = musicality(wrong, plan())
    assert figures["in_key"] < 0.5
    assert figures["bass_on_root_at_changes"] == 0.0
    assert figures["chord_tones_on_strong_beats"] < musicality(notes(), plan())["chord_tones_on_strong_beats"]


def test_key_is_heard_in_every_transposition() -> None:
    for shift in range(12):
        moved = notes()
        moved[:, 2] += shift
        assert key_of(moved, plan()) == (shift, "major")


def test_equal_bars_are_similar_and_others_are_not() -> None:
    beat = np.array([(48 * bar + place, 0, 60, 6, 80) for bar in range(4) for place in (0, 12, 24)], dtype=np.int32)
    assert bar_similarity(beat, plan()) == 1.0
    beat[3:6, 0] += 6
    assert bar_similarity(beat, plan()) < 1.0


def test_longest_copied_run_ignores_transposition() -> None:
    steps = melody_steps(notes(), plan())
    moved = notes()
    moved[:, 2] += 5
    index = MelodyIndex([steps])
    assert index.longest_run(melody_steps(moved, plan())) == len(steps) + 1
    assert index.longest_run([(1, 5), (3, 7), (11, 2), (4, 9), (2, 13)]) == 0


def test_what_is_heard_counts_players_that_sound() -> None:
    found = heard(notes(), plan())
    assert found.drums is False and found.instruments == ("flute", "acoustic bass")


def test_adherence_rows() -> None:
    asked = Attributes(tempo=118.0, mode="major", drums=True, instruments=("flute", "piano"), excluded=("violin",))
    found = heard(notes(), plan())
    assert found.tempo == 120.0
    rows = compare(Request(asked), found)
    assert rows == {"tempo": 1.0, "mode": 1.0, "drums": 0.0, "instruments": 0.5, "excluded": 1.0}
    assert compare(Request(Attributes(tempo=135.0)), found) == {"tempo": 0.0}
    assert compare(Request(Attributes(tempo=135.0), tempo_word=True), found) == {"tempo word": 1.0}
    assert compare(Request(Attributes(tempo=118.0), tempo_word=True), found) == {"tempo word": 0.0}
    pairs = [(Request(Attributes(mode=mode)), Attributes(mode=mode)) for mode in ("minor", "major")]
    assert adherence(pairs)["mode"] == (1.0, 2)
    assert adherence(shuffled(pairs))["mode"] == (0.0, 2)
    with pytest.raises(AttributeError):
        compare(Request(Attributes(mode="minor")), None)  # type: ignore[arg-type]
