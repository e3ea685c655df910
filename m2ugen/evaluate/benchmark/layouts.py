"""Readers of published evaluation sets, from files that the user has; nothing is downloaded.

Each gives items whose media are paths on this machine. A file that is not of the layout is an InputError.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from m2ugen.errors import InputError
from m2ugen.evaluate.benchmark.items import Item, read_json
from m2ugen.media.files import AUDIO_SUFFIXES
from m2ugen.score.lexicon import read_attributes, read_tempo

Reader = Callable[[Path, Path], list[Item]]
CAPTION_QUESTION = "Describe this music."
LETTERS = "ABCDEFGHIJ"


def read_musicqa(path: Path, audio: Path) -> list[Item]:
    """MusicQA: [{"audio_name", "conversation": [{"from": "human", "value"}, {"from": "gpt", "value"}]}]."""
    items = []
    for number, row in enumerate(_rows(path)):
        turns = row["conversation"]
        for place in range(0, len(turns) - 1, 2):
            items.append(
                Item(f"musicqa-{number:05d}-{place // 2}", "understanding", turns[place]["value"],
                     music=_audio(audio, row["audio_name"]), kind="open", reference=turns[place + 1]["value"])
            )  # fmt: skip
    return items


def read_musiccaps(path: Path, audio: Path) -> list[Item]:
    """MusicCaps' CSV (ytid, caption): each caption is a reference description and a prompt."""
    return _captions(path, audio, lambda row: row["ytid"])


def read_song_describer(path: Path, audio: Path) -> list[Item]:
    """SongDescriber's CSV (track_id, caption, path)."""
    return _captions(path, audio, lambda row: row.get("path") or row["track_id"])


def read_mucaps(path: Path, audio: Path) -> list[Item]:
    """MUCaps' captions: {"name.mp3": "caption"}, as prompts."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError(f"{path} does not hold an object of file names and captions")
    return [prompt_item(Path(name).stem, caption, _maybe(audio, name)) for name, caption in data.items()]


def read_muchomusic(path: Path, audio: Path) -> list[Item]:
    """MuChoMusic: rows (a list, or an object by id) with a question, "answers" and "answer_orders", the right answer
    first among "answers" before they are ordered.
    """
    data = read_json(path)
    rows = list(data.values()) if isinstance(data, dict) else data
    items = []
    for number, row in enumerate(rows):
        order = row.get("answer_orders") or list(range(len(row["answers"])))
        options = [row["answers"][k] for k in order]
        name = row.get("audio_path") or row.get("audio") or row["identifier"]
        items.append(_choice(f"muchomusic-{number:05d}", row["question"], options, row["answers"][0], audio, str(name)))
    return items


def read_mmau(path: Path, audio: Path) -> list[Item]:
    """MMAU: [{"audio_id", "question", "choices", "answer", "task"}], of which the music rows are taken."""
    items = []
    for number, row in enumerate(_rows(path)):
        if row.get("task", "music") == "music":
            name = str(row.get("audio_id") or row["id"])
            items.append(_choice(f"mmau-{number:05d}", row["question"], row["choices"], row["answer"], audio, name))
    return items


def read_musicbench(path: Path, audio: Path) -> list[Item]:
    """MusicBench's JSON lines (location, main_caption, keyprob, beats …), as prompts with stated controls."""
    import json

    items = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                row = json.loads(line)
                name = row["location"]
                items.append(prompt_item(Path(name).stem, row["main_caption"], _maybe(audio, name)))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON lines: {error}") from error
    return items


READERS: dict[str, Reader] = {
    "musicqa": read_musicqa,
    "musiccaps": read_musiccaps,
    "song-describer": read_song_describer,
    "mucaps": read_mucaps,
    "muchomusic": read_muchomusic,
    "mmau": read_mmau,
    "musicbench": read_musicbench,
}


def read_layout(name: str, path: Path, audio: Path) -> list[Item]:
    """The items of a published set. Raises InputError for another name, or a file that is not of its layout."""
    if name not in READERS:
        raise InputError(f"there is no layout {name!r}; layouts are {', '.join(READERS)}")
    try:
        items = READERS[name](path, audio)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{path} is not of the layout {name} ({type(error).__name__}: {error})") from error
    if not items:
        raise InputError(f"{path} holds no items of the layout {name}")
    return items


def prompt_item(identity: str, caption: str, reference: str | None = None, duration: float | None = None) -> Item:
    """A prompt; what it asks for is read from its words."""
    facts = {"tempo_word": read_tempo(caption) is None}
    return Item(identity, "text2music", caption, duration=duration, asked=read_attributes(caption),
                reference=reference, facts=facts)  # fmt: skip


def chosen_option(text: str, options: list[str]) -> int | None:
    """Which option an answer names: by its letter, else by its words, the longest first; None where by neither."""
    if match := re.match(r"\s*\(?([A-J])(?:[).:,]|\s*$)", text):
        place = LETTERS.index(match[1])
        return place if place < len(options) else None
    plain = _words(text)
    longest = sorted(range(len(options)), key=lambda place: -len(options[place]))
    return next((place for place in longest if _words(options[place]) in plain), None)


def _words(text: str) -> str:
    """The words of a text in lower case, each between spaces."""
    return f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "


def _rows(path: Path) -> list[dict[str, Any]]:
    data = read_json(path)
    if not isinstance(data, list):
        raise InputError(f"{path} does not hold a list")
    return data


def _captions(path: Path, audio: Path, name_of: Callable[[dict[str, str]], str]) -> list[Item]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    items = []
    for number, row in enumerate(rows):
        recording = _maybe(audio, name_of(row))
        if recording is not None:
            items.append(
                Item(f"caption-{number:05d}", "understanding", CAPTION_QUESTION, music=recording, kind="open",
                     reference=row["caption"])
            )  # fmt: skip
        items.append(prompt_item(f"prompt-{number:05d}", row["caption"], recording))
    return items


def _choice(identity: str, question: str, options: list[str], answer: str, audio: Path, name: str) -> Item:
    listed = " ".join(f"({LETTERS[k]}) {option}" for k, option in enumerate(options))
    facts = {"options": options, "right": options.index(answer)}
    return Item(identity, "understanding", f"{question} {listed}", music=_audio(audio, name), kind="choice",
                reference=answer, facts=facts)  # fmt: skip


def _maybe(folder: Path, name: str) -> str | None:
    """The audio file ``name`` in ``folder``, with or without its extension and folders; None where there is none."""
    plain = Path(name).name
    for candidate in (name, plain, *(f"{plain}{suffix}" for suffix in AUDIO_SUFFIXES)):
        if (folder / candidate).is_file():
            return str((folder / candidate).resolve())
    stem = Path(plain).stem
    found = [folder / f"{stem}{suffix}" for suffix in AUDIO_SUFFIXES if (folder / f"{stem}{suffix}").is_file()]
    return str(found[0].resolve()) if found else None


def _audio(folder: Path, name: str) -> str:
    found = _maybe(folder, name)
    if found is None:
        raise InputError(f"the recording {name} is not in {folder}")
    return found
