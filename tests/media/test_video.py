"""Frames are distinct and evenly spaced whatever the header says; music goes under the untouched pictures."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from m2ugen.errors import InputError
from m2ugen.media.audio import load_audio
from m2ugen.media.video import Frames, load_video, mux_audio, take


def clip(path: Path, times_ms: list[int], size: tuple[int, int] = (64, 48), codec: str = "mpeg4") -> Path:
    """A video whose picture at place k is grey with the value 10 + 3 k, shown at times_ms[k]."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1000)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate = 5_000_000  # with less, neighbouring shades can come out alike
        stream.codec_context.time_base = Fraction(1, 1000)
        for k, time in enumerate(times_ms):
            picture = np.full((size[1], size[0], 3), 10 + 3 * k, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(10, 300), min_size=1, max_size=40), st.integers(1, 12))
def test_variable_rates_give_distinct_ordered_frames(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], count: int
) -> None:
    times = [0, *np.cumsum(steps).tolist()]
    frames = load_video(clip(tmp_path_factory.mktemp("video") / "a.mkv", times), num_frames=count)
    assert len(frames) == min(count, len(times)) and frames.array.shape[1:] == (48, 64, 3)
    assert (np.diff(frames.timestamps) > 0).all()
    values = frames.array.mean(axis=(1, 2, 3))
    shown = [10 + 3 * times.index(round(1000 * t)) for t in frames.timestamps]
    assert np.abs(values - shown).max() < 4
    assert times[-1] / 1000 <= frames.duration <= times[-1] / 1000 + 0.31


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=40), st.integers(1, 12))
def test_exactly_as_many_frames_as_asked(steps: list[float], count: int) -> None:
    """More: distinct. Fewer: each for its share of the time, in order, at its own timestamp."""
    times = 7.0 + np.cumsum([0.0, *steps[:-1]])
    array = np.arange(len(times), dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), dtype=np.uint8)
    frames = Frames(array, times, sum(steps), len(times) / sum(steps))
    taken = take(frames, count)
    places = taken.array[:, 0, 0, 0].astype(int)
    assert len(taken) == count and (np.diff(places) >= 0).all() and taken.duration == frames.duration
    np.testing.assert_array_equal(taken.timestamps, times[places])
    if len(times) >= count:
        assert len(set(places.tolist())) == count
    else:
        shares = np.array(steps) / sum(steps) * count
        assert np.abs(np.bincount(places, minlength=len(times)) - shares).max() <= 1.0 + 1e-6


def test_frames_are_spread_over_the_whole_video(tmp_path: Path) -> None:
    frames = load_video(clip(tmp_path / "a.mp4", list(range(0, 4000, 50))), num_frames=8)
    assert frames.timestamps == pytest.approx(np.arange(8) * 0.5 + 0.25, abs=0.06)
    assert frames.duration == pytest.approx(4.0, abs=0.01) and frames.fps == pytest.approx(20, abs=0.1)


def test_truncated_video_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = clip(tmp_path / "a.mkv", list(range(0, 4000, 50))).read_bytes()
    frames = load_video(whole[: len(whole) // 2], num_frames=4)
    assert len(frames) == 4 and 1.0 < frames.duration < 3.0


def test_a_stream_without_a_decoder_is_refused(tmp_path: Path) -> None:
    content = clip(tmp_path / "a.mp4", list(range(0, 500, 50))).read_bytes()
    refused = 0
    for length in range(len(content) // 2, len(content), 7):  # somewhere the stream is named and not described
        try:
            load_video(content[:length], num_frames=3)
        except InputError:
            refused += 1
    assert refused


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_damaged_videos_load_or_are_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["a.mp4", "a.mkv"]))
    path = clip(tmp_path_factory.mktemp("damaged") / name, list(range(0, 500, 50)))
    content = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=20)):
        content[position] ^= 0xFF
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        frames = load_video(bytes(content), num_frames=3)
    except InputError:
        return
    assert len(frames)


def test_gifs_arrays_and_single_pictures() -> None:
    pictures = [Image.new("RGB", (30, 20), (40 * k, 0, 0)) for k in range(5)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=200)
    frames = load_video(buffer.getvalue(), num_frames=32)
    assert len(frames) == 5 and frames.duration == pytest.approx(1.0, abs=0.25)
    array = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), dtype=np.uint8)
    frames = load_video((array, 5.0), num_frames=5)
    values = frames.array[:, 0, 0, 0].tolist()
    assert frames.duration == 2.0 and values == sorted(set(values)) and len(values) == 5


def test_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    frames = load_video(clip(tmp_path / "a.mp4", [0, 50], size=(1280, 720)), num_frames=2, max_side=320)
    assert frames.array.shape == (2, 180, 320, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "empty"),
        (b"no video" * 100, "cannot be read as video"),
        ("/no/such.mp4", "does not exist"),
        (None, "cannot use NoneType"),
        (np.zeros((3, 4, 5)), "video array"),
        ((np.zeros((1, 2, 2, 3), dtype=np.uint8), 0.0), "pictures a second"),
    ],
)
def test_unusable_sources(source: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_video(source)  # type: ignore[arg-type]


def test_long_videos_and_sound_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="longer than 1 seconds"):
        load_video(clip(tmp_path / "a.mp4", [0, 700, 2000]), max_seconds=1)
    from m2ugen.media.audio import save_audio

    with pytest.raises(InputError, match="no pictures"):
        load_video(save_audio(tmp_path / "a.wav", np.zeros((1, 8000)), 8000))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("seconds", [1.0, 5.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_music_goes_under_the_pictures(tmp_path: Path, suffix: str, seconds: float, channels: int) -> None:
    video = clip(tmp_path / "in.mp4", list(range(0, 3000, 40)))
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 44_100)) / 44_100)
    output = mux_audio(video, np.tile(tone, (channels, 1)), 44_100, tmp_path / f"out{suffix}")
    before, after = load_video(video, 100), load_video(output, 100)
    assert np.array_equal(before.array, after.array)
    assert after.timestamps == pytest.approx(before.timestamps, abs=0.002)
    sound = load_audio(output)
    assert sound.duration == pytest.approx(3.0, abs=0.08) and sound.samples.shape[0] == channels
    middle = sound.samples[0, 10_000:40_000]
    assert np.abs(np.fft.rfft(middle)).argmax() * 44_100 / 30_000 == pytest.approx(440, abs=3)
    again = mux_audio(output, np.zeros((2, 1000)), 44_100, tmp_path / "again.mp4")
    assert load_audio(again).is_silent
    assert {p.name for p in tmp_path.iterdir()} == {"in.mp4", output.name, "again.mp4"}


def test_failing_to_mux_leaves_nothing_behind(tmp_path: Path) -> None:
    for source in (b"no video" * 100, b""):
        with pytest.raises(InputError):
            mux_audio(source, np.zeros((1, 100)), 44_100, tmp_path / "out.mp4")
    with pytest.raises(InputError, match="must end in"):
        mux_audio(b"x", np.zeros((1, 100)), 44_100, tmp_path / "out.txt")
    with pytest.raises(InputError, match="finite"):
        mux_audio(b"x", np.array([[np.nan]]), 44_100, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())
