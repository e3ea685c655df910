"""Instrument, style and mode: the source's melody and chords, played differently.

Where the score is known, only what was asked changes in it. Of a recording the melody and the chords are transcribed
and a band plays them anew.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2ugen.edit.add import need_decoder
from m2ugen.edit.command import EditCommand
from m2ugen.edit.parts import BANDS, assign_parts
from m2ugen.edit.signal import fit_range
from m2ugen.edit.source import EditContext, EditSource, Handler, by_role, rendered
from m2ugen.edit.targets import edited_attributes
from m2ugen.errors import InputError
from m2ugen.model.decoders.base import Music
from m2ugen.score.attributes import Attributes, family_of
from m2ugen.score.lexicon_words import MOOD_WORDS
from m2ugen.score.notes import ONSET, PART, PITCH, sort_notes
from m2ugen.score.plan import Chord, Part, Plan
from m2ugen.score.wording import join

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_DIATONIC = {  # mode → root → quality of the triad on it
    "major": {0: "maj", 2: "min", 4: "min", 5: "maj", 7: "maj", 9: "min", 11: "dim"},
    "minor": {0: "min", 2: "dim", 3: "maj", 5: "min", 7: "min", 8: "maj", 10: "maj"},
}


def swap(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Another instrument in place of one that plays."""
    old, new = command.targets[:2]
    if source.score is None:
        return replayed(command, source, context)
    plan, notes = source.score
    indices = [i for i, part in enumerate(plan.parts) if part.instrument == old]
    indices = indices or [i for i, part in enumerate(plan.parts) if family_of(part.instrument) == family_of(old)]
    if not indices:
        playing = join([part.instrument for part in plan.parts])
        raise InputError(f"there is no {old} in this music to replace; it has {playing}")
    return _reinstrumented(source, plan, notes, dict.fromkeys(indices, new), context)


def give_lead(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Another instrument plays the melody."""
    if source.score is None:
        return replayed(command, source, context)
    plan, notes = source.score
    indices = [i for i, part in enumerate(plan.parts) if part.role == "melody"]
    if not indices:
        raise InputError("this music has no melody that an instrument could take over")
    return _reinstrumented(source, plan, notes, dict.fromkeys(indices, command.targets[0]), context)


def _reinstrumented(
    source: EditSource, plan: Plan, notes: np.ndarray, new: dict[int, str], context: EditContext
) -> Music:
    drums = [name for index, name in new.items() if (name == "drums") != (plan.parts[index].role == "drums")]
    if drums:
        raise InputError("drums and pitched instruments cannot take each other's part; add or remove drums instead")
    notes = notes.copy()
    for index, name in new.items():
        own = notes[:, PART] == index
        if own.any() and name != "drums":
            notes[own, PITCH] = fit_range(notes[own, PITCH], name)
    parts = tuple(Part(part.role, new.get(i, part.instrument)) for i, part in enumerate(plan.parts))
    return rendered(source, plan.replace(parts=parts), sort_notes(notes), context.seed)


def change_mode(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Major becomes minor or the reverse: each degree of the scale keeps its place."""
    mode = command.targets[0]
    if source.score is None:
        return replayed(command, source, context)
    plan, notes = source.score
    if plan.mode == mode:
        return source.changed(source.audio, keep_score=True)
    return rendered(source, plan_in_mode(plan, mode), notes_in_mode(notes, plan, mode), context.seed)


def plan_in_mode(plan: Plan, mode: str) -> Plan:
    """The plan with its chords moved to the same degrees of the other mode."""
    if plan.mode == mode:
        return plan
    sections = tuple(
        replace(s, chords=tuple(_chord_in_mode(c, plan.mode, mode) for c in s.chords)) for s in plan.sections
    )
    return plan.replace(mode=mode, sections=sections)


def _chord_in_mode(chord: Chord | None, before: str, after: str) -> Chord | None:
    if chord is None or chord.root not in SCALES[before]:
        return chord
    root = SCALES[after][SCALES[before].index(chord.root)]
    diatonic = chord.quality[:3] == _DIATONIC[before][chord.root][:3]
    if not diatonic:  # a dominant stays a dominant
        return Chord(root, chord.quality)
    seventh = chord.quality in ("maj7", "min7", "7")
    quality = _DIATONIC[after][root]
    if seventh:
        quality = {"maj": "maj7", "min": "min7", "dim": "hdim7"}[quality]
    return Chord(root, quality)


def notes_in_mode(notes: np.ndarray, plan: Plan, mode: str) -> np.ndarray:
    """Pitches moved to the same degrees of the other mode; the leading note to the tonic stays raised."""
    changed = notes.copy()
    table = np.arange(12)
    for before, after in zip(SCALES[plan.mode], SCALES[mode]):
        table[before] = after
    for index, part in enumerate(plan.parts):
        own = np.flatnonzero(notes[:, PART] == index)
        if part.role == "drums" or not len(own):
            continue
        for row in own.tolist():
            chord = plan.chord_at(int(notes[row, ONSET]))
            degree = int(notes[row, PITCH] - plan.tonic) % 12
            dominant = chord is not None and chord.root == 7 and chord.quality in ("7", "maj", "9")
            if degree == 11 and dominant and plan.mode == "major":
                continue
            changed[row, PITCH] = notes[row, PITCH] + table[degree] - degree
    return changed


def change_genre(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Melody and chords stay; a band of the other style accompanies them."""
    if source.score is None:
        return replayed(command, source, context)
    plan, notes = source.score
    band = BANDS[command.targets[0]]
    new = plan.replace(genre=command.targets[0], parts=assign_parts(band, band[0]))
    given = {}
    tune = by_role(plan, notes).get("melody")
    player = new.part("melody")
    if tune is not None and player is not None:
        tune = tune.copy()
        tune[:, PITCH] = fit_range(tune[:, PITCH], player.instrument)
        given["melody"] = tune
    return _played(source, new, given, context)


def _played(source: EditSource, plan: Plan, given: dict[str, np.ndarray], context: EditContext) -> Music:
    """The plan with the given roles, all others written anew."""
    roles = [part.role for part in plan.parts if part.role not in given]
    notes = need_decoder(context).play(plan, given=given, roles=roles, seed=context.seed)
    return rendered(source, plan, sort_notes(notes), context.seed)


def replayed(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """A recording's melody and chords, played by a band that suits the expected result."""
    need_decoder(context)  # before the long analysis
    analysis = source.analysis
    target = context.target or Attributes()
    genre = command.targets[0] if command.operation == "genre" else target.genre or "pop"
    heard = set(target.instruments) - {"drums"}  # drums alone cannot play a tune
    band = BANDS[genre] if command.operation == "genre" or not heard else target.instruments
    pitched = tuple(name for name in band if name != "drums")
    if target.drums is False:
        band = pitched
    lead: str | None = target.lead if target.lead in pitched else pitched[0]
    # What the language model expects may already hold the change; making it twice does no harm.
    before = Attributes(mode=analysis.mode, instruments=band, lead=lead, energy=target.energy)
    asked = edited_attributes(before, command)
    lead, instruments = asked.lead, asked.instruments
    if command.operation == "swap" and command.targets[1] not in instruments:
        new = command.targets[1]
        lead = new if family_of(new) not in ("bass", "drums") else lead
        instruments = (new, *(name for name in instruments if name != before.lead or lead != new))
    parts = assign_parts(instruments, lead)
    energy = asked.energy if asked.energy is not None else 2
    plan = analysis.plan(parts, genre, energy)
    mode = _wanted_mode(command) or plan.mode
    given = {}
    player = plan.part("melody")
    if player is not None and len(analysis.melody):
        tune = analysis.melody.copy()
        tune[:, PART] = plan.parts.index(player)
        if mode != plan.mode:
            tune = notes_in_mode(tune, plan, mode)
        tune[:, PITCH] = fit_range(tune[:, PITCH], player.instrument)
        given["melody"] = tune
    return _played(source, plan_in_mode(plan, mode), given, context)


def _wanted_mode(command: EditCommand) -> str | None:
    if command.operation == "mode":
        return command.targets[0]
    return MOOD_WORDS[command.targets[0]].mode if command.operation == "mood" else None


HANDLERS: dict[str, Handler] = {
    "swap": swap,
    "lead": give_lead,
    "mode": change_mode,
    "genre": change_genre,
}
