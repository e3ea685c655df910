"""Small plans, notes and networks for the tests of the score decoder."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

from m2ugen.model.decoders.score.config import PlayerConfig, ScoreConfig, WriterConfig
from m2ugen.model.decoders.score.decoder import ScoreDecoder
from m2ugen.model.decoders.score.note_player import NotePlayer
from m2ugen.score.attributes import ENERGIES, GENRES, INSTRUMENT_NAMES, METRES, MODES
from m2ugen.score.notes import sort_notes
from m2ugen.score.plan import CHORD_QUALITIES, CHORDS_PER_BAR, QUALITY_NAMES, ROLES, Chord, Part, Plan, Section

TINY = ScoreConfig(PlayerConfig(32, 2, 4, 64), WriterConfig(40, 2, 4, 64))


def tiny_decoder(seed: int = 0) -> ScoreDecoder:
    """A decoder whose random weights reach every part of its networks."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = ScoreDecoder(TINY).eval()
        _stir(decoder)
    return decoder


def tiny_player(seed: int = 0) -> NotePlayer:
    return tiny_decoder(seed).note_player


def _stir(module: torch.nn.Module) -> None:
    """Fill what starts at zero, so that no layer is idle."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


def example_plan(metre: str = "4/4", mode: str = "major", ending: bool = True) -> Plan:
    """AABA' with four parts, twelve bars."""
    slots = CHORDS_PER_BAR[metre]
    progression = [Chord(0, "maj"), Chord(5, "maj"), Chord(7, "7"), Chord(0, "maj")]
    other = [Chord(9, "min"), Chord(2, "min"), Chord(7, "maj"), Chord(7, "7")]
    a, b = (tuple(chord for chord in chords for _ in range(slots)) for chords in (progression, other))
    parts = (Part("melody", "flute"), Part("bass", "acoustic bass"), Part("chords", "piano"), Part("drums", "drums"))
    sections = (Section("A", 4, 2, a), Section("B", 4, 3, b), Section("A", 4, 2, a))
    return Plan(100.0, metre, 2, mode, "pop", 2, parts, sections, ending).validated()


def example_notes(plan: Plan, seed: int = 0) -> np.ndarray:
    """Plain notes for ``example_plan``: a tune in quarters, roots, block chords, a beat; the tune rests in bar 2."""
    rng = np.random.default_rng(seed)
    notes = []
    for bar in range(plan.bars):
        begin = bar * plan.bar_ticks
        chord = plan.chord_at(begin)
        assert chord is not None
        tones = [(plan.tonic + chord.root + step) % 12 for step in CHORD_QUALITIES[chord.quality]]
        for tick in range(begin, begin + plan.bar_ticks, 12):
            if bar != 2:
                notes.append((tick, 0, 72 + int(rng.choice(tones)), 12, 90))
            notes.append((tick, 3, 36 if tick % 24 == 0 else 38, 3, 100))
            notes.append((tick, 3, 42, 3, 60))
        notes.append((begin, 1, 36 + tones[0], plan.bar_ticks, 80))
        notes.extend((begin, 2, 48 + tone, plan.bar_ticks, 70) for tone in tones)
    return sort_notes(np.array(notes, dtype=np.int32))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any plan of at most 40 bars."""
    metre = draw(st.sampled_from(METRES))
    pitched = [name for name in INSTRUMENT_NAMES if name != "drums"]
    roles = draw(st.lists(st.sampled_from(ROLES), min_size=1, unique=True))
    parts = tuple(Part(r, "drums" if r == "drums" else draw(st.sampled_from(pitched))) for r in roles)
    chord = st.none() | st.builds(Chord, st.integers(0, 11), st.sampled_from(QUALITY_NAMES))
    known: dict[str, tuple[Chord | None, ...]] = {}
    sections = []
    for _ in range(draw(st.integers(1, 4))):
        letter = draw(st.sampled_from("ABX"))
        bars = draw(st.integers(1, 10))
        count = bars * CHORDS_PER_BAR[metre]
        chords = tuple(draw(st.lists(chord, min_size=count, max_size=count)))
        if letter in known and draw(st.booleans()):
            chords = known[letter]
            bars = len(chords) // CHORDS_PER_BAR[metre]
        known[letter] = chords
        sections.append(Section(letter, bars, draw(st.integers(0, len(ENERGIES) - 1)), chords))
    return Plan(
        draw(st.floats(45, 210)),
        metre,
        draw(st.integers(0, 11)),
        draw(st.sampled_from(MODES)),
        draw(st.sampled_from(GENRES)),
        draw(st.integers(0, len(ENERGIES) - 1)),
        parts,
        tuple(sections),
        draw(st.booleans()),
    ).validated()
