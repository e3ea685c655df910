"""Writing a plan: token by token with the PlanWriter, under the demands of the conditioning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from m2ugen.errors import InputError
from m2ugen.model.decoders.score.config import SamplingConfig
from m2ugen.model.decoders.score.plan_controls import Controls
from m2ugen.model.decoders.score.plan_tokens import BEGIN, HEADER, KIND_OFFSET, KINDS, MAX_PLAN_BARS, Grammar
from m2ugen.model.decoders.score.plan_writer import PlanWriter
from m2ugen.model.decoders.score.sampling import draw
from m2ugen.score.plan import CHORDS_PER_BAR, Chord, Plan, Section

MAX_PLAN_TOKENS = len(HEADER) + MAX_PLAN_BARS * 6 + 1
SHORTEST, LONGEST = 1.0, 1800.0  # seconds
RETURN_SECONDS = 45.0  # from which on a piece comes back to its beginning
RETURN_BARS = 4  # of a return, at least
INTRO_BARS = 4
INTRO_RESTS = ("melody", "drums")
RING_SHARE, LONGEST_RING = 0.06, 1.5  # of the duration, in seconds: kept for the last chord to die away


@torch.no_grad()
def write_plan(
    writer: PlanWriter,
    conditioning: np.ndarray,
    duration: float,
    seed: int,
    sampling: SamplingConfig,
    ending: bool = True,
) -> Plan:
    """A plan whose bars (and the ring of its last chord, if it has an ``ending``) fill ``duration`` seconds.

    ``conditioning`` is float [NUM_SLOTS, SLOT_DIM]. The guidance scale applies to the header and the sections'
    energies; chords and form follow the conditioned prediction as it is. Raises InputError for an unusable duration.
    """
    if not SHORTEST <= duration <= LONGEST:
        raise InputError(f"a duration of {duration} seconds is not possible; choose {SHORTEST:g} to {LONGEST:g}")
    rng = np.random.default_rng((seed, 0))
    seconds = duration - (min(LONGEST_RING, RING_SHARE * duration) if ending else 0.0)
    controls = Controls(conditioning, seconds)
    grammar = Grammar()
    memory = torch.from_numpy(np.stack((conditioning, np.zeros_like(conditioning)))).float()
    cache = writer.new_cache(2, MAX_PLAN_TOKENS)
    token = BEGIN
    while (kind := grammar.kind) is not None:
        states = torch.tensor(grammar.state()).view(1, 1, 3).expand(2, -1, -1)
        logits = writer(torch.full((2, 1), token), states, memory, cache)[:, 0].numpy()
        logits = logits[:, KIND_OFFSET[kind] : KIND_OFFSET[kind] + KINDS[kind]].astype(np.float64)
        scale = sampling.guidance_scale if kind in HEADER or kind == "section_energy" else 1.0
        guided = logits[1] + scale * (logits[0] - logits[1])
        bias = controls.bias(kind, grammar)
        if kind == "ending":
            bias = np.where(np.arange(2) == int(ending), 0.0, -np.inf)
        warmth = sampling.chord_temperature if kind == "chord" else sampling.plan_temperature
        value = draw(guided - guided.max() + bias, rng, warmth, sampling.top_p, np.isfinite(bias))
        token = KIND_OFFSET[kind] + value
        grammar.take(value)
    plan = replace(grammar.plan(), tempo=controls.tempo(grammar))
    plan = with_return(lengthened(plan, controls.bars(grammar)))
    return with_intro(with_cadence(plan) if ending else plan).validated()


def lengthened(plan: Plan, bars: int) -> Plan:
    """The plan with its form repeated until it has exactly ``bars`` bars.

    What is too long is taken off the end of the first section of the last rounds, so that every round closes.
    """
    if bars <= plan.bars:
        return plan
    rounds = -(-bars // plan.bars)
    surplus = rounds * plan.bars - bars
    sections: list[Section] = list(plan.sections)
    for index in range(1, rounds):
        for section in plan.sections:
            cut = min(surplus, section.bars if index == rounds - 1 and len(plan.sections) > 1 else section.bars - 1)
            if section is plan.sections[-1]:
                cut = min(surplus, section.bars - 1)
            surplus -= cut
            if section.bars > cut:
                sections.append(section.first(section.bars - cut))
    return replace(plan, sections=tuple(sections))


def with_return(plan: Plan) -> Plan:
    """A long plan none of whose sections comes back, with its first section again in place of the last one, or of as
    many bars at its end as a return takes. Others are left as they are.
    """
    letters = [section.letter for section in plan.sections]
    first = plan.sections[0]
    if plan.duration < RETURN_SECONDS or len(set(letters)) < len(letters) or plan.bars < first.bars + 2 * RETURN_BARS:
        return plan
    bars = min(max(plan.sections[-1].bars, RETURN_BARS), first.bars, plan.bars - first.bars - RETURN_BARS)
    kept, left = list[Section](), plan.bars - bars
    for section in plan.sections:
        own = min(section.bars, left)
        if own > 0:
            kept.append(section.first(own))
        left -= own
    return replace(plan, sections=(*kept, first.first(bars)))


def with_intro(plan: Plan) -> Plan:
    """A long plan that begins with some bars of its first section in which the tune and the drums rest. As many bars go
    elsewhere: at the end of the longest section, or else an inner section of that length. Others are left as they are.
    """
    first = plan.sections[0]
    resting = tuple(role for role in INTRO_RESTS if plan.part(role) is not None)
    if plan.duration < RETURN_SECONDS or len(plan.parts) == len(resting) or first.bars < INTRO_BARS:
        return plan
    if (sections := _without_bars(plan, INTRO_BARS)) is None:
        return plan
    intro = replace(first.first(INTRO_BARS), energy=max(first.energy - 1, 0), resting=resting)
    return replace(plan, sections=(intro, *sections))


def _without_bars(plan: Plan, bars: int) -> list[Section] | None:
    """The sections with ``bars`` bars less, or None where that would spoil the form."""
    sections, slots = list(plan.sections), CHORDS_PER_BAR[plan.metre]
    longest = max(range(len(sections)), key=lambda index: (sections[index].bars, index))
    if sections[longest].bars < 2 * bars:
        inner = [index for index, section in enumerate(sections[:-1]) if index and section.bars == bars]
        return sections[: inner[-1]] + sections[inner[-1] + 1 :] if len(inner) > 1 else None
    whole = sections[longest]
    kept = whole.first(whole.bars - bars)
    if longest == len(sections) - 1:  # its last bar closes the piece
        kept = replace(kept, chords=kept.chords[:-slots] + whole.chords[-slots:])
    sections[longest] = kept
    return sections


def with_cadence(plan: Plan) -> Plan:
    """The plan with the tonic chord through its last bar."""
    return plan.closed_on(Chord(0, "maj" if plan.mode == "major" else "min"))
