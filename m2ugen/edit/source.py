"""What an edit works on, and what it may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from m2ugen.media.audio import Audio
from m2ugen.model.decoders.base import Music, Player
from m2ugen.score.attributes import Attributes
from m2ugen.score.notes import PART

if TYPE_CHECKING:
    from symusic import Score

    from m2ugen.score.plan import Plan
    from m2ugen.score.transcription import SourceAnalysis


class EditSource:
    """The music to be edited. With a plan and notes (``music.plan``, ``music.notes``) edits are exact.

    ``midi`` is the score that the sound was rendered from, if it came as one. ``analysis`` is what transcription makes
    of it, or else of the sound; it is computed when an edit first asks for it.
    """

    def __init__(self, music: Music, midi: Score | None = None) -> None:
        self.music, self.midi = music, midi

    @property
    def audio(self) -> np.ndarray:
        """Samples, float32 [channels, samples]."""
        return self.music.audio

    @property
    def sample_rate(self) -> int:
        return self.music.sample_rate

    @property
    def score(self) -> tuple[Plan, np.ndarray] | None:
        """Plan and notes where the source was composed, else None."""
        if self.music.plan is None or self.music.notes is None:
            return None
        return self.music.plan, self.music.notes

    @cached_property
    def analysis(self) -> SourceAnalysis:
        """Beats, key, chords and melody of the recording. Raises InputError where there is nothing to analyse."""
        from m2ugen.score.transcription import describe

        return describe(Audio(self.audio, self.sample_rate, self.midi))

    def changed(self, audio: np.ndarray, keep_score: bool = False) -> Music:
        """Music with other samples; the score goes along where it still tells the truth."""
        audio = np.ascontiguousarray(audio, dtype=np.float32)
        if keep_score:
            return Music(audio, self.sample_rate, self.music.plan, self.music.notes)
        return Music(audio, self.sample_rate)


@dataclass(frozen=True)
class EditContext:
    """What an edit may use: the score decoder (None: edits that need new notes are refused), the attributes that
    the language model expects of the result, the seed, and the attributes that the source is heard to have."""

    decoder: Player | None = None
    target: Attributes | None = None
    seed: int = 0
    heard: Attributes | None = None


Handler: TypeAlias = "Callable[..., Music]"  # (command, source, context) -> Music


def by_role(plan: Plan, notes: np.ndarray) -> dict[str, np.ndarray]:
    """The notes of each part that has any, by its role."""
    parts = {part.role: notes[notes[:, PART] == index] for index, part in enumerate(plan.parts)}
    return {role: own for role, own in parts.items() if len(own)}


def limited(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """``audio`` with its peaks held below -0.5 dBFS; audio that stays below is returned as it is."""
    from m2ugen.score.mixing import limit_peaks

    return np.asarray(limit_peaks(audio, sample_rate, -0.5), dtype=np.float32)


def as_loud(sound: np.ndarray, source: EditSource, decibels: float = 0.0) -> np.ndarray:
    """``sound`` at the source's loudness and ``decibels`` more, where both can be measured."""
    from m2ugen.score.mixing import measure_loudness

    wanted = measure_loudness(source.audio, source.sample_rate) + decibels
    own = measure_loudness(sound, source.sample_rate)
    if not (np.isfinite(wanted) and np.isfinite(own)):
        return sound
    return sound * np.float32(10 ** ((wanted - own) / 20))


def rendered(source: EditSource, plan: Plan, notes: np.ndarray, seed: int) -> Music:
    """A changed score as music, at the source's sample rate."""
    from m2ugen.score.synthesis import render

    mix, stems = render(notes, plan, sample_rate=source.sample_rate, seed=seed)
    return Music(mix, source.sample_rate, plan, notes, stems)
