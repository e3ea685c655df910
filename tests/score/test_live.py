"""Sound that is heard while the rest is being written is the sound of the piece."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.score.live import LiveMix
from m2ugen.score.mixing import LOUDNESS, TRUE_PEAK, measure_loudness, measure_true_peak
from m2ugen.score.notes import ONSET, sort_notes
from m2ugen.score.plan import Chord, Part, Plan, Section
from m2ugen.score.synthesis import render

RATE = 22_050
SECTION = Section("A", 4, 2, (Chord(0, "maj"),) * 8)
PLAN = Plan(
    120.0, "4/4", 0, "major", "pop", 2,
    (Part("melody", "flute"), Part("bass", "electric bass"), Part("drums", "drums")), (SECTION, SECTION),
).validated()  # fmt: skip


def song() -> np.ndarray:
    melody = [(k * 12, 0, 72 + k % 5, 12, 90) for k in range(32)]
    bass = [(k * 24, 1, 36, 20, 80) for k in range(16)]
    drums = [(k * 6, 2, (36, 42, 38, 42)[k % 4], 3, 70 + 30 * (k % 4 == 0)) for k in range(64)]
    return sort_notes(np.array(melody + bass + drums, dtype=np.int32))


def heard(notes: np.ndarray, steps: tuple[int, ...], duration: float | None = None) -> list[np.ndarray]:
    pieces: list[np.ndarray] = []
    live, told = LiveMix(PLAN, pieces.append, sample_rate=RATE, duration=duration), 0
    for until in steps:
        live.add(notes[(notes[:, ONSET] >= told) & (notes[:, ONSET] < until)], until)
        told = until
    return pieces


def test_pieces_join_to_the_rendered_piece() -> None:
    notes = song()
    pieces = heard(notes, (192, 384))
    assert len(pieces) == 2 and pieces[0].shape[-1] == pytest.approx(8 * RATE, abs=0.1 * RATE)
    live, (mix, _) = np.concatenate(pieces, axis=1), render(notes, PLAN, sample_rate=RATE)
    assert live.shape == mix.shape and live.dtype == np.float32
    assert measure_loudness(live, RATE) == pytest.approx(LOUDNESS, abs=1.5)
    assert measure_true_peak(live) <= 10 ** (TRUE_PEAK / 20)

    def envelope(audio: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt((audio[:, : 17 * RATE].reshape(2, 17 * 10, -1) ** 2).mean(axis=(0, 2))))

    assert np.corrcoef(envelope(live), envelope(mix))[0, 1] > 0.95
    seam = pieces[0].shape[-1]
    steps = np.abs(np.diff(live, axis=1)).max(axis=0)
    assert steps[seam - 1] <= np.quantile(steps, 0.999)


def test_a_part_keeps_its_level_when_it_falls_silent_and_returns() -> None:
    notes = song()
    quiet = notes[(notes[:, ONSET] < 192) | (notes[:, 1] == 1)]
    whole, less = (np.concatenate(heard(n, (192, 384)), axis=1) for n in (notes, quiet))
    assert np.array_equal(whole[:, : 7 * RATE], less[:, : 7 * RATE])  # what comes does not change what was
    assert np.square(less[:, 10 * RATE : 15 * RATE]).mean() < 0.8 * np.square(whole[:, 10 * RATE : 15 * RATE]).mean()


def test_length_is_exact_and_silence_is_silent() -> None:
    for duration in (5.0, 16.0, 30.0):
        assert sum(piece.shape[-1] for piece in heard(song(), (192, 384), duration)) == round(duration * RATE)
    silent = heard(song()[:0], (192, 384))
    assert np.abs(np.concatenate(silent, axis=1)).max() == 0.0
