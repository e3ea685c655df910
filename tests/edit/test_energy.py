"""More and less energy: the tempo, the drums and the treble move, the music stays the same piece."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.edit.apply import apply_edit
from m2ugen.edit.command import EditCommand
from m2ugen.edit.energy import TEMPO_STEP
from m2ugen.edit.separate import separate
from m2ugen.edit.source import EditSource
from m2ugen.model.decoders.base import Music
from m2ugen.score.attributes import Attributes
from m2ugen.score.mixing import measure_loudness
from m2ugen.score.notes import ONSET, PART
from m2ugen.score.plan import Part
from m2ugen.score.synthesis import render
from tests.edit.band import RATE, SimplePlayer, make_plan

MORE, LESS = EditCommand("energy", (), 1.0), EditCommand("energy", (), -1.0)
QUARTET = (Part("melody", "flute"), Part("bass", "electric bass"), Part("chords", "piano"), Part("drums", "drums"))


def piece(*parts: Part) -> Music:
    plan = make_plan(*parts)
    notes = SimplePlayer().play(plan)
    return Music(render(notes, plan, sample_rate=RATE)[0], RATE, plan, notes)


def recording(*parts: Part) -> Music:
    return Music(piece(*parts).audio, RATE)


def shares(music: Music) -> tuple[float, float]:
    """Of the drums, and of what lies above 2.5 kHz, in the power of all."""
    drums = separate(EditSource(music), with_melody=False)["drums"]
    spectrum = np.abs(np.fft.rfft(music.audio.mean(axis=0))) ** 2
    high = np.fft.rfftfreq(music.audio.shape[-1], 1 / RATE) > 2500
    return float(np.square(drums).sum() / np.square(music.audio).sum()), float(spectrum[high].sum() / spectrum.sum())


def test_a_recording_stays_what_it_is() -> None:
    source = recording(*QUARTET)
    drums, treble = shares(source)
    for command, sign in ((MORE, 1), (LESS, -1)):
        after = apply_edit(command, source, SimplePlayer(), heard=Attributes(drums=True))
        seconds = source.audio.shape[-1] / TEMPO_STEP**sign
        assert after.audio.shape[-1] == pytest.approx(seconds, rel=0.01) and after.plan is None
        new_drums, new_treble = shares(after)
        assert (new_drums - drums) * sign > 0 and (new_treble - treble) * sign > 0
        assert measure_loudness(after.audio, RATE) == pytest.approx(measure_loudness(source.audio, RATE), abs=1.0)


def test_music_without_drums_gets_some_when_it_becomes_livelier() -> None:
    source = recording(*QUARTET[:3])
    before = shares(source)[0]
    plain, told = (
        shares(apply_edit(MORE, source, SimplePlayer(), heard=Attributes(drums=drums)))[0] for drums in (True, False)
    )
    assert told > 2 * max(plain, before)


@pytest.mark.parametrize(("energy", "steps"), [(4, -2), (2, -1), (0, -1)])
def test_calmer_is_calmer_however_calm_it_is(energy: int, steps: int) -> None:
    source = recording(*QUARTET)
    after = apply_edit(EditCommand("mood", ("calm",)), source, SimplePlayer(), heard=Attributes(energy=energy))
    assert after.audio.shape[-1] == pytest.approx(source.audio.shape[-1] / TEMPO_STEP**steps, rel=0.01)


def test_a_mood_in_the_other_mode_is_played_anew() -> None:
    source = recording(*QUARTET)
    assert apply_edit(EditCommand("mood", ("sad",)), source, SimplePlayer()).plan is not None
    assert apply_edit(EditCommand("mood", ("happy",)), source, SimplePlayer()).plan is None  # it is in major


def test_a_score_becomes_faster_or_slower_and_gains_or_loses_its_drums() -> None:
    source = piece(*QUARTET[:3])
    more = apply_edit(MORE, source, SimplePlayer())
    assert more.plan is not None and more.notes is not None and source.notes is not None
    assert more.plan.tempo == pytest.approx(120 * TEMPO_STEP) and more.plan.part("drums") is not None
    assert [section.energy for section in more.plan.sections] == [3]
    tunes = [notes[notes[:, PART] == 0][:, ONSET] for notes in (source.notes, more.notes)]
    np.testing.assert_array_equal(*tunes)
    less = apply_edit(LESS, piece(*QUARTET), SimplePlayer())
    assert less.plan is not None and less.plan.part("drums") is None and less.plan.energy == 1
    assert less.plan.tempo == pytest.approx(120 / TEMPO_STEP)


def test_the_liveliest_piece_can_still_become_livelier() -> None:
    source = piece(*QUARTET)
    assert source.plan is not None
    source.plan = source.plan.replace(energy=4)
    after = apply_edit(MORE, source, SimplePlayer())
    assert after.plan is not None and after.plan.energy == 4 and after.plan.tempo == pytest.approx(120 * TEMPO_STEP)
