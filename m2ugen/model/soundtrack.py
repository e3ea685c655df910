"""Music that goes along with a video: each section of a plan as energetic as the pictures that it plays under."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np

from m2ugen.media.video import Frames
from m2ugen.model.encoders.appearance import clip_energy, look, moves
from m2ugen.score.attributes import ENERGIES
from m2ugen.score.plan import CHORDS_PER_BAR, Plan, Section

STEP = 1.0  # seconds between the values of an energy curve
SPAN, LEAST_PICTURES = 2.0, 6  # of seconds and pictures that a value is taken from
SWING = 1.6 * len(ENERGIES)  # levels of energy for the whole range of the curve
LARGEST_SWING = 2  # levels away from the energy of the piece
SPLIT = 0.12  # change of the curve inside a section from which it is worth two sections
SHORTEST_SECTION = 2  # bars


def energy_curve(clip: Frames) -> np.ndarray:
    """The energy in (0, 1) that the pictures of ``clip`` suggest by their look, motion and cuts, one value for each
    STEP of its duration, float64 [steps]."""
    looks = np.stack([look(picture) for picture in clip.array])  # [n, looks]
    steps = max(int(np.ceil(clip.duration / STEP)), 1)
    values = np.empty(steps)
    for index in range(steps):
        distance = np.abs(clip.timestamps - (index + 0.5) * STEP)
        near = np.flatnonzero(distance <= SPAN / 2)
        if len(near) < LEAST_PICTURES:
            near = np.sort(np.argsort(distance, kind="stable")[:LEAST_PICTURES])
        values[index] = clip_energy(looks[near].mean(axis=0), moves(clip.array[near], clip.timestamps[near]))
    return values


def follow_clip(plan: Plan, clip: Frames) -> Plan:
    """``plan`` with its sections' energies led by the course of ``clip``, about the energy of the piece.

    A section during which the pictures change much is cut in two, at the bar where they do.
    """
    curve = energy_curve(clip)
    bar_seconds = plan.bar_ticks * plan.seconds_per_tick
    centres = (np.arange(plan.bars) + 0.5) * bar_seconds
    bars = np.interp(centres, (np.arange(len(curve)) + 0.5) * STEP, curve)  # the curve, bar by bar
    letters = _Letters(plan)
    sections: list[Section] = []
    first = 0
    for section in plan.sections:
        for begin, end in _pieces(bars[first : first + section.bars]):
            swing = SWING * (bars[first + begin : first + end].mean() - bars.mean())
            level = plan.energy + int(np.clip(round(float(swing)), -LARGEST_SWING, LARGEST_SWING))
            slots = CHORDS_PER_BAR[plan.metre]
            sections.append(
                Section(
                    letters.of(section.letter, begin),
                    end - begin,
                    min(max(level, 0), len(ENERGIES) - 1),
                    section.chords[begin * slots : end * slots],
                )
            )
        first += section.bars
    return replace(plan, sections=tuple(sections)).validated()


def _pieces(bars: np.ndarray, begin: int = 0) -> list[tuple[int, int]]:
    """Where to cut a section whose bars have these energies, as (begin, end) in bars."""
    whole = [(begin, begin + len(bars))]
    places = range(SHORTEST_SECTION, len(bars) - SHORTEST_SECTION + 1)
    if not places:
        return whole
    change = [abs(bars[:place].mean() - bars[place:].mean()) for place in places]
    if max(change) < SPLIT:
        return whole
    place = places[int(np.argmax(change))]
    return _pieces(bars[:place], begin) + _pieces(bars[place:], begin + place)


class _Letters:
    """Names for the pieces of sections: the beginning keeps its letter, what begins later in it gets one of its own."""

    def __init__(self, plan: Plan) -> None:
        used = {section.letter for section in plan.sections}
        self._free = (letter for letter in map(chr, count(ord("A"))) if letter not in used)
        self._given: dict[tuple[str, int], str] = {}

    def of(self, letter: str, begin: int) -> str:
        if begin == 0:
            return letter
        if (letter, begin) not in self._given:
            self._given[letter, begin] = next(self._free)
        return self._given[letter, begin]
