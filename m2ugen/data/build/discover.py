"""Finding the material: a folder of media, or a manifest."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from m2ugen.data.build.media import AUDIO, IMAGES, VIDEOS
from m2ugen.data.build.options import BuildOptions
from m2ugen.data.build.records import Record, digest, file_version
from m2ugen.errors import InputError

MANIFESTS = (".csv", ".tsv", ".json", ".jsonl")
MEDIA = ("music", "image", "video")
COLUMNS = (*MEDIA, "start", "end", "licence", "title", "labels", "caption", "picture_caption")
PICTURES = {"muimage": "image", "muvideo": "video"}  # sets with pictures, and what they show
STAGE = "discover"


def discover(name: str, options: BuildOptions) -> list[Record]:
    """The records of set ``name``, sorted and each once; what lacks a file comes with the reason.

    Raises InputError where the source cannot be read or holds nothing that could be used.
    """
    find = _from_folder if options.source.is_dir() else _from_manifest
    unique: dict[str, Record] = {}
    for record in find(name, options):
        unique.setdefault(record.id, record)
    if not unique:
        wanted = {"muimage": "pictures or videos", "muvideo": "videos"}.get(name, "music")
        raise InputError(f"there is nothing to use in {options.source}; it needs {wanted}")
    return sorted(unique.values(), key=lambda record: record.name)


def _files(folder: Path, apart: Path) -> list[Path]:
    """All files in ``folder`` but hidden ones and those in ``apart``, sorted."""
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and Path(place, f).resolve() != apart.resolve())
        found += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    return found


def _from_folder(name: str, options: BuildOptions) -> Iterator[Record]:
    root = options.source
    files = _files(root, options.output)
    music = [path for path in files if path.suffix.lower() in AUDIO]
    if name not in PICTURES:
        yield from (_record(root, options, {"music": path}) for path in music)
        return
    beside = {path.with_suffix(""): path for path in reversed(music)}
    by_stem = _unique_stems(music)
    for path in files:
        suffix = path.suffix.lower()
        if not (suffix in VIDEOS or (name == "muimage" and suffix in IMAGES)):
            continue
        kind = "video" if suffix in VIDEOS else "image"
        found = beside.get(path.with_suffix("")) or by_stem.get(path.stem)
        record = _record(root, options, {kind: path, "music": found or (path if kind == "video" else None)})
        if record.music is None:
            record.rejected = (STAGE, "there is no music of the same name")
        yield record


def _unique_stems(paths: Iterable[Path]) -> dict[str, Path]:
    """Paths by their name without suffix, where that is unambiguous."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        found[path.stem].append(path)
    return {stem: several[0] for stem, several in found.items() if len(several) == 1}


def _record(
    root: Path, options: BuildOptions, media: dict[str, Path | None], row: dict[str, Any] | None = None
) -> Record:
    """A record of files below ``root``; ``row`` are the manifest's other columns, checked."""
    row = row or {}
    names = {kind: os.path.relpath(path, root).replace(os.sep, "/") for kind, path in media.items() if path is not None}
    span = (row.get("start"), row.get("end"))
    versions = {kind: file_version(path) for kind, path in media.items() if path is not None and path.is_file()}
    called = names.get("image") or names.get("video") or names.get("music") or "?"
    if span != (None, None):
        called += f" ({span[0] or 0:g} to {'its end' if span[1] is None else f'{span[1]:g}'} s)"
    files: dict[str, Any] = {kind: None if path is None else str(path) for kind, path in media.items()}
    facts = {key: row[key] for key in ("caption", "picture_caption") if row.get(key)}
    return Record(
        digest(names, span)[:12],
        digest(versions, facts)[:16],
        called,
        **files,
        start=span[0],
        end=span[1],
        licence=row.get("licence") or options.licence,
        title=row.get("title") or None,
        labels=row.get("labels") or [],
        facts=facts,
    )


def _from_manifest(name: str, options: BuildOptions) -> Iterator[Record]:
    root = options.media or options.source.parent
    stems: dict[str, list[Path]] | None = None
    for number, row in read_manifest(options.source):
        where = f"{options.source.name}, entry {number}"
        if "YTID" in row:
            if stems is None:
                stems = defaultdict(list)
                for path in _files(root, options.output):
                    stems[path.stem].append(path)
            row = _audioset(name, row, stems)
        yield _from_row(name, options, root, _checked(row, where))


def _audioset(name: str, row: dict[str, Any], stems: dict[str, list[Path]]) -> dict[str, Any]:
    """A line of AudioSet's lists in our own columns."""
    files = stems.get(str(row["YTID"]), [])
    media = {}
    for kind, suffixes in (("music", AUDIO), ("image", IMAGES), ("video", VIDEOS)):
        media[kind] = next((str(path.resolve()) for path in files if path.suffix.lower() in suffixes), None)
    media["music"] = media["music"] or media["video"]
    if name not in PICTURES:
        media.update(image=None, video=None)
    if not any(media.values()):
        media["music"] = str(row["YTID"])
    times = {"start": row.get("start_seconds"), "end": row.get("end_seconds")}
    return {**media, **times, "title": row["YTID"], "labels": row.get("positive_labels")}


def _from_row(name: str, options: BuildOptions, root: Path, row: dict[str, Any]) -> Record:
    wanted = PICTURES.get(name)
    media = {kind: root / row[kind] if row.get(kind) else None for kind in MEDIA}
    if wanted is None:
        media.update(image=None, video=None)
    elif wanted == "video":
        media["image"] = None
    elif media["image"] is not None:
        media["video"] = None
    if media["music"] is None and media["video"] is not None:
        media["music"] = media["video"]
    record = _record(root, options, media, row)
    missing = [path for path in media.values() if path is not None and not path.is_file()]
    if missing:
        record.rejected = (STAGE, f"{missing[0].name} is not there")
    elif media["music"] is None:
        record.rejected = (STAGE, "the manifest names no music for it")
    elif wanted is not None and media["image"] is None and media["video"] is None:
        record.rejected = (STAGE, f"the manifest names no {wanted} for it")
    return record


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The row with numbers and lists in their places. Raises InputError."""
    checked: dict[str, Any] = {}
    for key in COLUMNS:
        value = row.get(key)
        if value is None or value == "":
            continue
        if key in ("start", "end"):
            try:
                checked[key] = float(value)
            except (TypeError, ValueError):
                raise InputError(f"{where}: {key} must be a number of seconds, not {value!r}") from None
            if not (math.isfinite(checked[key]) and checked[key] >= 0):
                raise InputError(f"{where}: {key} must be 0 seconds or more")
        elif key == "labels":
            parts = value if isinstance(value, list) else str(value).split(",")
            checked[key] = [text for part in parts if (text := str(part).strip())]
        elif isinstance(value, str):
            checked[key] = value.strip()
        else:
            raise InputError(f"{where}: {key} must be text, not {value!r}")
    if checked.get("end") is not None and checked["end"] <= checked.get("start", 0.0):
        raise InputError(f"{where}: the end must come after the start")
    if not any(checked.get(kind) for kind in MEDIA):
        raise InputError(f"{where}: there is no file; columns are {', '.join(COLUMNS)}")
    return checked


def read_manifest(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of a manifest with their numbers, from 1. Raises InputError when it cannot be read."""
    suffix = path.suffix.lower()
    if suffix not in MANIFESTS:
        raise InputError(f"{path} is neither a folder nor a manifest ({', '.join(MANIFESTS)})")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not text'}") from error
    rows = list(
        _table(path, text, "\t" if suffix == ".tsv" else ",") if suffix in (".csv", ".tsv") else _json(path, text)
    )
    if not rows:
        raise InputError(f"{path} names no media")
    yield from enumerate(rows, 1)


def _table(path: Path, text: str, delimiter: str) -> Iterator[dict[str, Any]]:
    lines = text.splitlines()
    comments = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    rows = list(
        csv.reader(
            (line for line in lines if line.strip() and not line.startswith("#")),
            delimiter=delimiter,
            skipinitialspace=True,
        )
    )
    header = next((line.replace(" ", "").split(",") for line in comments if line.startswith("YTID")), None)
    if header is None:
        header, rows = ([cell.strip() for cell in rows[0]] if rows else []), rows[1:]
    if not set(header) & {*MEDIA, "YTID"}:
        raise InputError(f"{path} has no column music, image, video or YTID in its first line")
    for row in rows:
        if len(row) > len(header):
            raise InputError(f"{path}: {delimiter.join(row)[:60]!r} has more cells than the first line")
        yield dict(zip(header, row))


def _json(path: Path, text: str) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix.lower() == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            rows = json.loads(text)
    except ValueError as error:
        raise InputError(f"cannot read {path}: it is not JSON ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} must hold a list of objects with the columns {', '.join(COLUMNS)}")
    yield from rows
