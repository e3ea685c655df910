"""Images in any form to upright RGB."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from m2ugen.errors import InputError
from m2ugen.media.sources import FileSource, is_file_source, open_source, source_name

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 120_000_000
ImageSource: TypeAlias = "FileSource | np.ndarray | Image"


def load_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> Image:
    """A PIL image in RGB, turned as its EXIF orientation says, transparency on white.

    ``source`` is a path, bytes, a binary file object, a PIL image, or an array [height, width], [height, width, 1],
    [height, width, 3 or 4] of uint8 or of floats in [0, 1].

    Raises InputError for a source that is missing, empty, damaged, not an image or larger than ``max_pixels``.
    """
    from PIL import Image, ImageOps

    name = source_name(source)
    if isinstance(source, Image.Image):
        return _to_rgb(_within(source, name, max_pixels), name)
    if isinstance(source, np.ndarray):
        return _to_rgb(_within(_from_array(source), name, max_pixels), name)
    if not is_file_source(source):
        raise InputError(f"cannot use {type(source).__name__} as an image: give a path, bytes, an array or a PIL image")
    with open_source(source, "image") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # size is checked below, with our own limit and message
        try:
            with Image.open(file) as opened:
                _within(opened, name, max_pixels)
                opened.load()
                return _to_rgb(ImageOps.exif_transpose(opened), name)
        except Image.DecompressionBombError as error:
            raise InputError(f"{name} has too many pixels; scale it down to {max_pixels / 1e6:g} megapixels") from error
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, OverflowError, MemoryError) as error:
            raise InputError(f"{name} cannot be read as an image: it is damaged or of an unknown format") from error


def _within(image: Image, name: str, max_pixels: int) -> Image:
    width, height = image.size
    if not width or not height:
        raise InputError(f"{name} is an image without pixels")
    if width * height > max_pixels:
        raise InputError(f"{name} has {width} x {height} pixels; scale it down to {max_pixels / 1e6:g} megapixels")
    return image


def _to_rgb(image: Image, name: str) -> Image:
    from PIL import Image

    try:
        if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits, or floats: Pillow would clip, not scale
            return _from_array(_stretch(np.asarray(image, dtype=np.float64))).convert("RGB")
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return image.convert("RGB")
    except (OSError, ValueError) as error:
        raise InputError(f"{name} cannot be converted to RGB ({error})") from error


def _stretch(values: np.ndarray) -> np.ndarray:
    """Deep greyscale to [0, 1]: by its 16-bit range when it fits, else by its own range."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0 and high <= 1:
        return np.nan_to_num(values)
    if low >= 0 and high <= 65_535:
        return np.nan_to_num(values) / 65_535
    return np.nan_to_num((values - low) / max(high - low, 1e-9))


def _from_array(array: Any) -> Image:
    from PIL import Image

    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)) or not array.size:
        raise InputError(f"an image array must be [height, width] or [height, width, 3 or 4], not {list(array.shape)}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise InputError("an image array of floats must lie between 0 and 1; divide by 255 or give uint8")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise InputError(f"an image array must be uint8 or floats between 0 and 1, not {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))
