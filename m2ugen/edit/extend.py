"""Going on where the music ends: new sections over its own harmony, and returns of the sections that it had."""

from __future__ import annotations

import string
from dataclasses import replace

import numpy as np

from m2ugen.edit.add import need_decoder
from m2ugen.edit.command import EditCommand
from m2ugen.edit.parts import BANDS, assign_parts
from m2ugen.edit.signal import fit_range
from m2ugen.edit.source import EditContext, EditSource, Handler, as_loud, by_role, limited, rendered
from m2ugen.media.audio import with_channels
from m2ugen.model.decoders.base import Music
from m2ugen.score.attributes import Attributes
from m2ugen.score.notes import ONSET, PITCH, empty_notes, sort_notes
from m2ugen.score.plan import Chord, Plan, Section

RING = 0.6  # seconds that a recording fades for, under what follows it


def go_on(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """The same music and about ``command.amount`` seconds more, in whole bars, with an ending.

    Composed music keeps its notes. A recording keeps its sound; a band of the instruments that are heard in it goes on
    in its tempo and key, over its chords.
    """
    decoder = need_decoder(context)
    if source.score is not None:
        plan, notes = source.score
        longer = continued(plan, command.amount or 0.0)
        own = by_role(plan, notes)
        given = {part.role: own.get(part.role, empty_notes()) for part in plan.parts}
        notes = decoder.play(longer, given=given, seed=context.seed, given_bars=plan.bars)
        return rendered(source, longer, sort_notes(notes), context.seed)
    analysis, heard = source.analysis, context.target or Attributes()
    genre = heard.genre or "pop"
    names = heard.instruments if set(heard.instruments) - {"drums"} else BANDS[genre]
    parts = assign_parts(names, heard.lead)
    plan = analysis.plan(parts, genre, 2 if heard.energy is None else heard.energy)
    longer = continued(plan, command.amount or 0.0)
    given = {}
    if (player := plan.part("melody")) is not None and len(analysis.melody):
        tune = analysis.melody.copy()
        tune[:, PITCH] = fit_range(tune[:, PITCH], player.instrument)
        given["melody"] = tune
    notes = decoder.play(longer, given=given, seed=context.seed, given_bars=plan.bars)
    fresh = notes[notes[:, ONSET] >= plan.ticks].copy()
    fresh[:, ONSET] -= plan.ticks
    rest = longer.replace(sections=longer.sections[len(plan.sections) :])
    return source.changed(_joined(source, rendered(source, rest, fresh, context.seed), plan))


def continued(plan: Plan, seconds: float) -> Plan:
    """``plan`` with sections for about ``seconds`` more: by turns new material over the chords of an earlier section,
    and that section's successor come back; it ends on the tonic.
    """
    left = max(round(seconds / (plan.bar_ticks * plan.seconds_per_tick)), 1)
    used = {section.letter for section in plan.sections}
    fresh = iter([letter for letter in string.ascii_uppercase if letter not in used])
    added: list[Section] = []
    while left > 0:
        model = plan.sections[len(added) % len(plan.sections)]
        bars = min(model.bars, left)
        letter = model.letter if len(added) % 2 else next(fresh, model.letter)
        added.append(replace(model.first(bars), letter=letter, resting=()))
        left -= bars
    home = Chord(0, "min" if plan.mode == "minor" else "maj")
    longer = replace(plan, sections=(*plan.sections, *added), ending=True)
    return longer.closed_on(home).validated()


def _joined(source: EditSource, rest: Music, plan: Plan) -> np.ndarray:
    """The recording up to the end of its last bar, and ``rest`` from there on at the same loudness."""
    rate, channels = source.sample_rate, len(source.audio)
    bar_line = max(round(float(source.analysis.seconds_at(np.array([plan.ticks]))[0]) * rate), 0)
    kept = source.audio[:, : bar_line + round(RING * rate)].copy()
    if (over := kept.shape[-1] - bar_line) > 0:
        kept[:, bar_line:] *= np.linspace(1.0, 0.0, over, dtype=np.float32)
    following = as_loud(with_channels(rest.audio, channels), source)
    audio = np.zeros((channels, max(bar_line + following.shape[-1], kept.shape[-1])), dtype=np.float32)
    audio[:, : kept.shape[-1]] = kept
    audio[:, bar_line : bar_line + following.shape[-1]] += following
    return limited(audio, rate)


HANDLERS: dict[str, Handler] = {"continue": go_on}
