"""Which SoundFont plays, and its preparation for the synthesizer.

The synthesizer departs from the SoundFont standard (2.04) in ways that make notes click at their end or sound at
another pitch, so a font is rewritten before it is loaded:

- It adds a preset's envelope generators to the instrument's, but takes an absent one for its absolute default (one
  millisecond) where the standard (section 8.5) says that a preset is an offset of zero. The implied zeros are
  written out: always for the release, and for the decay where the instrument decays below its peak.
- With a tremolo (LFO to volume) a released note sounds on and is then cut. Tremolo is switched off.
- It knows a recording's pitch from the recording's own header only, and coarse tuning up to 120 cents. Where a zone
  says otherwise (section 8.1.3, numbers 51 and 58), it gets a copy of the header with the pitch that is meant.
"""

from __future__ import annotations

import itertools
import os
import struct
import tempfile
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from m2ugen.errors import InputError, MissingWeights

SOUNDFONT_VARIABLE = "M2UGEN_SOUNDFONT"
DEFAULT_SOUNDFONT = "MuseScore_General_Lite.sf3"
INSTRUMENT = 41  # generator that ends a preset zone
RANGES = (43, 44)  # key and velocity range must come first in a zone
RELEASE = 38  # of the volume envelope, as the next ones
DECAY = (33, 34, 35, 36)  # delay, attack, hold, decay
SUSTAIN = 37
DECAYING = 100  # an instrument whose sustain lies this many centibels below its peak decays
TREMOLO = 13
COARSE_TUNE = 51  # semitones
SAMPLE = 53  # generator that ends an instrument zone
ROOT_KEY = 58
HIGHEST_KEY = 127
UNPITCHED_KEY = 60  # for a recording whose header says that it has no pitch
MAX_GENERATORS = 1 << 16
GENERATOR = np.dtype([("operator", "<u2"), ("amount", "<i2")])
PRESET_HEADER = np.dtype([("name", "S20"), ("number", "<u2", 2), ("bag", "<u2"), ("rest", "V12")])
INSTRUMENT_HEADER = np.dtype([("name", "S20"), ("bag", "<u2")])
SAMPLE_HEADER = np.dtype([("name", "S20"), ("places", "<u4", 5), ("pitch", "u1"), ("rest", "V5")])

Items = list[tuple[int, int]]  # the generators of a zone: operator, amount


def soundfont_path(soundfont: str | Path | None = None) -> Path:
    """The font to play: the argument, else the environment variable M2UGEN_SOUNDFONT, else the bundled one.

    Raises InputError when the chosen file does not exist, MissingWeights when the bundled one is absent.
    """
    chosen = soundfont or os.environ.get(SOUNDFONT_VARIABLE)
    if chosen:
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise InputError(f"the SoundFont {path} does not exist; give an .sf2 or .sf3 file")
        return path
    with as_file(files("m2ugen") / "assets" / DEFAULT_SOUNDFONT) as path:
        if not path.is_file():
            raise MissingWeights(
                f"the bundled SoundFont {DEFAULT_SOUNDFONT} is missing; reinstall m2ugen or set {SOUNDFONT_VARIABLE}"
            )
        return path


def load_synthesizer(path: Path, sample_rate: int) -> Any:
    """A symusic Synthesizer for the font at ``path``; loaded once per file and rate.

    Raises InputError when the file is not a SoundFont.
    """
    stat = path.stat()
    return _load_synthesizer(path.resolve(), sample_rate, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _load_synthesizer(path: Path, sample_rate: int, _modified: int, _size: int) -> Any:
    from symusic import Synthesizer

    try:
        data = prepare_font(path.read_bytes())
    except (ValueError, struct.error, IndexError, OSError) as error:
        raise InputError(f"{path} is not a usable SoundFont ({error}); give an .sf2 or .sf3 file") from error
    handle, name = tempfile.mkstemp(suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return Synthesizer(name, sample_rate)
    except RuntimeError as error:
        raise InputError(f"{path} is not a usable SoundFont ({error}); give an .sf2 or .sf3 file") from error
    finally:
        Path(name).unlink(missing_ok=True)


def prepare_font(data: bytes) -> bytes:
    """The SoundFont ``data``, rewritten as the head of this module says.

    Raises ValueError when ``data`` is not a SoundFont.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ValueError("it has no SoundFont header")
    outer = _chunks(data, 12, len(data))
    position = next((start for name, start, _ in outer if name == b"LIST" and data[start : start + 4] == b"pdta"), None)
    if position is None:
        raise ValueError("it has no presets")
    end = next(stop for name, start, stop in outer if start == position)
    inner = [(name, data[start:stop]) for name, start, stop in _chunks(data, position + 4, end)]
    tables = dict(inner)
    if not {b"phdr", b"pbag", b"pgen", b"inst", b"ibag", b"igen", b"shdr"} <= tables.keys():
        raise ValueError("its preset tables are missing")
    instruments = np.frombuffer(tables[b"inst"], dtype=INSTRUMENT_HEADER)["bag"]
    presets = np.frombuffer(tables[b"phdr"], dtype=PRESET_HEADER)["bag"]
    decaying = _decaying_instruments(instruments, tables[b"ibag"], tables[b"igen"])
    tables[b"pbag"], tables[b"pgen"] = _rewrite(
        presets,
        tables[b"pbag"],
        tables[b"pgen"],
        INSTRUMENT,
        lambda zone, shared: _with_offsets(zone, shared, decaying),
    )
    recordings = Recordings(tables[b"shdr"])
    tables[b"ibag"], tables[b"igen"] = _rewrite(
        instruments, tables[b"ibag"], tables[b"igen"], SAMPLE, recordings.with_pitch
    )
    tables[b"shdr"] = recordings.headers()
    generators = np.frombuffer(tables[b"igen"], dtype=GENERATOR).copy()
    generators["amount"][generators["operator"] == TREMOLO] = 0
    tables[b"igen"] = generators.tobytes()
    body = b"pdta" + b"".join(_chunk(name, tables[name]) for name, _ in inner)
    rest = b"".join(_chunk(name, data[start:stop]) for name, start, stop in outer if start != position)
    content = b"sfbk" + rest + _chunk(b"LIST", body)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _decaying_instruments(first_zones: np.ndarray, bags: bytes, generators: bytes) -> set[int]:
    """Numbers of the instruments with a zone that sustains well below its peak."""
    first_generators = np.frombuffer(bags, dtype="<u2").reshape(-1, 2)[:, 0]
    table = np.frombuffer(generators, dtype=GENERATOR)
    low = (table["operator"] == SUSTAIN) & (table["amount"] >= DECAYING)
    bounds = first_generators[first_zones].tolist()
    return {k for k in range(len(bounds) - 1) if low[bounds[k] : bounds[k + 1]].any()}


def _with_offsets(zone: Items, shared: dict[int, int], decaying: set[int]) -> Items:
    """A preset's zone with the implied zero offsets written out."""
    own = dict(zone)
    implied = (RELEASE, *DECAY) if own[INSTRUMENT] in decaying else (RELEASE,)
    ranges = [item for item in zone if item[0] in RANGES]
    others = [item for item in zone if item[0] not in RANGES]
    return ranges + [(o, shared.get(o, 0)) for o in implied if o not in own] + others


class Recordings:
    """The headers of a font's recordings, of which zones may ask for copies with another pitch."""

    def __init__(self, headers: bytes) -> None:
        table = np.frombuffer(headers, dtype=SAMPLE_HEADER)
        self._own, self._end = table[:-1], table[-1:]
        self._copies: dict[tuple[int, int], int] = {}  # (recording, pitch) → its place behind the own ones

    def with_pitch(self, zone: Items, shared: dict[int, int]) -> Items:
        """An instrument's zone that plays a recording whose header has the pitch that the zone means."""
        own = {**shared, **dict(zone)}
        number, root, tuning = own[SAMPLE], own.get(ROOT_KEY, -1), own.get(COARSE_TUNE, 0)
        header = int(self._own[number]["pitch"])
        pitch = (root if root >= 0 else header if header <= HIGHEST_KEY else UNPITCHED_KEY) - tuning
        if not 0 <= pitch <= HIGHEST_KEY or (pitch == header and not tuning):
            return zone
        if pitch != header:
            number = len(self._own) + self._copies.setdefault((number, pitch), len(self._copies))
        others = [item for item in zone[:-1] if item[0] not in (COARSE_TUNE, ROOT_KEY)]
        return [*others, (COARSE_TUNE, 0), (ROOT_KEY, pitch), (SAMPLE, number)]

    def headers(self) -> bytes:
        """The table with the copies."""
        numbers, pitches = zip(*self._copies, strict=True) if self._copies else ((), ())
        copies = self._own[list(numbers)]
        copies["pitch"] = pitches
        return np.concatenate([self._own, copies, self._end]).tobytes()


def _rewrite(
    first_zones: np.ndarray, bags: bytes, generators: bytes, last: int, change: Callable[[Items, dict[int, int]], Items]
) -> tuple[bytes, bytes]:
    """New bag and generator tables. ``first_zones`` are those of each preset or instrument; ``change`` takes every
    zone that ends in the generator ``last``, with the generators that its owner's zones share.
    """
    zones = np.frombuffer(bags, dtype="<u2").reshape(-1, 2)  # first generator, first modulator
    table = np.frombuffer(generators, dtype=GENERATOR)
    starts: list[int] = []
    written: Items = []
    for first, end in itertools.pairwise(first_zones.tolist()):
        shared: dict[int, int] = {}  # from the owner's global zone
        for zone in range(first, end):
            starts.append(len(written))
            items = [(int(o), int(a)) for o, a in table[zones[zone, 0] : zones[zone + 1, 0]]]
            if items and items[-1][0] == last:
                items = change(items, shared)
            elif zone == first:
                shared = dict(items)
            written.extend(items)
    starts.append(len(written))
    if len(written) >= MAX_GENERATORS or len(starts) != len(zones):
        raise ValueError("its presets cannot be rewritten")
    written.append((0, 0))
    bag_table = np.stack([np.array(starts), zones[:, 1]], axis=1).astype("<u2")
    return bag_table.tobytes(), np.array(written, dtype=GENERATOR).tobytes()


def _chunks(data: bytes, position: int, end: int) -> list[tuple[bytes, int, int]]:
    """RIFF chunks as (name, start, stop); tolerates writers that leave the padding byte of odd chunks out."""
    found = []
    while position + 8 <= end:
        name, size = data[position : position + 4], struct.unpack_from("<I", data, position + 4)[0]
        start, position = position + 8, position + 8 + size
        if position > end:
            raise ValueError("it is cut off")
        found.append((name, start, position))
        if size % 2 and data[position : position + 1] == b"\0":
            position += 1
    return found


def _chunk(name: bytes, content: bytes) -> bytes:
    # Odd chunks are left unpadded: the synthesizer's reader does not skip the padding byte.
    return name + struct.pack("<I", len(content)) + content
