"""Positions of notes, the NotePlayer, its NumPy engine, and what the performer makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from m2ugen.errors import InputError
from m2ugen.model.decoders.score.config import SamplingConfig
from m2ugen.model.decoders.score.note_engine import Feed, NoteEngine
from m2ugen.model.decoders.score.note_fields import (
    END,
    OFFSET,
    REST,
    TARGET,
    TICK_FIELDS,
    encode_window,
    windows,
)
from m2ugen.model.decoders.score.performer import perform
from m2ugen.model.decoders.score.voice import VOICES
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, sort_notes
from m2ugen.score.plan import Section
from tests.model.decoders.score.helpers import example_notes, example_plan, tiny_player

PLAYER = tiny_player()
ENGINE = NoteEngine(PLAYER)
SAMPLING = SamplingConfig()


def test_targets_are_the_notes() -> None:
    plan = example_plan()
    notes = example_notes(plan)
    window = windows(plan)[1]
    _, sequence = encode_window(plan, window, notes)
    scored = sequence.targets[sequence.targets[:, TARGET["scored"]] > 0]
    begin, end = window.start * plan.bar_ticks, (window.start + window.bars) * plan.bar_ticks
    inside = notes[(notes[:, ONSET] >= begin) & (notes[:, ONSET] < end)]
    sounding = scored[scored[:, TARGET["pitch"]] >= 0]
    assert len(sounding) == len(inside)
    melodic = sounding[sounding[:, TARGET["drum"]] == 0][:, TARGET["pitch"]]
    expected = inside[inside[:, PART] != 3][:, PITCH] - plan.tonic
    assert sorted(melodic.tolist()) == sorted(expected.tolist())
    assert (scored[:, TARGET["delta"]] == END).sum() == len(plan.parts)


def test_a_long_silence_goes_by_bar_lines() -> None:
    plan = example_plan()
    notes = example_notes(plan)
    notes = notes[(notes[:, PART] != 1) | (notes[:, ONSET] == 0) | (notes[:, ONSET] == 3 * plan.bar_ticks)]
    _, sequence = encode_window(plan, windows(plan)[0], notes)
    bass = sequence.targets[sequence.targets[:, TARGET["role"]] == 1]
    assert bass[:, TARGET["delta"]].tolist() == [0, REST, REST, 48, END]


def test_windows_never_exceed_eight_bars() -> None:
    plan = example_plan()
    long = Section("L", 12, 2, plan.sections[0].chords * 3)
    found = windows(plan.replace(sections=(long, *plan.sections)))
    assert [w.bars for w in found] == [8, 4, 4, 4, 4]
    assert [w.start for w in found] == [0, 8, 12, 16, 20]
    assert [w.closing for w in found] == [False] * 4 + [True]


def _encoded() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    plan = example_plan()
    window_row, sequence = encode_window(plan, windows(plan)[1], example_notes(plan))
    return window_row, sequence.rows, sequence.onsets, sequence.targets


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_engine_is_the_network(chunk: int) -> None:
    window_row, rows, onsets, _ = _encoded()
    tensors = [torch.from_numpy(array)[None] for array in (rows, window_row, onsets)]
    with torch.no_grad():
        whole = PLAYER(*tensors)[0]
    stream, other = ENGINE.open(window_row, capacity=4), ENGINE.open(window_row)
    for begin in range(0, len(rows), chunk):
        part = slice(begin, begin + chunk)
        # a second stream at the same time must not disturb the first
        feeds = [Feed(stream, rows[part], onsets[part]), Feed(other, rows[:2], onsets[:2])]
        hidden = ENGINE.advance(feeds)[0]
        expected = whole[min(begin + chunk, len(rows)) - 1].numpy()
        np.testing.assert_allclose(hidden, expected, rtol=1e-3, atol=1e-4)


def test_the_engine_tells_the_same_fields() -> None:
    window_row, rows, onsets, targets = _encoded()
    tensors = [torch.from_numpy(array)[None] for array in (rows, window_row, onsets)]
    with torch.no_grad():
        hidden = PLAYER(*tensors)[0]
        for position in np.flatnonzero(targets[:, TARGET["pitch"]] >= 0)[::5]:
            row = targets[position]
            ticks = row[TARGET[TICK_FIELDS[0]] :]
            drum = bool(row[TARGET["drum"]])
            state = hidden[position : position + 1]
            one = [torch.tensor([int(row[TARGET[name]])]) for name in ("delta", "previous", "pitch", "duration")]
            told, pitch = PLAYER.tell_pitch(state, one[0], torch.from_numpy(ticks)[None], one[1], torch.tensor([drum]))
            told, duration = PLAYER.tell_duration(told, one[2], torch.from_numpy(ticks)[None])
            velocity = PLAYER.tell_velocity(told, one[3])
            vector = state[0].numpy()
            mine, mine_pitch = ENGINE.tell_pitch(vector, int(one[0]), ticks, int(one[1]), drum)
            mine, mine_duration = ENGINE.tell_duration(mine, int(one[2]), ticks)
            pairs = (
                (PLAYER.delta_head(state), ENGINE.tell_delta(vector)),
                (pitch, mine_pitch),
                (duration, mine_duration),
                (velocity, ENGINE.tell_velocity(mine, int(one[3]))),
            )
            for expected, got in pairs:
                np.testing.assert_allclose(got, expected[0].numpy(), rtol=1e-3, atol=1e-4)


def test_padding_changes_nothing() -> None:
    window_row, rows, onsets, _ = _encoded()
    padded = np.zeros((len(rows) + 5, rows.shape[1]), dtype=np.int64)
    padded[: len(rows)] = rows
    long_onsets = np.concatenate((onsets, np.zeros(5, dtype=np.int64)))
    with torch.no_grad():
        plain = PLAYER(*(torch.from_numpy(a)[None] for a in (rows, window_row, onsets)))
        wide = PLAYER(*(torch.from_numpy(a)[None] for a in (padded, window_row, long_onsets)))
    torch.testing.assert_close(wide[:, : len(rows)], plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metre", ["4/4", "3/4", "6/8"])
def test_what_is_played_obeys_the_plan(metre: str) -> None:
    plan = example_plan(metre)
    notes = perform(ENGINE, plan, 5, SAMPLING)
    assert notes.dtype == np.int32
    assert set(notes[:, PART]) <= set(range(len(plan.parts)))
    assert (notes[:, ONSET] >= 0).all()
    assert (notes[:, DURATION] > 0).all()
    assert (notes[:, ONSET] + notes[:, DURATION] <= plan.ticks).all()
    for index, part in enumerate(plan.parts):
        own = notes[notes[:, PART] == index]
        assert len(own)
        assert np.unique(own[:, ONSET], return_counts=True)[1].max() <= VOICES[part.role]
        if part.role == "drums":
            assert own[:, PITCH].min() >= 35
            assert own[:, PITCH].max() <= 81
            continue
        instrument = INSTRUMENTS[INSTRUMENT_INDEX[part.instrument]]
        assert instrument.low <= own[:, PITCH].min()
        assert own[:, PITCH].max() <= instrument.high
        if part.role in ("melody", "bass"):
            assert (own[1:, ONSET] >= own[:-1, ONSET] + own[:-1, DURATION]).all()


def test_same_seed_same_notes() -> None:
    plan = example_plan()
    first, second, other = (perform(ENGINE, plan, seed, SAMPLING) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_given_parts_are_kept_and_others_written() -> None:
    plan = example_plan()
    notes = example_notes(plan)
    melody = notes[notes[:, PART] == 0]
    played = perform(ENGINE, plan, 3, SAMPLING, given={"melody": melody}, roles=["drums"])
    assert np.array_equal(played[played[:, PART] == 0], melody)
    assert set(played[:, PART]) == {0, 3}


def test_what_is_given_for_some_bars_is_kept_in_them_and_continued() -> None:
    plan = example_plan()
    first = plan.sections[0].bars
    notes = example_notes(plan)
    given = {part.role: notes[notes[:, PART] == index] for index, part in enumerate(plan.parts)}
    played = perform(ENGINE, plan, 3, SAMPLING, given=given, given_bars=first)
    begin = first * plan.bar_ticks
    assert np.array_equal(played[played[:, ONSET] < begin], notes[notes[:, ONSET] < begin])
    assert len(played[played[:, ONSET] >= begin]) and not np.array_equal(played, notes)


def test_notes_are_told_in_order_while_others_are_written() -> None:
    plan = example_plan()
    told: list[tuple[np.ndarray, int]] = []
    notes = perform(ENGINE, plan, 3, SAMPLING, on_notes=lambda ready, until: told.append((ready, until)))
    ends = [until for _, until in told]
    assert ends == sorted(set(ends)) and ends[-1] == plan.ticks and len(ends) > 1
    heard = np.concatenate([ready for ready, _ in told])
    assert np.array_equal(sort_notes(heard)[:, [ONSET, PART, PITCH]], notes[:, [ONSET, PART, PITCH]])
    for (ready, until), begin in zip(told, [0, *ends], strict=False):
        assert ((ready[:, ONSET] >= begin) & (ready[:, ONSET] < until)).all()


def test_a_returning_section_repeats_its_tune() -> None:
    plan = example_plan(ending=False)
    notes = perform(ENGINE, plan, 4, SAMPLING)
    tune = notes[notes[:, PART] == 0][:, [ONSET, PITCH]]
    kept = 3 * plan.bar_ticks
    again = tune - [8 * plan.bar_ticks, 0]
    first = tune[tune[:, 0] < kept]
    assert len(first)
    assert np.array_equal(first, again[(again[:, 0] >= 0) & (again[:, 0] < kept)])


def test_the_end_is_held() -> None:
    plan = example_plan()
    notes = perform(ENGINE, plan, 6, SAMPLING)
    begin = plan.ticks - plan.bar_ticks
    triad = plan.sections[-1].chords[-1]
    assert triad is not None
    for index, part in enumerate(plan.parts):
        own = notes[(notes[:, PART] == index) & (notes[:, ONSET] >= begin)]
        assert len(own)
        if part.role != "drums":
            assert own[-1, ONSET] + own[-1, DURATION] == plan.ticks
            assert own[-1, PITCH] % 12 in triad.pitch_classes(plan.tonic)


def test_roles_without_a_part_are_refused() -> None:
    plan = example_plan()
    with pytest.raises(InputError, match="no part"):
        perform(ENGINE, plan, 0, SAMPLING, roles=["pad"])
    with pytest.raises(InputError, match="no part"):
        perform(ENGINE, plan, 0, SAMPLING, given={"pad": example_notes(plan)})


def test_greedy_and_progress() -> None:
    seen: list[float] = []
    cold = replace(SAMPLING, timing_temperature=0.0, pitch_temperature=0.0)
    perform(ENGINE, example_plan(), 0, cold, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_rows_stay_inside_the_table() -> None:
    _, rows, _, _ = _encoded()
    assert rows.min() >= 1
    assert rows.max() < OFFSET["energy"]
