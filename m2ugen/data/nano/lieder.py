"""OpenScore Lieder (Gotham et al.): songs for voice and piano, read from compressed MusicXML.

Only what the arranger needs is read: pitches, times, the time and key signatures. Measures are taken as written
(repeats are not played twice); grace notes and ornaments are left out.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from m2ugen.data.nano import harmony
from m2ugen.data.nano.songs import Song, monophonic, without_collisions
from m2ugen.score import keys
from m2ugen.score.notes import PITCH, sort_notes
from m2ugen.score.plan import BAR_TICKS

MIN_BARS = 12
# signature → (metre, written measures per bar, bars per written measure)
SIGNATURES = {
    (4, 4): ("4/4", 1, 1), (2, 2): ("4/4", 1, 1), (2, 4): ("4/4", 2, 1), (3, 4): ("3/4", 1, 1),
    (6, 8): ("6/8", 1, 1), (12, 8): ("6/8", 1, 2), (3, 8): ("6/8", 2, 1),
}  # fmt: skip


@dataclass
class Measure:
    """A written measure: its signature, key, length and notes (all times in quarters)."""

    signature: tuple[int, int]
    fifths: int
    length: Fraction = Fraction(0)
    tempo: float | None = None
    voice: list[tuple[Fraction, int, Fraction, bool]] = field(default_factory=list)  # onset, pitch, length, tied on
    piano: list[tuple[Fraction, int, Fraction, bool]] = field(default_factory=list)

    @property
    def nominal(self) -> Fraction:
        return Fraction(4 * self.signature[0], self.signature[1])


def read_lieder(folder: Path) -> Iterator[Song]:
    """Every stretch of at least MIN_BARS bars in one key and a metre that we know, file after file."""
    for path in sorted(folder.rglob("*.mxl")):
        yield from read_mxl(path)


def read_mxl(path: Path) -> Iterator[Song]:
    """The usable stretches of one compressed MusicXML file."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith((".xml", ".musicxml")) and not n.startswith("META-INF")]
        root = ElementTree.fromstring(archive.read(names[0]))
    measures = read_measures(root)
    start = 0
    for stop in range(1, len(measures) + 1):
        if stop == len(measures) or _breaks(measures[start], measures[stop], stop + 1 == len(measures)):
            song = _song(f"lieder/{path.stem}", measures[start:stop], stop == len(measures))
            if song is not None:
                yield song
            start = stop


def _breaks(first: Measure, measure: Measure, last: bool) -> bool:
    irregular = measure.length != measure.nominal and not last
    return measure.signature != first.signature or measure.fifths != first.fifths or irregular


def read_measures(root: ElementTree.Element) -> list[Measure]:
    """The score's measures with the notes of the first part as ``voice`` and of the last as ``piano``."""
    parts = root.findall("part")
    if len(parts) < 2:
        return []
    measures: list[Measure] = []
    for index in (0, len(parts) - 1):
        divisions, signature, fifths = 1, (4, 4), 0
        for number, element in enumerate(parts[index].findall("measure")):
            for attributes in element.findall("attributes"):
                divisions = int(attributes.findtext("divisions") or divisions)
                fifths = int(attributes.findtext("key/fifths") or fifths)
                if (beats := attributes.findtext("time/beats")) and beats.isdigit():
                    signature = (int(beats), int(attributes.findtext("time/beat-type") or 4))
            if index == 0:
                measures.append(Measure(signature, fifths))
            if number < len(measures):
                _read_notes(element, measures[number], "voice" if index == 0 else "piano", divisions)
    return measures


def _read_notes(element: ElementTree.Element, measure: Measure, role: str, divisions: int) -> None:
    position = onset = Fraction(0)
    for child in element:
        duration = Fraction(int(child.findtext("duration") or 0), divisions)
        if child.tag == "backup":
            position -= duration
        elif child.tag == "forward":
            position += duration
        elif child.tag == "direction" and (sound := child.find("sound")) is not None and "tempo" in sound.attrib:
            measure.tempo = float(sound.attrib["tempo"])
        elif child.tag == "note" and child.find("grace") is None:
            if child.find("chord") is None:
                onset = position
                position += duration
            pitch = child.find("pitch")
            if pitch is not None and duration and child.find("cue") is None:
                midi = 12 * (int(pitch.findtext("octave") or 4) + 1) + harmony.LETTERS[pitch.findtext("step") or "C"]
                midi += round(float(pitch.findtext("alter") or 0))
                tied = any(tie.get("type") == "stop" for tie in child.findall("tie"))
                getattr(measure, role).append((onset, midi, duration, tied))
        measure.length = max(measure.length, position)


def _song(work: str, measures: list[Measure], complete: bool) -> Song | None:
    """One stretch of measures as a song, or None where it is too short, too poor or in no clear key."""
    signature = measures[0].signature
    if signature not in SIGNATURES:
        return None
    metre, merged, split = SIGNATURES[signature]
    if measures[0].length < measures[0].nominal and len(measures) > 1 and merged > 1:
        measures = measures[1:]  # without the upbeat, pairs of measures begin with a full one
    bars = -(-len(measures) * split // merged)
    if bars < MIN_BARS:
        return None
    ticks = BAR_TICKS[metre] * split // merged
    melody = monophonic(_notes([m.voice for m in measures], measures, ticks))
    piano = without_collisions(_notes([m.piano for m in measures], measures, ticks))
    if len(melody) < 2 * bars or len(piano) < 3 * bars:
        return None
    everything = np.concatenate([melody, piano])
    tonic, mode = _key(everything, measures[0].fifths)
    shift = -tonic if tonic <= 6 else 12 - tonic
    for notes in (melody, piano, everything):
        notes[:, PITCH] += shift
    if harmony.share_in_key(everything, mode) < 0.85:
        return None
    tempo = next((m.tempo for m in measures if m.tempo), 96.0) / (1.5 if metre == "6/8" else 1.0)
    return Song(
        work=work,
        source="lieder",
        metre=metre,
        mode=mode,
        tempo=float(np.clip(tempo, 40, 200)),
        melody=melody,
        accompaniment=piano,
        chords=harmony.estimate_chords(everything, metre, bars, mode),
        complete=complete,
    )


def _key(notes: np.ndarray, fifths: int) -> tuple[int, str]:
    """Of the two keys with the written signature the one that the notes, and the last bass note most, speak for."""
    scores = keys.key_scores(keys.pitch_class_weights(notes))
    end = int((notes[:, 0] + notes[:, 3]).max())
    last = int(notes[notes[:, 0] + notes[:, 3] >= end - 6][:, PITCH].min()) % 12
    candidates = [(7 * fifths % 12, "major"), ((7 * fifths + 9) % 12, "minor")]
    return max(candidates, key=lambda key: scores[key] + 0.3 * (key[0] == last))


def _notes(events: list[list[tuple[Fraction, int, Fraction, bool]]], measures: list[Measure], ticks: int) -> np.ndarray:
    """Notes of consecutive measures in ticks, ties joined; velocities follow the metre and the line's contour."""
    rows: list[list[int]] = []
    sounding: dict[int, int] = {}  # pitch → row that a tie can prolong
    for index, (notes, measure) in enumerate(zip(events, measures, strict=True)):
        missing = max(measure.nominal - measure.length, Fraction(0)) if index == 0 else Fraction(0)  # upbeat
        for onset, pitch, length, tied in sorted(notes):
            start = index * ticks + round(float(12 * (onset + missing)))
            end = index * ticks + round(float(12 * (onset + missing + length)))
            row = sounding.get(pitch)
            if tied and row is not None and abs(rows[row][0] + rows[row][3] - start) <= 1:
                rows[row][3] = end - rows[row][0]
                continue
            accent = 8 if start % ticks == 0 else 3 if start % 12 == 0 else 0
            rows.append([start, 0, pitch, max(end - start, 1), 70 + accent + (pitch - 60) // 4])
            sounding[pitch] = len(rows) - 1
    notes_array = np.array(rows, dtype=np.int32).reshape(-1, 5)
    return sort_notes(notes_array)
