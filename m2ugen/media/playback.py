"""Sound on the loudspeaker, through PortAudio."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np

from m2ugen.errors import InputError, MissingExtra
from m2ugen.media.audio import with_channels


class Loudspeaker:
    """The default sound device. Entering opens it for ``channels`` at ``sample_rate`` Hz, leaving waits for the end of
    what was written.

    Raises MissingExtra without the library ``sounddevice``, and InputError where there is no device.
    """

    def __init__(self, sample_rate: int, channels: int = 2) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self._stream: Any = None

    def __enter__(self) -> Self:
        sounddevice = _library()
        try:
            self._stream = sounddevice.OutputStream(
                samplerate=self.sample_rate, channels=self.channels, dtype="float32", latency="high"
            )
            self._stream.start()
        except sounddevice.PortAudioError as error:
            raise InputError(f"there is no sound device to play on ({error}); leave --play out") from error
        return self

    def write(self, audio: np.ndarray) -> None:
        """Play float32 [channels, samples] after what was written before; waits while the device has enough to play."""
        self._stream.write(np.ascontiguousarray(with_channels(audio, self.channels).T, dtype=np.float32))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._stream.stop()
        else:
            self._stream.abort()
        self._stream.close()


def check_loudspeaker() -> None:
    """Raises MissingExtra or InputError where nothing can be played, before any work is done."""
    sounddevice = _library()
    try:
        sounddevice.check_output_settings()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise InputError(f"there is no sound device to play on ({error}); leave --play out") from error


def _library() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtra("sounddevice", "play") from error
    except OSError as error:  # the library is there, but not PortAudio
        raise InputError("playing needs PortAudio; install it (Debian: apt install libportaudio2)") from error
    return sounddevice
