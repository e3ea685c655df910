"""A job's sound while it is being made: a WAV file that grows, and the stream of it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2ugen.media.audio import pcm16

if TYPE_CHECKING:
    from m2ugen.serve.jobs import Job

LIVE = "live.wav"
LOOK_SECONDS = 0.1  # between two looks at a file that grows
UNKNOWN = 0xFFFFFFFF  # length in the header of a WAV file whose end is not known


class LiveSound:
    """Writes pieces of float32 [channels, samples] to LIVE in ``folder`` as they come."""

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.path, self.sample_rate = folder / LIVE, sample_rate
        self._begun = False

    def __call__(self, audio: np.ndarray) -> None:
        with self.path.open("ab") as file:
            if not self._begun:
                file.write(wav_header(self.sample_rate, len(audio)))
            file.write(pcm16(audio.T))
        self._begun = True


def wav_header(sample_rate: int, channels: int) -> bytes:
    """The first 44 bytes of a WAV file of 16-bit samples and unknown length."""
    form = struct.pack("<HHIIHH", 1, channels, sample_rate, sample_rate * channels * 2, channels * 2, 16)
    return b"".join(
        (b"RIFF", struct.pack("<I", UNKNOWN), b"WAVEfmt ", struct.pack("<I", len(form)), form, b"data",
         struct.pack("<I", UNKNOWN))
    )  # fmt: skip


async def has_begun(job: Job) -> bool:
    """Waits until there is something to hear; False when the job has ended without."""
    path = job.task.folder / LIVE
    while not path.is_file():
        if job.is_finished:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


async def stream(job: Job) -> AsyncIterator[bytes]:
    """What is written of the sound, and what is still being written until the job ends."""
    path, place = job.task.folder / LIVE, 0
    while True:
        finished = job.is_finished  # before looking, so that what was written last is not missed
        try:
            piece = await asyncio.to_thread(_read_from, path, place)
        except OSError:  # the job was deleted
            return
        if piece:
            place += len(piece)
            yield piece
        elif finished:
            return
        else:
            await asyncio.sleep(LOOK_SECONDS)


def _read_from(path: Path, place: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read(1 << 20)
