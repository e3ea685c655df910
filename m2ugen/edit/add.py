"""Adding players: only the new part is written, on the source's own beats, key and chords, and mixed to it."""

from __future__ import annotations

import numpy as np

from m2ugen.edit.command import EditCommand
from m2ugen.edit.parts import free_role
from m2ugen.edit.source import EditContext, EditSource, Handler, as_loud, by_role, limited, rendered
from m2ugen.errors import InputError
from m2ugen.media.audio import with_channels
from m2ugen.model.decoders.base import Music, Player
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, VELOCITY, sort_notes
from m2ugen.score.plan import Part, Plan

LEVELS = {"melody": -5.0, "bass": -6.0, "chords": -8.0, "arpeggio": -8.0, "pad": -9.0, "drums": -5.0}  # dB (LUFS)
REVERB_SEND = {"drums": 0.3, "bass": 0.05}  # others 0.8


def add(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """The source with new players; the source itself stays as it is (apart from a limiter on the sum's peaks)."""
    decoder = need_decoder(context)
    if source.score is not None:
        plan, notes = source.score
        given = by_role(plan, notes)
        plan, roles = _extended(plan, command.targets)
        notes = decoder.play(plan, given=given, roles=roles, seed=context.seed)
        return rendered(source, plan, sort_notes(notes), context.seed)
    analysis = source.analysis
    target = context.target
    genre = (target.genre if target else None) or "pop"
    energy = target.energy if target is not None and target.energy is not None else 2
    lead = Part("melody", _lead(context))
    given = {"melody": analysis.melody} if len(analysis.melody) else {}
    base = analysis.plan((lead,), genre, energy)
    plan, roles = _extended(base, command.targets, heard=bool(given))
    notes = decoder.play(plan, given=given, roles=roles, seed=context.seed)
    audio = source.audio
    for role in roles:
        audio = audio + part_sound(source, plan, notes, role, context.seed)[:, : audio.shape[-1]]
    changed = source.changed(limited(audio, source.sample_rate))
    if source.midi is not None and len(analysis.melody) == len(analysis.notes):  # one line, which is all that played
        changed.plan, changed.notes = plan, sort_notes(notes)
    return changed


def need_decoder(context: EditContext) -> Player:
    """The score decoder, or InputError where the model has none."""
    if context.decoder is None:
        raise InputError("this edit writes new notes, which needs a model whose decoder composes (for example nano)")
    return context.decoder


def _lead(context: EditContext) -> str:
    lead = context.target.lead if context.target is not None else None
    return lead if lead is not None and lead != "drums" else "piano"


def _extended(plan: Plan, instruments: tuple[str, ...], heard: bool = True) -> tuple[Plan, list[str]]:
    """The plan with further players and the roles that these take; ``heard`` says that its melody exists."""
    parts = list(plan.parts) if heard else []
    roles = []
    for name in instruments:
        role = free_role(name, [part.role for part in parts])
        if role is None and any(part.instrument == name for part in parts):
            raise InputError(f"{name} already {'play' if name == 'drums' else 'plays'} in it")
        if role is None:
            raise InputError(f"there is no room for {name} beside {', '.join(part.instrument for part in parts)}")
        parts.append(Part(role, name))
        roles.append(role)
    return plan.replace(parts=tuple(parts)), roles


def part_sound(source: EditSource, plan: Plan, notes: np.ndarray, role: str, seed: int) -> np.ndarray:
    """One written part as it belongs into the recording, float32 [channels, samples], samples as the source.

    Ticks become seconds by the recording's own beats, so that the part follows its tempo; its loudness is LEVELS
    below the recording's.
    """
    from m2ugen.score.mixing import DEFAULT_ROOM, ROOMS, reverberate
    from m2ugen.score.soundfont import load_synthesizer, soundfont_path
    from m2ugen.score.synthesis import render_track, voice

    index = next(i for i, part in enumerate(plan.parts) if part.role == role)
    own = notes[notes[:, PART] == index]
    rate, (channels, samples) = source.sample_rate, source.audio.shape
    played = np.empty((len(own), 4))
    played[:, 0] = source.analysis.seconds_at(own[:, ONSET])
    played[:, 1] = source.analysis.seconds_at(own[:, ONSET] + own[:, DURATION])
    played[:, 2], played[:, 3] = own[:, PITCH], own[:, VELOCITY]
    played = played[(played[:, 0] >= 0.0) & (played[:, 0] < samples / rate)]
    if not len(played):
        return np.zeros((channels, samples), dtype=np.float32)
    synthesizer = load_synthesizer(soundfont_path(None), rate)
    sound = render_track(played, *voice(plan, plan.parts[index]), synthesizer, samples, rate)
    room = ROOMS.get(plan.genre, DEFAULT_ROOM)
    sound = sound + reverberate(sound.mean(axis=0) * np.float32(REVERB_SEND.get(role, 0.8)), room, rate)
    return as_loud(with_channels(sound, channels), source, LEVELS[role])


HANDLERS: dict[str, Handler] = {"add": add}
