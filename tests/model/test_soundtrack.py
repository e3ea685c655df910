"""Music that follows a video: the plan's energies go along with the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.media.video import Frames
from m2ugen.model.soundtrack import energy_curve, follow_clip
from m2ugen.pipeline import M2UGen
from m2ugen.score.notes import ONSET, VELOCITY
from m2ugen.score.plan import Chord, Part, Plan, Section

SECONDS, RATE = 40, 4


def clip(busy_from: float) -> Frames:
    """Still and grey before ``busy_from`` seconds, then a colourful flicker with a cut in every picture."""
    rng = np.random.default_rng(0)
    pictures = np.full((SECONDS * RATE, 45, 80, 3), 60, dtype=np.uint8)
    for index in range(round(busy_from * RATE), len(pictures)):
        pictures[index] = np.kron(rng.integers(0, 255, (9, 16, 3)), np.ones((5, 5, 1)))
    return Frames(pictures, np.arange(len(pictures)) / RATE, float(SECONDS), float(RATE))


def plan(*bars: int, letters: str = "ABCD") -> Plan:
    sections = tuple(
        Section(letter, count, 2, (Chord(0, "maj"),) * (2 * count)) for letter, count in zip(letters, bars)
    )
    parts = (Part("melody", "piano"), Part("drums", "drums"))
    return Plan(120.0, "4/4", 0, "major", "pop", 2, parts, sections)


def energies(planned: Plan) -> np.ndarray:
    """Energy of every bar."""
    return np.concatenate([np.full(section.bars, section.energy) for section in planned.sections])


def test_the_curve_follows_motion_and_cuts() -> None:
    curve = energy_curve(clip(20))
    assert len(curve) == SECONDS
    assert curve[22:].min() > curve[:18].max() + 0.3


def test_sections_follow_and_are_cut_where_the_pictures_change() -> None:
    given = plan(4, 12, 4)  # two seconds a bar: 40 seconds
    followed = follow_clip(given, clip(20))
    assert followed.bars == given.bars and followed.tempo == given.tempo
    assert [chord for s in followed.sections for chord in s.chords] == [
        chord for s in given.sections for chord in s.chords
    ]
    level = energies(followed)
    assert level[:9].max() < 2 < level[11:].min()
    begins = np.cumsum([0, *(section.bars for section in followed.sections)])
    assert min(abs(begins - 10)) <= 1


def test_a_steady_clip_changes_nothing() -> None:
    assert follow_clip(plan(4, 12, 4), clip(SECONDS)) == plan(4, 12, 4)


def test_a_piece_of_a_returning_section_has_the_same_name_again() -> None:
    followed = follow_clip(plan(10, 2, 8, letters="ABA"), clip(10))
    assert len({section.letter for section in followed.sections}) >= 3
    assert followed.sections[0].letter == "A" and followed.sections[-1].bars > 0


@pytest.mark.slow
def test_it_can_be_heard(nano: M2UGen) -> None:
    for seed in (1, 2):
        reply = nano.generate("music for this clip", video=clip(20), seed=seed)
        assert reply.audio is not None and reply.notes is not None and reply.plan is not None
        middle = reply.audio.shape[-1] // 2
        calm, busy = (float(np.sqrt((half**2).mean())) for half in (reply.audio[:, :middle], reply.audio[:, middle:]))
        early = reply.notes[:, ONSET] < reply.plan.ticks // 2
        assert busy > 1.1 * calm
        assert reply.notes[~early, VELOCITY].mean() > reply.notes[early, VELOCITY].mean() + 10
        assert reply.duration == pytest.approx(SECONDS, rel=0.01)
