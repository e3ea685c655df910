"""The table of edits, and the one call that carries an edit out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m2ugen.edit import add, effects, energy, extend, infill, restyle, separate, signal
from m2ugen.edit.command import EditCommand, parse_phrase
from m2ugen.edit.instructions import read_instruction, says_amount
from m2ugen.edit.source import EditContext, EditSource, Handler
from m2ugen.errors import InputError
from m2ugen.model.decoders.base import Music, Player, Progress
from m2ugen.score.attributes import Attributes

if TYPE_CHECKING:
    from symusic import Score

_HANDLERS: dict[str, Handler] = {  # one line for each family of edits
    **signal.HANDLERS,
    **effects.HANDLERS,
    **separate.HANDLERS,
    **add.HANDLERS,
    **restyle.HANDLERS,
    **energy.HANDLERS,
    **infill.HANDLERS,
    **extend.HANDLERS,
}
OPERATIONS = tuple(_HANDLERS)
NEW_NOTES = frozenset(
    (*add.HANDLERS, *restyle.HANDLERS, *energy.HANDLERS, *infill.HANDLERS, *extend.HANDLERS)
)  # operations that need a decoder which composes
NEUTRAL_AMOUNT = {"tempo": 100.0}  # per cent; the others change nothing at 0
HELP = (
    "add, remove, keep only or replace an instrument; change tempo, key, mode, style, mood, energy, length or volume; "
    "write a part or some of its bars anew, continue, fade in or out, repeat, reverse, reverb, echo, filter, "
    "telephone, distortion"
)


def find_command(instruction: str, reply: str = "") -> EditCommand | None:
    """The command of the model's ``reply`` if it begins with a canonical phrase, else what the rules read, else None.

    Where the rules read the instruction too and come to another operation, other targets or the other direction, they
    win: a small model may write "115 %" for "slower". So they do where the instruction itself says how much.
    """
    said, read = parse_phrase(reply), read_instruction(instruction)
    if said is None or read is None:
        return said or read
    return said if _agree(said, read) and not says_amount(instruction) else read


def resolve(instruction: str, reply: str = "") -> EditCommand:
    """As ``find_command``, but raises InputError for an instruction that is no known edit."""
    command = find_command(instruction, reply)
    if command is None:
        raise InputError(f"cannot tell what to change from {instruction!r}; possible: {HELP}")
    return command


def _agree(one: EditCommand, other: EditCommand) -> bool:
    """Whether two commands mean the same, apart from how much."""
    if one.operation != other.operation or set(one.targets) != set(other.targets) or one.bars != other.bars:
        return False
    neutral = NEUTRAL_AMOUNT.get(one.operation, 0.0)
    return ((one.amount or 0.0) > neutral) == ((other.amount or 0.0) > neutral)


def apply_edit(
    command: EditCommand,
    source: Music,
    decoder: Player | None = None,
    target: Attributes | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    midi: Score | None = None,
    heard: Attributes | None = None,
) -> Music:
    """Carry out ``command`` on ``source`` and keep everything else.

    ``source`` with a plan and notes is edited in its score; else its audio is used, and what is known of its notes from
    the ``midi`` file that it was. ``decoder`` writes new notes where an edit needs them (``play``); ``target`` is what
    the result should be like (the language model's conditioning), which chooses the band where a recording is played
    anew; ``heard`` is what the source is heard to be like. Same arguments, same samples.

    Raises InputError for edits that are impossible on this music.
    """
    if source.audio.size == 0:
        raise InputError("the music is empty; give a recording with sound in it")
    if progress is not None:
        progress(0.0)
    context = EditContext(decoder, target, seed, heard)
    music = _HANDLERS[command.operation](command, EditSource(source, midi), context)
    if progress is not None:
        progress(1.0)
    return music
