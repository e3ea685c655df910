"""POP909 (Wang et al., ISMIR 2020): tunes, chords and piano of Chinese pop songs, aligned to their beats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from symusic import Score

from m2ugen.data.nano import harmony
from m2ugen.data.nano.songs import Song, cut_notes, monophonic, snap, without_collisions
from m2ugen.score.notes import empty_notes
from m2ugen.score.plan import Chord

MIN_BARS = 12


def read_pop909(folder: Path) -> Iterator[Song]:
    """Every stretch of at least MIN_BARS bars in 4/4 and one key."""
    for song in sorted(path for path in folder.iterdir() if (path / f"{path.name}.mid").is_file()):
        yield from read_song(song)


def read_song(folder: Path) -> Iterator[Song]:
    """The usable stretches of one song's folder."""
    beats = np.loadtxt(folder / "beat_midi.txt", ndmin=2)
    times = beats[:, 0]
    downbeats = np.flatnonzero(beats[:, 2] > 0)
    keys = [line.split() for line in (folder / "key_audio.txt").read_text().splitlines() if line.strip()]
    tracks = {track.name: track for track in Score(folder / f"{folder.name}.mid", ttype="Second").tracks}
    if "MELODY" not in tracks or "PIANO" not in tracks or len(times) < 4 * MIN_BARS:
        return
    melody, piano = (_quantised(tracks[name], times) for name in ("MELODY", "PIANO"))
    for run in np.split(downbeats, np.flatnonzero(np.diff(downbeats) != 4) + 1):
        bars = np.arange(run[0], run[-1] + 4, 4) if run[-1] + 4 <= len(times) else run[:-1]
        for start, stop, label in _key_spans(times, bars, keys):
            if stop - start >= MIN_BARS:
                song = _stretch(folder, times, int(bars[start]), stop - start, label, melody, piano)
                if song is not None:
                    yield song


def _quantised(track, times: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The track's notes in ticks, counted from the first beat."""
    notes = track.notes.numpy()
    step = np.median(np.diff(times))
    grid = np.r_[times[0] - 4 * step + np.arange(4) * step, times, times[-1] + step * np.arange(1, 9)]
    ticks = 12.0 * (np.arange(len(grid)) - 4)
    onsets = np.interp(notes["time"], grid, ticks)
    ends = np.interp(notes["time"] + notes["duration"], grid, ticks)
    durations = np.maximum(np.round(ends - onsets), 1)
    columns = (snap(onsets), np.zeros(len(onsets)), notes["pitch"], durations, notes["velocity"])
    return np.stack(columns, axis=1).astype(np.int32)


def _key_spans(times: np.ndarray, bars: np.ndarray, keys: list[list[str]]) -> Iterator[tuple[int, int, str]]:
    """Bar ranges (start, stop, key label) with one key; bars across a change of key belong to none."""
    for begin, end, label in ((float(k[0]), float(k[1]), k[2]) for k in keys):
        first, last = label == keys[0][2], float(end) == float(keys[-1][1])
        inside = [
            i
            for i, b in enumerate(bars)
            if (times[b] >= begin - 0.1 or first) and (times[min(b + 3, len(times) - 1)] <= end + 0.1 or last)
        ]
        if inside:
            yield inside[0], inside[-1] + 1, label


def _stretch(
    folder: Path, times: np.ndarray, beat: int, bars: int, label: str, melody: np.ndarray, piano: np.ndarray
) -> Song | None:
    name, _, mode = label.partition(":")
    tonic, mode = harmony.parse_pitch_class(name), "minor" if mode.startswith("min") else "major"
    chords = _chords(folder, times, beat, bars, tonic)
    shift = -tonic if tonic <= 6 else 12 - tonic
    parts = []
    for notes in (melody, piano):
        notes = cut_notes(notes, 12 * beat, 12 * (beat + 4 * bars))
        notes[:, 2] += shift
        parts.append(notes)
    if len(parts[0]) < 2 * bars or harmony.share_in_key(np.concatenate(parts), mode) < 0.9:
        return None  # the key was read from the audio and is wrong, or the tune rests too long
    sounding = max((int((p[:, 0] + p[:, 3]).max()) for p in parts if len(p)), default=0)
    bars = min(bars, max(-(-sounding // 48), 1))
    used = slice(beat, beat + 4 * bars + 1)
    return Song(
        work=f"pop909/{folder.name}",
        source="pop909",
        metre="4/4",
        mode=mode,
        tempo=float(60.0 / np.median(np.diff(times[used]))),
        melody=monophonic(parts[0]) if len(parts[0]) else empty_notes(),
        accompaniment=without_collisions(parts[1]),
        chords=chords[: 2 * bars],
        complete=beat + 4 * bars >= len(times) - 12,
    )


def _chords(folder: Path, times: np.ndarray, beat: int, bars: int, tonic: int) -> tuple[Chord | None, ...]:
    """The label that lasts longest in every half bar."""
    rows = [line.split() for line in (folder / "chord_midi.txt").read_text().splitlines() if line.strip()]
    grid = np.arange(len(times))
    starts = np.interp([float(r[0]) for r in rows], times, grid) - beat
    ends = np.interp([float(r[1]) for r in rows], times, grid) - beat
    chords: list[Chord | None] = []
    for slot in range(2 * bars):
        overlap = np.minimum(ends, 2 * slot + 2) - np.maximum(starts, 2 * slot)
        best = int(overlap.argmax())
        chords.append(harmony.parse_chord(rows[best][2], tonic) if overlap[best] > 0.1 else None)
    return tuple(chords)
