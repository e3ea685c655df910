"""Images of every form come in upright and RGB, or are refused in one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from m2ugen.errors import InputError
from m2ugen.media.image import load_image


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(width: int = 40, height: int = 20) -> Image.Image:
    red = np.zeros((height, width, 3), dtype=np.uint8)
    red[:, : width // 2, 0] = 200
    return Image.fromarray(red)


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "WEBP", "JPEG", "TIFF"])
def test_common_formats(form: str) -> None:
    image = load_image(encoded(picture(), form))
    assert image.mode == "RGB" and image.size == (40, 20)
    assert image.getpixel((3, 10))[0] > 150 and image.getpixel((36, 10))[0] < 60


def test_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture(), "PNG"))
    expected = np.asarray(picture())
    array = expected / 255.0
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), picture(), expected, array):
        assert np.array_equal(np.asarray(load_image(source)), expected)


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert load_image(encoded(picture(), "JPEG", exif=exif)).size == (20, 40)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode in ("I;16", "F"):
        values = np.full((4, 4), 32_768, dtype=np.uint16) if mode == "I;16" else np.full((4, 4), 0.5, dtype=np.float32)
        image = Image.fromarray(values)
        assert load_image(image).getpixel((0, 0))[0] in range(126, 130)
    else:
        image = picture().convert(mode)
    assert load_image(image).mode == "RGB"


def test_transparency_shows_white() -> None:
    assert load_image(Image.new("RGBA", (2, 2), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "empty"),
        (b"no image" * 50, "damaged or of an unknown format"),
        ("/no/such.png", "does not exist"),
        (None, "cannot use NoneType"),
        (np.zeros((2, 2, 5), dtype=np.uint8), r"\[height, width"),
        (np.zeros((0, 2), dtype=np.uint8), r"\[height, width"),
        (np.full((2, 2), 7.0), "between 0 and 1"),
        (np.full((2, 2), np.nan), "between 0 and 1"),
        (np.zeros((2, 2), dtype=np.int64), "uint8"),
    ],
)
def test_unusable_sources(source: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_image(source)  # type: ignore[arg-type]


def test_too_many_pixels() -> None:
    with pytest.raises(InputError, match="scale it down"):
        load_image(encoded(picture(), "PNG"), max_pixels=100)
    bomb = encoded(Image.new("1", (30_000, 20_000)), "PNG")
    with pytest.raises(InputError, match="pixels"):
        load_image(bomb)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
def test_damaged_images_load_or_are_refused(data: st.DataObject, form: str) -> None:
    content = bytearray(encoded(picture(), form))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=20)):
        content[position] ^= 0xFF
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        image = load_image(bytes(content))
    except InputError:
        return
    assert image.mode == "RGB"
