"""What holds for every rendering: length, loudness, peaks, dynamics, determinism, clean note ends."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ugen.errors import InputError
from m2ugen.score.mixing import LOUDNESS, fade_end, limit_peaks, master, measure_loudness, measure_true_peak, mix_stems
from m2ugen.score.notes import empty_notes, notes_to_score, sort_notes
from m2ugen.score.plan import Chord, Part, Plan, Section
from m2ugen.score.soundfont import load_synthesizer, prepare_font, soundfont_path
from m2ugen.score.synthesis import MAX_SHIFT, humanise, render, render_score, render_track

RATE = 22_050
PLAN = Plan(
    tempo=120.0,
    metre="4/4",
    tonic=0,
    mode="major",
    genre="pop",
    energy=2,
    parts=(Part("melody", "flute"), Part("bass", "electric bass"), Part("drums", "drums")),
    sections=(Section("A", 2, 2, (Chord(0, "maj"),) * 4),),
).validated()


def song() -> np.ndarray:
    melody = [(k * 12, 0, 72 + k % 5, 12, 90) for k in range(8)]
    bass = [(k * 24, 1, 36, 20, 80) for k in range(4)]
    drums = [(k * 6, 2, (36, 42, 38, 42)[k % 4], 3, 70 + 30 * (k % 4 == 0)) for k in range(16)]
    return sort_notes(np.array(melody + bass + drums, dtype=np.int32))


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt((audio**2).mean()))


def test_rendering_is_repeatable_loud_enough_and_within_the_peak_limit() -> None:
    mix, stems = render(song(), PLAN, sample_rate=RATE, seed=3)
    again, _ = render(song(), PLAN, sample_rate=RATE, seed=3)
    other, _ = render(song(), PLAN, sample_rate=RATE, seed=4)
    assert mix.dtype == np.float32 and mix.shape == (2, round((PLAN.duration + 2.0) * RATE))
    assert np.array_equal(mix, again) and not np.array_equal(mix, other)
    assert measure_loudness(mix, RATE) == pytest.approx(LOUDNESS, abs=1.0)
    assert 20 * np.log10(measure_true_peak(mix)) <= -0.99
    assert set(stems) == {"melody", "bass", "drums"} and all(s.shape == mix.shape for s in stems.values())
    dry = sum(stems.values())
    assert np.corrcoef(dry.mean(axis=0), mix.mean(axis=0))[0, 1] > 0.95


@settings(max_examples=12, deadline=None)
@given(st.floats(0.05, 6.0), st.sampled_from([16_000, 22_050, 44_100]))
def test_duration_is_exact_and_the_end_is_faded(duration: float, rate: int) -> None:
    mix, stems = render(song(), PLAN, sample_rate=rate, duration=duration)
    assert mix.shape == (2, max(round(duration * rate), 1)) == stems["bass"].shape
    assert np.isfinite(mix).all() and np.abs(mix[:, -1]).max() < 1e-3


def test_no_notes_is_silence() -> None:
    mix, _ = render(empty_notes(), PLAN, sample_rate=RATE, duration=1.0)
    assert mix.shape == (2, RATE) and not mix.any()


@pytest.mark.parametrize("program", [0, 33, 48])
def test_velocity_is_heard(program: int) -> None:
    synthesizer = load_synthesizer(soundfont_path(), RATE)
    levels = [
        rms(render_track(np.array([[0.0, 0.8, 55.0, v]]), program, False, synthesizer, RATE, RATE))
        for v in (30, 60, 90, 120)
    ]
    assert all(later > 1.3 * earlier for earlier, later in pairwise(levels))


@pytest.mark.parametrize("program", [0, 11, 22, 25, 33, 42, 48, 56, 60, 65, 68, 71, 73])
@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_released_notes_die_away_instead_of_stopping(program: int, seconds: float) -> None:
    synthesizer = load_synthesizer(soundfont_path(), RATE)
    sound = render_track(np.array([[0.0, seconds, 60.0, 100.0]]), program, False, synthesizer, 6 * RATE, RATE)
    envelope = np.abs(sound).max(axis=0)
    end = int(np.flatnonzero(envelope > 1e-6)[-1])
    assert end > (seconds + 0.02) * RATE
    assert envelope[end - 40 : end + 1].max() < 0.02 * envelope.max()


def test_notes_start_where_they_are_written() -> None:
    synthesizer = load_synthesizer(soundfont_path(), RATE)
    sound = render_track(np.array([[0.5, 0.7, 38.0, 110.0]]), 0, True, synthesizer, RATE, RATE)
    onset = int(np.flatnonzero(np.abs(sound).max(axis=0) > 0.1 * np.abs(sound).max())[0]) / RATE
    assert onset == pytest.approx(0.5, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["melody", "bass", "chords", "drums"]))
def test_humanisation_moves_onsets_little(seed: int, role: str) -> None:
    notes = song()
    played = humanise(notes, PLAN, role, np.random.default_rng(seed))
    exact = notes[:, 0] * PLAN.seconds_per_tick
    assert np.abs(played[:, 0] - exact).max() <= MAX_SHIFT + 1e-9
    assert played[:, 3].min() >= 1 and played[:, 3].max() <= 127 and (played[:, 1] > played[:, 0]).all()


def test_a_midi_score_is_rendered() -> None:
    audio = render_score(notes_to_score(song(), PLAN), sample_rate=RATE)
    assert audio.shape[0] == 2 and audio.shape[1] > PLAN.duration * RATE
    assert measure_loudness(audio, RATE) == pytest.approx(LOUDNESS, abs=1.0)
    with pytest.raises(InputError, match="no notes"):
        render_score(notes_to_score(empty_notes(), PLAN))


def test_unusable_fonts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not exist"):
        render(song(), PLAN, soundfont=tmp_path / "none.sf2")
    wrong = tmp_path / "wrong.sf2"
    original = soundfont_path().read_bytes()
    for content in (b"", b"RIFF", b"RIFF\0\0\0\0sfbk", original[:5000], original[:-5000]):
        wrong.write_bytes(content)
        monkeypatch.setenv("M2UGEN_SOUNDFONT", str(wrong))
        with pytest.raises(InputError, match="not a usable SoundFont"):
            render(song(), PLAN)


def test_preparing_a_font_twice_changes_nothing_more() -> None:
    once = prepare_font(soundfont_path().read_bytes())
    assert prepare_font(once) == once


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 20.0), st.integers(1, 30_000))
def test_mastering_limits_true_peaks_for_any_signal(seed: int, gain: float, samples: int) -> None:
    rng = np.random.default_rng(seed)
    audio = (gain * rng.normal(size=(2, samples)) * (rng.random(samples) < 0.05)).astype(np.float32)
    mastered, _ = master(audio, RATE)
    assert mastered.shape == audio.shape and mastered.dtype == np.float32
    assert 20 * np.log10(measure_true_peak(mastered) + 1e-12) <= -0.9
    assert np.abs(limit_peaks(audio, RATE, -6.0)).max() <= 10 ** (-6 / 20) + 1e-5


def test_true_peak_sees_between_the_samples() -> None:
    wave = np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4)[None]  # samples at 0.707 of the wave's peak
    assert measure_true_peak(wave) == pytest.approx(1.0, abs=0.1)


def test_mixing_places_roles_and_balances_them() -> None:
    rng = np.random.default_rng(0)
    scales = {"chords": 0.9, "melody": 0.01}
    noise = {name: rng.normal(0, scale, (2, RATE)).astype(np.float32) for name, scale in scales.items()}
    _, stems = mix_stems(noise.items(), RATE, "pop")
    assert rms(stems["melody"]) > rms(stems["chords"])
    assert rms(stems["chords"][0]) > rms(stems["chords"][1])
    with pytest.raises(ValueError, match="no stems"):
        mix_stems([], RATE)


def test_fading_keeps_the_beginning() -> None:
    faded = np.ones((2, RATE), dtype=np.float32)
    fade_end(faded, RATE)
    assert (faded[:, : RATE // 2] == 1).all() and faded[0, -1] == pytest.approx(0.0, abs=1e-6)
