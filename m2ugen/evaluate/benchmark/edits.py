"""Edits whose outcome can be measured in the sound, in turn, with an instruction and the attributes afterwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m2ugen.edit.command import EditCommand
from m2ugen.edit.targets import edited_attributes
from m2ugen.score.attributes import Attributes, family_of

ADDABLE = ("piano", "strings", "flute", "acoustic guitar", "organ")
Maker = Callable[[np.random.Generator, Attributes], tuple[str, EditCommand] | None]


def _drums(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand]:
    if known.drums:
        return "remove the drums", EditCommand("remove", ("drums",))
    return "add drums", EditCommand("add", ("drums",))


def _tempo(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand]:
    amount = float(rng.choice([80.0, 125.0]))
    return ("slow it down by 20 %" if amount < 100 else "speed it up by 25 %"), EditCommand("tempo", (), amount)


def _transpose(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand]:
    steps = int(rng.choice([-4, -3, -2, 2, 3, 4]))
    return f"transpose it {'up' if steps > 0 else 'down'} by {abs(steps)} semitones", EditCommand(
        "transpose", (), float(steps)
    )


def _add(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand] | None:
    families = {family_of(name) for name in known.instruments}
    free = [name for name in ADDABLE if family_of(name) not in families]
    if not free:
        return None
    name = str(rng.choice(free))
    return f"add {'' if name == 'strings' else 'a ' if name[0] not in 'aeiou' else 'an '}{name}", EditCommand(
        "add", (name,)
    )


def _mode(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand]:
    mode = "major" if known.mode == "minor" else "minor"
    return f"change it to a {mode} key", EditCommand("mode", (mode,))


def _volume(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand]:
    return "make it 9 dB quieter", EditCommand("volume", (), -9.0)


def _energy(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand]:
    up = (known.energy if known.energy is not None else 2) < 3
    return ("make it more energetic" if up else "make it less energetic"), EditCommand(
        "energy", (), 1.0 if up else -1.0
    )


def _length(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand]:
    return "make it 8 seconds long", EditCommand("length", (), 8.0)


def _fade(rng: np.random.Generator, known: Attributes) -> tuple[str, EditCommand]:
    return "fade out over 4 seconds", EditCommand("fade out", (), 4.0)


MAKERS: tuple[Maker, ...] = (_drums, _tempo, _add, _transpose, _mode, _drums, _energy, _volume, _length, _fade)


def sample_instruction(rng: np.random.Generator, known: Attributes, number: int) -> tuple[str, EditCommand, Attributes]:
    """The instruction of item ``number`` for music with attributes ``known``, its command, and what is wanted."""
    made = MAKERS[number % len(MAKERS)](rng, known) or _tempo(rng, known)
    instruction, command = made
    return instruction, command, edited_attributes(known, command)
