"""One request to a system, with what is true or wanted; and a benchmark folder that any system can be given.

``items.json`` lists the requests; media lie beside it. A system answers understanding items in ``answers.json``
({id: text}, and {id + OTHER: text} for the same question about an unrelated recording), all others with a sound file
``id.wav`` (or flac, ogg, mp3, mid), if it has notes with ``id.mid`` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from m2ugen.errors import InputError
from m2ugen.media.files import atomic_output
from m2ugen.score.attributes import MULTI_SLOTS, Attributes

VERSION = 1
ITEMS_FILE, ANSWERS_FILE = "items.json", "answers.json"
OTHER = " (other recording)"
TASKS = ("understanding", "text2music", "image2music", "video2music", "editing")


@dataclass(frozen=True)
class Item:
    """A request.

    ``prompt`` is the question, the prompt or the instruction; ``music``, ``image`` and ``video`` are file names in the
    benchmark's folder; ``other`` is the unrelated recording of the shuffled figure. ``kind`` is a kind of question, an
    edit operation, or "variant" for a repetition of another item (``of``) with another seed. ``asked`` is what the
    music must be like (understanding: what the recording is like). ``reference`` is a reference answer, or the file of
    real music for the prompt; ``facts`` holds further measured truth ("energy" 0-1, "cuts" in seconds, "options";
    "recording": everything that is known of the reference).
    """

    id: str
    task: str
    prompt: str
    music: str | None = None
    other: str | None = None
    image: str | None = None
    video: str | None = None
    duration: float | None = None
    seed: int = 0
    kind: str = ""
    of: str | None = None
    asked: Attributes | None = None
    reference: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """Items and the folder of their media; ``real`` are files of real music, the reference of distances.

    ``known`` are prompts with recordings of known truth, which stand in as real music where ``items`` have none.
    """

    name: str
    folder: Path
    items: tuple[Item, ...]
    real: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    known: tuple[Item, ...] = ()

    def of(self, task: str) -> tuple[Item, ...]:
        """The items of a task."""
        return tuple(item for item in self.items if item.task == task)

    def path(self, name: str) -> Path:
        """A medium's file."""
        return self.folder / name

    def save(self) -> None:
        """Write ITEMS_FILE."""
        rows = [_plain(item) for item in self.items]
        data = {"version": VERSION, "name": self.name, "settings": self.settings, "real": self.real, "items": rows}
        with atomic_output(self.folder / ITEMS_FILE, (".json",)) as temporary:
            temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def load_benchmark(folder: Path) -> Benchmark:
    """Read what ``save`` wrote. Raises InputError."""
    data = read_json(folder / ITEMS_FILE)
    try:
        if data["version"] != VERSION:
            raise InputError(f"{folder} is of version {data['version']}; this release reads version {VERSION}")
        items = tuple(_item(row) for row in data["items"])
        return Benchmark(data["name"], folder, items, tuple(data["real"]), data["settings"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / ITEMS_FILE} is not a benchmark of ours: {error}") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises InputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error


def attributes_from_dict(values: dict[str, Any]) -> Attributes:
    """Inverse of ``asdict``; absent fields are unspecified."""
    known = {f.name for f in fields(Attributes)}
    if unknown := values.keys() - known:
        raise InputError(f"there is no attribute {sorted(unknown)[0]!r}; attributes are {', '.join(sorted(known))}")
    given: dict[str, Any] = {name: tuple(v) if name in MULTI_SLOTS else v for name, v in values.items()}
    return Attributes(**given)


def plain_attributes(attributes: Attributes) -> dict[str, Any]:
    """What is specified, in plain types; ``attributes_from_dict`` reads it."""
    given = {name: value for name, value in asdict(attributes).items() if value not in (None, ())}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def with_others(items: Sequence[Item], music: Sequence[str]) -> list[Item]:
    """``items`` about one of ``music`` each, and for each another of them: the next one in order."""
    if len(music) < 2:
        return list(items)
    place = {name: index for index, name in enumerate(music)}
    return [
        replace(item, other=music[(place[item.music] + 1) % len(music)]) if item.music in place else item
        for item in items
    ]


def unique(items: Iterable[Item]) -> tuple[Item, ...]:
    """``items``; raises InputError where two have one id."""
    seen: set[str] = set()
    found = tuple(items)
    for item in found:
        if item.id in seen:
            raise InputError(f"two items have the id {item.id!r}")
        seen.add(item.id)
    return found


def _plain(item: Item) -> dict[str, Any]:
    blank = Item("", "", "")
    row = {f.name: getattr(item, f.name) for f in fields(Item)}
    row = {
        name: value for name, value in row.items() if name in ("id", "task", "prompt") or value != getattr(blank, name)
    }
    if item.asked is not None:
        row["asked"] = plain_attributes(item.asked)
    return row


def _item(row: dict[str, Any]) -> Item:
    values = dict(row)
    if values.get("asked") is not None:
        values["asked"] = attributes_from_dict(values["asked"])
    return Item(**values)
