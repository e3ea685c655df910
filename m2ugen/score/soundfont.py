"""Which SoundFont plays, and its preparation for the synthesizer.

The synthesizer departs from the SoundFont standard (2.04) in ways that make notes click at their end, so a font is
rewritten before it is loaded:

- It adds a preset's envelope generators to the instrument's, but takes an absent one for its absolute default (one
  millisecond) where the standard (section 8.5) says that a preset is an offset of zero. The implied zeros are
  written out: always for the release, and for the decay where the instrument decays below its peak.
- With a tremolo (LFO to volume) a released note sounds on and is then cut. Tremolo is switched off.
"""

from __future__ import annotations

import os
import struct
import tempfile
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
GENERATOR = np.dtype([("operator", "<u2"), ("amount", "<i2")])


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


@lru_cache(maxsize=2)
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
    if not {b"phdr", b"pbag", b"pgen", b"inst", b"ibag", b"igen"} <= tables.keys():
        raise ValueError("its preset tables are missing")
    decaying = _decaying_instruments(tables[b"inst"], tables[b"ibag"], tables[b"igen"])
    tables[b"pbag"], tables[b"pgen"] = _complete(tables[b"phdr"], tables[b"pbag"], tables[b"pgen"], decaying)
    generators = np.frombuffer(tables[b"igen"], dtype=GENERATOR).copy()
    generators["amount"][generators["operator"] == TREMOLO] = 0
    tables[b"igen"] = generators.tobytes()
    body = b"pdta" + b"".join(_chunk(name, tables[name]) for name, _ in inner)
    rest = b"".join(_chunk(name, data[start:stop]) for name, start, stop in outer if start != position)
    content = b"sfbk" + rest + _chunk(b"LIST", body)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _decaying_instruments(headers: bytes, bags: bytes, generators: bytes) -> set[int]:
    """Numbers of the instruments with a zone that sustains well below its peak."""
    first_zones = np.frombuffer(headers, dtype=np.dtype([("name", "S20"), ("bag", "<u2")]))["bag"]
    first_generators = np.frombuffer(bags, dtype="<u2").reshape(-1, 2)[:, 0]
    table = np.frombuffer(generators, dtype=GENERATOR)
    low = (table["operator"] == SUSTAIN) & (table["amount"] >= DECAYING)
    bounds = first_generators[first_zones].tolist()
    return {k for k in range(len(bounds) - 1) if low[bounds[k] : bounds[k + 1]].any()}


def _complete(headers: bytes, bags: bytes, generators: bytes, decaying: set[int]) -> tuple[bytes, bytes]:
    """New pbag and pgen tables in which the implied zero offsets of every zone with an instrument are written out."""
    first_zones = np.frombuffer(headers, dtype=np.dtype([("name", "S24"), ("bag", "<u2"), ("rest", "V12")]))["bag"]
    zones = np.frombuffer(bags, dtype="<u2").reshape(-1, 2)  # first generator, first modulator
    table = np.frombuffer(generators, dtype=GENERATOR)
    starts = np.zeros(len(zones), dtype="<u2")
    written: list[tuple[int, int]] = []
    for first, last in zip(first_zones[:-1].tolist(), first_zones[1:].tolist(), strict=True):
        shared: dict[int, int] = {}  # from the preset's global zone
        for zone in range(first, last):
            starts[zone] = len(written)
            items = [(int(o), int(a)) for o, a in table[zones[zone, 0] : zones[zone + 1, 0]]]
            own = dict(items)
            if INSTRUMENT in own:
                implied = (RELEASE, *DECAY) if own[INSTRUMENT] in decaying else (RELEASE,)
                ranges = [item for item in items if item[0] in RANGES]
                others = [item for item in items if item[0] not in RANGES]
                items = ranges + [(o, shared.get(o, 0)) for o in implied if o not in own] + others
            elif zone == first:
                shared = own
            written.extend(items)
    if len(written) >= 1 << 16:
        raise ValueError("it has too many presets")
    starts[-1] = len(written)
    written.append((0, 0))
    bag_table = np.stack([starts, zones[:, 1]], axis=1).astype("<u2")
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
