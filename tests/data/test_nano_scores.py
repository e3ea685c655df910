"""Score material: harmony, form, arrangements and shards, on tiny songs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2ugen.data.nano import arrange, build, form, harmony, mma, styles
from m2ugen.data.nano.corpus import read_tune
from m2ugen.data.nano.shards import read_shard, shard_path
from m2ugen.data.nano.songs import Song, monophonic, snap, without_collisions
from m2ugen.errors import InputError
from m2ugen.score import keys
from m2ugen.score.attributes import GENRES, INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH
from m2ugen.score.plan import CHORD_QUALITIES, Chord

needs_mma = pytest.mark.skipif(not mma.has_mma(), reason="the program mma is not installed")
CADENCE = [Chord(0, "maj"), Chord(9, "min"), Chord(5, "maj"), Chord(7, "maj")]


def tiny_song(work: str = "tiny/1", seed: int = 0, bars: int = 16, source: str = "pop909") -> Song:
    """A tune on chord notes, one per beat, over block chords; bars 8-15 repeat bars 0-7."""
    rng = np.random.default_rng(seed)
    chords = tuple(CADENCE[(bar + int(bar % 8 == 7)) % 4] for bar in range(bars) for _ in range(2))
    chords = (*chords[:-2], Chord(0, "maj"), Chord(0, "maj"))
    half = [int(rng.integers(3)) for _ in range(32)]
    melody, piano = [], []
    for beat in range(4 * bars):
        chord = chords[beat // 2]
        tones = [60 + (chord.root + i) % 12 for i in CHORD_QUALITIES[chord.quality]]
        melody.append([12 * beat, 0, tones[half[beat % 32]], 12, 80])
        piano += [[12 * beat, 0, tone - 12, 12, 60] for tone in tones]
    return Song(work, source, "4/4", "major", 100.0, np.array(melody, np.int32), np.array(piano, np.int32), chords)


@pytest.fixture
def songs() -> list[Song]:
    return [tiny_song(f"tiny/{k}", seed=k) for k in range(40)]


@pytest.mark.parametrize("keep_dominant", [False, True])
def test_parallel_mode_is_in_key_and_keeps_chord_notes(keep_dominant: bool) -> None:
    song = tiny_song()
    (melody,), chords = harmony.to_parallel((song.melody,), song.chords, "4/4", "major", keep_dominant)
    assert harmony.share_in_key(melody, "minor") == 1.0
    for onset, _, pitch, *_ in melody.tolist():
        chord = chords[onset // 24]
        assert chord is not None
        assert pitch % 12 in chord.pitch_classes()
    assert (Chord(7, "maj") in chords) == keep_dominant
    if not keep_dominant:
        (back,), old = harmony.to_parallel((melody,), chords, "4/4", "minor", keep_dominant)
        assert np.array_equal(back, song.melody)
        assert old == song.chords


def test_chords_and_key_are_found_from_the_notes() -> None:
    song = tiny_song()
    notes = np.concatenate([song.melody, song.accompaniment])
    assert keys.key_of_weights(keys.pitch_class_weights(notes)) == (0, "major")
    found = harmony.estimate_chords(notes, "4/4", song.bars, "major")
    assert np.mean([a == b for a, b in zip(found, song.chords)]) > 0.9


@pytest.mark.parametrize(
    ("label", "chord"),
    [("B:maj/3", Chord(4, "maj")), ("Eb:sus4(b7)", Chord(8, "sus4")), ("N", None), ("G:minmaj7", Chord(0, "min"))],
)
def test_labels_are_read_relative_to_the_tonic(label: str, chord: Chord | None) -> None:
    assert harmony.parse_chord(label, 7) == chord


def test_grid_prefers_sixteenths_and_keeps_triplets() -> None:
    assert snap(np.array([0.2, 2.8, 6.3, 9.1, 11.8])).tolist() == [0, 3, 6, 9, 12]
    assert snap(np.array([0.1, 3.9, 8.2, 12.0, 16.1, 19.8])).tolist() == [0, 4, 8, 12, 16, 20]


def test_lines_and_collisions() -> None:
    notes = np.array([[0, 0, 60, 30, 80], [0, 0, 64, 30, 80], [12, 0, 62, 12, 80], [24, 0, 62, 12, 80]], np.int32)
    line = monophonic(notes)
    assert line[:, PITCH].tolist() == [64, 62, 62]
    assert line[0, DURATION] == 12
    doubled = without_collisions(np.concatenate([notes, notes]))
    assert len(doubled) == len(notes)


def test_returning_material_gets_its_letter() -> None:
    letters = form.sections(tiny_song(), 4, np.random.default_rng(0))
    assert [bars for _, bars in letters] == [4, 4, 4, 4]
    assert letters[0][0] == letters[2][0]


@pytest.mark.parametrize("bars", range(8, 42))
def test_sections_fill_the_song_and_are_short(bars: int) -> None:
    found = form.sections(tiny_song(bars=bars), 8, np.random.default_rng(bars))
    assert sum(b for _, b in found) == bars
    assert all(2 <= b <= 8 for _, b in found)


def test_abc_tune_with_upbeat_and_broken_rhythm() -> None:
    bar = "G>A BG|" + "c2 B2|" + "A2 AB|" + "G4|"
    song = read_tune(f"X:1\nT:x\nM:2/4\nL:1/8\nK:G\nD2|{bar * 4}", "tiny/abc")
    assert song is not None
    assert (song.metre, song.mode) == ("4/4", "major")
    first = song.melody[:3]
    assert first[0, PITCH] % 12 == 7  # the upbeat is the dominant
    assert first[0, ONSET] % 24 == 12
    assert first[1, DURATION] == 9
    assert song.chords[-1] is not None
    assert song.chords[-1].root == 0


def spec_of(song: Song, kind: str = "original") -> arrange.Spec:
    sections = (("A", 8, 0), ("A", 8, 1))
    groove = None if kind == "original" else styles.GROOVES["rock"]["4/4"][0]
    return arrange.Spec("x", song, sections, "rock", kind, groove, 120.0, 5, "flute", True, 3)


def test_arrangement_is_valid_in_range_and_deterministic() -> None:
    made = arrange.arrange(spec_of(tiny_song()), None)
    again = arrange.arrange(spec_of(tiny_song()), None)
    assert made is not None
    assert again is not None
    plan, notes = made
    assert plan == again[0]
    assert np.array_equal(notes, again[1])
    assert notes[:, ONSET].max() < plan.ticks
    for index, part in enumerate(plan.parts):
        instrument = INSTRUMENTS[INSTRUMENT_INDEX[part.instrument]]
        pitches = notes[notes[:, PART] == index, PITCH]
        assert len(pitches)
        assert instrument.low <= pitches.min() <= pitches.max() <= instrument.high
    tune = notes[notes[:, PART] == 0]
    assert all(plan.chord_at(o).pitch_classes(plan.tonic) >= {p % 12} for o, _, p, *_ in tune.tolist())  # type: ignore[union-attr]


def test_grooves_held_out_leave_some_for_training() -> None:
    known = {styles.groove_id(g) for metres in styles.GROOVES.values() for grooves in metres.values() for g in grooves}
    assert known >= styles.HELD_OUT
    assert 0.07 < len(styles.HELD_OUT) / len(known) < 0.15
    for genre in GENRES:
        assert [g for g in styles.GROOVES[genre]["4/4"] if not build.is_valid_groove(g)]


@needs_mma
def test_curated_grooves_exist() -> None:
    curated = [g for metres in styles.GROOVES.values() for grooves in metres.values() for g in grooves]
    missing = [styles.groove_id(g) for g in curated if not mma.exists(g)]
    assert not missing


@needs_mma
def test_band_plays_roots_and_changes_with_the_chords() -> None:
    song = tiny_song()
    spec = spec_of(song, "band")
    assert spec.groove is not None
    played = mma.render(spec.groove, [spec.request()] * 2, seed=1)
    assert len(played) == 2
    made = arrange.arrange(spec, played[1])
    assert made is not None
    plan, notes = made
    bass = plan.part("bass")
    assert bass is not None
    low = notes[notes[:, PART] == plan.parts.index(bass)]
    downbeats = low[low[:, ONSET] % 48 == 0]
    roots = [p % 12 == (plan.chord_at(o).root + plan.tonic) % 12 for o, _, p, *_ in downbeats.tolist()]  # type: ignore[union-attr]
    assert np.mean(roots) > 0.7


@needs_mma
def test_mma_refusals_are_one_line() -> None:
    with pytest.raises(InputError, match="mma cannot play"):
        mma.render(mma.Groove("stdlib/swing", "NoSuchGroove", "4/4"), [spec_of(tiny_song()).request()], seed=1)


@needs_mma
def test_shards_are_deterministic_resumable_and_disjoint(
    songs: list[Song], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "load_songs", lambda corpora, cache: songs)
    monkeypatch.setattr(build, "SHARD", 6)
    for name in ("a", "b"):
        build.build_scores(tmp_path / name, None, count=16, seed=3, workers=1)
    works: dict[str, set[str]] = {"train": set(), "valid": set()}
    grooves: dict[str, set[str]] = {"train": set(), "valid": set()}
    for path in sorted((tmp_path / "a").glob("*.npz")):
        twin = tmp_path / "b" / path.name
        for first, second in zip(read_shard(path), read_shard(twin), strict=True):
            assert (first.name, first.plan) == (second.name, second.plan)
            assert np.array_equal(first.notes, second.notes)
            assert all(2 <= section.bars <= 8 for section in first.plan.sections)
            works[path.name[:5]].add(first.work)
            grooves[path.name[:5]].add(first.groove)
    assert works["train"]
    assert works["valid"]
    assert not works["train"] & works["valid"]
    assert not grooves["train"] & styles.HELD_OUT
    kept = shard_path(tmp_path / "a", "train", 0)
    written = kept.stat().st_mtime_ns
    lost = shard_path(tmp_path / "a", "train", 1)
    before = lost.read_bytes()
    lost.unlink()
    build.build_scores(tmp_path / "a", None, count=16, seed=3, workers=1)
    assert kept.stat().st_mtime_ns == written
    assert [a.name for a in read_shard(lost)] == [a.name for a in read_shard(tmp_path / "b" / lost.name)]
    assert len(lost.read_bytes()) == len(before)
