"""The media of records: decoding of spans, and the files of a set (mp3, jpg, mp4)."""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ugen.data.build.records import Record
from m2ugen.errors import InputError
from m2ugen.media.audio import Audio, audio_frames, load_audio, save_audio, with_channels
from m2ugen.media.files import atomic_output
from m2ugen.media.image import load_image
from m2ugen.media.video import Frames, load_video

if TYPE_CHECKING:
    from PIL.Image import Image

AUDIO = frozenset((".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus", ".wma", ".aif", ".aiff", ".mid", ".midi"))
IMAGES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
VIDEOS = frozenset((".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg"))
NOTES = frozenset((".mid", ".midi"))
JPEG_QUALITY = 92
CACHE_BYTES = 256 << 20  # of decoded music that the next operator will want again
VIDEO_CODECS = ("libx264", "mpeg4")  # the first that is there
SOUND_RATE = 48_000


class _Decoded:
    """The latest decoded recordings, of CACHE_BYTES at most; operators in several threads share it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Audio] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, record: Record) -> Audio:
        key = (record.id, record.version)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        audio = _decode_music(record)
        with self._lock:
            self._kept[key] = audio
            while sum(kept.samples.nbytes for kept in self._kept.values()) > CACHE_BYTES:
                self._kept.popitem(last=False)
        return audio


_DECODED = _Decoded()


def music_of(record: Record) -> Audio:
    """The record's music, its span if it has one. Raises InputError when it cannot be decoded."""
    return _DECODED.get(record)


def _decode_music(record: Record) -> Audio:
    assert record.music is not None
    path = Path(record.music)
    if record.start is None and record.end is None:
        return load_audio(path)
    start, end = record.start or 0.0, record.end
    if path.suffix.lower() in NOTES:
        whole = load_audio(path)
        stop = whole.samples.shape[-1] if end is None else round(end * whole.sample_rate)
        audio = Audio(whole.samples[:, round(start * whole.sample_rate) : stop], whole.sample_rate)
    else:
        audio = decode_span(path, start, end)
    if not audio.samples.size:
        raise InputError(f"{path} ends before {start:g} s")
    return audio


def decode_span(path: Path, start: float, end: float | None) -> Audio:
    """The sound of ``path`` between ``start`` and ``end`` (seconds), without decoding what comes before.

    Raises InputError.
    """
    import av

    av.logging.set_level(av.logging.PANIC)
    pieces: list[np.ndarray] = []
    rate, first = 0, 0.0
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise InputError(f"{path} has no sound")
            stream = container.streams.audio[0]
            container.seek(int(max(start - 1.0, 0.0) * av.time_base))
            resampler = None
            for frame in container.decode(stream):
                if frame.time is None or frame.time + frame.samples / frame.sample_rate <= start:
                    continue
                if end is not None and frame.time >= end:
                    break
                if resampler is None:
                    rate, first = frame.sample_rate, float(frame.time)
                    resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
                pieces += [converted.to_ndarray() for converted in resampler.resample(frame)]
    except (av.FFmpegError, ValueError, OSError) as error:
        if not pieces:
            raise InputError(f"{path} cannot be decoded as audio ({error})") from error
    if not pieces:
        raise InputError(f"{path} ends before {start:g} s")
    samples = np.concatenate(pieces, axis=1).astype(np.float32, copy=False)
    skipped = max(round((start - first) * rate), 0)
    stop = None if end is None else max(round((end - first) * rate), skipped)
    return Audio(np.ascontiguousarray(samples[:, skipped:stop]), rate)


def picture_of(record: Record) -> Image:
    """The record's picture; of a video the one in its middle. Raises InputError."""
    from PIL import Image

    if record.image is not None:
        return load_image(record.image)
    return Image.fromarray(np.ascontiguousarray(frames_of(record, 1).array[0]))


def frames_of(record: Record, count: int) -> Frames:
    """``count`` pictures of the record's video (of its span), fewer if there are no more. Raises InputError."""
    assert record.video is not None
    if record.start is None and record.end is None:
        return load_video(record.video, count)
    clip = io.BytesIO()
    encode_video(Path(record.video), clip, record.start, record.end, sound=False)
    return load_video(clip.getvalue(), count)


def write_music(record: Record, path: Path) -> None:
    """The record's music as mp3; mp3 files are linked where they are whole. Raises InputError."""
    assert record.music is not None
    if _is_whole(record, record.music, (".mp3",)):
        return link(Path(record.music), path)
    audio = music_of(record)
    samples = audio.samples if audio.samples.shape[0] <= 2 else audio.mono()[None]
    save_audio(path, samples, audio.sample_rate)
    return None


def write_picture(record: Record, path: Path) -> None:
    """The record's picture as jpg, linked where it is one. Raises InputError."""
    if record.image is not None and Path(record.image).suffix.lower() in (".jpg", ".jpeg"):
        return link(Path(record.image), path)
    with atomic_output(path, (".jpg",)) as temporary:
        picture_of(record).save(temporary, "JPEG", quality=JPEG_QUALITY)
    return None


def write_video(record: Record, path: Path) -> None:
    """The record's video as mp4, linked where it is one and whole. Raises InputError."""
    assert record.video is not None
    if _is_whole(record, record.video, (".mp4",)):
        return link(Path(record.video), path)
    with atomic_output(path, (".mp4",)) as temporary, temporary.open("wb") as file:
        encode_video(Path(record.video), file, record.start, record.end)
    return None


def _is_whole(record: Record, path: str, suffixes: tuple[str, ...]) -> bool:
    return record.start is None and record.end is None and Path(path).suffix.lower() in suffixes


def link(source: Path, path: Path) -> None:
    """``path`` becomes a hard link to ``source``, or a copy where the file system has no links."""
    with atomic_output(path, (path.suffix,)) as temporary:
        temporary.unlink()
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def encode_video(source: Path, target: Any, start: float | None, end: float | None, sound: bool = True) -> None:
    """Write ``source`` between ``start`` and ``end`` (seconds) as mp4 into the binary file ``target``.

    Raises InputError when there are no pictures in the span or they cannot be read.
    """
    import av

    av.logging.set_level(av.logging.PANIC)
    codec = next(name for name in VIDEO_CODECS if name in av.codecs_available)
    try:
        with av.open(target, "w", format="mp4") as output:
            pictures = _copy_pictures(source, output, codec, start or 0.0, end, _add_sound(source, output, sound))
            if not pictures:
                raise InputError(f"{source} ends before {start or 0.0:g} s")
            if sound and output.streams.audio:
                _copy_sound(source, output, start or 0.0, end)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"{source} cannot be made into an mp4 ({error})") from error


def _add_sound(source: Path, output: Any, sound: bool) -> Callable[[], None]:
    """A function that adds the stream for the sound; all streams must be there before the first picture is written."""
    import av

    def add() -> None:
        with av.open(str(source), metadata_errors="ignore") as container:
            if sound and container.streams.audio:
                output.add_stream("aac", rate=SOUND_RATE, layout="stereo")

    return add


def _copy_pictures(
    source: Path, output: Any, codec: str, start: float, end: float | None, before_first: Callable[[], None]
) -> int:
    import av

    stream: Any = None
    count, origin, last = 0, 0.0, -1
    base = Fraction(1, 90_000)
    with av.open(str(source), metadata_errors="ignore") as container:
        if not container.streams.video:
            raise InputError(f"{source} has no pictures")
        container.streams.video[0].thread_type = "NONE"  # threads may hang in a decoder that is left before its end
        container.seek(int(max(start, 0.0) * av.time_base))
        for frame in container.decode(container.streams.video[0]):
            if frame.time is None or frame.time < start - 1e-6:
                continue
            if end is not None and frame.time >= end:
                break
            if stream is None:
                origin = float(frame.time)
                rate = container.streams.video[0].average_rate or Fraction(25)
                stream = output.add_stream(codec, rate=rate)
                stream.width, stream.height = frame.width // 2 * 2, frame.height // 2 * 2
                stream.pix_fmt, stream.codec_context.time_base = "yuv420p", base
                stream.codec_context.thread_count = 1  # the same bytes on every machine
                before_first()
            picture = frame.reformat(stream.width, stream.height, "yuv420p")
            picture.pts, picture.time_base = max(round((float(frame.time) - origin) / base), last + 1), base
            last = picture.pts
            output.mux(stream.encode(picture))
            count += 1
    if stream is not None:
        output.mux(stream.encode(None))
    return count


def _copy_sound(source: Path, output: Any, start: float, end: float | None) -> None:
    try:
        audio = decode_span(source, start, end).resampled(SOUND_RATE)
    except InputError:
        return  # the sound ends before the span, or is damaged: the pictures count
    samples = with_channels(audio.samples, 2)
    stream = output.streams.audio[0]
    for frame in audio_frames(samples, SOUND_RATE, "stereo"):
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
