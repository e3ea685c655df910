"""The form of a song: where phrases begin, which stretches are the same material, and how energetic each one is."""

from __future__ import annotations

import numpy as np

from m2ugen.data.nano.songs import Song, cut_notes
from m2ugen.score.attributes import GENRES
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, VELOCITY
from m2ugen.score.plan import CHORDS_PER_BAR, Plan

PHRASE = 4  # bars
SAME_MATERIAL = 0.5
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Upper bounds of the raw energy for "very low", "low", "medium" and "high".
ENERGY_BOUNDS = (-0.9, 0.2, 1.2, 2.2)
GENRE_ENERGY = dict(zip(GENRES, (0.4, 0.0, -0.5, 0.0, 0.1, 0.1, 0.0, 0.3, -0.4, 0.4)))


def phrase_start(song: Song) -> int:
    """The bar (0-3) from which four-bar phrases cut the tune least: few notes ring over the cuts, rests lie before."""
    best, best_cost = 0, np.inf
    onsets, ends = song.melody[:, ONSET], song.melody[:, ONSET] + song.melody[:, DURATION]
    for offset in range(min(PHRASE, song.bars)):
        cuts = np.arange(offset, song.bars, PHRASE) * song.bar_ticks
        cuts = cuts[(cuts > 0) & (cuts > onsets.min(initial=0))]
        if not len(cuts):
            continue
        ringing = [((onsets < cut) & (ends > cut)).any() for cut in cuts]
        busy = [((onsets >= cut - 9) & (onsets < cut)).sum() for cut in cuts]
        cost = float(np.mean(ringing) + 0.3 * np.mean(busy))
        if cost < best_cost - 0.02:
            best, best_cost = offset, cost
    return best


def likeness(song: Song, first: int, second: int, bars: int) -> float:
    """How alike two stretches of ``bars`` bars are (0-1): shared notes and rhythm of the tune, and equal chords."""
    ticks, slots = song.bar_ticks, CHORDS_PER_BAR[song.metre]
    sets, rhythms = [], []
    for start in (first, second):
        inside = cut_notes(song.melody, start * ticks, (start + bars) * ticks)
        sets.append({(onset, pitch % 12) for onset, _, pitch, _, _ in inside.tolist()})
        rhythms.append({onset for onset, _ in sets[-1]})
    tune, rhythm = _overlap(sets[0], sets[1]), _overlap(rhythms[0], rhythms[1])
    chords = [song.chords[s * slots : (s + bars) * slots] for s in (first, second)]
    roots = [[c.root if c else -1 for c in line] for line in chords]
    harmony = float(np.mean([a == b for a, b in zip(*roots)])) if roots[0] else 1.0
    return 0.4 * tune + 0.25 * rhythm + 0.35 * harmony


def _overlap(first: set, second: set) -> float:
    """Jaccard similarity (two empty sets are alike)."""
    union = first | second
    return len(first & second) / len(union) if union else 1.0


def sections(song: Song, length: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    """Letters and lengths (2-8 bars) of the song's sections, each ``length`` bars but for the last.

    A stretch that resembles an earlier one of the same length gets its letter. ``rng`` breaks no ties but decides
    now and then to cut an eight-bar section in two, so that both lengths occur beside each other.
    """
    lengths: list[int] = []
    rest = song.bars
    while rest:
        size = min(length, rest)
        if rest - size == 1:  # no section of a single bar
            size = size - 1 if size > 2 else size + 1
        if size == 8 and rng.random() < 0.1:
            lengths.append(4)
            size = 4
            rest -= 4
        lengths.append(size)
        rest -= size
    found: list[tuple[str, int, int]] = []
    start = 0
    for size in lengths:
        alike = [(likeness(song, begin, start, size), letter) for letter, begin, bars in found if bars == size]
        best = max(alike, default=(0.0, ""))
        letter = best[1] if best[0] >= SAME_MATERIAL else LETTERS[len({f[0] for f in found})]
        found.append((letter, start, size))
        start += size
    return [(letter, size) for letter, _, size in found]


def raw_energy(notes: np.ndarray, plan: Plan, start: int, stop: int) -> float:
    """How energetic ticks [start, stop) sound; about zero for an average piece, one unit is clearly heard.

    The sum of: 0.8 per doubling of the onsets per second of all pitched parts (against 5), 0.14 per drum hit per
    second (at most 1.2), 1 per 16 steps of mean velocity (against 76), 1 per 24 semitones of the tune above A4, and
    a genre's own share (GENRE_ENERGY).
    """
    inside = notes[(notes[:, ONSET] >= start) & (notes[:, ONSET] < stop)]
    seconds = max((stop - start) * plan.seconds_per_tick, 0.1)
    roles = np.array([part.role for part in plan.parts])
    drums = roles[inside[:, PART]] == "drums"
    onsets = len({(o, p) for o, p in inside[~drums][:, [ONSET, PART]].tolist()})
    velocity = float(inside[:, VELOCITY].mean()) if len(inside) else 40.0
    tune = inside[roles[inside[:, PART]] == "melody"]
    height = (float(tune[:, PITCH].mean()) - 69.0) / 24 if len(tune) else 0.0
    return (
        0.8 * np.log2(max(onsets / seconds, 0.5) / 5)
        + min(0.14 * drums.sum() / seconds, 1.2)
        + (velocity - 76.0) / 16
        + height
        + GENRE_ENERGY[plan.genre]
    )


def energy_level(raw: float) -> int:
    """Index into ENERGIES of a raw energy."""
    return int(np.searchsorted(ENERGY_BOUNDS, raw))


def with_energy(notes: np.ndarray, plan: Plan) -> Plan:
    """The plan with the energies that its notes have, by section and over all."""
    raws, start, sections_ = [], 0, []
    for section in plan.sections:
        stop = start + section.bars * plan.bar_ticks
        raws.append(raw_energy(notes, plan, start, stop))
        sections_.append(type(section)(section.letter, section.bars, energy_level(raws[-1]), section.chords))
        start = stop
    overall = float(np.average(raws, weights=[s.bars for s in plan.sections]))
    return plan.replace(sections=tuple(sections_), energy=energy_level(overall))
