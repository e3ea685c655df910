"""A song as the arranger needs it: tune, chords, key, metre and the accompaniment it came with.

All songs are transposed to a tonic of C, so that chords and notes of different songs compare directly; the arranger
chooses the sounding key. Note arrays have the columns of m2ugen.score.notes (the part column is not used).
"""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from m2ugen.score.notes import DURATION, ONSET, PITCH, empty_notes, sort_notes
from m2ugen.score.plan import BAR_TICKS, CHORDS_PER_BAR, Chord

CACHE_VERSION = 1
STRAIGHT = np.array([0, 3, 6, 9, 12])
TRIPLET = np.array([0, 4, 8, 12])


@dataclass(frozen=True)
class Song:
    """One song (or one stretch of it in a single key and metre), transposed to C.

    ``work`` names the composition (the unit of the training/validation split), ``source`` the collection.
    ``melody`` and ``accompaniment`` are int32 [n, 5], onsets counted from the first bar; ``chords`` holds
    CHORDS_PER_BAR[metre] entries per bar. ``complete`` says that the last bar is the song's real end.
    """

    work: str
    source: str
    metre: str
    mode: str
    tempo: float
    melody: np.ndarray
    accompaniment: np.ndarray
    chords: tuple[Chord | None, ...]
    complete: bool = True

    @property
    def bar_ticks(self) -> int:
        return BAR_TICKS[self.metre]

    @property
    def bars(self) -> int:
        return len(self.chords) // CHORDS_PER_BAR[self.metre]

    def cut(self, start: int, stop: int) -> Song:
        """Bars ``start`` to ``stop`` (exclusive) as a song of their own; notes that begin outside are left out."""
        slots = CHORDS_PER_BAR[self.metre]
        return replace(
            self,
            melody=cut_notes(self.melody, start * self.bar_ticks, stop * self.bar_ticks),
            accompaniment=cut_notes(self.accompaniment, start * self.bar_ticks, stop * self.bar_ticks),
            chords=self.chords[start * slots : stop * slots],
            complete=self.complete and stop == self.bars,
        )

    def repeated(self) -> Song:
        """The song played twice."""
        later = self.melody.copy(), self.accompaniment.copy()
        for notes in later:
            notes[:, ONSET] += self.bars * self.bar_ticks
        return replace(
            self,
            melody=np.concatenate([self.melody, later[0]]),
            accompaniment=np.concatenate([self.accompaniment, later[1]]),
            chords=self.chords * 2,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            **{name: getattr(self, name) for name in ("work", "source", "metre", "mode", "tempo", "complete")},
            "melody": self.melody.tolist(),
            "accompaniment": self.accompaniment.tolist(),
            "chords": [None if c is None else [c.root, c.quality] for c in self.chords],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Song:
        """Inverse of to_dict."""
        arrays = {name: np.array(data[name], dtype=np.int32).reshape(-1, 5) for name in ("melody", "accompaniment")}
        chords = tuple(None if c is None else Chord(c[0], c[1]) for c in data["chords"])
        return cls(**{**data, **arrays, "chords": chords})


def cut_notes(notes: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Notes whose onset lies in [start, stop) ticks, counted from ``start`` and ended at ``stop`` at the latest."""
    inside = notes[(notes[:, ONSET] >= start) & (notes[:, ONSET] < stop)].copy()
    inside[:, DURATION] = np.maximum(np.minimum(inside[:, DURATION], stop - inside[:, ONSET]), 1)
    inside[:, ONSET] -= start
    return inside


def snap(ticks: np.ndarray, compound: bool = False) -> np.ndarray:
    """Times in (fractional) ticks moved to the grid of sixteenths or, beat by beat, of triplets where they fit better.

    With ``compound`` (6/8) every beat has six sixteenths and there is nothing to choose.
    """
    ticks = np.asarray(ticks, dtype=np.float64)
    if compound or not len(ticks):
        return (np.round(ticks / 3) * 3).astype(np.int64)
    beats = np.floor((ticks + 1.0) / 12).astype(np.int64)  # a note just before the beat belongs to it
    inside, index = ticks - 12 * beats, beats - beats.min()
    nearest = [grid[np.abs(inside[:, None] - grid).argmin(axis=1)] for grid in (STRAIGHT, TRIPLET)]
    straight, triplet = (np.bincount(index, weights=np.abs(inside - n)) for n in nearest)
    # A beat alone is often ambiguous: it departs from the feel of the whole only where that clearly fits better.
    margin = 0.3 * np.bincount(index)
    swings = triplet < straight - margin if straight.sum() <= triplet.sum() else triplet < straight + margin
    return np.where(swings[index], nearest[1], nearest[0]) + 12 * beats


def monophonic(notes: np.ndarray) -> np.ndarray:
    """The top line of ``notes``: one note per onset, each ended by the next."""
    if not len(notes):
        return empty_notes()
    order = np.lexsort((-notes[:, PITCH], notes[:, ONSET]))
    notes = notes[order]
    notes = notes[np.r_[True, np.diff(notes[:, ONSET]) > 0]].copy()
    room = np.r_[np.diff(notes[:, ONSET]), notes[-1, DURATION]]
    notes[:, DURATION] = np.maximum(np.minimum(notes[:, DURATION], room), 1)
    return notes


def without_collisions(notes: np.ndarray) -> np.ndarray:
    """At most one note per pitch at a time: doubles are dropped and repeated notes end where the next begins."""
    if not len(notes):
        return empty_notes()
    notes = notes[np.lexsort((-notes[:, DURATION], notes[:, ONSET], notes[:, PITCH]))]
    same = np.diff(notes[:, PITCH]) == 0
    notes = notes[np.r_[True, ~(same & (np.diff(notes[:, ONSET]) == 0))]].copy()
    same = np.diff(notes[:, PITCH]) == 0
    room = np.where(same, np.diff(notes[:, ONSET]), 1 << 20)
    notes[:-1, DURATION] = np.minimum(notes[:-1, DURATION], room)
    return sort_notes(notes)


def corpus_folder(corpora: Path, name: str, cache: Path) -> Path | None:
    """The folder ``corpora/name``, or ``corpora/name.tar.xz`` unpacked below ``cache``; None where neither exists."""
    folder, archive = corpora / name, corpora / f"{name}.tar.xz"
    if folder.is_dir():
        return folder
    if not archive.is_file():
        return None
    target = cache / name
    if not target.is_dir():
        partial = cache / f"{name}.partial"
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        inner = partial / name
        (inner if inner.is_dir() else partial).rename(target)
    return target


def cached(name: str, cache: Path, read: Callable[[], Iterable[Song]]) -> list[Song]:
    """The songs that ``read`` gives, kept in ``cache`` so that the next call is fast."""
    path = cache / f"{name}-v{CACHE_VERSION}.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt") as file:
            return [Song.from_dict(json.loads(line)) for line in file]
    songs = list(read())
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with gzip.open(partial, "wt", compresslevel=3) as file:
        file.writelines(json.dumps(song.to_dict()) + "\n" for song in songs)
    partial.rename(path)
    return songs
