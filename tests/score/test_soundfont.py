"""SoundFonts are prepared so that the synthesizer plays them as the standard says."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from m2ugen.errors import InputError
from m2ugen.score.soundfont import load_synthesizer
from m2ugen.score.synthesis import render_track

RATE = 44_100
A4 = 69


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def font(root_key: int | None, header_pitch: int, coarse: int | None = None) -> bytes:
    """A SoundFont whose only recording is the note A4 (440 Hz)."""
    wave = (8000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype("<i2").tobytes() + bytes(92)
    zone = [
        (54, 1),
        *([] if root_key is None else [(58, root_key)]),
        *([] if coarse is None else [(51, coarse)]),
        (53, 0),
    ]

    def generators(items: list[tuple[int, int]]) -> bytes:
        return b"".join(struct.pack("<Hh", *item) for item in [*items, (0, 0)])

    tables = {
        b"phdr": struct.pack("<20sHHHIII", b"tone", 0, 0, 0, 0, 0, 0)
        + struct.pack("<20sHHHIII", b"EOP", 0, 0, 1, 0, 0, 0),
        b"pbag": struct.pack("<4H", 0, 0, 1, 0),
        b"pmod": bytes(10),
        b"pgen": generators([(41, 0)]),
        b"inst": struct.pack("<20sH", b"tone", 0) + struct.pack("<20sH", b"EOI", 1),
        b"ibag": struct.pack("<4H", 0, 0, len(zone), 0),
        b"imod": bytes(10),
        b"igen": generators(zone),
        b"shdr": struct.pack("<20s5IBbHH", b"A4", 0, RATE, 4410, RATE - 4410, RATE, header_pitch, 0, 0, 1)
        + struct.pack("<20s5IBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0),
    }
    info = chunk(b"LIST", b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 1)) + chunk(b"INAM", b"tone\0\0"))
    sound = chunk(b"LIST", b"sdta" + chunk(b"smpl", wave))
    presets = chunk(b"LIST", b"pdta" + b"".join(chunk(name, table) for name, table in tables.items()))
    return chunk(b"RIFF", b"sfbk" + info + sound + presets)


def frequency(path: Path, key: int) -> float:
    sound = render_track(np.array([[0.0, 1.0, key, 96]]), 0, False, load_synthesizer(path, RATE), RATE, RATE)[0]
    middle = sound[8820:35280] * np.hanning(26460)
    return float(np.abs(np.fft.rfft(middle, 1 << 18)).argmax() * RATE / (1 << 18))


@pytest.mark.parametrize(
    ("root_key", "header_pitch", "coarse"),
    [(None, A4, None), (A4, 60, None), (A4, 81, None), (60, A4, 60 - A4), (None, A4 + 7, 7), (A4, 255, None)],
)
@pytest.mark.parametrize("key", [A4, 62])
def test_a_key_sounds_at_its_pitch_whichever_way_the_font_says_it(
    tmp_path: Path, root_key: int | None, header_pitch: int, coarse: int | None, key: int
) -> None:
    path = tmp_path / "tone.sf2"
    path.write_bytes(font(root_key, header_pitch, coarse))
    assert frequency(path, key) == pytest.approx(440 * 2 ** ((key - A4) / 12), rel=0.002)


def test_a_damaged_font_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.sf2"
    path.write_bytes(font(None, A4)[:-60])
    with pytest.raises(InputError, match="not a usable SoundFont"):
        load_synthesizer(path, RATE)
