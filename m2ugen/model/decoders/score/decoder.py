"""ScoreDecoder: conditioning → plan → notes → sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from m2ugen.errors import InputError
from m2ugen.model.decoders.base import Music, OnAudio, Progress
from m2ugen.model.decoders.score.config import SamplingConfig, ScoreConfig
from m2ugen.model.decoders.score.note_engine import NoteEngine
from m2ugen.model.decoders.score.note_player import NotePlayer
from m2ugen.model.decoders.score.performer import OnNotes, perform
from m2ugen.model.decoders.score.plan_sampler import write_plan
from m2ugen.model.decoders.score.plan_writer import PlanWriter
from m2ugen.model.decoders.score.storage import PLAYER, WRITER, load_half, read_config, store_half
from m2ugen.score.attributes import MULTI_SLOTS, NUM_SLOTS, SLOT_DIM, SLOT_NAMES, Attributes
from m2ugen.score.plan import Plan

COMPOSING_SHARE = 0.8  # of the time that generation takes


class ScoreDecoder(nn.Module):
    """The decoder that composes: a PlanWriter, a NotePlayer and a SoundFont.

    Its conditioning is the attribute matrix [NUM_SLOTS, SLOT_DIM] of ``m2ugen.score.attributes``. ``text_reader``
    turns a caption into attributes (the rule-based lexicon by default); ``soundfont`` is a path, None for the one
    that comes with the package.
    """

    conditioning_shape: tuple[int, int] = (NUM_SLOTS, SLOT_DIM)
    sample_rate: int = 44_100
    takes_melody: bool = False  # as sound; as notes it does, see ``generate``

    def __init__(
        self,
        config: ScoreConfig | None = None,
        text_reader: Callable[[str], Attributes] | None = None,
        soundfont: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.config = config or ScoreConfig()
        self.plan_writer = PlanWriter(self.config.writer)
        self.note_player = NotePlayer(self.config.player)
        self.text_reader = text_reader
        self.soundfont = soundfont
        self._engine: NoteEngine | None = None

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> ScoreDecoder:
        """Load ``score.safetensors`` and ``score.json`` from ``folder``; ``options`` are those of the constructor.

        Raises MissingWeights if a file or one of its networks is missing.
        """
        decoder = cls(read_config(Path(folder)), **options)
        load_half(Path(folder), PLAYER, decoder.note_player)
        load_half(Path(folder), WRITER, decoder.plan_writer)
        return decoder.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``score.safetensors`` (half precision) and ``score.json`` into ``folder``."""
        store_half(Path(folder), PLAYER, self.note_player, self.config.sampling)
        store_half(Path(folder), WRITER, self.plan_writer, self.config.sampling)

    def encode_text(self, captions: Sequence[str]) -> torch.Tensor:
        """Conditioning [len(captions), NUM_SLOTS, SLOT_DIM] of captions."""
        reader = self.text_reader
        if reader is None:
            from m2ugen.score.lexicon import read_attributes

            reader = read_attributes
        return torch.from_numpy(np.stack([reader(caption).to_conditioning() for caption in captions]))

    def refine(self, conditioning: torch.Tensor, *texts: str) -> torch.Tensor:
        """``conditioning`` [1, NUM_SLOTS, SLOT_DIM] with what ``texts`` say outright in place of what it holds about
        the same attribute; the last text that says something about it counts. Instruments that are named join those
        that are there.
        """
        several = torch.tensor([name in MULTI_SLOTS for name in SLOT_NAMES], device=conditioning.device)[None, :, None]
        for text in texts:
            told = self.encode_text([text]).to(conditioning)
            said = told[..., :1] < 0.5  # [1, NUM_SLOTS, 1]: the text specifies the attribute
            both = torch.maximum(conditioning, told)
            both = torch.cat([torch.minimum(conditioning, told)[..., :1], both[..., 1:]], dim=-1)
            conditioning = torch.where(said, torch.where(several, both, told), conditioning)
        return conditioning

    def notices(self, request: str) -> tuple[str, ...]:
        """Sentences about what ``request`` asks for and cannot be played."""
        from m2ugen.score.lexicon import unplayable
        from m2ugen.score.wording import join

        missing = unplayable(request)
        return (f"no instrument here sounds like {join(missing, 'or')}; the music goes without",) if missing else ()

    def engine(self) -> NoteEngine:
        """The NumPy form of the NotePlayer, made at the first call from the weights of that moment."""
        if self._engine is None:
            self._engine = NoteEngine(self.note_player)
        return self._engine

    def play(
        self,
        plan: Plan,
        given: Mapping[str, np.ndarray] | None = None,
        roles: Sequence[str] | None = None,
        seed: int = 0,
        sampling: SamplingConfig | None = None,
        progress: Progress | None = None,
        given_bars: int | None = None,
        on_notes: OnNotes | None = None,
    ) -> np.ndarray:
        """Write the notes of a plan, int32 [n, 5]; see ``performer.perform`` for what is given and written."""
        settings = sampling or self.config.sampling
        return perform(self.engine(), plan, seed, settings, given, roles, progress, given_bars, on_notes)

    def compose(
        self,
        conditioning: torch.Tensor | np.ndarray,
        duration: float,
        seed: int | None = None,
        plan: Plan | None = None,
        given: Mapping[str, np.ndarray] | None = None,
        roles: Sequence[str] | None = None,
        guidance_scale: float | None = None,
        ending: bool = True,
        sampling: SamplingConfig | None = None,
        progress: Progress | None = None,
        arrange: Callable[[Plan], Plan] | None = None,
        listener: Callable[[Plan], OnNotes] | None = None,
    ) -> tuple[Plan, np.ndarray]:
        """A plan and its notes.

        Args:
            conditioning: [NUM_SLOTS, SLOT_DIM] or [1, NUM_SLOTS, SLOT_DIM], probabilities.
            duration: length in seconds, 1 to 1800; not used when a ``plan`` is given.
            seed: same seed, same music; None draws one.
            plan: played as it is, instead of one written here.
            given: roles whose notes are kept, with their notes on the plan's time line.
            roles: roles to write; by default all that are not given.
            guidance_scale: weight of the conditioning in the plan; by default the model's own.
            ending: whether a plan written here closes with a cadence.
            arrange: changes a plan written here before it is played.
            listener: receives the plan and returns what receives the notes while others are still being written.

        Raises InputError for conditioning of another shape, an unusable duration or plan.
        """
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        if seed < 0:
            raise InputError(f"the seed {seed} is negative; choose 0 or more")
        settings = sampling or self.config.sampling
        if guidance_scale is not None:
            settings = replace(settings, guidance_scale=guidance_scale)
        if plan is None:
            plan = write_plan(self.plan_writer, _matrix(conditioning), duration, seed, settings, ending)
            plan = plan if arrange is None else arrange(plan)
        on_notes = None if listener is None else listener(plan)
        return plan, self.play(plan, given, roles, seed, settings, progress, on_notes=on_notes)

    def generate(
        self,
        conditioning: torch.Tensor,
        duration: float,
        guidance_scale: float | None = None,
        seed: int | None = None,
        melody: Any = None,
        progress: Progress | None = None,
        on_audio: OnAudio | None = None,
        **options: Any,
    ) -> Music:
        """Compose and render.

        ``melody`` are notes [n, 5] to keep as the tune of a ``plan`` that must then be given too; ``options`` are
        those of ``compose``. The audio is exactly ``duration`` seconds long, or as long as a given plan and its ring.
        ``on_audio`` hears it section by section while the rest is being written, at a loudness that is estimated from
        the beginning.
        """
        from m2ugen.score.live import LiveMix
        from m2ugen.score.synthesis import render

        if melody is not None:
            if options.get("plan") is None:
                raise InputError("a melody needs the plan that it belongs to; give both")
            options["given"] = {**(options.get("given") or {}), "melody": melody}
        report = progress or (lambda fraction: None)
        length = duration if options.get("plan") is None else None
        if on_audio is not None:
            sound = partial(LiveMix, soundfont=self.soundfont, sample_rate=self.sample_rate, duration=length)
            options["listener"] = lambda plan: sound(plan, on_audio=on_audio).add
        plan, notes = self.compose(
            conditioning,
            duration,
            seed,
            guidance_scale=guidance_scale,
            progress=lambda fraction: report(COMPOSING_SHARE * fraction),
            **options,
        )
        audio, stems = render(notes, plan, self.soundfont, self.sample_rate, duration=length)
        report(1.0)
        return Music(audio, self.sample_rate, plan, notes, stems)


def _matrix(conditioning: torch.Tensor | np.ndarray) -> np.ndarray:
    matrix = torch.as_tensor(conditioning).detach().cpu().float().numpy()
    if matrix.shape == (1, NUM_SLOTS, SLOT_DIM):
        matrix = matrix[0]
    if matrix.shape != (NUM_SLOTS, SLOT_DIM):
        raise InputError(f"the conditioning has the shape {matrix.shape}; the decoder needs {(NUM_SLOTS, SLOT_DIM)}")
    return matrix
