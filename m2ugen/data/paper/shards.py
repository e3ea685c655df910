"""Shards as samples, without unpacking: Parquet as the ``datasets`` library reads it, and WebDataset's tars.

Words are read when a run begins, media when they are needed and by their place in the shard, so that sets larger than
the disk can stay where they are: a folder, or any address that fsspec knows (``hf://``, ``s3://``, ``https://`` …).
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from m2ugen.data.build.records import digest
from m2ugen.data.build.shards import MEDIA, TEXTS
from m2ugen.data.paper.samples import Medium, Sample
from m2ugen.errors import InputError, MissingExtra

SUFFIXES = (".parquet", ".tar")
TARGET = "target"  # the music that follows; it is never read


@dataclass(frozen=True)
class TarMember:
    """A file inside a tar, at ``offset`` with ``size`` bytes."""

    address: str
    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        return digest(self.address, self.name, self.offset, self.size)[:32]

    def open(self) -> bytes:
        filesystem, path = _filesystem(self.address)
        data: bytes = filesystem.cat_file(path, start=self.offset, end=self.offset + self.size)
        return data


@dataclass(frozen=True)
class TableCell:
    """A medium in a Parquet table: ``column``, ``group`` of rows, and ``row`` in that group."""

    address: str
    name: str
    column: str
    group: int
    row: int

    @property
    def key(self) -> str:
        return digest(self.address, self.name, self.column, self.group, self.row)[:32]

    def open(self) -> bytes:
        data: bytes = _column(self.address, self.column, self.group)[self.row].as_py()["bytes"]
        return data


@lru_cache(maxsize=2)  # samples are read in their order, a row group of them lies together
def _column(address: str, column: str, group: int) -> Any:
    from pyarrow import parquet

    filesystem, path = _filesystem(address)
    with filesystem.open(path, "rb") as stream:
        return parquet.ParquetFile(stream).read_row_group(group, columns=[column]).column(0)


def is_sharded(folder: Path) -> bool:
    """Whether there are shards in ``folder``."""
    return any(path.suffix in SUFFIXES for path in folder.iterdir())


def read_shards(address: str) -> Iterator[Sample]:
    """The samples of all shards in the folder at ``address``, or of the one shard that it names.

    Raises InputError when they cannot be read, MissingExtra without pyarrow.
    """
    filesystem, path = _filesystem(address)
    try:
        names = [path] if path.endswith(SUFFIXES) else sorted(filesystem.ls(path, detail=False))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the shards at {address}: {error}") from error
    shards = [name for name in names if name.endswith(SUFFIXES)]
    if not shards:
        raise InputError(f"there are no shards (.parquet, .tar) at {address}")
    origin = posixpath.basename(posixpath.dirname(shards[0])) or "shards"
    for shard in shards:
        read = _read_parquet if shard.endswith(".parquet") else _read_tar
        yield from read(filesystem, shard, filesystem.unstrip_protocol(shard), origin)


def _read_tar(filesystem: Any, path: str, address: str, origin: str) -> Iterator[Sample]:
    try:
        with filesystem.open(path, "rb") as stream, tarfile.open(fileobj=stream) as tar:
            texts: dict[str, dict[str, Any]] = {}
            media: dict[str, dict[str, Medium]] = {}
            for member in tar:
                index, _, rest = member.name.partition(".")
                if rest == "json":
                    file = tar.extractfile(member)
                    texts[index] = json.loads(file.read()) if file is not None else {}
                elif (column := rest.partition(".")[0]) in MEDIA:
                    cell = TarMember(address, member.name, member.offset_data, member.size)
                    media.setdefault(index, {})[column] = cell
    except (OSError, tarfile.TarError, ValueError) as error:
        raise InputError(f"cannot read the shard {address}: {error}") from error
    for index, words in texts.items():
        yield _sample(origin, f"{posixpath.basename(path)}/{index}", words, media.get(index, {}))


def _read_parquet(filesystem: Any, path: str, address: str, origin: str) -> Iterator[Sample]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "data") from error
    try:
        with filesystem.open(path, "rb") as stream:
            file = parquet.ParquetFile(stream)
            names = [f"{column}.path" for column in MEDIA]
            for group in range(file.num_row_groups):
                for row, words in enumerate(file.read_row_group(group, columns=[*TEXTS, *names]).to_pylist()):
                    cells: dict[str, Medium] = {
                        column: TableCell(address, str(words[column]["path"]), column, group, row)
                        for column in MEDIA
                        if words.get(column) is not None and words[column]["path"] is not None
                    }
                    yield _sample(origin, f"{posixpath.basename(path)}/{group}/{row}", words, cells)
    except (OSError, ArrowException) as error:
        raise InputError(f"cannot read the shard {address}: {error}") from error


def _sample(origin: str, place: str, words: dict[str, Any], media: dict[str, Medium]) -> Sample:
    shown = {name: medium for name, medium in media.items() if name != TARGET}
    try:
        request, answer, split = (str(words[name]) for name in ("request", "answer", "split"))
    except KeyError as error:
        raise InputError(f"{place} of {origin} has no {error.args[0]}; write shards with: m2ugen data build") from error
    target = media.get(TARGET)
    turned_on = target or next(iter(shown.values()), None)
    group = place if turned_on is None else f"{origin}/{turned_on.name.rpartition('/')[2]}"
    return Sample(origin, split, request, answer, group, shown, None if target is None else words.get("caption"))


def _filesystem(address: str) -> tuple[Any, str]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise InputError(f"cannot open {address}: {error}") from error
    return filesystem, str(path)
