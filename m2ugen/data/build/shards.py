"""A set as shards: Parquet tables with the media inside, as the ``datasets`` library reads them, or WebDataset tars."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from m2ugen.data.build.examples import Example, read_examples
from m2ugen.errors import InputError, MissingExtra
from m2ugen.media.files import atomic_output

SHARD_BYTES = 256 << 20  # of media in one shard
FORMS = {"parquet": ".parquet", "webdataset": ".tar"}
TEXTS = ("request", "answer", "split", "caption")
MEDIA = {"music": "Audio", "image": "Image", "video": "Video", "target": "Audio"}  # field → feature of ``datasets``


def export(folder: Path, output: Path, form: str) -> list[Path]:
    """Write the set in ``folder`` as shards of ``form`` ("parquet" or "webdataset") into ``output``; older shards there
    are removed. Raises InputError, MissingExtra.
    """
    if form not in FORMS:
        raise InputError(f"there are no shards of the form {form!r}; forms are {', '.join(FORMS)}")
    output.mkdir(parents=True, exist_ok=True)
    write = _write_parquet if form == "parquet" else _write_tar
    groups = list(_groups(list(read_examples(folder))))
    paths = [output / f"{index:05d}-of-{len(groups):05d}{FORMS[form]}" for index in range(len(groups))]
    first = 0
    for path, group in zip(paths, groups):
        write(path, group, first)
        first += len(group)
    for old in output.glob(f"*-of-*{FORMS[form]}"):
        if old not in paths:
            old.unlink()
    return paths


def _media(example: Example) -> dict[str, Path]:
    return {name: path for name in MEDIA if (path := getattr(example, name)) is not None}


def _groups(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Examples in their order, SHARD_BYTES of media together. Raises InputError for a file that is missing."""
    group: list[Example] = []
    total = 0
    for example in examples:
        try:
            size = sum(path.stat().st_size for path in _media(example).values())
        except OSError as error:
            raise InputError(f"{error.filename} is missing; run m2ugen data validate") from error
        if group and total + size > SHARD_BYTES:
            yield group
            group, total = [], 0
        group.append(example)
        total += size
    if group:
        yield group


def _write_parquet(path: Path, examples: Sequence[Example], first: int) -> None:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "data") from error
    medium = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    columns: dict[str, Any] = {
        name: arrow.array([getattr(example, name) for example in examples], arrow.string()) for name in TEXTS
    }
    for name in MEDIA:
        found = [getattr(example, name) for example in examples]
        rows = [None if file is None else {"bytes": file.read_bytes(), "path": file.name} for file in found]
        columns[name] = arrow.array(rows, medium)
    features: dict[str, Any] = {name: {"dtype": "string", "_type": "Value"} for name in TEXTS}
    features |= {name: {"_type": kind} for name, kind in MEDIA.items()}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    table = arrow.table(columns).replace_schema_metadata(described)
    with atomic_output(path, (".parquet",)) as temporary:
        parquet.write_table(table, temporary, row_group_size=64)


def _write_tar(path: Path, examples: Sequence[Example], first: int) -> None:
    """Each example is ``{index:08d}.json`` with its words, and ``{index:08d}.{music, …}.{suffix}`` beside it."""
    with atomic_output(path, (".tar",)) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index, example in enumerate(examples, first):
            texts = {name: value for name in TEXTS if (value := getattr(example, name)) is not None}
            _add(tar, f"{index:08d}.json", json.dumps(texts, ensure_ascii=False).encode())
            for name, file in _media(example).items():
                _add(tar, f"{index:08d}.{name}{file.suffix}", file.read_bytes())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
