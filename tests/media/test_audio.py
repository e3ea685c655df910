"""Audio of every form comes in with the right length, rate and channels, or is refused in one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from m2ugen.errors import InputError
from m2ugen.media.audio import Audio, load_audio, save_audio
from m2ugen.score.notes import notes_to_score
from m2ugen.score.plan import Chord, Part, Plan, Section


def tone(seconds: float, rate: int, channels: int = 1, hertz: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * hertz * (c + 1) * time) for c in range(channels)]).astype(np.float32)


def wav(samples: np.ndarray, rate: int, subtype: str = "PCM_16", container: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.T, rate, subtype=subtype, format=container)
    return buffer.getvalue()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 20_000),
    st.sampled_from([8_000, 22_050, 44_100, 48_000]),
    st.integers(1, 3),
    st.sampled_from([None, 16_000, 24_000]),
    st.booleans(),
    st.sampled_from([("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16")]),
)
def test_length_rate_and_channels(
    samples: int, rate: int, channels: int, target: int | None, mono: bool, form: tuple[str, str]
) -> None:
    source = tone(samples / rate, rate, channels)
    audio = load_audio(wav(source, rate, form[1], form[0]), sample_rate=target, mono=mono)
    assert audio.sample_rate == (target or rate)
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (1 if mono else channels, max(round(samples * (target or rate) / rate), 1))
    if target is None and not mono:
        assert np.abs(audio.samples - source).max() < 2e-4


@settings(max_examples=25, deadline=None)
@given(
    st.integers(3, 5_000),
    st.integers(1, 2),
    st.sampled_from([np.int16, np.int32, np.uint8, np.float32, np.float64]),
)
def test_arrays_of_any_number_type(samples: int, channels: int, kind: type) -> None:
    source = tone(samples / 16_000, 16_000, channels)
    if np.issubdtype(kind, np.integer):
        info = np.iinfo(kind)
        array = np.round(source * info.max if info.min else source * 127 + 128).astype(kind)
    else:
        array = source.astype(kind)
    for layout in (array, array.T):
        audio = load_audio((layout, 16_000))
        assert audio.samples.shape == (channels, samples)
        assert np.abs(audio.samples - source).max() < 0.02


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_written_files_come_back(tmp_path: Path, suffix: str, channels: int) -> None:
    source = tone(1.0, 44_100, channels)
    path = save_audio(tmp_path / f"tone{suffix}", source, 44_100)
    audio = load_audio(path)
    assert audio.sample_rate == 44_100 and audio.samples.shape[0] == channels
    assert audio.duration == pytest.approx(1.0, abs=0.06)
    spectrum = np.abs(np.fft.rfft(audio.samples[0, 5_000:35_000]))
    assert spectrum.argmax() * 44_100 / 30_000 == pytest.approx(440, abs=2)
    assert list(tmp_path.iterdir()) == [path]


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    path = save_audio(tmp_path / "a.wav", tone(0.2, 16_000), 16_000)
    expected = load_audio(path).samples
    with path.open("rb") as file:
        for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), file, load_audio(path)):
            assert np.array_equal(load_audio(source).samples, expected)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.mp3", tone(0.5, 44_100), 44_100)
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.mp3").read_bytes())
    assert load_audio(tmp_path / "a.wav").duration == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "empty"),
        (b"this is a text and no audio at all" * 20, "cannot be decoded"),
        (b"\0" * 5000, "cannot be decoded"),
        (b"RIFF\x24\0\0\0WAVE", "cannot be decoded"),
        ("/no/such/file.wav", "does not exist"),
        ("bad\0name.wav", "cannot open"),
        (io.StringIO("text"), "binary"),
        (None, "cannot use NoneType"),
        (3.0, "cannot use float"),
        (np.zeros(10), "cannot use ndarray"),
        ((np.zeros(10), 0), "sample rate"),
        ((np.zeros(10), "44100"), "sample rate"),
        ((np.zeros((2, 2, 2)), 44_100), "shape"),
        ((np.array(["a"]), 44_100), "numbers"),
        ((np.zeros(0), 44_100), "no audio samples"),
        ((np.array([0.0, np.nan]), 44_100), "not numbers"),
        ((np.array([0.0, np.inf]), 44_100), "not numbers"),
        ((np.zeros(44_100 * 3), 44_100), "longer than 2 seconds"),
    ],
)
def test_unusable_sources_are_refused_in_one_line(source: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_audio(source, max_seconds=2.0)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_folders_and_long_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        load_audio(tmp_path)
    for suffix in (".wav", ".mp3"):
        path = save_audio(tmp_path / f"long{suffix}", tone(3.0, 16_000), 16_000)
        with pytest.raises(InputError, match="longer than 2 seconds"):
            load_audio(path, max_seconds=2.0)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([".wav", ".flac", ".ogg", ".mp3"]))
def test_damaged_files_give_audio_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str
) -> None:
    path = save_audio(tmp_path_factory.mktemp("damaged") / f"a{suffix}", tone(0.5, 44_100, 2), 44_100)
    content = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=30)):
        content[position] ^= 0xFF
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        audio = load_audio(bytes(content))
    except InputError:
        return
    assert np.isfinite(audio.samples).all() and audio.samples.size


def test_truncated_audio_is_read_as_far_as_it_goes() -> None:
    content = wav(tone(1.0, 16_000), 16_000)
    assert load_audio(content[: len(content) // 2]).duration == pytest.approx(0.5, abs=0.02)


def test_silence_is_allowed_and_flagged() -> None:
    assert load_audio((np.zeros(100), 8_000)).is_silent
    assert not Audio(tone(0.1, 8_000), 8_000).is_silent


def test_midi_is_rendered_and_keeps_its_score(tmp_path: Path) -> None:
    section = Section("A", 1, 2, (Chord(0, "maj"),) * 2)
    plan = Plan(120, "4/4", 0, "major", "pop", 2, (Part("melody", "piano"),), (section,))
    score = notes_to_score(np.array([[0, 0, 60, 24, 90], [24, 0, 64, 24, 90]], dtype=np.int32), plan)
    path = tmp_path / "song.dat"
    path.write_bytes(score.dumps_midi())
    audio = load_audio(path, sample_rate=22_050, mono=True)
    assert audio.score is not None and audio.score.note_num() == 2
    assert audio.samples.shape[0] == 1 and audio.duration > 2.0 and not audio.is_silent
    with pytest.raises(InputError, match="MIDI"):
        load_audio(score.dumps_midi()[:20])


def test_outputs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    audio = tone(0.1, 16_000)
    for path, message in (
        (tmp_path / "a.xyz", "must end in"),
        (tmp_path / "none" / "a.wav", "does not exist"),
        (tmp_path / "folder.wav", "folder"),
    ):
        (tmp_path / "folder.wav").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=message):
            save_audio(path, audio, 16_000)
    with pytest.raises(InputError, match="finite"):
        save_audio(tmp_path / "a.wav", np.array([np.nan]), 16_000)
    with pytest.raises(InputError, match="one or two channels"):
        save_audio(tmp_path / "a.mp3", tone(0.1, 16_000, 3), 16_000)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.wav"]


def test_long_vorbis_files_are_written(tmp_path: Path) -> None:
    path = save_audio(tmp_path / "long.ogg", tone(90.0, 44_100, 2), 44_100)
    assert load_audio(path).duration == pytest.approx(90.0, abs=0.05)


def test_loud_values_are_clipped_not_wrapped(tmp_path: Path) -> None:
    path = save_audio(tmp_path / "loud.wav", np.array([[2.0, -2.0, 0.5]]), 8_000, bits=24)
    assert load_audio(path).samples[0] == pytest.approx([1.0, -1.0, 0.5], abs=1e-4)
