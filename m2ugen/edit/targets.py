"""What music is like after an edit: attributes before and a command give attributes after."""

from __future__ import annotations

from dataclasses import replace

from m2ugen.edit.command import EditCommand
from m2ugen.score.attributes import ENERGIES, MAX_TEMPO, MIN_TEMPO, Attributes
from m2ugen.score.lexicon import pitch_class
from m2ugen.score.lexicon_words import MOOD_WORDS


def edited_attributes(attributes: Attributes, command: EditCommand) -> Attributes:
    """``attributes`` after ``command``; effects, length and volume leave them as they are."""
    first = command.targets[0] if command.targets else ""
    amount = command.amount or 0.0
    match command.operation:
        case "add" | "remove" | "solo" | "swap" | "lead":
            return _edited_players(attributes, command)
        case "tempo" if attributes.tempo is not None:
            return replace(attributes, tempo=min(max(attributes.tempo * amount / 100.0, MIN_TEMPO), MAX_TEMPO))
        case "bpm":
            return replace(attributes, tempo=min(max(amount, MIN_TEMPO), MAX_TEMPO))
        case "transpose" if attributes.tonic is not None:
            return replace(attributes, tonic=int(attributes.tonic + amount) % 12)
        case "key":
            tonic, _, mode = first.partition(" ")
            return replace(attributes, tonic=pitch_class(tonic), mode=mode or attributes.mode)
        case "mode":
            return replace(attributes, mode=first)
        case "genre":
            return replace(attributes, genre=first)
        case "energy":
            before = attributes.energy if attributes.energy is not None else 2
            return replace(attributes, energy=int(min(max(before + amount, 0), len(ENERGIES) - 1)))
        case "mood":
            hint = MOOD_WORDS[first]
            energy = attributes.energy if hint.energy is None else hint.energy
            return replace(attributes, mode=hint.mode or attributes.mode, energy=energy)
        case _:
            return attributes


def _edited_players(attributes: Attributes, command: EditCommand) -> Attributes:
    names, lead, targets = list(attributes.instruments), attributes.lead, command.targets
    match command.operation:
        case "add":
            names += [name for name in targets if name not in names]
        case "remove":
            names = [name for name in names if name not in targets]
            lead = None if lead in targets else lead
        case "solo":
            names = list(targets)
            lead = lead if lead in targets else None
        case "swap":
            names = [targets[1] if name == targets[0] else name for name in names] or [targets[1]]
            lead = targets[1] if lead == targets[0] else lead
        case _:
            names = [targets[0] if name == lead else name for name in names] or [targets[0]]
            lead = targets[0]
    instruments = tuple(dict.fromkeys(names))
    drums = True if "drums" in instruments else False if attributes.drums is not None else None
    if command.operation in ("remove", "solo") and "drums" not in instruments:
        drums = False
    excluded = tuple(name for name in attributes.excluded if name not in instruments)
    if command.operation == "remove":
        excluded = tuple(dict.fromkeys((*excluded, *targets)))
    return replace(attributes, instruments=instruments, lead=lead, drums=drums, excluded=excluded)
