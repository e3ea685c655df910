"""What is heard in music whose notes, beats, key and chords are known, because it was rendered here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from m2ugen.errors import InputError
from m2ugen.media.audio import Audio, load_audio
from m2ugen.score.basic_pitch import Activations, read_notes
from m2ugen.score.beats import Beats, track_beats
from m2ugen.score.harmony import beat_place, beat_time, estimate_chords, estimate_key
from m2ugen.score.notes import notes_to_score, sort_notes
from m2ugen.score.plan import Chord, Part, Plan, Section
from m2ugen.score.synthesis import render
from m2ugen.score.transcription import describe, transcribe

PROGRESSIONS = {
    "major": [(0, "maj"), (9, "min"), (5, "maj"), (7, "maj")],
    "minor": [(0, "min"), (8, "maj"), (5, "min"), (7, "maj")],
}
PARTS = (Part("melody", "piano"), Part("bass", "electric bass"), Part("chords", "organ"), Part("drums", "drums"))


def band(tempo: float, tonic: int, mode: str, metre: str = "4/4", bars: int = 8) -> tuple[Plan, np.ndarray]:
    """A small band: a chord for each bar, bass on the first beat, drums, and a tune of chord tones."""
    slots = 1 if metre == "3/4" else 2
    chords = tuple(Chord(*PROGRESSIONS[mode][bar % 4]) for bar in range(bars) for _ in range(slots))
    plan = Plan(tempo, metre, tonic, mode, "pop", 2, PARTS, (Section("A", bars, 2, chords),)).validated()
    rows = []
    for bar in range(bars):
        start = bar * plan.bar_ticks
        chord = plan.chord_at(start)
        assert chord is not None
        tones = sorted((tonic + chord.root + step) % 12 for step in (0, 4 if chord.quality == "maj" else 3, 7))
        rows += [(start, 1, 36 + (tonic + chord.root) % 12, plan.bar_ticks - 2, 100)]
        rows += [(start, 2, 55 + (tone - 55) % 12, plan.bar_ticks - 2, 70) for tone in tones]
        beats = plan.bar_ticks // 12
        for beat in range(beats):
            rows.append((start + 12 * beat, 0, 72 + tones[(bar + beat) % 3], 11, 100))
            rows.append((start + 12 * beat, 3, 36 if beat == 0 else 38 if beat == 2 or beats == 3 else 42, 3, 100))
            rows.append((start + 12 * beat + 6, 3, 42, 3, 70))
    return plan, sort_notes(np.array(rows, dtype=np.int32))


def recording(plan: Plan, notes: np.ndarray) -> Audio:
    return Audio(render(notes, plan, sample_rate=22_050)[0], 22_050)


@pytest.mark.parametrize(
    ("tempo", "tonic", "mode", "metre"),
    [(92.0, 2, "minor", "4/4"), (120.0, 7, "major", "4/4"), (138.0, 10, "major", "4/4"), (108.0, 5, "major", "3/4")],
)
def test_a_band_is_understood(tempo: float, tonic: int, mode: str, metre: str) -> None:
    plan, notes = band(tempo, tonic, mode, metre)
    heard = describe(recording(plan, notes))
    assert heard.tempo == pytest.approx(tempo, rel=0.01) and heard.beats.steady
    assert heard.metre == metre and heard.start == pytest.approx(0.0, abs=0.05)
    assert (heard.tonic, heard.mode) == (tonic, mode)
    truth = plan.sections[0].chords
    assert len(heard.chords) >= len(truth)
    pairs = [(h, t) for h, t in zip(heard.chords, truth, strict=False) if t is not None]
    right = [h is not None and h.pitch_classes() >= t.pitch_classes() for h, t in pairs]
    assert np.mean(right) >= 0.8
    planned = heard.plan((Part("drums", "drums"),))
    assert planned.bars == heard.bars and all(section.bars <= 8 for section in planned.sections)


def test_notes_of_a_piano_are_found() -> None:
    plan, notes = band(100.0, 0, "major")
    plan = dataclasses.replace(plan, parts=(Part("melody", "piano"),))
    tune = notes[notes[:, 1] == 0]
    heard = transcribe(render(tune, plan, sample_rate=44_100)[0].mean(axis=0), 44_100)
    truth = [(onset * plan.seconds_per_tick, pitch) for onset, _, pitch, _, _ in tune.tolist()]
    found = [any(abs(start - time) < 0.06 and key == pitch for start, _, key, _ in heard) for time, pitch in truth]
    assert np.mean(found) > 0.85 and len(heard) < 1.5 * len(truth)


def test_the_melody_of_a_recording_is_written_in_ticks() -> None:
    plan, notes = band(100.0, 0, "major")
    plan = dataclasses.replace(plan, parts=(Part("melody", "piano"),))
    tune = notes[notes[:, 1] == 0]
    melody = describe(recording(plan, tune)).melody
    truth = {(onset, pitch) for onset, _, pitch, _, _ in tune.tolist()}
    best = max(  # a tune alone does not tell which beat is the first
        len(truth & {(onset + 12 * shift, pitch) for onset, _, pitch, _, _ in melody.tolist()}) for shift in range(4)
    )
    assert best / len(truth) > 0.8 and melody.dtype == np.int32
    assert (np.diff(melody[:, 0]) > 0).all()


def test_a_score_is_taken_at_its_word() -> None:
    plan, notes = band(97.0, 4, "minor", "3/4")
    heard = describe(load_audio(notes_to_score(notes, plan).dumps_midi()))
    assert heard.tempo == pytest.approx(97.0, rel=1e-3) and heard.metre == "3/4" and heard.bars == plan.bars
    assert (heard.tonic, heard.mode) == (4, "minor")
    truth = {(onset, pitch) for onset, part, pitch, _, _ in notes.tolist() if part == 0}
    assert {(onset, pitch) for onset, _, pitch, _, _ in heard.melody.tolist()} == truth


def test_times_and_ticks_are_inverse() -> None:
    beats = Beats(np.array([0.1, 0.6, 1.2, 1.7, 2.2]), 120.0, "4/4", 1, False)
    seconds = np.array([-1.0, 0.1, 0.9, 2.2, 3.0])
    assert beat_time(beats, beat_place(beats, seconds)) == pytest.approx(seconds)


def test_silence_and_snippets_are_refused_or_harmless() -> None:
    with pytest.raises(InputError, match="silent"):
        describe(Audio(np.zeros((1, 44_100), dtype=np.float32), 22_050))
    with pytest.raises(InputError, match="at least 1"):
        describe(Audio(np.ones((1, 100), dtype=np.float32), 22_050))
    assert track_beats(np.zeros(22_050 * 3, dtype=np.float32)).tempo == 120.0
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 3 * 22_050)).astype(np.float32)
    heard = describe(Audio(noise, 22_050))
    assert heard.bars >= 1 and np.isfinite(heard.beats.times).all()


def test_reading_notes_bridges_gaps_and_splits_repetitions() -> None:
    sounding, onsets = np.zeros((100, 88), np.float32), np.zeros((100, 88), np.float32)
    sounding[10:40, 5], sounding[20:22, 5], onsets[10, 5], onsets[30, 5] = 0.9, 0.0, 0.9, 0.8
    notes = read_notes(Activations(sounding, onsets))
    assert notes[:, 2].tolist() == [26, 26]
    assert (notes[:, :2] * 22_050 / 256).ravel() == pytest.approx([10, 30, 30, 40])


def test_keys_and_chords_of_plain_profiles() -> None:
    for tonic in range(12):
        scale = np.zeros(12)
        scale[[(tonic + step) % 12 for step in (0, 2, 4, 5, 7, 9, 11)]] = (3, 1, 2, 1, 2, 1, 1)
        assert estimate_key(scale)[:2] == (tonic, "major")
    assert estimate_key(np.zeros(12)) == (0, "major", 0.0)
    beats = Beats(np.arange(9) * 0.5, 120.0, "4/4", 0, True)
    chroma = np.zeros((400, 12))
    chroma[:200, [0, 4, 7]], chroma[200:300, [9, 0, 4]] = 1.0, 1.0
    chords = estimate_chords(chroma, 0.01, beats, (0, "major"), 2)
    assert chords == (Chord(0, "maj"), Chord(0, "maj"), Chord(9, "min"), None)


def test_a_lone_tune_gets_usual_chords_that_hold_its_notes() -> None:
    beats = Beats(np.arange(9) * 0.5, 120.0, "4/4", 0, True)
    chroma = np.zeros((400, 12))
    for start, pitch_class in ((0, 4), (50, 7), (100, 9), (150, 5), (200, 11), (250, 2), (300, 0), (350, 4)):
        chroma[start : start + 50, pitch_class] = 1.0
    chords = estimate_chords(chroma, 0.01, beats, (0, "major"), 2)
    assert chords == (Chord(0, "maj"), Chord(5, "maj"), Chord(7, "maj"), Chord(0, "maj"))
