"""Writing a part anew, whole or in some bars, while everything else stays to the note."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2ugen.edit.add import need_decoder
from m2ugen.edit.command import EditCommand
from m2ugen.edit.source import EditContext, EditSource, Handler, by_role, rendered
from m2ugen.errors import InputError
from m2ugen.model.decoders.base import Music
from m2ugen.score.notes import DURATION, ONSET, PART, sort_notes
from m2ugen.score.plan import Plan, Section
from m2ugen.score.wording import join


def infill(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """New notes for the named players in the named bars; the other players and bars keep theirs.

    Raises InputError for a recording, whose parts cannot be told apart, for players that it does not have and for bars
    beyond its end.
    """
    decoder = need_decoder(context)
    if source.score is None:
        raise InputError("only parts of music that m2ugen has composed can be written anew; add an instrument instead")
    plan, notes = source.score
    roles = _roles(command, plan)
    first, last = command.bars or (1, plan.bars)
    if last > plan.bars:
        raise InputError(f"the piece has {plan.bars} bars, so bar {last} cannot be written anew")
    begin, end = (first - 1) * plan.bar_ticks, last * plan.bar_ticks
    plan = _awake(plan, roles, first - 1, last)
    given = {role: own for role, own in by_role(plan, notes).items() if role not in roles}
    written = decoder.play(plan, given=given, roles=roles, seed=context.seed)
    own = np.isin(notes[:, PART], [plan.parts.index(part) for part in plan.parts if part.role in roles])
    kept = notes[~(own & (notes[:, ONSET] >= begin) & (notes[:, ONSET] < end))].copy()
    held = (kept[:, ONSET] < begin) & np.isin(kept[:, PART], np.unique(notes[own, PART]))  # may ring into the new bars
    kept[held, DURATION] = np.minimum(kept[held, DURATION], begin - kept[held, ONSET])
    anew = np.isin(written[:, PART], [plan.parts.index(part) for part in plan.parts if part.role in roles])
    fresh = written[anew & (written[:, ONSET] >= begin) & (written[:, ONSET] < end)].copy()
    if last < plan.bars:
        fresh[:, DURATION] = np.minimum(fresh[:, DURATION], end - fresh[:, ONSET])
    return rendered(source, plan, sort_notes(np.concatenate([kept, fresh])), context.seed)


def _roles(command: EditCommand, plan: Plan) -> list[str]:
    roles = [part.role for part in plan.parts if {part.role, part.instrument} & set(command.targets)]
    if not roles:
        playing = join([f"{part.instrument} ({part.role})" for part in plan.parts])
        raise InputError(f"there is no {join(command.targets)} in this music to write anew; it has {playing}")
    return roles


def _awake(plan: Plan, roles: list[str], begin: int, end: int) -> Plan:
    """``plan`` in which no section with bars from ``begin`` to before ``end`` lets one of ``roles`` rest."""
    sections, start = list[Section](), 0
    for section in plan.sections:
        touched = start < end and start + section.bars > begin
        left = tuple(role for role in section.resting if role not in roles)
        sections.append(replace(section, resting=left) if touched else section)
        start += section.bars
    return plan.replace(sections=tuple(sections))


HANDLERS: dict[str, Handler] = {"infill": infill}
