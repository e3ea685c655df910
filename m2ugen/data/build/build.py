"""Building a set: read this file and you know the way from media to the published layout."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m2ugen.data.build.captioners import PAPER, Kind, Look
from m2ugen.data.build.card import PLOTS, README, write_card
from m2ugen.data.build.discover import PICTURES, discover
from m2ugen.data.build.editing import MakeEdit
from m2ugen.data.build.engine import Operator, Runner, make_stages, plan_bundles, write_json
from m2ugen.data.build.filtering import Measure, Screen, reject_duplicates
from m2ugen.data.build.layouts import FOLDERS, LAYOUTS, MUSICQA, SPLITS, Answer, Instruction, write_list
from m2ugen.data.build.local import LocalRunner
from m2ugen.data.build.options import BuildOptions
from m2ugen.data.build.outputs import Write
from m2ugen.data.build.pairs import Analyse, find_pairs
from m2ugen.data.build.records import Record, Rejection, digest, rejections
from m2ugen.data.build.understanding import Caption, Listen, Question, model_identity
from m2ugen.data.build.validation import Report, validate
from m2ugen.data.build.writing import GRAMMAR, Instruct, WriteQuestions
from m2ugen.errors import InputError
from m2ugen.media.files import atomic_output

WORK = ".build"
REJECTED = "rejected.jsonl"
VERSION = 1  # of what is kept in WORK
SHARES = {"pretrain": 0.6, "finetune": 0.3, "eval": 0.1}  # of the recordings, MusicQA's splits
Told = Callable[[str, float], None]  # called with what is being done and the finished fraction, 0-1


@dataclass(frozen=True)
class Built:
    """A finished set: its folder, how many ``units`` (recordings, pictures or videos with music, pairs) are in it,
    what was left out, and what validation says.
    """

    output: Path
    units: int
    rejected: list[Rejection]
    report: Report


def build(
    name: str,
    options: BuildOptions,
    runner: Runner | None = None,
    progress: Told | None = None,
    resume: bool = True,
) -> Built:
    """Build the set ``name`` in ``options.output``; what an earlier run finished there is kept if ``resume``.

    Raises InputError and MissingWeights.
    """
    options.check(name)
    output = prepare_output(name, options.output)
    with only_one(output / WORK):
        if not resume:
            for path in (output / WORK).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        work = _Work(name, options, runner or LocalRunner(), progress or (lambda label, fraction: None))
        records = work.run("describing", describing(name, options), discover(name, options))
        reject_duplicates(records)
        units, extra = work.units(records)
        left_out = sorted(rejections([*records, *extra]), key=lambda rejection: (rejection.record, rejection.id))
        write_rejected(output / REJECTED, left_out)
        if not units:
            raise InputError(f"nothing in {options.source} could be used; {output / REJECTED} says why")
        write_layout(name, output, units)
        prune(name, output, units)
        report = validate(output)
        write_card(output, name, options, work.recordings(records, units), left_out, report)
    return Built(output, len(units), left_out, report)


def describing(name: str, options: BuildOptions) -> list[Operator]:
    """What is found out about each record by itself."""
    identity = model_identity(options.model)
    by_model = {"model_name": options.model, "identity": identity}
    paired = name == "muedit" and not options.edits
    operators: list[Operator] = [
        Measure(speech=options.max_speech < 1),
        Screen(options.min_snr, options.max_speech),
        Listen(**by_model, all_records=paired or (name == MUSICQA and options.writer == GRAMMAR)),
    ]
    if name in PICTURES:
        kind: Kind = "image" if name == "muimage" else "video"
        source = {"model": "", "paper": PAPER[kind]}.get(options.captioner, options.captioner)
        seen_by = model_identity(source) if source else identity
        operators.append(Look(kind, source, options.model, seen_by))
    if paired:
        operators.append(Analyse())
    if name == MUSICQA and options.writer == GRAMMAR:
        return [*operators, Question(**by_model)]
    operators.append(Caption(**by_model))
    if name == MUSICQA:
        operators.append(WriteQuestions(options.writer, options.writer_model, _writer_identity(options)))
    return operators


def _writer_identity(options: BuildOptions) -> str:
    return "" if options.writer == GRAMMAR or options.remote_writer else model_identity(options.writer)


class _Work:
    """One build's runs."""

    def __init__(self, name: str, options: BuildOptions, runner: Runner, progress: Told) -> None:
        self.name, self.options, self.runner, self.progress = name, options, runner, progress
        self.folders: dict[str, str] = {}

    def run(self, label: str, operators: Sequence[Operator], records: Sequence[Record]) -> list[Record]:
        """``records`` after ``operators``, in their order."""
        work = self.options.output.resolve() / WORK
        bundles = plan_bundles(work / f"{self.name}-{label}.json", [record for record in records if record.alive])
        self.progress(label, 0.0)
        done: dict[str, Record] = {}
        for count, bundle in enumerate(self.runner.run(make_stages(operators, work, self.folders), bundles), 1):
            done.update((record.id, record) for record in bundle.records)
            self.progress(label, count / len(bundles))
        return [done.get(record.id, record) for record in records]

    def units(self, records: list[Record]) -> tuple[list[Record], list[Record]]:
        """What goes into the set, and further records that may have been rejected on the way."""
        folder = str(self.options.output.resolve())
        kinds = ("music", PICTURES[self.name]) if self.name in PICTURES else ("music",)
        write = Write(folder, self.name, kinds)
        word = Instruct(self.name, self.options.writer, self.options.writer_model, _writer_identity(self.options))
        if self.name == MUSICQA:
            finishing: list[Operator] = [write]
        elif self.name == "muedit" and self.options.edits:
            music = str(self.options.output.resolve() / FOLDERS["music"])
            finishing = [MakeEdit(music, self.options.model, model_identity(self.options.model)), write]
        elif self.name == "muedit":
            return self._pairs(records, word, write)
        else:
            finishing = [word, write]
        finished = self.run("finishing", finishing, records)
        records[:] = finished
        return [record for record in finished if record.alive], []

    def _pairs(self, records: list[Record], word: Operator, write: Operator) -> tuple[list[Record], list[Record]]:
        pairs = self.run("wording", [word], find_pairs(records))
        records[:] = self.run("writing", [write], records)
        of_id = {record.id: record for record in records}
        for pair in pairs:
            source, target = of_id[pair.facts["source"]], of_id[pair.facts["target"]]
            if not (source.alive and target.alive):
                pair.rejected = pair.rejected or ("write", "one of its recordings could not be written")
            else:
                pair.facts["files"] = {"music": target.facts["files"]["music"]}
                pair.facts["edited_from"] = source.facts["files"]["music"]
        return [pair for pair in pairs if pair.alive], pairs

    @staticmethod
    def recordings(records: Sequence[Record], units: Sequence[Record]) -> list[dict[str, Any]]:
        """Facts of the music in the set, with licences."""
        used = {name for unit in units for name in (unit.id, unit.facts.get("source"), unit.facts.get("target"))}
        return [{**record.facts, "licence": record.licence} for record in records if record.id in used]


def split_of(record: Record) -> str:
    """MusicQA's split of a recording, by its id alone, so that a set that grows keeps its splits."""
    place = int(digest("split", record.id)[:8], 16) / 2**32
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return "eval"


def write_layout(name: str, output: Path, units: Sequence[Record]) -> None:
    """Write the published files of the set."""
    if name == MUSICQA:
        for split, file in SPLITS.items():
            chosen = [unit for unit in units if split_of(unit) == split]
            write_list(output / file, [answer for unit in chosen for answer in _answers(unit)])
        return
    layout = LAYOUTS[name]
    if layout.captions is not None:
        captions = {unit.facts["files"]["music"]: unit.facts["caption"] for unit in units}
        write_json(output / layout.captions, captions, indent=1)
    write_list(output / layout.instructions, [_instruction(name, unit) for unit in units])


def _answers(unit: Record) -> Iterator[Answer]:
    asked: set[str] = set()
    for question, answer in unit.facts["answers"]:
        if question not in asked:
            asked.add(question)
            yield Answer(unit.facts["files"]["music"], question, answer)


def _instruction(name: str, unit: Record) -> Instruction:
    facts, modality = unit.facts, LAYOUTS[name].modality
    said, music = (facts["request"], facts["answer"]), facts["files"]["music"]
    if name == "muedit" and "edited" in facts:
        return Instruction(*said, facts["edited"], facts["edited_caption"], modality, music)
    if name == "muedit":
        return Instruction(*said, music, facts["caption"], modality, facts["edited_from"])
    if name in PICTURES:
        shown = facts["files"][PICTURES[name]]
        return Instruction(*said, music, facts["caption"], modality, shown, facts["picture_caption"])
    return Instruction(*said, music, facts["caption"])


def layout_files(name: str) -> list[str]:
    """The published files of a set."""
    if name == MUSICQA:
        return list(SPLITS.values())
    layout = LAYOUTS[name]
    return [layout.instructions, *([layout.captions] if layout.captions is not None else [])]


def write_rejected(path: Path, rejected: Sequence[Rejection]) -> None:
    """One line of JSON for each record that was left out."""
    with atomic_output(path, (".jsonl",)) as temporary:
        lines = [json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in rejected]
        temporary.write_text("".join(lines), encoding="utf-8")


def prune(name: str, output: Path, units: Sequence[Record]) -> None:
    """Remove media that the set does not name: of records that are gone, and half written by a killed build."""
    named: dict[str, set[str]] = {kind: set() for kind in FOLDERS}
    for unit in units:
        for kind, file in unit.facts["files"].items():
            named[kind].add(file)
        named["music"] |= {unit.facts[key] for key in ("edited", "edited_from") if key in unit.facts}
    for kind, folder in FOLDERS.items():
        for path in (output / folder).glob("*"):
            if path.name not in named[kind]:
                path.unlink()
    for file in (*layout_files(name), REJECTED, README, PLOTS):  # temporary files of a build that was killed
        for path in output.glob(f".{Path(file).stem}-*"):
            path.unlink()


def prepare_output(name: str, output: Path) -> Path:
    """``output`` as a folder for this set. Raises InputError when something else is in it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {output}: {error.strerror}") from error
    marker = output / WORK / "set.json"
    if not marker.is_file():
        present = {path.name for path in output.iterdir() if path.name != WORK}
        if present and not present & set(layout_files(name)):
            raise InputError(f"{output} is not empty; give a folder of its own to the set")
        try:
            marker.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write in {output}: {error.strerror}") from error
    else:
        try:
            kept = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            kept = {}
        if kept.get("version", VERSION) != VERSION:
            raise InputError(f"{output / WORK} is of another release; remove it, or use --restart with a new folder")
        if kept.get("name", name) != name:
            raise InputError(f"{output} holds {kept['name']}; give {name} a folder of its own")
    write_json(marker, {"version": VERSION, "name": name})
    return output


@contextmanager
def only_one(work: Path) -> Iterator[None]:
    """Keep a second build out of the folder. Raises InputError when one is at work."""
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another build is at work in {work.parent}; wait for it, or stop it") from None
        except OSError:  # a file system without locks
            pass
        yield
