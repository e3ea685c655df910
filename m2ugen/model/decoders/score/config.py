"""Sizes and sampling settings of the score decoder, and their JSON form."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from m2ugen.errors import InputError

SCORE_VERSION = 1  # of the weights' layout and of every vocabulary they depend on


@dataclass(frozen=True)
class PlayerConfig:
    """Size of the NotePlayer."""

    width: int = 256
    layers: int = 6
    heads: int = 8  # the first half rotates by order, the second half by musical time
    feed_forward: int = 704


@dataclass(frozen=True)
class WriterConfig:
    """Size of the PlanWriter."""

    width: int = 160
    layers: int = 4
    heads: int = 5
    feed_forward: int = 416
    dropout: float = 0.15  # a few thousand plans are soon known by heart


@dataclass(frozen=True)
class SamplingConfig:
    """How plans and notes are drawn.

    Temperatures divide the logits of the field they name; ``top_p`` keeps the smallest set of values whose
    probabilities reach it. ``guidance_scale`` weighs the conditioning in the plan (1 = as it is, 0 = ignored).
    """

    guidance_scale: float = 1.5
    plan_temperature: float = 0.9
    chord_temperature: float = 1.0
    timing_temperature: float = 1.0
    pitch_temperature: float = 0.9
    duration_temperature: float = 0.9
    velocity_temperature: float = 1.0
    top_p: float = 0.98
    chord_tone_bias: float = 0.0  # added to the logits of chord tones in the accompanying roles
    bass_root_bias: float = 1.0  # added to the logits of the chord's root in the bass, where a chord begins
    repeat_probability: float = 0.85  # of an accompanying role in a returning section of the same energy


@dataclass(frozen=True)
class ScoreConfig:
    """The whole decoder."""

    player: PlayerConfig = field(default_factory=PlayerConfig)
    writer: WriterConfig = field(default_factory=WriterConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def to_dict(self) -> dict[str, Any]:
        return {"version": SCORE_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ScoreConfig:
        """Inverse of to_dict. Raises InputError on another version or an unknown setting."""
        if data.get("version") != SCORE_VERSION:
            raise InputError(
                f"these score decoder weights have version {data.get('version')}; this release reads {SCORE_VERSION}"
            )
        try:
            return cls(
                PlayerConfig(**data.get("player", {})),
                WriterConfig(**data.get("writer", {})),
                SamplingConfig(**data.get("sampling", {})),
            )
        except TypeError as error:
            raise InputError(f"the score decoder's settings cannot be read: {error}") from error
