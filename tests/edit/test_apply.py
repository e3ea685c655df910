"""Edits on real small music: what was asked changes, the rest stays."""

from dataclasses import replace

import numpy as np
import pytest

from m2ugen.edit.apply import apply_edit
from m2ugen.edit.command import EFFECTS, EditCommand
from m2ugen.edit.parts import BANDS, assign_parts
from m2ugen.edit.separate import separate
from m2ugen.edit.signal import stretch
from m2ugen.edit.source import EditSource
from m2ugen.errors import InputError
from m2ugen.model.decoders.base import Music
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS, Attributes
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH
from m2ugen.score.plan import Chord, Part
from tests.edit.band import RATE, SimplePlayer, make_plan


@pytest.fixture(scope="module")
def composed() -> Music:
    from m2ugen.score.synthesis import render

    plan = make_plan(
        Part("melody", "flute"), Part("bass", "electric bass"), Part("chords", "piano"), Part("drums", "drums")
    )
    notes = SimplePlayer().play(plan)
    mix, stems = render(notes, plan, sample_rate=RATE)
    return Music(mix, RATE, plan, notes, stems)


@pytest.fixture(scope="module")
def recording(composed: Music) -> Music:
    """The same music without its score and its drums."""
    plan, notes = composed.plan, composed.notes
    assert plan is not None and notes is not None
    return apply_edit(EditCommand("remove", ("drums",)), composed)


def heard(music: Music) -> Music:
    return Music(music.audio, music.sample_rate)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    length = min(a.shape[-1], b.shape[-1])
    return float(np.corrcoef(a[0, :length], b[0, :length])[0, 1])


def test_stretching_keeps_the_pitch() -> None:
    time = np.arange(2 * RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 440 * time))[None].astype(np.float32)
    for factor, semitones, expected in ((0.8, 0.0, 440.0), (1.5, 0.0, 440.0), (1.0, 12.0, 880.0)):
        changed = stretch(tone, RATE, factor, semitones)
        assert changed.shape[-1] == pytest.approx(tone.shape[-1] / factor, abs=2)
        middle = changed[0, 5000:-5000]
        peak = np.argmax(np.abs(np.fft.rfft(middle))) * RATE / len(middle)
        assert peak == pytest.approx(expected, rel=0.005)
    with pytest.raises(InputError):
        stretch(tone, RATE, 9.0)


def test_tempo_of_a_recording(composed: Music) -> None:
    slower = apply_edit(EditCommand("tempo", (), 80.0), heard(composed))
    assert slower.audio.shape[-1] == pytest.approx(composed.audio.shape[-1] / 0.8, rel=1e-3)
    set_ = apply_edit(EditCommand("bpm", (), 150.0), heard(composed))
    assert set_.audio.shape[-1] == pytest.approx(composed.audio.shape[-1] * 120 / 150, rel=0.03)


def test_score_edits_are_exact(composed: Music) -> None:
    assert composed.plan is not None and composed.notes is not None
    faster = apply_edit(EditCommand("bpm", (), 150.0), composed)
    assert faster.plan is not None and faster.plan.tempo == 150.0
    assert np.array_equal(faster.notes, composed.notes)
    higher = apply_edit(EditCommand("transpose", (), 2.0), composed)
    assert higher.notes is not None and higher.plan is not None and higher.plan.tonic == 2
    pitched = composed.notes[:, PART] != 3
    assert ((higher.notes - composed.notes)[pitched, PITCH] % 12 == 2).all()
    assert ((higher.notes - composed.notes)[~pitched, PITCH] == 0).all()
    swapped = apply_edit(EditCommand("swap", ("flute", "violin")), composed)
    assert swapped.plan is not None and swapped.plan.parts[0] == Part("melody", "violin")
    keyed = apply_edit(EditCommand("key", ("D minor",)), composed)
    assert keyed.plan is not None and (keyed.plan.tonic, keyed.plan.mode) == (2, "minor")


def test_minor_sounds_minor(composed: Music) -> None:
    minor = apply_edit(EditCommand("mode", ("minor",)), composed)
    assert minor.plan is not None and minor.notes is not None
    assert [c.name() for c in minor.plan.sections[0].chords[::2] if c] == ["C:min", "Ab:maj", "F:min", "G:min"]
    pitched = minor.notes[minor.notes[:, PART] < 3]
    assert not (pitched[:, PITCH] % 12 == 4).any()
    assert (minor.notes[:, [ONSET, DURATION]] == composed.notes[:, [ONSET, DURATION]]).all()  # type: ignore[index]


def test_removing_and_keeping_in_a_score(composed: Music) -> None:
    without = apply_edit(EditCommand("remove", ("drums",)), composed)
    assert without.plan is not None and without.plan.part("drums") is None
    only = apply_edit(EditCommand("solo", ("drums",)), composed)
    assert only.plan is not None and [part.role for part in only.plan.parts] == ["drums"]
    with pytest.raises(InputError, match="there is no harp"):
        apply_edit(EditCommand("remove", ("harp",)), composed)
    with pytest.raises(InputError, match="nothing would be left"):
        apply_edit(EditCommand("remove", ("drums",)), only)


def test_stems_of_a_recording(composed: Music) -> None:
    stems = separate(EditSource(heard(composed)))
    assert np.abs(sum(stems.values()) - composed.audio).max() < 1e-3
    assert composed.stems is not None
    dry = np.sum(list(composed.stems.values()), axis=0)
    source = EditSource(Music(dry, RATE))
    kept = np.sum([s for n, s in separate(source, with_melody=False).items() if n != "drums"], axis=0)
    drums, others = composed.stems["drums"][0], dry[0] - composed.stems["drums"][0]

    def amount(mix: np.ndarray) -> float:
        weights, *_ = np.linalg.lstsq(np.stack([drums, others], axis=1), mix, rcond=None)
        return float(weights[0])

    assert amount(kept[0]) < 0.5 * amount(dry[0])
    assert correlation(kept, others[None]) > 0.9


def test_adding_drums_keeps_the_recording(recording: Music) -> None:
    before = heard(recording)
    after = apply_edit(EditCommand("add", ("drums",)), before, SimplePlayer(), seed=1)
    assert after.audio.shape == before.audio.shape
    new = after.audio - before.audio
    assert correlation(after.audio, before.audio) > 0.7
    assert 0.05 < np.sqrt((new**2).mean() / (before.audio**2).mean()) < 1.5
    assert np.abs(after.audio).max() <= 1.0
    # The beat falls on the recording's beats: strokes on 120 bpm.
    envelope = np.abs(new[0]).reshape(-1)[: RATE * 8 // RATE * RATE]
    beat = RATE // 2
    on = np.mean([envelope[k * beat : k * beat + RATE // 20].mean() for k in range(2, 12)])
    assert on > 1.5 * envelope[2 * beat : 12 * beat].mean()
    again = apply_edit(EditCommand("add", ("drums",)), before, SimplePlayer(), seed=1)
    assert np.array_equal(after.audio, again.audio)


def test_adding_to_a_score_keeps_its_notes(recording: Music) -> None:
    after = apply_edit(EditCommand("add", ("drums", "strings")), recording, SimplePlayer())
    assert after.plan is not None and after.notes is not None and recording.notes is not None
    assert {part.role for part in after.plan.parts} == {"melody", "bass", "chords", "drums", "pad"}
    kept = {tuple(row) for row in after.notes.tolist()}
    assert all(tuple(row) in kept for row in recording.notes.tolist())
    with pytest.raises(InputError, match="no room"):
        apply_edit(EditCommand("add", ("synth bass",)), recording, SimplePlayer())
    with pytest.raises(InputError, match="composes"):
        apply_edit(EditCommand("add", ("drums",)), recording)


@pytest.mark.parametrize(
    "command", [EditCommand("genre", ("jazz",)), EditCommand("mood", ("sad",)), EditCommand("energy", (), 1.0)]
)
def test_new_arrangements_keep_the_melody(composed: Music, command: EditCommand) -> None:
    after = apply_edit(command, composed, SimplePlayer())
    assert after.plan is not None and after.notes is not None and composed.notes is not None
    tune = composed.notes[composed.notes[:, PART] == 0]
    new = after.notes[after.notes[:, PART] == 0]
    assert np.array_equal(new[:, ONSET], tune[:, ONSET])
    if command.operation == "genre":
        assert np.array_equal(new[:, PITCH] % 12, tune[:, PITCH] % 12)
        assert after.plan.genre == "jazz" and after.plan.parts[0].instrument == "saxophone"
    elif command.operation == "mood":
        assert after.plan.mode == "minor" and after.plan.energy == 1
    else:
        assert after.plan.energy == 3


@pytest.mark.parametrize("operation", [EditCommand("mode", ("minor",)), EditCommand("mood", ("sad",))])
def test_a_recording_of_drums_alone_gets_a_band(recording: Music, operation: EditCommand) -> None:
    drums = Attributes(genre="rock", instruments=("drums",), lead="drums")
    after = apply_edit(operation, heard(recording), SimplePlayer(), drums)
    assert after.plan is not None and after.plan.parts[0] == Part("melody", "electric guitar")


def test_recordings_can_be_played_anew(recording: Music) -> None:
    after = apply_edit(EditCommand("genre", ("rock",)), heard(recording), SimplePlayer())
    assert after.plan is not None and after.plan.genre == "rock"
    assert after.plan.tempo == pytest.approx(120.0, rel=0.05)
    violin = apply_edit(EditCommand("swap", ("flute", "violin")), heard(recording), SimplePlayer())
    assert violin.plan is not None and violin.plan.parts[0] == Part("melody", "violin") and len(violin.plan.parts) > 2


@pytest.mark.parametrize("samples", [1, 1500])
@pytest.mark.parametrize("command", [EditCommand("remove", ("drums",)), EditCommand("energy", (), -1.0)])
def test_a_blink_of_sound_is_no_trouble(samples: int, command: EditCommand) -> None:
    blink = Music(np.full((2, samples), 0.1, dtype=np.float32), RATE)
    assert np.isfinite(apply_edit(command, blink).audio).all()


def test_lengths(composed: Music) -> None:
    for music in (composed, heard(composed)):
        for seconds in (3.0, 20.0):
            changed = apply_edit(EditCommand("length", (), seconds), music)
            assert changed.audio.shape[-1] == round(seconds * RATE)
        twice = apply_edit(EditCommand("loop", (), 2.0), music)
        assert twice.audio.shape[-1] == pytest.approx(composed.audio.shape[-1] + 8.0 * RATE, rel=0.02)


def test_volume_fades_and_effects(composed: Music) -> None:
    music = heard(composed)
    quieter = apply_edit(EditCommand("volume", (), -6.0), music)
    assert np.allclose(quieter.audio, music.audio * 10 ** (-6 / 20), atol=1e-6)
    assert np.abs(apply_edit(EditCommand("volume", (), 20.0), music).audio).max() <= 1.0
    faded = apply_edit(EditCommand("fade in", (), 2.0), music)
    assert np.abs(faded.audio[:, :100]).max() < 1e-3
    assert np.array_equal(faded.audio[:, 2 * RATE :], music.audio[:, 2 * RATE :])
    for name in EFFECTS:
        for channels in (1, 2):
            changed = apply_edit(EditCommand("effect", (name,)), Music(music.audio[:channels], RATE))
            assert changed.audio.shape[0] == channels and np.isfinite(changed.audio).all()
            assert changed.audio.dtype == np.float32 and np.abs(changed.audio).max() <= 1.0
    assert apply_edit(EditCommand("effect", ("reverb",)), composed).plan is composed.plan


def test_bands_are_playable() -> None:
    for genre, names in BANDS.items():
        parts = assign_parts(names, names[0])
        assert {part.instrument for part in parts} == set(names), genre
        make_plan(*parts).validated()
    assert len(INSTRUMENTS) == len(INSTRUMENT_INDEX)
    assert [part.role for part in assign_parts(["piano"])] == ["melody", "chords"]
    with pytest.raises(InputError):
        apply_edit(EditCommand("loop", (), 2.0), Music(np.zeros((2, 0), np.float32), RATE))


class OtherPlayer(SimplePlayer):
    """Plays the same an octave higher, so that what is new can be told from what is kept."""

    def play(self, *args: object, **kwargs: object) -> np.ndarray:
        notes = super().play(*args, **kwargs)  # type: ignore[arg-type]
        notes[:, PITCH] += 12
        return notes


def test_infill_writes_the_named_bars_and_keeps_the_rest(composed: Music) -> None:
    assert composed.plan is not None and composed.notes is not None
    before, bar = composed.notes, composed.plan.bar_ticks
    changed = apply_edit(EditCommand("infill", ("bass",), bars=(2, 3)), composed, OtherPlayer())
    assert changed.notes is not None and changed.plan == composed.plan

    def split(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = (notes[:, PART] == 1) & (notes[:, ONSET] >= bar) & (notes[:, ONSET] < 3 * bar)
        return notes[inside], notes[~inside]

    (old, rest), (new, kept) = split(before), split(changed.notes)
    assert np.array_equal(rest, kept)
    assert len(new) == len(old) and np.array_equal(new[:, PITCH], old[:, PITCH] + 12)
    assert (new[:, ONSET] + new[:, DURATION] <= 3 * bar).all()


def test_who_is_asked_to_play_rests_no_longer(composed: Music) -> None:
    assert composed.plan is not None and composed.notes is not None
    (section,) = composed.plan.sections
    halves = (replace(section.first(2), resting=("bass", "drums")), replace(section.first(2), resting=("bass",)))
    plan = composed.plan.replace(sections=halves)
    silent = replace(composed, plan=plan, notes=composed.notes[composed.notes[:, PART] != 1])
    changed = apply_edit(EditCommand("infill", ("bass",), bars=(1, 2)), silent, OtherPlayer())
    assert changed.plan is not None and changed.notes is not None
    assert [section.resting for section in changed.plan.sections] == [("drums",), ("bass",)]
    assert (changed.notes[changed.notes[:, PART] == 1, ONSET] < 2 * plan.bar_ticks).all()
    assert (changed.notes[:, PART] == 1).any()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (EditCommand("infill", ("violin",)), "there is no violin"),
        (EditCommand("infill", ("bass",), bars=(2, 90)), "4 bars"),
    ],
)
def test_infill_says_what_is_not_there(composed: Music, command: EditCommand, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        apply_edit(command, composed, OtherPlayer())
    with pytest.raises(InputError, match="composed"):
        apply_edit(command, heard(composed), OtherPlayer())


def test_composed_music_goes_on_to_the_note(composed: Music) -> None:
    assert composed.plan is not None and composed.notes is not None
    longer = apply_edit(EditCommand("continue", (), 12.0), composed, OtherPlayer())
    assert longer.plan is not None and longer.notes is not None
    before = longer.plan.sections[: len(composed.plan.sections)]
    assert before == composed.plan.sections
    assert [section.letter for section in longer.plan.sections] == ["A", "B", "A"]  # new material, then a return
    assert longer.plan.duration - composed.plan.duration == pytest.approx(12.0, abs=1.0)
    kept = longer.notes[longer.notes[:, ONSET] < composed.plan.ticks]
    assert np.array_equal(kept[:, [ONSET, PART]], composed.notes[:, [ONSET, PART]])
    assert set(longer.notes[longer.notes[:, ONSET] >= composed.plan.ticks, PART]) == {0, 1, 2, 3}
    assert longer.plan.ending and longer.plan.sections[-1].chords[-1] == Chord(0, "maj")


def test_a_recording_goes_on_at_its_bar_line(composed: Music) -> None:
    source = heard(composed)
    target = Attributes(genre="pop", instruments=("flute", "piano", "electric bass"), lead="flute", energy=2)
    longer = apply_edit(EditCommand("continue", (), 8.0), source, SimplePlayer(), target)
    untouched = int(7.5 * RATE)  # four bars of two seconds, less a margin for the beat tracker
    assert np.array_equal(longer.audio[:, :untouched], source.audio[:, :untouched])
    assert longer.audio.shape[-1] / RATE == pytest.approx(16.0 + 2.0, abs=1.5)  # and the ring
    power = (longer.audio[:, : 16 * RATE] ** 2).reshape(2, 32, -1).mean(axis=(0, 2))
    assert power.min() > 0.05 * np.median(power)  # no gap where it is joined


def test_a_midi_tune_is_accompanied_and_stays_a_score() -> None:
    from symusic import Note, Score, Tempo, Track

    from m2ugen.score.synthesis import render_score

    score, track = Score(480), Track(program=73)
    for index, pitch in enumerate((60, 64, 67, 64, 65, 69, 67, 65, 67, 71, 74, 71, 72, 67, 64, 60)):
        track.notes.append(Note(index * 480, 450, pitch, 90))
    score.tracks.append(track)
    score.tempos.append(Tempo(0, 120))
    tune = Music(render_score(score, sample_rate=RATE), RATE)
    changed = apply_edit(EditCommand("add", ("piano", "electric bass")), tune, SimplePlayer(), midi=score)
    assert changed.plan is not None and changed.notes is not None
    assert changed.plan.tempo == pytest.approx(120.0) and changed.plan.tonic == 0
    melody = changed.notes[changed.notes[:, PART] == 0]
    assert melody[:, PITCH].tolist() == [note.pitch for note in track.notes]
    roots = {chord.root for chord in changed.plan.sections[0].chords if chord is not None}
    assert roots <= {0, 5, 7, 9, 2} and changed.plan.sections[0].chords[0] == Chord(0, "maj")
