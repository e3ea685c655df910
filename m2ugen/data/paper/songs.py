"""A folder of one's own songs: captions from a table, from texts beside the songs, or from the files' names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from m2ugen.data.build.examples import CAPTION_REQUESTS, CAPTIONS, INSTRUCTIONS
from m2ugen.data.build.media import AUDIO
from m2ugen.data.paper.samples import MediaFile, Sample
from m2ugen.errors import InputError

TABLES = ("captions.csv", "captions.tsv", "metadata.csv")
FILE_COLUMNS, CAPTION_COLUMNS = ("file", "file_name", "music", "path"), ("caption", "text", "description")
TRACK_NUMBER = re.compile(r"^\d{1,3}\s*[-._ ]\s*(?=\D)")
SEPARATORS = re.compile(r"\s-\s|[_\s]+|(?<=\w)-(?=\w)|\.")
MARK = re.compile(r"\s*\(\d+\)$|\s+\d{1,3}$")  # of several songs of one description: "calm piano (2)", "calm piano 2"


def is_song_folder(folder: Path) -> bool:
    """Whether there are songs in ``folder`` or below it."""
    return any(path.suffix.lower() in AUDIO for path in folder.rglob("*"))


def read_songs(folder: Path, origin: str) -> Iterator[Sample]:
    """Two samples for each song: it is to be described, and its caption is a request that its music answers.

    A table ``captions.csv`` (columns file, caption) goes before a text of the song's name beside it, and that before
    the file's name. Raises InputError for a table that cannot be used.
    """
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    captions = _captions(folder, table) if table is not None else {}
    songs = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO)
    if table is not None:
        songs = [folder / name for name in captions]
    for song in songs:
        name = str(song.relative_to(folder))
        caption = captions.get(name) or _text_beside(song) or caption_of_name(song.stem)
        medium = MediaFile(song)
        group = f"{origin}/{name}"
        yield Sample(origin, CAPTIONS, CAPTION_REQUESTS["music"], caption, group, {"music": medium})
        yield Sample(origin, INSTRUCTIONS, caption, caption, group, {}, caption, medium)


def caption_of_name(stem: str) -> str:
    """``03_calm-piano_in_D_minor (2)`` → ``calm piano in D minor``."""
    text = SEPARATORS.sub(" ", TRACK_NUMBER.sub("", stem)).strip()
    return MARK.sub("", " ".join(text.split()))


def _text_beside(song: Path) -> str:
    path = song.with_suffix(".txt")
    return " ".join(path.read_text(encoding="utf-8").split()) if path.is_file() else ""


def _captions(folder: Path, table: Path) -> dict[str, str]:
    """Captions by the file's name relative to ``folder``."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t" if table.suffix == ".tsv" else ","))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the captions {table}: {error}") from error
    columns = list(rows[0]) if rows else []
    file = next((name for name in FILE_COLUMNS if name in columns), None)
    caption = next((name for name in CAPTION_COLUMNS if name in columns), None)
    if file is None or caption is None:
        raise InputError(f"the captions {table} need the columns file and caption, and at least one row")
    found = {}
    for row in rows:
        name = (row[file] or "").strip()
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"the captions {table} name the file {name!r}; it must lie in {folder}")
        found[name] = " ".join((row[caption] or "").split())
    return found
