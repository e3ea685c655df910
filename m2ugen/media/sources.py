"""What a caller may hand in as a medium, brought to one form: bytes or a path that is known to be readable."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

from m2ugen.errors import InputError

MAX_BYTES = 2 << 30


@runtime_checkable
class Readable(Protocol):
    """A binary file object."""

    def read(self, size: int = -1, /) -> bytes: ...


FileSource: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | Readable


def is_file_source(source: Any) -> bool:
    """Whether ``source`` is a path, bytes or a file object."""
    return isinstance(source, str | PathLike | bytes | bytearray | memoryview) or hasattr(source, "read")


def source_name(source: Any) -> str:
    """How to call ``source`` in a message."""
    if isinstance(source, str | PathLike):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else "the given data"


def read_bytes(source: FileSource, kind: str) -> bytes:
    """The whole content of ``source``; ``kind`` ("audio", "image", "video") names it in messages.

    A file object is read from its current position, and stays open. Raises InputError when the file is missing, a
    folder, empty, unreadable, larger than MAX_BYTES or not binary.
    """
    with open_source(source, kind) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{source_name(source)} is larger than {MAX_BYTES >> 30} GiB; use a shorter {kind} file")
    return data


@contextmanager
def open_source(source: FileSource, kind: str) -> Iterator[BinaryIO]:
    """A seekable binary file with the content of ``source``. Raises InputError as read_bytes does."""
    if isinstance(source, str | PathLike):
        with _open_path(Path(source).expanduser(), kind) as file:
            yield file
        return
    if isinstance(source, bytes | bytearray | memoryview):
        data: Any = bytes(source)
    elif isinstance(source, Readable):
        try:
            data = source.read()
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {source_name(source)}: {error}") from error
        if not isinstance(data, bytes):
            raise InputError(f"cannot read {source_name(source)}: open the file in binary mode ('rb')")
    else:
        raise InputError(f"cannot use {type(source).__name__} as {kind}: give a path, bytes or a binary file object")
    if not data:
        raise InputError(f"{source_name(source)} is empty; give a file with {kind} in it")
    yield io.BytesIO(data)


def _open_path(path: Path, kind: str) -> BinaryIO:
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give one {kind} file")
        file = path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the name of the {kind} file") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(f"cannot open {path}: {getattr(error, 'strerror', None) or error}") from error
    if path.is_file() and not path.stat().st_size:
        file.close()
        raise InputError(f"{path} is empty; give a file with {kind} in it")
    return file
