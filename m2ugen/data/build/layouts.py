"""The published layouts of the sets: MUCaps, MUEdit, MUImage, MUVideo, MusicQA, COCO, Alpaca. Nothing is built here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from m2ugen.errors import InputError

Entry = TypeVar("Entry")
FOLDERS = {"music": "audio", "image": "images", "video": "videos"}  # of a set, by kind of medium
INPUTS = {"text": None, "audio": "music", "image": "image", "video": "video"}  # input_modality → kind of medium
MUSICQA = "musicqa"
SPLITS = {"pretrain": "PretrainMusicQA.json", "finetune": "FinetuneMusicQA.json", "eval": "EvalMusicQA.json"}


@dataclass(frozen=True)
class Layout:
    """A set of instructions: its file, what its requests come with, and the file of its captions, if it has one."""

    instructions: str
    modality: str
    captions: str | None = None


LAYOUTS = {
    "mucaps": Layout("MUCapsInstructions.json", "text", "MUCapsCaptions.json"),
    "muedit": Layout("MUEditInstructions.json", "audio"),
    "muimage": Layout("MUImageInstructions.json", "image"),
    "muvideo": Layout("MUVideoInstructions.json", "video"),
}


@dataclass(frozen=True)
class Instruction:
    """A request and what follows: ``answer`` in words, and the music ``output_file`` with its ``caption``.

    ``modality`` is "text", or what ``input_file`` holds: "audio", "image" or "video", with ``input_caption``.
    """

    request: str
    answer: str
    output_file: str
    caption: str
    modality: str = "text"
    input_file: str | None = None
    input_caption: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The published form."""
        human = {"from": "human", "value": self.request, "input_modality": self.modality}
        if self.input_caption is not None:
            human["caption"] = self.input_caption
        gpt = {"from": "gpt", "value": self.answer, "caption": self.caption, "output_modality": "audio"}
        files = {} if self.input_file is None else {"input_file": self.input_file}
        return {**files, "output_file": self.output_file, "conversation": [human, gpt]}

    @classmethod
    def from_json(cls, data: Any) -> Instruction:
        """Raises ValueError for another form."""
        human, gpt = _turns(data)
        modality = _text(human, "input_modality")
        if modality not in INPUTS:
            raise ValueError(f"input_modality is {modality!r}, not one of {', '.join(INPUTS)}")
        if (modality == "text") != ("input_file" not in data):
            raise ValueError(f"input_file does not go with input_modality {modality!r}")
        if gpt.get("output_modality") != "audio":
            raise ValueError("output_modality must be 'audio'")
        return cls(
            _text(human, "value"),
            _text(gpt, "value"),
            _file(data, "output_file"),
            _text(gpt, "caption"),
            modality,
            None if modality == "text" else _file(data, "input_file"),
            _text(human, "caption") if "caption" in human else None,
        )


@dataclass(frozen=True)
class Answer:
    """A question about the music ``audio_name`` with its answer."""

    audio_name: str
    question: str
    answer: str

    def to_json(self) -> dict[str, Any]:
        """The published form."""
        turns = [{"from": "human", "value": self.question}, {"from": "gpt", "value": self.answer}]
        return {"audio_name": self.audio_name, "conversation": turns}

    @classmethod
    def from_json(cls, data: Any) -> Answer:
        """Raises ValueError for another form."""
        human, gpt = _turns(data)
        return cls(_file(data, "audio_name"), _text(human, "value"), _text(gpt, "value"))


@dataclass(frozen=True)
class Task:
    """One of Alpaca's instructions, with an ``input`` that may be empty."""

    instruction: str
    input: str
    output: str


def _turns(data: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    turns = data.get("conversation") if isinstance(data, dict) else None
    if not isinstance(turns, list) or len(turns) != 2 or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError("conversation must be a list of two turns")
    if [turn.get("from") for turn in turns] != ["human", "gpt"]:
        raise ValueError("the turns must be from 'human' and 'gpt'")
    return turns[0], turns[1]


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text")
    return value


def _file(data: Mapping[str, Any], key: str) -> str:
    """A file's name that cannot lead out of its folder."""
    name = _text(data, key)
    if not name or name in (".", "..") or set(name) & set("/\\\0"):
        raise ValueError(f"{key} must be the name of a file, not {name!r}")
    return name


def load_json(path: Path) -> Any:
    """What a JSON file holds. Raises InputError when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"cannot read {path}: it is not JSON ({error})") from error


def parse_entries(path: Path, parse: Callable[[Any], Entry]) -> Iterator[tuple[int, Entry | ValueError]]:
    """Each entry of a list in ``path`` with its index, or what is wrong with it. Raises InputError for no list."""
    data = load_json(path)
    if not isinstance(data, list):
        raise InputError(f"{path} must hold a list")
    for index, entry in enumerate(data):
        try:
            yield index, parse(entry)
        except ValueError as error:
            yield index, error


def _read(path: Path, parse: Callable[[Any], Entry]) -> list[Entry]:
    entries = []
    for index, entry in parse_entries(path, parse):
        if isinstance(entry, ValueError):
            raise InputError(f"{path}, entry {index}: {entry}")
        entries.append(entry)
    return entries


def read_instructions(path: Path) -> list[Instruction]:
    """Instructions of MUCaps, MUEdit, MUImage or MUVideo. Raises InputError."""
    return _read(path, Instruction.from_json)


def read_answers(path: Path) -> list[Answer]:
    """Questions and answers of MusicQA. Raises InputError."""
    return _read(path, Answer.from_json)


def read_captions(path: Path) -> dict[str, str]:
    """Captions by file name, as MUCapsCaptions.json has them. Raises InputError."""
    data = load_json(path)
    if not isinstance(data, dict):
        raise InputError(f"{path} must hold captions by file name")
    try:
        return {_file({"file name": name}, "file name"): _text(data, name) for name in data}
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def read_coco(path: Path) -> list[tuple[str, str]]:
    """(file name, caption) of each annotation of COCO's captions_*.json. Raises InputError."""
    data = load_json(path)
    try:
        names = {image["id"]: str(image["file_name"]) for image in data["images"]}
        return [(names[each["image_id"]], " ".join(str(each["caption"]).split())) for each in data["annotations"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not in the layout of COCO's captions (images, annotations)") from error


def read_alpaca(path: Path) -> list[Task]:
    """Alpaca's instructions (alpaca_data.json). Raises InputError."""

    def parse(data: Any) -> Task:
        if not isinstance(data, dict):
            raise ValueError("it must be an object with instruction, input and output")
        return Task(_text(data, "instruction"), _text({"input": "", **data}, "input"), _text(data, "output"))

    return _read(path, parse)


def write_list(path: Path, entries: Iterable[Instruction | Answer]) -> None:
    """Write entries in the published form, one a line, complete or not at all."""
    from m2ugen.media.files import atomic_output

    lines = ",\n".join(json.dumps(entry.to_json(), ensure_ascii=False) for entry in entries)
    with atomic_output(path, (".json",)) as temporary:
        temporary.write_text(f"[\n{lines}\n]\n" if lines else "[]\n", encoding="utf-8")


def set_name(folder: Path) -> str:
    """Which set is in ``folder``. Raises InputError when there is none, or more than one."""
    found = [name for name, layout in LAYOUTS.items() if (folder / layout.instructions).is_file()]
    found += [MUSICQA] if any((folder / name).is_file() for name in SPLITS.values()) else []
    if not found and (folder / str(LAYOUTS["mucaps"].captions)).is_file():
        found = ["mucaps"]
    if len(found) != 1:
        what = f"more than one set ({', '.join(found)})" if found else "no set in a published layout"
        raise InputError(f"there is {what} in {folder}")
    return found[0]
