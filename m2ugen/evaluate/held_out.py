"""nano's held-out figures: does it hear what is there, does it play what was asked, is what it plays music?

All material is of works and grooves that training did not see. Every figure stands beside the one that the same
system reaches when music and question, or prompt and piece, are not of the same origin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2ugen.data.nano.language.prompts import sample_picture_prompt, sample_prompt
from m2ugen.data.nano.language.questions import sample_question
from m2ugen.data.nano.pictures import sample_picture, sample_video
from m2ugen.data.nano.recordings import Recording, load_recordings
from m2ugen.data.nano.shards import read_shards
from m2ugen.evaluate.controls import Request, adherence, heard, shuffled
from m2ugen.evaluate.metrics.facts import SCORES
from m2ugen.evaluate.musicality import MelodyIndex, melody_steps, musicality
from m2ugen.evaluate.replies import answers, conditionings
from m2ugen.pipeline import M2UGen
from m2ugen.score.attributes import ENERGIES, SLOT_INDEX, Attributes
from m2ugen.score.lexicon import read_tempo
from m2ugen.score.wording import tempo_class

QUESTION_KINDS = ("drums", "mode", "tempo_word", "tempo", "key", "metre", "genre", "instruments")
SOUNDS = (  # split, whether they are degraded, what they are called
    ("valid", False, "SoundFonts of training, clean"),
    ("valid", True, "SoundFonts of training, degraded"),
    ("held-out", False, "a SoundFont never heard, clean"),
    ("held-out", True, "a SoundFont never heard, degraded"),
)
SECONDS = 24.0  # length of the pieces that are composed for the figures


@dataclass(frozen=True)
class Row:
    """A figure, the same without the right music or prompt, and the majority answer's (None: there is none)."""

    name: str
    value: float
    shuffled: float
    majority: float | None
    count: int


def recordings_by_sound(data: Path, limit: int) -> dict[str, list[Recording]]:
    """Up to ``limit`` held-out recordings of each kind of sound that ``data`` has: clean and degraded (heard through
    rooms, equalisers, noise, clipping), in the SoundFonts of training and in one that was never heard.
    """
    folder = data / "recordings"
    splits = {split for split, _, _ in SOUNDS if any(folder.glob(f"{split}-*.npz"))}
    heard = {split: load_recordings(folder, split) for split in splits}  # the music encoder hears each clip: once
    found: dict[str, list[Recording]] = {}
    for split, degraded, title in SOUNDS:
        chosen = [r for r in heard.get(split, ()) if r.extras.get("degraded") == degraded]  # None: unknown
        if chosen:
            found[title] = chosen[:limit]
    return found


def understanding(model: M2UGen, recordings: Sequence[Recording], seed: int = 0) -> list[Row]:
    """Share of right answers per kind of question about ``recordings`` (instruments: mean family F1)."""
    rows = []
    for kind in QUESTION_KINDS:
        rng = np.random.default_rng([seed, len(kind)])
        asked = [(sample_question(rng, r.attributes, r.extras, kind=kind)[0], r) for r in recordings if knows(kind, r)]
        said = answers(model, [(question, r.features) for question, r in asked])
        other = answers(model, [(question, asked[k - 1][1].features) for k, (question, _) in enumerate(asked)])
        score = SCORES[kind]
        truths = [r.attributes for _, r in asked]
        majority = None
        if kind in ("drums", "mode", "metre", "genre"):
            majority = Counter(getattr(t, kind) for t in truths).most_common(1)[0][1] / len(truths)
        if kind == "tempo_word":
            majority = Counter(tempo_class(t.tempo or 0) for t in truths).most_common(1)[0][1] / len(truths)
        right = np.mean([score(text, truth) for text, truth in zip(said, truths, strict=True)])
        wrong = np.mean([score(text, truth) for text, truth in zip(other, truths, strict=True)])
        rows.append(Row(kind, float(right), float(wrong), majority, len(asked)))
    return rows


def knows(kind: str, recording: Recording) -> bool:
    """Whether the truth of a recording answers a kind of question."""
    field = {"tempo_word": "tempo", "key": "tonic"}.get(kind, kind)
    return getattr(recording.attributes, field) not in (None, ())


@dataclass
class Composed:
    """Pieces composed for held-out prompts: what was asked and what is heard, and the figures of the notes."""

    pairs: list[tuple[Request, Attributes]]
    figures: list[dict[str, float]]
    longest_runs: list[int]


def compose(
    model: M2UGen, data: Path, limit: int, seed: int = 0, memory: bool = True, read_request: bool = True
) -> Composed:
    """Compose ``limit`` pieces for prompts about held-out arrangements; nothing is rendered. ``memory`` looks for
    passages of training melodies; ``read_request`` as for ``conditionings``.
    """
    rng = np.random.default_rng(seed)
    arrangements = list(read_shards(data / "scores", "valid"))
    chosen = rng.permutation(len(arrangements))[:limit]
    index = None
    if memory:
        index = MelodyIndex(melody_steps(a.notes, a.plan) for a in read_shards(data / "scores", "train"))
    composed = Composed([], [], [])
    prompts = [sample_prompt(rng, arrangements[place].plan.attributes())[:2] for place in chosen]
    wanted = conditionings(model, [(prompt, None) for prompt, _ in prompts], read_request=read_request)
    for number, ((prompt, asked), conditioning) in enumerate(zip(prompts, wanted, strict=True)):
        plan, notes = model.model.decoder.compose(conditioning, SECONDS, seed=number)
        composed.pairs.append((Request(asked, read_tempo(prompt) is None), heard(notes, plan)))
        composed.figures.append(musicality(notes, plan))
        if index is not None:
            composed.longest_runs.append(index.longest_run(melody_steps(notes, plan)))
    return composed


def pictures(model: M2UGen, modality: str, limit: int, seed: int = 0) -> Row:
    """Correlation of the energy of pictures or clips ("image", "video") with that of the music asked of the decoder."""
    rng = np.random.default_rng([seed, len(modality)])
    draw = sample_picture if modality == "image" else sample_video
    asked, energies = [], []
    for _ in range(limit):
        features, attributes, _ = draw(rng)
        asked.append((sample_picture_prompt(rng, attributes, modality)[0], features))
        energies.append(attributes.energy or 0)
    found = [expected_energy(conditioning) for conditioning in conditionings(model, asked, modality)]
    right, other = (float(np.corrcoef(e, energies)[0, 1]) for e in (found, np.roll(found, 1)))
    return Row(f"energy of {modality} and music, correlation", right, other, None, limit)


def expected_energy(conditioning: np.ndarray) -> float:
    """The mean energy class of a conditioning matrix; the middle one where it says nothing."""
    values = np.clip(conditioning[SLOT_INDEX["energy"], 1 : 1 + len(ENERGIES)], 0.0, None)
    total = float(values.sum())
    return float(values @ np.arange(len(ENERGIES))) / total if total > 0 else (len(ENERGIES) - 1) / 2


def control_rows(composed: Composed) -> list[Row]:
    """Adherence to the prompts, beside the same pieces held against other prompts."""
    right, wrong = adherence(composed.pairs), adherence(shuffled(composed.pairs))
    return [Row(name, value, wrong.get(name, (float("nan"), 0))[0], None, n) for name, (value, n) in right.items()]


def music_table(composed: Composed, data: Path) -> list[tuple[str, float, float, float, float]]:
    """(figure, mean of the pieces, 10th percentile, mean and 90th percentile of the real arrangements)."""
    real = [musicality(a.notes, a.plan) for a in read_shards(data / "scores", "valid")]
    rows = []
    for name in real[0]:
        ours, theirs = [f[name] for f in composed.figures], [f[name] for f in real]
        low, high = np.nanpercentile(theirs, (10, 90))
        rows.append((name, float(np.nanmean(ours)), float(low), float(np.nanmean(theirs)), float(high)))
    return rows


def markdown(title: str, rows: Sequence[Row]) -> str:
    """A table of rows."""
    lines = [f"### {title}", "", "| | nano | shuffled | majority | cases |", "|---|---|---|---|---|"]
    for row in rows:
        majority = "–" if row.majority is None else f"{row.majority:.0%}"
        lines.append(f"| {row.name} | {row.value:.0%} | {row.shuffled:.0%} | {majority} | {row.count} |")
    return "\n".join(lines) + "\n"


def report(model: M2UGen, data: Path, limit: int) -> str:
    """All tables as Markdown."""
    parts = []
    for title, recordings in recordings_by_sound(data, limit).items():
        parts.append(markdown(f"Questions about held-out works, {title}", understanding(model, recordings)))
    composed = compose(model, data, limit)
    parts.append(markdown("Held-out prompts", control_rows(composed)))
    alone = compose(model, data, limit, memory=False, read_request=False)
    parts.append(markdown("Held-out prompts, the language model on its own", control_rows(alone)))
    parts.append(markdown("Pictures and clips", [pictures(model, name, 2 * limit) for name in ("image", "video")]))
    lines = ["### The notes", "", "| | nano | real: 10 % | real: mean | real: 90 % |", "|---|---|---|---|---|"]
    lines += [f"| {n} | {a:.2f} | {b:.2f} | {c:.2f} | {d:.2f} |" for n, a, b, c, d in music_table(composed, data)]
    if composed.longest_runs:
        lines += ["", f"Longest melody passage that also stands in a training melody: median "
                  f"{np.median(composed.longest_runs):.0f} notes, at most {max(composed.longest_runs)}."]  # fmt: skip
    return "\n".join([*parts, *lines]) + "\n"
