"""What a model answers: words, and music when it was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2ugen.errors import InputError

if TYPE_CHECKING:
    from symusic import Score

    from m2ugen.score.plan import Plan


@dataclass
class Reply:
    """The answer to one request.

    ``audio`` is float32 [channels, samples] in [-1, 1] at ``sample_rate`` Hz, or None when the answer is text
    only. ``plan`` and ``notes`` (see m2ugen.score) are present when the decoder composes notes; ``stems`` then
    holds the audio of each role. ``seed`` repeats the result on the same machine. ``seconds`` tells how long the
    parts of the work took. ``notices`` are sentences about what could not be done as asked.
    """

    text: str
    audio: np.ndarray | None = None
    sample_rate: int | None = None
    plan: Plan | None = None
    notes: np.ndarray | None = None
    stems: dict[str, np.ndarray] | None = None
    seed: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def duration(self) -> float | None:
        """Length of the audio in seconds."""
        if self.audio is None or self.sample_rate is None:
            return None
        return self.audio.shape[-1] / self.sample_rate

    @property
    def sound(self) -> tuple[np.ndarray, int]:
        """The audio and its sample rate. Raises InputError when the reply is text only."""
        if self.audio is None or self.sample_rate is None:
            raise InputError("this reply has no audio; use generate or edit to make music")
        return self.audio, self.sample_rate

    @property
    def score(self) -> Score | None:
        """The music as a symusic Score, or None when there are no notes."""
        if self.notes is None or self.plan is None:
            return None
        from m2ugen.score.notes import notes_to_score

        return notes_to_score(self.notes, self.plan)

    def save(self, path: str | Path) -> Path:
        """Write the audio in the format of the file's extension (wav, flac, ogg, mp3).

        Raises InputError when the reply has no audio or the file cannot be written.
        """
        from m2ugen.media.audio import save_audio

        return save_audio(path, *self.sound)

    def save_midi(self, path: str | Path) -> Path:
        """Write the notes as a MIDI file. Raises InputError when the reply has no notes."""
        from m2ugen.media.files import MIDI_SUFFIXES, atomic_output

        score = self.score
        if score is None:
            raise InputError("this reply has no notes: only music that was composed as a score can be saved as MIDI")
        with atomic_output(path, suffixes=MIDI_SUFFIXES) as temporary:
            score.dump_midi(temporary)
        return Path(path)
