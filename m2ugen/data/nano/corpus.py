"""Dance tunes and folk songs from the music21 package's corpus, in ABC notation, harmonised by their own notes.

The files are read directly (a tune is one line of notes), which is a hundred times faster than through music21 itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from m2ugen.data.nano import harmony
from m2ugen.data.nano.songs import Song, monophonic
from m2ugen.score.notes import ONSET, PITCH, empty_notes
from m2ugen.score.plan import BAR_TICKS

COLLECTIONS = ("ryansMammoth", "oneills1850", "airdsAirs", "essenFolksong")
METRES = {"4/4": ("4/4", 1), "C": ("4/4", 1), "C|": ("4/4", 1), "2/2": ("4/4", 1), "2/4": ("4/4", 2),
          "3/4": ("3/4", 1), "6/8": ("6/8", 1), "3/8": ("6/8", 2)}  # fmt: skip
SHARPS, FLATS = "FCGDAEB", "BEADGCF"
MODE_FIFTHS = {"": 0, "maj": 0, "ion": 0, "mix": -1, "dor": -2, "m": -3, "min": -3, "aeo": -3, "phr": -4}
TOKEN = re.compile(
    r'"[^"]*"|\{[^}]*\}|![^!]*!|\[[A-Z]:[^\]]*\]|\(\d|:*\|+[\]:\d]*|::'
    r"|(?P<acc>\^\^?|__?|=)?(?P<note>[A-Ga-gzx])(?P<oct>[,']*)(?P<num>\d*)(?P<den>/*\d*)|[<>]+|-"
)


def read_corpus() -> Iterator[Song]:
    """Every tune of at least eight bars in a metre and a key that we know; nothing where music21 is not installed."""
    spec = find_spec("music21")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "corpus"
    for collection in COLLECTIONS:
        for path in sorted((folder / collection).glob("*.abc")):
            text = path.read_text(encoding="utf-8", errors="replace")
            for index, tune in enumerate(re.split(r"(?m)^(?=X:)", text)):
                song = read_tune(tune, f"{collection}/{path.stem}/{index}")
                if song is not None:
                    yield song


def read_tune(tune: str, work: str) -> Song | None:
    """One ABC tune as a song without accompaniment; None where it is too short or not understood."""
    fields: dict[str, str] = {}
    lines: list[str] = []
    for line in tune.splitlines():
        line = line.split("%")[0].strip()
        if re.match(r"[A-Za-z]:", line):
            if lines and line[0] in "MKLV":
                return None  # changes of metre or key within a tune
            fields.setdefault(line[0], line[2:].strip())
        elif line:
            lines.append(line)
    metre = METRES.get(fields.get("M", ""))
    key = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)", fields.get("K", ""))
    if metre is None or key is None or not lines:
        return None
    fifths = {"C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5, "F": -1}[key[1]] + {"#": 7, "b": -7, "": 0}[key[2]]
    mode_name = key[3].lower()[:3] if key[3] else ""
    fifths += MODE_FIFTHS.get(mode_name, 0)
    unit = Fraction(fields["L"]) if re.fullmatch(r"\d+/\d+", fields.get("L", "")) else Fraction(1, 8)
    name, merged = metre
    melody = _notes(" ".join(lines), fifths, unit, Fraction(BAR_TICKS[name], merged))
    bars = int(-(-(melody[:, 0] + melody[:, 3]).max() // BAR_TICKS[name])) if len(melody) else 0
    if bars < 8 or len(melody) < 2 * bars:
        return None
    tonic = (harmony.LETTERS[key[1]] + {"#": 1, "b": -1, "": 0}[key[2]]) % 12
    mode = "minor" if MODE_FIFTHS.get(mode_name, 0) in (-2, -3, -4) else "major"
    melody[:, PITCH] += -tonic if tonic <= 6 else 12 - tonic
    if harmony.share_in_key(melody, mode) < 0.9:
        return None
    chords = harmony.estimate_chords(melody, name, bars, mode, melody_only=True)
    first = next((c for c in chords if c is not None), None)
    chords = tuple(first if c is None else c for c in chords)
    return Song(work, "corpus", name, mode, 100.0, melody, empty_notes(), chords)


def _notes(text: str, fifths: int, unit: Fraction, bar: Fraction) -> np.ndarray:
    """The tune's notes in ticks; an upbeat is placed at the end of the first bar."""
    signature = dict.fromkeys(SHARPS[: max(fifths, 0)], 1) | dict.fromkeys(FLATS[: max(-fifths, 0)], -1)
    rows: list[list[Fraction | int]] = []
    position, bar_start, tuplet = Fraction(0), Fraction(0), (0, Fraction(1))
    accidentals: dict[str, int] = {}
    broken: Fraction | None = None
    tie = False
    for match in TOKEN.finditer(text):
        token = match[0]
        if token[0] in ":|":
            accidentals = {}
            length = position - bar_start
            if bar_start == 0 and 0 < length < bar:  # upbeat
                for row in rows:
                    row[0] += bar - length
                position = bar
            bar_start = position
        elif token[0] == "(":
            count = int(token[1])
            ratio = {2: Fraction(3, 2), 3: Fraction(2, 3), 4: Fraction(3, 4), 6: Fraction(1, 3)}.get(count, Fraction(1))
            tuplet = (count, ratio)
        elif token[0] in "<>":
            short, long = Fraction(1, 2), Fraction(3, 2)
            first, broken = (long, short) if token[0] == ">" else (short, long)
            if rows:
                change = (first - 1) * rows[-1][3]
                rows[-1][3] += change
                position += change
        elif token == "-":
            tie = True
        elif match["note"]:
            length = unit * int(match["num"] or 1) * 48
            if match["den"]:
                digits = match["den"].lstrip("/")
                length /= int(digits) if digits else 2 ** len(match["den"])
            if tuplet[0]:
                length *= tuplet[1]
                tuplet = (tuplet[0] - 1, tuplet[1])
            if broken is not None:
                length *= broken
                broken = None
            letter = match["note"]
            if letter not in "zx":
                spot = letter + match["oct"]
                if match["acc"]:
                    accidentals[spot] = match["acc"].count("^") - match["acc"].count("_")
                pitch = 60 + harmony.LETTERS[letter.upper()] + 12 * letter.islower()
                pitch += 12 * (match["oct"].count("'") - match["oct"].count(","))
                pitch += accidentals.get(spot, signature.get(letter.upper(), 0))
                if tie and rows and rows[-1][2] == pitch:
                    rows[-1][3] += length
                else:
                    rows.append([position, 0, pitch, length, 78])
            tie = False
            position += length
    if not rows:
        return empty_notes()
    table = np.array([[round(float(value)) for value in row] for row in rows], dtype=np.int32)
    table[:, 3] = np.maximum(table[:, 3], 1)
    table[:, 4] += np.where(table[:, ONSET] % 12 == 0, 5, 0)
    return monophonic(table)
