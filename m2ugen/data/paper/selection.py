"""What a stage learns from: which samples, which of them are held out, and what is wrong with the rest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2ugen.data.build.examples import CAPTIONS, INSTRUCTIONS
from m2ugen.data.build.texts import fault
from m2ugen.data.paper.samples import Sample
from m2ugen.errors import InputError
from m2ugen.media.files import atomic_output

MAX_WORDS = 400  # of an answer: Alpaca's are long
MAX_LOST = 0.25  # share of the samples that may be unusable before a run refuses to begin
NAMED = 5  # files that the report names for each reason
TOO_MANY_HELD_OUT = 512  # samples; more tell little and cost much

# What each stage of the paper trains on (arXiv 2311.11255, §3.3): captions of music, pictures and videos (and the first
# questions of MU-LLaMA); requests in words for music; everything that is asked, told and made.
STAGES: dict[str, Callable[[Sample], bool]] = {
    "encoder": lambda sample: sample.split in (CAPTIONS, "pretrain"),
    "decoder": lambda sample: sample.caption is not None and not sample.media,
    "instruct": lambda sample: (
        sample.split in (INSTRUCTIONS, "finetune") or (sample.split == CAPTIONS and sample.origin == "songs")
    ),
}


@dataclass
class Report:
    """How many samples of which set (``origin/split``) are used, and for each reason how many are not, with a few
    names.
    """

    used: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, name: str) -> None:
        """Count a sample that cannot be used."""
        self.left_out[reason] += 1
        if len(named := self.names.setdefault(reason, [])) < NAMED:
            named.append(name)

    def check(self) -> None:
        """Raises InputError when too much is unusable, or nothing is left."""
        total, lost = self.used.total(), self.left_out.total()
        if total and lost <= MAX_LOST * (total + lost):
            return
        worst = f": {self.left_out.most_common(1)[0][0]} ({self._example()})" if lost else ""
        raise InputError(f"{lost} of {total + lost} samples cannot be used{worst}; mend the data, or give more")

    def _example(self) -> str:
        return ", ".join(self.names[self.left_out.most_common(1)[0][0]][:2])

    def write(self, path: Path) -> None:
        """Write it as JSON, complete or not at all."""
        data: dict[str, Any] = {"used": self.used, "left_out": self.left_out, "for_example": self.names}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(path, (".json",)) as temporary:
            temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def lines(self) -> list[str]:
        """What to tell the user."""
        told = [f"data: {count} samples of {name}" for name, count in sorted(self.used.items())]
        for reason, count in self.left_out.most_common():
            told.append(f"data: left out {count}, {reason} ({', '.join(self.names[reason][:2])})")
        return told


def select(
    samples: Iterable[Sample], stage: str, modalities: Sequence[str], makes_music: bool
) -> tuple[list[Sample], Report]:
    """The samples that ``stage`` trains on, each once and all fit to be used, and the report about the others.

    ``modalities`` are those that the model understands. Media are looked for, not decoded.
    """
    report = Report()
    kept: list[Sample] = []
    seen: set[tuple[Any, ...]] = set()
    gone: dict[str, bool] = {}
    for sample in samples:
        if not STAGES[stage](sample):
            continue
        name = next((medium.name for medium in sample.media.values()), sample.request[:60])
        wrong = _fault(sample, modalities, makes_music, gone)
        identity = (sample.group, sample.request, sample.answer, sample.caption)
        if wrong is None and identity in seen:
            wrong = "there more than once"
        if wrong is not None:
            report.leave_out(wrong, name)
            continue
        seen.add(identity)
        kept.append(sample)
        report.used[f"{sample.origin}/{sample.split}"] += 1
    return kept, report


def _fault(sample: Sample, modalities: Sequence[str], makes_music: bool, gone: dict[str, bool]) -> str | None:
    for name in sample.media:
        if name not in modalities:
            return f"the model does not understand {name}"
    if sample.caption is not None and not makes_music:
        return "the model makes no music"
    if not sample.request.strip():
        return "no request"
    # the answer may be empty where music is the answer
    words = sample.caption if sample.caption is not None else sample.answer
    wrong = fault(words, max_words=MAX_WORDS) if sample.origin != "alpaca" else None
    if wrong is not None or not words.strip():
        return wrong or "the text is empty"
    for medium in (*sample.media.values(), *(() if sample.sound is None else (sample.sound,))):
        if medium.name not in gone:
            try:
                gone[medium.name] = not medium.key
            except OSError:
                gone[medium.name] = True
        if gone[medium.name]:
            return "the file is missing"
    return None


def hold_out(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Samples for training and for validation; a group is in one of them only, and which is a matter of its name.

    Raises InputError when there are fewer than two groups.
    """
    groups = sorted({sample.group for sample in samples}, key=lambda group: _place(group, seed))
    if len(groups) < 2:
        raise InputError("training needs samples of at least two different files or requests")
    apart = set(groups[: min(max(round(share * len(groups)), 1), len(groups) - 1)])
    train = [sample for sample in samples if sample.group not in apart]
    valid = [sample for sample in samples if sample.group in apart]
    return train, valid[:TOO_MANY_HELD_OUT]


def _place(group: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {group}".encode()).hexdigest()
