"""Drum fills: what leads from one section of the form into the next, by rule.

The grooves that the network learnt from go round without end. A drummer marks where the form turns: the last beat or
two of a section become a run over snare and toms, and the next section begins with a crash.
"""

from __future__ import annotations

import numpy as np

from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, VELOCITY
from m2ugen.score.plan import BEAT_TICKS, TICKS_PER_BEAT, Plan, Section

KICK, SNARE, CRASH = 36, 38, 49
LOW_TOM, MID_TOM, HIGH_TOM = 45, 47, 50
HAND_HITS = (42, 44, 46, 51, 53, 59)  # hats and rides, whose place a crash takes
RUNS = (  # one key for each quarter of the way through a fill
    (SNARE, HIGH_TOM, MID_TOM, LOW_TOM),
    (SNARE, SNARE, HIGH_TOM, LOW_TOM),
    (HIGH_TOM, SNARE, MID_TOM, LOW_TOM),
    (SNARE, SNARE, SNARE, LOW_TOM),
)
WITHOUT = ("classical",)  # genres whose percussion plays no fills
SHORTEST = 4  # bars of a section at whose end there is one
LIVELY = 3  # energy of the next section from which on a fill takes two beats and is struck in sixteenths
CALM = 1  # energy of the next section up to which there is no crash
GROWTH = 18  # velocity that a fill gains on its way
MINIMUM = 40  # velocity of its first stroke, at least


def with_fills(notes: np.ndarray, plan: Plan) -> np.ndarray:
    """``notes`` int32 [n, 5] with a fill at the end of every section that is long enough, if drums play in it and do
    not rest in the next. Bass drums within a fill stay. What comes before a turn does not depend on what follows it,
    so a piece can be heard while the rest is still written.
    """
    part = plan.part("drums")
    if part is None or plan.genre in WITHOUT:
        return notes
    drums, turn = plan.parts.index(part), 0
    for number, (section, following) in enumerate(zip(plan.sections, plan.sections[1:])):
        turn += section.bars * plan.bar_ticks
        if section.bars >= SHORTEST and "drums" not in following.resting:
            notes = _with_fill(notes, plan, drums, turn, number, following)
    return notes


def _with_fill(notes: np.ndarray, plan: Plan, drums: int, turn: int, number: int, following: Section) -> np.ndarray:
    beat = BEAT_TICKS[plan.metre]
    own = notes[:, PART] == drums
    before = own & (notes[:, ONSET] >= turn - plan.bar_ticks) & (notes[:, ONSET] < turn)
    if not before.any():
        return notes
    lively = following.energy >= LIVELY
    length = 2 * beat if lively and plan.metre == "4/4" else beat
    step = TICKS_PER_BEAT // 4 if lively else TICKS_PER_BEAT // 2
    begin = turn - length
    strength = max(int(notes[before, VELOCITY].mean()), MINIMUM)
    run = RUNS[number % len(RUNS)]
    strokes = []
    for onset in range(begin, turn, step):
        way = (onset - begin) / length
        strokes.append((onset, drums, run[int(way * len(run))], step, min(strength + round(GROWTH * way), 127)))
    gone = before & (notes[:, ONSET] >= begin) & (notes[:, PITCH] != KICK)
    first = own & (notes[:, ONSET] == turn)
    if following.energy > CALM and first.any():
        gone |= first & np.isin(notes[:, PITCH], HAND_HITS)
        keys = [CRASH] if (first & (notes[:, PITCH] == KICK)).any() else [CRASH, KICK]
        loud = min(strength + GROWTH, 127)
        strokes += [(turn, drums, key, beat, loud) for key in keys if not (first & (notes[:, PITCH] == key)).any()]
    kept = notes[~gone].copy()
    ringing = (kept[:, PART] == drums) & (kept[:, ONSET] < begin)
    kept[ringing, DURATION] = np.minimum(kept[ringing, DURATION], np.maximum(begin - kept[ringing, ONSET], 1))
    return np.concatenate([kept, np.array(strokes, dtype=kept.dtype)])
