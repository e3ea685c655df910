"""Audio in any form to float32 arrays, and arrays to audio files."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from m2ugen.errors import InputError
from m2ugen.media.files import AUDIO_SUFFIXES, atomic_output
from m2ugen.media.sources import FileSource, is_file_source, open_source, source_name

if TYPE_CHECKING:
    from symusic import Score

MAX_SECONDS = 1800.0
SILENCE = 1e-4  # peak (−80 dBFS) below which audio counts as silent
MIN_RATE, MAX_RATE = 1_000, 768_000
MAX_CHANNELS = 64
MP3_BIT_RATE = 256_000
BLOCK = 4096  # frames written at once; libsndfile's Vorbis encoder overflows its stack on long ones
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

AudioSource: TypeAlias = FileSource | tuple[Any, int]


@dataclass(frozen=True)
class Audio:
    """Decoded audio: ``samples`` float32 [channels, n] and ``sample_rate`` in Hz; ``score`` when it was MIDI."""

    samples: np.ndarray
    sample_rate: int
    score: Score | None = None

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.samples.shape[-1] / self.sample_rate

    @property
    def is_silent(self) -> bool:
        """Whether nothing can be heard in it."""
        return float(np.abs(self.samples).max(initial=0.0)) < SILENCE

    def mono(self) -> np.ndarray:
        """The mean of the channels, float32 [n]."""
        return np.asarray(self.samples.mean(axis=0), dtype=np.float32)

    def resampled(self, sample_rate: int) -> Audio:
        """The same audio at another rate (Hz)."""
        return Audio(resample(self.samples, self.sample_rate, sample_rate), sample_rate, self.score)


def with_channels(samples: np.ndarray, channels: int) -> np.ndarray:
    """``samples`` [channels, n] as they are where they have so many channels, else their mean in each."""
    return samples if len(samples) == channels else np.repeat(samples.mean(axis=0, keepdims=True), channels, axis=0)


def pcm16(samples: np.ndarray) -> bytes:
    """Floats in [-1, 1], [n] or [n, channels], as little-endian 16-bit samples; what is beyond is clipped."""
    return bytes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


def load_audio(
    source: AudioSource | Audio,
    sample_rate: int | None = None,
    mono: bool = False,
    max_seconds: float = MAX_SECONDS,
    soundfont: str | Path | None = None,
) -> Audio:
    """Decode audio.

    ``source`` is a path, bytes or a binary file object in any audio format, a video (its sound is taken), a MIDI
    file (recognised by content, rendered with ``soundfont``), a pair (array, rate in Hz) or Audio. Arrays are
    [samples], [channels, samples] or [samples, channels] (the shorter axis is taken for the channels), floating
    point in [-1, 1] or integers of full scale. The result keeps the source's rate and channels unless
    ``sample_rate`` (Hz) or ``mono`` ask for others.

    Raises InputError for a source that is missing, empty, damaged, without sound, not finite, or longer than
    ``max_seconds``. Silence is allowed; ``Audio.is_silent`` tells.
    """
    if sample_rate is not None and not MIN_RATE <= sample_rate <= MAX_RATE:
        raise InputError(f"a sample rate of {sample_rate} Hz is not possible; use {MIN_RATE} to {MAX_RATE}")
    if isinstance(source, Audio):
        audio = source
    elif isinstance(source, tuple):
        audio = _from_array(source)
    elif is_file_source(source):
        with open_source(source, "audio") as file:
            audio = _from_file(file, source_name(source), max_seconds, soundfont)
    else:
        raise InputError(
            f"cannot use {type(source).__name__} as audio: give a path, bytes, a binary file object or (array, rate)"
        )
    samples = audio.samples
    if not samples.size:
        raise InputError(f"{source_name(source)} holds no audio samples")
    if not np.isfinite(samples).all():
        raise InputError(f"{source_name(source)} holds samples that are not numbers (NaN or infinite)")
    _check_length(audio.duration, source_name(source), max_seconds)
    if mono and samples.shape[0] > 1:
        audio = Audio(audio.mono()[None], audio.sample_rate, audio.score)
    if sample_rate is not None and sample_rate != audio.sample_rate:
        audio = audio.resampled(sample_rate)
    return audio


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """``samples`` float32 [channels, n] at ``target_rate``: float32 [channels, round(n · target / source)]."""
    import soxr

    if source_rate == target_rate:
        return samples
    length = max(round(Fraction(samples.shape[-1] * target_rate, source_rate)), 1)
    converted = soxr.resample(np.ascontiguousarray(samples.T, dtype=np.float32), source_rate, target_rate).T
    missing = max(length - converted.shape[-1], 0)
    return np.ascontiguousarray(np.pad(converted, ((0, 0), (0, missing)))[:, :length], dtype=np.float32)


def save_audio(
    path: str | PathLike[str], samples: np.ndarray, sample_rate: int, bits: int = 16, bit_rate: int = MP3_BIT_RATE
) -> Path:
    """Write float [channels, n] or [n] in the format of the extension: wav, flac (``bits`` 16 or 24), ogg, mp3.

    ``bit_rate``, in bits per second, is that of mp3 (half of the default is the most below 32 kHz).

    The file is complete or absent. Values outside [-1, 1] are clipped; mp3 takes one or two channels.
    Raises InputError for another extension, a folder that cannot be written to, or audio that is not usable.
    """
    samples = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if samples.ndim != 2 or not samples.size or not np.isfinite(samples).all():
        raise InputError(f"cannot write {path}: the audio must be finite numbers of the shape [channels, samples]")
    if bits not in (16, 24):
        raise InputError(f"cannot write {bits}-bit audio; use 16 or 24")
    path = Path(path)
    suffix = path.suffix.lower()
    with atomic_output(path, AUDIO_SUFFIXES) as temporary:
        samples = np.clip(samples, -1.0, 1.0)
        if suffix == ".mp3":
            _encode_mp3(temporary, samples, sample_rate, bit_rate)
        else:
            _write_sound(temporary, samples, sample_rate, suffix, f"PCM_{bits}")
    return path


def _write_sound(path: Path, samples: np.ndarray, sample_rate: int, suffix: str, subtype: str) -> None:
    import soundfile

    form, subtype = ("OGG", "VORBIS") if suffix == ".ogg" else (suffix[1:].upper(), subtype)
    channels = samples.shape[0]
    try:
        with soundfile.SoundFile(path, "w", sample_rate, channels, subtype=subtype, format=form) as sound:
            for start in range(0, samples.shape[-1], BLOCK):
                sound.write(samples[:, start : start + BLOCK].T)
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        raise InputError(f"cannot write {channels} channels at {sample_rate} Hz as {suffix}: {error}") from error


def _encode_mp3(path: Path, samples: np.ndarray, sample_rate: int, bit_rate: int) -> None:
    import av

    if samples.shape[0] > 2:
        raise InputError(f".mp3 files hold one or two channels, not {samples.shape[0]}; use .wav or .flac")
    if sample_rate not in MP3_RATES:
        target = next((rate for rate in MP3_RATES if rate >= sample_rate), MP3_RATES[-1])
        samples, sample_rate = resample(samples, sample_rate, target), target
    av.logging.set_level(av.logging.PANIC)
    try:
        with av.open(str(path), "w", format="mp3") as container:
            layout = "mono" if samples.shape[0] == 1 else "stereo"
            stream: Any = container.add_stream("libmp3lame", rate=sample_rate, layout=layout)
            stream.bit_rate = bit_rate if sample_rate >= 32_000 else min(bit_rate, MP3_BIT_RATE // 2)
            for frame in audio_frames(samples, sample_rate, layout):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"cannot write .mp3 at {sample_rate} Hz: {error}") from error


def audio_frames(samples: np.ndarray, sample_rate: int, layout: str) -> Any:
    """Yield PyAV frames (planar float, with time stamps) for float32 [channels, n]."""
    import av

    for start in range(0, samples.shape[-1], 1024):
        piece = np.ascontiguousarray(samples[:, start : start + 1024], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, start, Fraction(1, sample_rate)
        yield frame


def _from_array(source: tuple[Any, ...]) -> Audio:
    if len(source) != 2 or isinstance(source[1], bool) or not isinstance(source[1], int | float | np.number):
        raise InputError("an array of audio needs its sample rate: give (array, rate)")
    array, rate = np.asarray(source[0]), source[1]
    if not np.isfinite(rate) or int(rate) != rate or not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(f"a sample rate of {rate} Hz is not possible; use a whole number, {MIN_RATE} to {MAX_RATE}")
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        found = f"{array.dtype} {list(array.shape)}"
        raise InputError(f"audio must be numbers of the shape [samples] or [channels, samples], not {found}")
    samples = np.atleast_2d(array)
    if samples.shape[0] > samples.shape[1]:
        samples = samples.T
    if samples.shape[0] > MAX_CHANNELS:
        raise InputError(f"audio of the shape {list(array.shape)} has more than {MAX_CHANNELS} channels")
    if array.dtype.kind in "iu":
        half = float(2 ** (8 * array.dtype.itemsize - 1))
        samples = samples / half - (1.0 if array.dtype.kind == "u" else 0.0)
    return Audio(np.ascontiguousarray(samples, dtype=np.float32), int(rate))


def _from_file(file: BinaryIO, name: str, max_seconds: float, soundfont: str | Path | None) -> Audio:
    head = file.read(64)
    file.seek(0)
    if head[:4] == b"MThd" or (head[:4] == b"RIFF" and head[8:12] == b"RMID"):
        return _from_midi(file.read(), name, soundfont)
    if head[:4] in (b"RIFF", b"fLaC", b"RF64", b"FORM"):
        audio = _from_soundfile(file, name, max_seconds)
        if audio is not None:
            return audio
        file.seek(0)
    return _from_container(file, name, max_seconds)


def _from_midi(data: bytes, name: str, soundfont: str | Path | None) -> Audio:
    from symusic import Score

    from m2ugen.score.synthesis import SAMPLE_RATE, render_score

    start = data.find(b"MThd")
    try:
        score = Score.from_midi(data[max(start, 0) :], sanitize_data=True)
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"{name} is not a readable MIDI file ({error})") from error
    try:
        return Audio(render_score(score, soundfont), SAMPLE_RATE, score)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _from_soundfile(file: BinaryIO, name: str, max_seconds: float) -> Audio | None:
    """Fast and exact for PCM; None when libsndfile does not know the format."""
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            if sound.frames:
                _check_length(sound.frames / sound.samplerate, name, max_seconds)
            samples = sound.read(dtype="float32", always_2d=True)
            return Audio(np.ascontiguousarray(samples.T), sound.samplerate) if samples.size else None
    except soundfile.SoundFileError:
        return None


def _from_container(file: BinaryIO, name: str, max_seconds: float) -> Audio:
    """Decode with FFmpeg. Damaged packets are skipped, as players do; a file without any good one is refused."""
    import av

    av.logging.set_level(av.logging.PANIC)
    pieces: list[np.ndarray] = []
    failure: Exception | None = None
    rate = count = 0
    try:
        with av.open(file, "r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                what = "is a video or picture without sound" if container.streams.video else "has no audio in it"
                raise InputError(f"{name} {what}")
            stream = container.streams.audio[0]
            rate = stream.rate or 0
            resampler = None
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    failure = error
                    continue
                for frame in frames:
                    if resampler is None:
                        rate = frame.sample_rate
                        resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
                    for converted in resampler.resample(frame):
                        pieces.append(converted.to_ndarray())
                        count += pieces[-1].shape[-1]
                    _check_length(count / rate, name, max_seconds)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        failure = error
    if not pieces:
        reason = f" ({getattr(failure, 'strerror', None) or failure})" if failure else ""
        raise InputError(f"{name} cannot be decoded as audio{reason}; the file is damaged or of an unknown format")
    return Audio(np.concatenate(pieces, axis=1).astype(np.float32, copy=False), rate)


def _check_length(seconds: float, name: str, max_seconds: float) -> None:
    if seconds > max_seconds:
        raise InputError(f"{name} is longer than {max_seconds:g} seconds; cut it first")
