"""More or less energy, and moods: faster or slower, with stronger, softer or no drums.

Nothing but the drums is written anew, and of those a calmer piece only loses some. Of a recording the drums, the treble
and the tempo change; only where a mood wants the other mode a band plays its melody and chords.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2ugen.edit.add import add, need_decoder
from m2ugen.edit.command import EditCommand
from m2ugen.edit.restyle import notes_in_mode, plan_in_mode, replayed
from m2ugen.edit.separate import separate, with_parts
from m2ugen.edit.signal import stretch
from m2ugen.edit.source import EditContext, EditSource, Handler, as_loud, by_role, limited, rendered
from m2ugen.edit.targets import edited_attributes
from m2ugen.model.decoders.base import Music
from m2ugen.score.attributes import ENERGIES, MAX_TEMPO, MIN_TEMPO, Attributes
from m2ugen.score.lexicon_words import MOOD_WORDS
from m2ugen.score.notes import ONSET, PART, VELOCITY, sort_notes
from m2ugen.score.plan import BEAT_TICKS, Part, Plan

TEMPO_STEP = 1.08  # a step of energy is so much faster
MAX_STEPS = 2  # that a piece goes at once
VELOCITY_STEP = 12  # and louder
MIDDLE = len(ENERGIES) // 2
CALM = 1  # energy up to which a piece that becomes calmer goes on without drums
STRONGER, SOFTER = 5.0, 9.0  # decibels of a recording's drums for a step up and a step down
SHELF, CORNER = 3.5, 2500.0  # decibels for a step, above so many Hz


def change_energy(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """More or less energy, or a mood."""
    if source.score is None:
        return _of_recording(command, source, context)
    plan, notes = source.score
    after = edited_attributes(plan.attributes(), command)
    mode, energy = after.mode or plan.mode, plan.energy if after.energy is None else after.energy
    notes, plan = notes_in_mode(notes, plan, mode), plan_in_mode(plan, mode)
    steps = _at_most(command.amount or 0.0 if command.operation == "energy" else energy - plan.energy)
    if steps:
        notes[:, VELOCITY] = np.clip(notes[:, VELOCITY] + VELOCITY_STEP * steps, 20, 127)
        plan = _paced(plan, energy, steps)
    if steps > 0:
        plan, notes = _with_livelier_drums(plan, notes, context)
    elif steps < 0:
        plan, notes = _with_calmer_drums(plan, notes)
    return rendered(source, plan, notes, context.seed)


def _paced(plan: Plan, energy: int, steps: float) -> Plan:
    """The plan with another energy, and so many steps faster."""
    change = energy - plan.energy
    return plan.replace(
        tempo=float(np.clip(plan.tempo * TEMPO_STEP**steps, MIN_TEMPO, MAX_TEMPO)),
        energy=energy,
        sections=tuple(replace(s, energy=_class(s.energy + change)) for s in plan.sections),
    )


def _with_livelier_drums(plan: Plan, notes: np.ndarray, context: EditContext) -> tuple[Plan, np.ndarray]:
    """Drums written for the plan's present energy, in place of those that play or as new ones."""
    if plan.part("drums") is None:
        plan = plan.replace(parts=(*plan.parts, Part("drums", "drums")))
    given = {role: own for role, own in by_role(plan, notes).items() if role != "drums"}
    return plan, sort_notes(need_decoder(context).play(plan, given=given, roles=["drums"], seed=context.seed))


def _with_calmer_drums(plan: Plan, notes: np.ndarray) -> tuple[Plan, np.ndarray]:
    """Drums on the beats alone; none in calm music, unless nothing else plays."""
    others = [index for index, part in enumerate(plan.parts) if part.role != "drums"]
    if plan.energy <= CALM and others:
        return with_parts(plan, notes, others)
    on_beat = notes[:, ONSET] % BEAT_TICKS[plan.metre] == 0
    return plan, notes[np.isin(notes[:, PART], others) | on_beat]


def _of_recording(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    if command.operation == "energy":
        return _nudged(source, _at_most(command.amount or 0.0), context)
    mood = MOOD_WORDS[command.targets[0]]
    if mood.energy is None or (mood.mode is not None and mood.mode != source.analysis.mode):
        return replayed(command, source, context)
    present = MIDDLE if context.heard is None or context.heard.energy is None else context.heard.energy
    side = np.sign(mood.energy - MIDDLE) or np.sign(mood.energy - present)  # calmer is calmer, however calm it is
    return _nudged(source, _at_most(side * max(1.0, side * (mood.energy - present))), context)


def _at_most(steps: float) -> float:
    return float(np.clip(steps, -MAX_STEPS, MAX_STEPS))


def _nudged(source: EditSource, steps: float, context: EditContext) -> Music:
    """The recording ``steps`` livelier, or calmer where they are negative: at the same loudness, with other drums,
    another treble and another tempo. Where no drums are heard, livelier music gets some.
    """
    if not steps:
        return source.changed(source.audio)
    known = context.heard or context.target
    if steps > 0 and known is not None and known.drums is False:
        lively = replace(context.target or Attributes(), energy=_class(MIDDLE + steps))
        audio = add(EditCommand("add", ("drums",)), source, replace(context, target=lively)).audio
    else:
        stems = separate(source, with_melody=False)
        drums = stems.pop("drums") * np.float32(10 ** (steps * (STRONGER if steps > 0 else SOFTER) / 20))
        audio = np.sum([drums, *stems.values()], axis=0)
    audio = _tilted(audio, source.sample_rate, steps * SHELF)
    audio = stretch(as_loud(audio, source), source.sample_rate, TEMPO_STEP**steps)
    return source.changed(limited(audio, source.sample_rate))


def _class(energy: float) -> int:
    return int(np.clip(round(energy), 0, len(ENERGIES) - 1))


def _tilted(audio: np.ndarray, sample_rate: int, decibels: float) -> np.ndarray:
    """``audio`` with so many decibels more above CORNER, by a gentle slope."""
    from m2ugen.score.mixing import high_pass

    if sample_rate / 2.2 <= CORNER:
        return audio
    return audio + np.float32(10 ** (decibels / 20) - 1) * high_pass(audio, CORNER, sample_rate)


HANDLERS: dict[str, Handler] = {"energy": change_energy, "mood": change_energy}
