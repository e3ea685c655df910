"""Measures, fingerprints, checks of texts: each tells what it should apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2ugen.data.build.filtering import Screen
from m2ugen.data.build.fingerprint import find_duplicates, fingerprint, same_recording, sketch
from m2ugen.data.build.measures import RATE, clipped_share, signal_to_noise, silent_share
from m2ugen.data.build.speech import speech_model, speech_share
from m2ugen.data.build.texts import fault, whole_sentences
from m2ugen.media.audio import load_audio, save_audio
from tests.data.build.media import tones


def noise(seconds: float = 4.0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(1).normal(size=round(seconds * RATE))).astype(np.float32)


def test_silence_is_measured() -> None:
    assert silent_share(np.zeros(RATE, np.float32), RATE) == 1
    half = np.concatenate([noise(1), np.zeros(RATE, np.float32)])
    assert silent_share(half, RATE) == pytest.approx(0.5, abs=0.03)


def test_clipping_is_runs_at_full_scale() -> None:
    song = tones()[None]
    assert clipped_share(song) == 0
    loud = np.clip(30 * song, -1, 1)
    assert clipped_share(np.concatenate([song, loud])) == clipped_share(loud) > 0.1
    peaks = song.copy()
    peaks[0, ::50] = 1.0  # single samples at full scale are no clipping
    assert clipped_share(peaks) == 0


def test_music_stands_above_its_noise() -> None:
    song = tones()
    assert signal_to_noise(song) > 20
    assert signal_to_noise(noise()) < 0
    assert signal_to_noise(np.zeros(RATE, np.float32)) == 0
    values = [signal_to_noise(song + level * noise()) for level in (0.1, 0.5, 2.0, 8.0)]
    assert values == sorted(values, reverse=True) and values[-1] < 6 < values[0]


def test_limits_have_their_reasons() -> None:
    fine = {"duration": 10.0, "silent": 0.1, "clipped": 0.0, "snr": 20.0, "speech": 0.1}
    screen = Screen()
    assert screen.verdict(fine) is None
    for change, word in (
        ({"duration": 0.4}, "long"),
        ({"silent": 0.6}, "silent"),
        ({"clipped": 0.02}, "clipped"),
        ({"snr": 5.0}, "noise"),
        ({"speech": 0.4}, "speaks"),
    ):
        assert word in (screen.verdict({**fine, **change}) or "")
    assert Screen(min_snr=4.0, max_speech=1.0).verdict({**fine, "snr": 5.0, "speech": 0.9}) is None


def test_instruments_do_not_speak() -> None:
    model = speech_model()
    if model is None:
        pytest.skip("silero-vad is not installed")
    assert speech_share(tones(drums=True), model) < 0.05


def test_the_same_recording_is_found_again(tmp_path: Path) -> None:
    song, other = tones(12, 57, partials=(1, 0.3, 0.5)), tones(12, 50, 97, (0.6, 1.0), drums=True)
    path = tmp_path / "song.mp3"
    save_audio(path, 0.4 * song, RATE)
    copy = load_audio(path, sample_rate=RATE, mono=True).samples[0][RATE + 77 :]
    words = [fingerprint(each) for each in (song, other, copy, noise(12))]
    assert same_recording(words[0], words[2]) and same_recording(words[2], words[0])
    assert not any(same_recording(words[0], words[k]) for k in (1, 3))
    assert find_duplicates([sketch(each) for each in words], words.__getitem__) == {2: 0}


@pytest.mark.parametrize(
    ("text", "subject", "word"),
    [
        ("", "any", "empty"),
        ("...", "any", "empty"),
        ("A piano, a piano, a piano, a piano, a piano", "music", "repeats"),
        ("drums drums drums drums", "music", "repeats"),
        ("word " + " ".join(f"w{k}" for k in range(130)), "any", "rambles"),
        ("I'm sorry, but as an AI language model I cannot hear.", "music", "refusal"),
        ("A song <|im_end|>", "any", "markup"),
        ("The weather is nice in the valley today.", "music", "not about music"),
        ("red", "picture", "nothing"),
    ],
)
def test_bad_texts_are_refused(text: str, subject: str, word: str) -> None:
    assert word in (fault(text, subject) or "")  # type: ignore[arg-type]


def test_good_texts_pass() -> None:
    assert fault("A calm piano piece in D major.", "music") is None
    assert fault("a dog on a beach", "picture") is None
    assert whole_sentences("It is slow.  It is \n in") == "It is slow."
    assert whole_sentences("no end at all") == "no end at all"
