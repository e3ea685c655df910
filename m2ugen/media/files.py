"""Output files that are either complete or absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from m2ugen.errors import InputError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")  # of files that can be written
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
MIDI_SUFFIXES = (".mid", ".midi")


def check_output(path: str | Path, suffixes: Sequence[str]) -> Path:
    """``path`` as a Path, once it is sure that a file of that name can be written.

    Raises InputError when the extension is not among ``suffixes`` (lower case, with the dot), the folder does not
    exist or cannot be written to, or ``path`` is a folder.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise InputError(f"cannot write {path}: the file name must end in {', '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"cannot write {path}: no permission to write in {path.parent}")
    return path


@contextmanager
def atomic_output(path: str | Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` that takes its place when the block ends without an error.

    Raises InputError as check_output does, or when the disk refuses the file.
    """
    path = check_output(path, suffixes)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
