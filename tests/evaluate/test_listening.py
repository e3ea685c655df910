"""Measurements in the sound, on sound whose figures are known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.evaluate.benchmark.items import Benchmark, Item
from m2ugen.evaluate.listening import default_listener
from m2ugen.evaluate.musicality import groove_consistency
from m2ugen.evaluate.signals import chroma, cuts_met, harmony_kept, level_figures, repetition, transposition
from m2ugen.evaluate.tasks.music import scores_of
from m2ugen.evaluate.tasks.notes import nearest_similarity
from m2ugen.media.audio import Audio, load_audio
from m2ugen.score.attributes import Attributes
from m2ugen.score.plan import Chord, Part, Plan, Section

RATE = 22_050


def chords(pitches: list[tuple[int, ...]], seconds: float = 1.0) -> Audio:
    """Chords one after the other, with a few overtones."""
    time = np.arange(int(seconds * RATE)) / RATE
    parts = [
        sum(np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * k * time) / k for p in notes for k in (1, 2, 3))
        * np.exp(-time)
        for notes in pitches
    ]
    return Audio((0.1 * np.concatenate(parts)).astype(np.float32)[None], RATE)


TUNE = [(60, 64, 67), (65, 69, 72), (67, 71, 74), (57, 60, 64), (62, 65, 69), (67, 71, 74), (60, 64, 67), (64, 67, 71)]


def test_levels() -> None:
    time = np.arange(3 * 44_100) / 44_100
    edges = np.minimum(1, np.minimum(time, time[::-1]) / 0.05)  # sudden ones ring above full scale
    tone = Audio((edges * np.sin(2 * np.pi * 997 * time)).astype(np.float32)[None], 44_100)
    assert level_figures(tone)["loudness"] == pytest.approx(-3.0, abs=0.15)  # BS.1770's own calibration
    softer = Audio(tone.samples / 2, 44_100)
    drop = level_figures(tone)["true peak"] - level_figures(softer)["true peak"]
    assert drop == pytest.approx(6.02, abs=0.05) and level_figures(tone)["true peak"] >= -0.05
    clipped = Audio(np.clip(2 * tone.samples, -1, 1), 44_100)
    assert level_figures(clipped)["clipped"] == pytest.approx(2 / 3, abs=0.03)  # |sin| is above one half for that long
    half = Audio(np.concatenate([tone.samples, 0 * tone.samples], axis=1), 44_100)
    assert level_figures(half)["silent"] == pytest.approx(0.5, abs=0.02)
    assert level_figures(tone)["silent"] == 0.0


def test_chroma_hears_the_chord() -> None:
    frames = chroma(chords([(60, 64, 67)], 2.0))
    assert set(np.argsort(frames.mean(axis=0))[-3:]) == {0, 4, 7}
    assert not chroma(Audio(np.zeros((1, RATE), np.float32), RATE)).any()


def test_transposition_is_found_and_undone() -> None:
    before = chroma(chords(TUNE))
    for steps in (-5, -1, 0, 3, 5):
        after = chroma(chords([tuple(p + steps for p in notes) for notes in TUNE]))
        assert transposition(before, after) == steps
        assert harmony_kept(before, after, steps) > 0.9
    assert harmony_kept(before, chroma(chords(TUNE, 0.8))) > 0.9  # a change of tempo is no change of harmony
    assert harmony_kept(before, chroma(chords(TUNE[::-1]))) < 0.8
    assert np.isnan(harmony_kept(before, np.zeros_like(before)))


def test_repetition_needs_a_return() -> None:
    again = repetition(chroma(chords(TUNE[:4] * 3)))
    rng = np.random.default_rng(0)
    never = repetition(chroma(chords([tuple(rng.choice(np.arange(48, 72), 3, replace=False)) for _ in range(12)])))
    assert again > never + 0.1
    assert abs(repetition(chroma(chords([TUNE[0]], 12.0)))) < 0.05  # what never changes does not return either


def test_cuts_are_met_by_onsets_only() -> None:
    clicks = np.zeros(6 * RATE, np.float32)
    for second in (1.0, 2.5, 4.0):
        place = int(second * RATE)
        clicks[place : place + 800] = np.random.default_rng(0).normal(0, 0.5, 800)
    audio = Audio(clicks[None], RATE)
    assert cuts_met(audio, [1.0, 2.5]) == 1.0
    assert cuts_met(audio, [1.7, 2.5]) == 0.5
    assert cuts_met(audio, [3.3]) == 0.0
    assert np.isnan(cuts_met(audio, [9.0]))


def test_listener_hears_known_recordings_better_than_others(benchmark: Benchmark) -> None:
    items = [item for item in benchmark.of("text2music") if item.kind != "variant"]
    clips = [load_audio(benchmark.path(item.reference or "")) for item in items]
    heard = default_listener().hear(clips)
    own = np.mean([np.mean(list(scores_of(item, each).values())) for item, each in zip(items, heard, strict=True)])
    other = np.mean(
        [np.mean(list(scores_of(i, h).values())) for i, h in zip(items, heard[1:] + heard[:1], strict=True)]
    )
    assert own > other + 0.1
    for each in heard:
        assert 0.0 <= each.energy <= 4.0 and each.plays("drums") == each.attributes.drums
        assert each.odds["mode"].sum() == pytest.approx(1.0, abs=1e-4)


def test_scores_of_what_is_asked(benchmark: Benchmark) -> None:
    heard = default_listener().hear([load_audio(benchmark.path("clip-000.wav"))])[0]
    found = heard.attributes
    assert found.tempo is not None
    exact = Attributes(
        found.tempo, found.metre, found.mode, found.tonic, found.genre, found.energy, found.drums, found.lead
    )
    item = Item("a", "text2music", "x", asked=exact, facts={"tempo_word": False})
    assert set(scores_of(item, heard).values()) == {1.0}
    double = Item("a", "text2music", "x", asked=Attributes(tempo=2 * found.tempo), facts={"tempo_word": False})
    assert scores_of(double, heard) == {"tempo": 0.0, "tempo, half and double allowed": 1.0}


def test_nearest_similarity_finds_a_copy() -> None:
    rng = np.random.default_rng(0)
    training, fresh = rng.normal(size=(50, 20)), rng.normal(size=(5, 20))
    assert nearest_similarity(training[3:5] * 1.0, training) == pytest.approx([1.0, 1.0])
    assert nearest_similarity(fresh, training).max() < 0.95


def test_groove_consistency_by_hand() -> None:
    chord = (Chord(0, "maj"),) * 4
    plan = Plan(120.0, "4/4", 0, "major", "pop", 2, (Part("melody", "flute"),), (Section("A", 2, 2, chord),))
    same = np.array([[0, 0, 60, 6, 80], [48, 0, 60, 6, 80]], dtype=np.int32)
    assert groove_consistency(same, plan) == 1.0
    moved = np.array([[0, 0, 60, 6, 80], [54, 0, 60, 6, 80]], dtype=np.int32)
    assert groove_consistency(moved, plan) == pytest.approx(1 - 2 / 48)  # two places of 48 differ
