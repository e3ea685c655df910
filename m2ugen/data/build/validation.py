"""Checking a set: whether it can be trained on, and what is odd about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from m2ugen.data.build.layouts import (
    FOLDERS,
    INPUTS,
    LAYOUTS,
    MUSICQA,
    SPLITS,
    Answer,
    Instruction,
    parse_entries,
    read_captions,
    set_name,
)
from m2ugen.data.build.texts import fault
from m2ugen.errors import InputError

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """What is wrong in ``file`` (at an ``entry`` of it); an "error" keeps the set from being trained on."""

    level: Level
    file: str
    entry: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.file}{f', {self.entry}' if self.entry else ''}: {self.message}"


@dataclass
class Report:
    """The set's ``name``, the number of ``entries`` of each file, and what was found."""

    name: str
    entries: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        """The problems that must be mended."""
        return [problem for problem in self.problems if problem.level == "error"]


def validate(folder: Path, decode: bool = False) -> Report:
    """Check the set in ``folder``; with ``decode`` every file of it is read to its end.

    Raises InputError where there is no set.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    report = Report(set_name(folder))
    named: dict[str, set[str]] = {kind: set() for kind in FOLDERS}
    check = _check_musicqa if report.name == MUSICQA else _check_instructions
    report.problems += check(folder, report, named)
    report.problems += _check_files(folder, named)
    if decode:
        report.problems += _check_media(folder, named)
    return report


def _check_instructions(folder: Path, report: Report, named: dict[str, set[str]]) -> Iterator[Problem]:
    layout = LAYOUTS[report.name]
    captions: dict[str, str] | None = None
    if layout.captions is not None:
        yield from _check_captions(folder, layout.captions, report, named)
        captions = _captions(folder / layout.captions)
    path = folder / layout.instructions
    seen: Counter[str] = Counter()
    targets: set[str] = set()
    for index, entry in _entries(path, Instruction.from_json, report):
        if isinstance(entry, Problem):
            yield entry
            continue
        where = f"entry {index}"
        if entry.modality != layout.modality:
            yield Problem("error", path.name, where, f"input_modality is {entry.modality!r}, not {layout.modality!r}")
        named["music"].add(entry.output_file)
        targets.add(entry.output_file)
        kind = INPUTS[entry.modality]
        if kind is not None and entry.input_file is not None:
            named[kind].add(entry.input_file)
        if entry.input_file == entry.output_file:
            yield Problem("error", path.name, where, "input and output are the same file")
        texts = {"request": entry.request, "answer": entry.answer, "caption": entry.caption}
        yield from _check_texts(path.name, where, texts)
        seen[repr((entry.request, entry.input_file, entry.output_file))] += 1
    repeated = sum(count - 1 for count in seen.values())
    if repeated:
        yield Problem("error", path.name, "", f"{repeated} entries are there more than once")
    if captions is not None and path.is_file() and set(captions) != targets:
        missing = len(set(captions) ^ targets)
        yield Problem("warning", path.name, "", f"{missing} files have a caption or an instruction, but not both")


def _captions(path: Path) -> dict[str, str]:
    try:
        return read_captions(path)
    except InputError:
        return {}


def _check_captions(folder: Path, file: str, report: Report, named: dict[str, set[str]]) -> Iterator[Problem]:
    path = folder / file
    if not path.is_file():
        yield Problem("error", file, "", "the file is missing")
        return
    try:
        captions = read_captions(path)
    except InputError as error:
        yield Problem("error", file, "", str(error))
        return
    report.entries[file] = len(captions)
    for name, caption in captions.items():
        named["music"].add(name)
        yield from _check_texts(file, name, {"caption": caption})


def _check_musicqa(folder: Path, report: Report, named: dict[str, set[str]]) -> Iterator[Problem]:
    splits: dict[str, set[str]] = {}
    for split, file in SPLITS.items():
        names = splits[split] = set()
        seen: Counter[tuple[str, str]] = Counter()
        for index, entry in _entries(folder / file, Answer.from_json, report):
            if isinstance(entry, Problem):
                yield entry
                continue
            names.add(entry.audio_name)
            seen[entry.audio_name, entry.question] += 1
            yield from _check_texts(file, f"entry {index}", {"question": entry.question, "answer": entry.answer})
        named["music"] |= names
        repeated = sum(count - 1 for count in seen.values())
        if repeated:
            yield Problem("error", file, "", f"{repeated} questions are asked more than once of the same music")
    for one, other in (("pretrain", "eval"), ("finetune", "eval"), ("pretrain", "finetune")):
        shared = splits[one] & splits[other]
        if shared:
            yield Problem("error", SPLITS[other], "", f"{len(shared)} files are in {SPLITS[one]} as well")


def _entries(path: Path, parse: Any, report: Report) -> Iterator[tuple[int, Any]]:
    """Entries that can be read, and a problem for each that cannot."""
    if not path.is_file():
        yield 0, Problem("error", path.name, "", "the file is missing")
        return
    count = 0
    try:
        for index, entry in parse_entries(path, parse):
            count += 1
            wrong = isinstance(entry, ValueError)
            yield index, Problem("error", path.name, f"entry {index}", str(entry)) if wrong else entry
    except InputError as error:
        yield 0, Problem("error", path.name, "", str(error))
    report.entries[path.name] = count
    if not count:
        yield 0, Problem("warning", path.name, "", "there is nothing in it")


def _check_texts(file: str, where: str, texts: dict[str, str]) -> Iterator[Problem]:
    for name, text in texts.items():
        wrong = fault(text)
        if wrong is not None:
            level: Level = "error" if not text.strip() else "warning"
            yield Problem(level, file, where, f"{name}: {wrong}")


def _check_files(folder: Path, named: dict[str, set[str]]) -> Iterator[Problem]:
    for kind, names in named.items():
        place = folder / FOLDERS[kind]
        present = {path.name for path in place.iterdir() if not path.name.startswith(".")} if place.is_dir() else set()
        for name in sorted(names - present):
            yield Problem("error", f"{FOLDERS[kind]}/{name}", "", "the file is missing")
        for name in sorted(present - names):
            yield Problem("warning", f"{FOLDERS[kind]}/{name}", "", "nothing refers to it")
        for name in sorted(names & present):
            if not (place / name).stat().st_size:
                yield Problem("error", f"{FOLDERS[kind]}/{name}", "", "the file is empty")


def _check_media(folder: Path, named: dict[str, set[str]]) -> Iterator[Problem]:
    from m2ugen.media.audio import load_audio
    from m2ugen.media.image import load_image
    from m2ugen.media.video import load_video

    loaders: dict[str, Any] = {"music": load_audio, "image": load_image, "video": load_video}
    for kind, names in named.items():
        for name in sorted(names):
            path = folder / FOLDERS[kind] / name
            if not path.is_file():
                continue  # said before
            try:
                media = loaders[kind](path)
            except InputError as error:
                yield Problem("error", f"{FOLDERS[kind]}/{name}", "", str(error))
            else:
                if kind == "music" and media.is_silent:
                    yield Problem("warning", f"{FOLDERS[kind]}/{name}", "", "nothing can be heard in it")
