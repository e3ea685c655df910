"""The music decoder protocol and what a decoder returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from m2ugen.score.plan import Plan

Progress = Callable[[float], None]  # called with the finished fraction, 0-1
OnAudio = Callable[[np.ndarray], None]  # called with the next samples, float32 [channels, any]


@dataclass
class Music:
    """Generated music: ``audio`` is float32 [channels, samples] in [-1, 1] at ``sample_rate`` Hz.

    Decoders that compose also give the ``plan``, the ``notes`` (see m2ugen.score.notes) and one audio array for
    each part of the plan (``stems``); audio decoders leave them None.
    """

    audio: np.ndarray
    sample_rate: int
    plan: Plan | None = None
    notes: np.ndarray | None = None
    stems: dict[str, np.ndarray] | None = None


@runtime_checkable
class MusicDecoder(Protocol):
    """Turns conditioning into music.

    ``conditioning_shape`` is (N, D) of the conditioning [batch, N, D] that the output projector must produce;
    ``encode_text`` gives the same for captions and is the training target of the projector. ``takes_melody`` says that
    ``melody`` of ``generate`` may be a recording, ([channels, samples], sample rate), whose tune the music follows.
    """

    conditioning_shape: tuple[int, int]
    sample_rate: int
    takes_melody: bool

    def encode_text(self, captions: Sequence[str]) -> torch.Tensor: ...

    def generate(
        self,
        conditioning: torch.Tensor,  # [1, N, D]
        duration: float,  # seconds
        guidance_scale: float | None = None,
        seed: int | None = None,
        melody: Any = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Music: ...


@runtime_checkable
class Player(Protocol):
    """A decoder that composes: it writes chosen roles of a plan beside given notes. Edits need it for new notes."""

    def play(
        self,
        plan: Plan,
        given: Mapping[str, np.ndarray] | None = None,
        roles: Sequence[str] | None = None,
        seed: int = 0,
        given_bars: int | None = None,
    ) -> np.ndarray:
        """The notes of ``plan``: those ``given`` (by role, unchanged; with ``given_bars`` in so many bars from the
        start) and those written for ``roles``.
        """
        ...
