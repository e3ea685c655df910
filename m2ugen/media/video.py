"""Videos to evenly spaced frames, and music under a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from m2ugen.errors import InputError
from m2ugen.media.audio import audio_frames, load_audio, resample
from m2ugen.media.files import VIDEO_SUFFIXES, atomic_output
from m2ugen.media.sources import FileSource, is_file_source, open_source, source_name

MAX_SECONDS = 3600.0
MAX_PIXELS = 40_000_000  # of one frame
MAX_SIDE = 640  # frames are scaled down to this while they are decoded
MOTION_FRAMES, MOTION_SIDE = 240, 160  # pictures that show how a video goes on
AUDIO_CODECS = {".webm": ("libopus", 48_000)}  # other containers take AAC at the music's own rate
DEFAULT_FPS = 25.0
AUDIO_BIT_RATE = 192_000
OWN_SOUND_LEVEL = 0.5  # of a video's own sound under the music

VideoSource: TypeAlias = "FileSource | np.ndarray | tuple[np.ndarray, float]"


@dataclass(frozen=True)
class Frames:
    """Sampled pictures: ``array`` uint8 [n, height, width, 3], their ``timestamps`` in seconds, float64 [n],
    the video's ``duration`` in seconds and its pictures per second, ``fps``."""

    array: np.ndarray
    timestamps: np.ndarray
    duration: float
    fps: float

    def __len__(self) -> int:
        return len(self.array)


def load_video(
    source: VideoSource | Frames, num_frames: int = 32, max_seconds: float = MAX_SECONDS, max_side: int = MAX_SIDE
) -> Frames:
    """``num_frames`` distinct pictures, evenly spaced in time; all of them when the video has fewer.

    ``source`` is a path, bytes or a binary file object (any video or animated image), an array uint8 [n, height,
    width, 3] (taken at 25 pictures a second), a pair (array, fps), or Frames. Times come from the decoded pictures,
    never from the header. Pictures are scaled down to ``max_side`` pixels at most. A damaged video counts as far
    as it can be decoded.

    Raises InputError for a source that is missing, empty, damaged, without pictures, longer than ``max_seconds``
    or with more than MAX_PIXELS in a picture.
    """
    return _load(source, ((num_frames, max_side),), max_seconds)[0]


def load_clip(
    source: VideoSource | Frames, num_frames: int = 32, max_seconds: float = MAX_SECONDS
) -> tuple[Frames, Frames]:
    """As load_video, and beside it MOTION_FRAMES pictures of MOTION_SIDE pixels at most, of the same decoding, that
    show the course of the video. Frames that are given serve as both.
    """
    clip, motion = _load(source, ((num_frames, MAX_SIDE), (MOTION_FRAMES, MOTION_SIDE)), max_seconds)
    return clip, motion


def _load(source: VideoSource | Frames, samples: Sequence[tuple[int, int]], max_seconds: float) -> list[Frames]:
    """One Frames for each (number of pictures, longest side) in ``samples``."""
    for num_frames, _ in samples:
        if num_frames < 1:
            raise InputError(f"cannot sample {num_frames} pictures from a video; use at least 1")
    if isinstance(source, Frames):
        return [source for _ in samples]
    if isinstance(source, np.ndarray | tuple):
        return [_from_array(source, num_frames) for num_frames, _ in samples]
    if not is_file_source(source):
        raise InputError(f"cannot use {type(source).__name__} as video: give a path, bytes or a binary file object")
    name = source_name(source)
    with open_source(source, "video") as file:
        times = _timestamps(file, name, max_seconds)
        file.seek(0)
        kept = _decode(file, name, [(_spread(times, num_frames), side) for num_frames, side in samples])
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / DEFAULT_FPS
    duration = float(times[-1] - times[0]) + step
    fps = len(times) / duration if duration > 0 else DEFAULT_FPS
    return [
        Frames(
            np.stack([picture for _, picture in some]), np.array([time for time, _ in some]) - times[0], duration, fps
        )
        for some in kept
    ]


def take(frames: Frames, count: int) -> Frames:
    """Exactly ``count`` pictures of ``frames``, evenly spaced in time and in their order.

    Where there are more, they are distinct. Where there are fewer, time is cut into ``count`` equal parts, and each
    part has the picture on show in its middle: a picture appears as often as it was long to see, at its own timestamp.
    """
    if len(frames) >= count:
        places = np.searchsorted(frames.timestamps, _spread(frames.timestamps, count))
    else:
        end = max(frames.timestamps[0] + frames.duration, frames.timestamps[-1])
        moments = frames.timestamps[0] + (end - frames.timestamps[0]) * (np.arange(count) + 0.5) / count
        places = np.searchsorted(frames.timestamps, moments, side="right") - 1
    return replace(frames, array=frames.array[places], timestamps=frames.timestamps[places])


def _spread(times: np.ndarray, count: int) -> np.ndarray:
    """``count`` distinct members of the ascending ``times``, nearest to the middles of equal spans of time."""
    if len(times) <= count:
        return times
    span = (times[-1] - times[0]) / count
    targets = times[0] + span * (np.arange(count) + 0.5)
    chosen = np.abs(times[None, :] - targets[:, None]).argmin(axis=1)
    for k in range(1, count):  # distinct and ascending, even where variable rates leave a gap
        chosen[k] = max(chosen[k], chosen[k - 1] + 1)
    limit = len(times) - 1
    for k in range(count - 1, -1, -1):
        chosen[k] = min(chosen[k], limit)
        limit = chosen[k] - 1
    return np.asarray(times[chosen])


def _open(file: BinaryIO, name: str) -> Any:
    import av

    av.logging.set_level(av.logging.PANIC)
    try:
        container = av.open(file, "r", metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read as video ({reason}); it is damaged or of an unknown format") from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{name} has no pictures in it; give a video")
    return container


def _pictures(container: Any, stream: Any) -> Any:
    """Yield the decodable frames of ``stream`` in the order of display, as far as the file is whole."""
    import av

    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue  # a damaged picture; players skip it too
    except av.FFmpegError:
        return  # the file ends early


def _timestamps(file: BinaryIO, name: str, max_seconds: float) -> np.ndarray:
    """Ascending, distinct times of all pictures in seconds, float64 [n]."""
    times: list[float] = []
    with _open(file, name) as container:
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise InputError(f"the pictures of {name} are in a form that cannot be read; is the file complete?")
        if stream.width and stream.height and stream.width * stream.height > MAX_PIXELS:
            raise InputError(f"{name} has pictures of {stream.width} x {stream.height} pixels; scale it down")
        for frame in _pictures(container, stream):  # on one thread: a threaded decoder that is left early can hang
            time = _time(frame, times)
            if not times or time > times[-1]:
                times.append(time)
            if times[-1] - times[0] > max_seconds:
                raise InputError(f"{name} is longer than {max_seconds:g} seconds; cut it first")
    if not times:
        raise InputError(f"{name} has no picture that can be decoded; the file is damaged")
    return np.array(times)


def _time(frame: Any, times: list[float]) -> float:
    """A frame's own time; where it has none, one step after the last."""
    if frame.time is not None:
        return float(frame.time)
    return times[-1] + 1 / DEFAULT_FPS if times else 0.0


def _decode(
    file: BinaryIO, name: str, samples: Sequence[tuple[np.ndarray, int]]
) -> list[list[tuple[float, np.ndarray]]]:
    """For each (wanted times, longest side) the pictures at those times, scaled, with their times."""
    remaining = [wanted.tolist() for wanted, _ in samples]
    sizes: list[tuple[int, int]] = []
    kept: list[list[tuple[float, np.ndarray]]] = [[] for _ in samples]
    seen: list[float] = []
    with _open(file, name) as container:
        stream = container.streams.video[0]  # one thread: several may hang where a decoder is left before its end
        for frame in _pictures(container, stream):
            time = _time(frame, seen)
            if seen and time <= seen[-1]:
                continue
            seen.append(time)
            takers = [index for index, wanted in enumerate(remaining) if wanted and time >= wanted[0] - 1e-6]
            if not takers:
                continue
            if frame.width * frame.height > MAX_PIXELS:
                raise InputError(f"{name} has pictures of {frame.width} x {frame.height} pixels; scale it down")
            sizes = sizes or [_scaled(frame.width, frame.height, side) for _, side in samples]
            for index in takers:
                width, height = sizes[index]
                picture = frame.to_ndarray(format="rgb24", width=width, height=height)
                # telephones store turned pictures
                kept[index].append((time, np.rot90(picture, round(frame.rotation / 90) % 4)))
                remaining[index].pop(0)
            if not any(remaining):
                break
    if not all(kept):
        raise InputError(f"{name} has no picture that can be decoded; the file is damaged")
    return kept


def _scaled(width: int, height: int, max_side: int) -> tuple[int, int]:
    shrink = min(1.0, max_side / max(width, height))
    return max(round(width * shrink), 1), max(round(height * shrink), 1)


def _from_array(source: np.ndarray | tuple[np.ndarray, float], num_frames: int) -> Frames:
    array, fps = source if isinstance(source, tuple) and len(source) == 2 else (source, DEFAULT_FPS)
    array = np.asarray(array)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        raise InputError(
            f"a video array must be uint8 [frames, height, width, 3], not {array.dtype} {list(array.shape)}"
        )
    if not np.isfinite(fps) or fps <= 0:
        raise InputError(f"{fps} pictures a second are not possible; use a positive number")
    times = np.arange(len(array)) / fps
    chosen = _spread(times, num_frames)
    return Frames(array[np.round(chosen * fps).astype(int)], chosen, len(array) / fps, float(fps))


def mux_audio(
    video: FileSource,
    audio: np.ndarray,
    sample_rate: int,
    output: str | PathLike[str],
    max_seconds: float = MAX_SECONDS,
    keep_sound: bool = False,
) -> Path:
    """Write ``video`` with ``audio`` (float [channels, n] in [-1, 1]) as its only sound.

    The pictures are copied untouched; the sound (AAC, Opus in webm) is cut (and faded) or padded with silence to the
    length of the pictures. With ``keep_sound`` the video's own sound, if it has any, stays under the music at half its
    level. ``output`` ends in one of VIDEO_SUFFIXES and is complete or absent. Raises InputError when the
    video cannot be read, its pictures do not fit into the container, or the file cannot be written.
    """
    import av

    output = Path(output)
    name = source_name(video)
    samples = np.atleast_2d(np.asarray(audio, dtype=np.float32))
    if samples.ndim != 2 or not 1 <= samples.shape[0] <= 2 or not samples.size or not np.isfinite(samples).all():
        raise InputError("the music must be finite numbers of the shape [1 or 2 channels, samples]")
    codec, rate = AUDIO_CODECS.get(output.suffix.lower(), ("aac", sample_rate))
    if codec == "aac" and rate not in (44_100, 48_000):
        rate = 48_000
    with open_source(video, "video") as file, atomic_output(output, VIDEO_SUFFIXES) as temporary:
        start, seconds = _extent(file, name, max_seconds)
        file.seek(0)
        samples = _fit(resample(np.clip(samples, -1.0, 1.0), sample_rate, rate), round(seconds * rate), rate)
        if keep_sound:
            samples = _over_own_sound(file, samples, rate, max_seconds)
        file.seek(0)
        try:
            with _open(file, name) as source, av.open(str(temporary), "w") as target:
                _copy_with_sound(source, target, samples, rate, codec, start)
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"cannot put the pictures of {name} into {output.name} ({reason}); try another extension, such as .mkv"
            ) from error
    return output


def _extent(file: BinaryIO, name: str, max_seconds: float) -> tuple[Fraction, float]:
    """First time stamp and length of the pictures in seconds, from the packets (nothing is decoded)."""
    import av

    with _open(file, name) as container:
        stream = container.streams.video[0]
        spans = []
        try:
            for packet in container.demux(stream):
                if packet.pts is not None and packet.size:
                    base = packet.time_base or stream.time_base
                    spans.append((packet.pts * base, (packet.duration or 0) * base))
        except av.FFmpegError as error:
            if not spans:
                raise InputError(f"{name} cannot be read as video; the file is damaged") from error
    if not spans:
        raise InputError(f"{name} has no pictures with time stamps; convert it to mp4 first")
    spans.sort()
    last = spans[-1][1] or (spans[-1][0] - spans[-2][0] if len(spans) > 1 else Fraction(1, 25))
    seconds = float(spans[-1][0] + last - spans[0][0])
    if seconds > max_seconds:
        raise InputError(f"{name} is longer than {max_seconds:g} seconds; cut it first")
    return spans[0][0], seconds


def _fit(samples: np.ndarray, length: int, rate: int) -> np.ndarray:
    """``samples`` [channels, n] cut (with a short fade) or padded to ``length``."""
    if samples.shape[-1] <= length:
        return np.pad(samples, ((0, 0), (0, length - samples.shape[-1])))
    from m2ugen.score.mixing import fade_end

    kept = samples[:, :length].copy()
    fade_end(kept, rate, cut=True)
    return kept


def _over_own_sound(file: BinaryIO, samples: np.ndarray, rate: int, max_seconds: float) -> np.ndarray:
    """The music ``samples`` [1 or 2, n] over the sound of the video in ``file``, as stereo; peaks below full scale."""
    from m2ugen.score.mixing import limit_peaks

    file.seek(0)
    try:
        own = load_audio(file, sample_rate=rate, max_seconds=max_seconds).samples
    except InputError:  # a silent film
        return samples
    own = np.repeat(own, 2, axis=0) if len(own) == 1 else own[:2]
    own = own[:, : samples.shape[-1]]
    mixed = np.repeat(samples, 3 - len(samples), axis=0)[:2].copy()
    mixed[:, : own.shape[-1]] += OWN_SOUND_LEVEL * own
    return np.asarray(limit_peaks(mixed, rate, -1.0), dtype=np.float32)


def _copy_with_sound(source: Any, target: Any, samples: np.ndarray, rate: int, codec: str, start: Fraction) -> None:
    pictures_in = source.streams.video[0]
    pictures_out = target.add_stream_from_template(pictures_in)
    layout = "mono" if samples.shape[0] == 1 else "stereo"
    sound = target.add_stream(codec, rate=rate, layout=layout)
    sound.bit_rate = AUDIO_BIT_RATE
    frames = audio_frames(samples, rate, layout)
    written = Fraction(0)  # seconds of sound so far; interleaved, so that players need not seek

    def add_sound(until: Fraction) -> None:
        nonlocal written
        while written <= until and (frame := next(frames, None)) is not None:
            written = Fraction(frame.pts + frame.samples, rate)
            target.mux(sound.encode(frame))

    for packet in source.demux(pictures_in):
        if packet.dts is None or not packet.size:
            continue
        base = packet.time_base or pictures_in.time_base
        shift = round(start / base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts -= shift
        packet.stream = pictures_out
        add_sound(Fraction(packet.dts) * base)
        target.mux(packet)
    add_sound(Fraction(10**9))
    target.mux(sound.encode(None))
