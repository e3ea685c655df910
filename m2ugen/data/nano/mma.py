"""Bands by MMA, Musical MIDI Accompaniment (B. van der Poel): chords and a groove in, parts out.

Several pieces in the same groove go through one process, which costs most of the time. The program and its style
files come from the Debian package ``mma``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from symusic import Score

from m2ugen.data.nano.songs import snap, without_collisions
from m2ugen.errors import InputError
from m2ugen.score.attributes import Instrument, instrument_of_program
from m2ugen.score.notes import DURATION, ONSET, PITCH
from m2ugen.score.plan import BAR_TICKS, CHORDS_PER_BAR, TICKS_PER_BEAT, TONICS, Chord

LIBRARIES = (Path("/usr/share/mma/lib"), Path("/usr/local/share/mma/lib"))
SYMBOLS = {
    "maj": "", "min": "m", "7": "7", "maj7": "M7", "min7": "m7", "dim": "dim3", "dim7": "dim7", "hdim7": "m7b5",
    "aug": "aug", "sus4": "sus4", "sus2": "sus2", "maj6": "6", "min6": "m6", "9": "9",
}  # fmt: skip
SECONDS_PER_RUN = 120


@dataclass(frozen=True)
class Groove:
    """An MMA groove: its style file (``library/file``), name and metre.

    ``beats`` counts MMA's beats per bar of MMA, ``span`` how many bars of ours that bar holds (12/8 holds two of 6/8).
    """

    file: str
    name: str
    metre: str
    beats: int = 4
    span: int = 1


@dataclass(frozen=True)
class BandPart:
    """One MMA track: its name in lower case, its instrument and its notes (int32 [n, 5], counted from the start)."""

    track: str
    instrument: Instrument | None
    notes: np.ndarray
    drums: bool = False


@dataclass(frozen=True)
class Request:
    """A piece for the band: chords by section, each with a wish for its strength, in the key of ``tonic``.

    ``strength`` is -1 (thin), 0 or 1 (full); ``ending`` asks for the groove's ending in the last bars.
    """

    sections: tuple[tuple[tuple[Chord | None, ...], int], ...]
    tonic: int
    ending: bool


def has_mma() -> bool:
    """Whether the program and its style library are installed."""
    return shutil.which("mma") is not None and any(path.is_dir() for path in LIBRARIES)


def exists(groove: Groove) -> bool:
    """Whether the installed library holds the groove."""
    return groove.name.lower() in _variants(groove.file)


@lru_cache(maxsize=512)
def _variants(file: str) -> dict[str, int]:
    """Names (lower case) of the grooves that a style file defines, with the bars of their sequences."""
    path = next((base / f"{file}.mma" for base in LIBRARIES if (base / f"{file}.mma").is_file()), None)
    if path is None:
        return {}
    found: dict[str, int] = {}
    size = 1
    for line in path.read_text(errors="replace").splitlines():
        if match := re.match(r"\s*seqsize\s+(\d+)", line, re.I):
            size = int(match[1])
        elif match := re.match(r"\s*defgroove\s+(\S+)", line, re.I):
            found[match[1].lower()] = size
    return found


def render(groove: Groove, requests: list[Request], seed: int) -> list[list[BandPart]]:
    """The band's parts for every request. Raises InputError where MMA is missing or refuses the input."""
    if not has_mma():
        raise InputError("the program mma is not installed; install the Debian package mma")
    lines = [f"RndSeed {seed}", f"Use {groove.file}", "Tempo 120"]
    starts, bar = [], 0
    for request in requests:
        starts.append(bar)
        written = _write(groove, request)
        lines += written
        bar += sum(line[0].isdigit() for line in written)
        lines.append("1 z!")
        bar += 1
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "band.mma"), Path(folder, "band.mid")
        source.write_text("\n".join(lines) + "\n")
        command = ["mma", "-w", "-m", "20000", "-xNOCREDIT", "-f", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_PER_RUN, check=False)
        if done.returncode or not target.is_file():
            reason = " ".join((done.stdout + done.stderr).split())[-200:]
            raise InputError(f"mma cannot play {groove.file} {groove.name}: {reason}")
        score = Score(target)
    return _split(score, groove, starts, requests)


def _write(groove: Groove, request: Request) -> list[str]:
    """MMA's lines for one request."""
    slots = CHORDS_PER_BAR[groove.metre] * groove.span  # per bar of MMA
    variants = _variants(groove.file)
    total = sum(len(chords) for chords, _ in request.sections) // slots
    end = groove.name.lower() + "end"
    end_bars = variants.get(end, 0) if request.ending else 0
    if end_bars > 4 or end_bars * 3 > total:
        end_bars = 0
    lines: list[str] = []
    current, bar = "", 0
    for chords, strength in request.sections:
        bars = len(chords) // slots
        for index in range(bars):
            wanted = _variant(groove, variants, strength, index == bars - 1 and bars > 2)
            if bar >= total - end_bars:
                wanted = end
            if wanted != current:
                lines.append(f"Groove {wanted}")
                current = wanted
            lines.append("1 " + _bar(chords[index * slots : (index + 1) * slots], groove.beats, request.tonic))
            bar += 1
    return lines


def _variant(groove: Groove, variants: dict[str, int], strength: int, last: bool) -> str:
    """The groove's variant for a bar: a fill at a section's end, a fuller one where the section is strong."""
    base = groove.name.lower()
    if last and variants.get(base + "fill") == 1:
        return base + "fill"
    for suffix in ("plus", "susplus", "sus", "") if strength > 0 else ("",):
        if base + suffix in variants:
            return base + suffix
    return base


def _bar(chords: tuple[Chord | None, ...], beats: int, tonic: int) -> str:
    tokens, last = [], -1
    for beat in range(beats):
        slot = beat * len(chords) // beats
        tokens.append("/" if slot == last else symbol(chords[slot], tonic))
        last = slot
    return " ".join(tokens)


def symbol(chord: Chord | None, tonic: int) -> str:
    """MMA's name of a chord; ``z`` (the band rests) for no chord."""
    return "z" if chord is None else TONICS[(tonic + chord.root) % 12] + SYMBOLS[chord.quality]


def _split(score: Score, groove: Groove, starts: list[int], requests: list[Request]) -> list[list[BandPart]]:
    """Cut the rendered file into the pieces' parts, in our ticks on our grid."""
    mma_bar = BAR_TICKS[groove.metre] * groove.span
    scale = mma_bar / (groove.beats * score.tpq)
    slots = CHORDS_PER_BAR[groove.metre] * groove.span
    tracks = []
    for track in score.tracks:
        notes = track.notes.numpy()
        columns = (
            notes["time"] * scale,
            np.zeros(len(notes["time"])),
            notes["pitch"],
            notes["duration"] * scale,
            notes["velocity"],
        )
        tracks.append((track, np.stack(columns, axis=1)))
    pieces: list[list[BandPart]] = []
    for start, request in zip(starts, requests, strict=True):
        begin = start * mma_bar
        length = sum(len(chords) for chords, _ in request.sections) // slots * mma_bar
        inside = [
            (track, rows[(rows[:, 0] >= begin - 1.5) & (rows[:, 0] < begin + length - 1.5)]) for track, rows in tracks
        ]
        joined = np.concatenate([rows[:, 0] for _, rows in inside]) - begin
        snapped = np.maximum(snap(joined, compound=groove.metre == "6/8"), 0)
        parts, offset = [], 0
        for track, rows in inside:
            notes = np.round(rows).astype(np.int32)
            notes[:, ONSET] = snapped[offset : offset + len(rows)]
            notes[:, DURATION] = np.clip(notes[:, DURATION], 1, length)
            offset += len(rows)
            if track.is_drum:
                notes = notes[(notes[:, PITCH] >= 27) & (notes[:, PITCH] <= 87)]
                notes[:, DURATION] = TICKS_PER_BEAT // 4
            if len(notes):
                instrument = None if track.is_drum else instrument_of_program(track.program)
                parts.append(BandPart(track.name.lower(), instrument, without_collisions(notes), track.is_drum))
        pieces.append(parts)
    return pieces
