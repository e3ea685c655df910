"""Music from words: the paper's distances, and whether the music does what was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from m2ugen.evaluate.benchmark.items import Item, attributes_from_dict
from m2ugen.evaluate.controls import ENERGY_TOLERANCE, Request, compare
from m2ugen.evaluate.listening import Heard
from m2ugen.evaluate.metrics.facts import families_f1, label
from m2ugen.evaluate.results import Reliability, Row, mean_row
from m2ugen.evaluate.signals import chroma, level_figures, repetition
from m2ugen.evaluate.tasks.context import Context, Findings, confusion, turned
from m2ugen.evaluate.tasks.distances import distance_rows, divergence_rows, text_match_row
from m2ugen.evaluate.tasks.notes import memorisation_rows, note_rows
from m2ugen.media.audio import Audio
from m2ugen.score.attributes import Attributes, same_tempo
from m2ugen.score.beats import RATE, track_beats

TASK, CONTROLS = "text2music", "controls"
DURATION_TOLERANCE = 0.01
ORDER = (
    *("tempo", "tempo, half and double allowed", "tempo by beat tracking", "tempo word", "mode", "key", "metre"),
    *("genre", "energy", "drums", "instruments", "excluded", "lead"),
)
LEVELS = {  # figure → whether more is better ("" for neither), note
    "loudness": ("", "LUFS"),
    "true peak": ("", "dBTP"),
    "clipped": ("lower", "share of samples at full scale"),
    "silent": ("lower", "share of tenths of a second below -60 dBFS"),
}
TRUSTED = ("tempo", "mode", "metre", "genre", "energy", "drums", "instruments")
BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0001)  # of confidence


def evaluate_text2music(context: Context) -> Findings:
    """FAD, KL and CLAP score."""
    found = Findings()
    found.add(context.coverage(TASK))
    items = [item for item in context.items(TASK) if item.kind != "variant"]
    found.add(*distance_rows(context, TASK, items, context.paired(items)), *divergence_rows(context, TASK, items))
    found.add(text_match_row(context, TASK, items))
    return found


def evaluate_controls(context: Context) -> Findings:
    """Everything that was asked, as it is heard; level, repetition, diversity, notes, memorisation."""
    found = Findings()
    items = [item for item in context.items(TASK) if item.kind != "variant"]
    if not items:
        return found
    asked = [item for item in items if item.asked is not None]
    real = context.paired(asked)
    if asked:
        heard = context.heard([context.path(item) for item in asked])
        truth = context.heard(context.recordings(real))
        found.add(*_adherence_rows(context, asked, heard, real, truth))
        _tables(asked, heard, found)
        _trust(real, truth, found)
    found.add(*_length_row(context, items), *_sound_rows(context, items, real))
    found.add(diversity_row(context), *note_rows(context, CONTROLS, items))
    found.add(*memorisation_rows(context, CONTROLS, items))
    return found


def scores_of(item: Item, heard: Heard, audio: Audio | None = None) -> dict[str, float]:
    """Score 0-1 of everything that ``item`` asks for and that is heard; ``audio`` adds a beat tracker's opinion."""
    assert item.asked is not None
    asked, found = item.asked, heard.attributes
    rows = compare(Request(asked, bool(item.facts.get("tempo_word"))), found)
    if asked.tempo is not None and found.tempo is not None:
        ratios = (0.5, 1.0, 2.0)
        if "tempo" in rows:
            rows["tempo, half and double allowed"] = float(
                any(same_tempo(found.tempo * r, asked.tempo) for r in ratios)
            )
        if audio is not None and not item.facts.get("tempo_word"):
            mono = audio.resampled(RATE).mono()
            rows["tempo by beat tracking"] = float(same_tempo(track_beats(mono).tempo, asked.tempo))
    if asked.tonic is not None and asked.mode is not None:
        rows["key"] = float((found.tonic, found.mode) == (asked.tonic, asked.mode))
    if asked.lead is not None:
        rows["lead"] = float(found.lead == asked.lead)
    return rows


def _adherence_rows(
    context: Context, items: Sequence[Item], heard: Sequence[Heard], real: Sequence[Item], truth: Sequence[Heard]
) -> list[Row]:
    own = [scores_of(i, h, a) for i, h, a in zip(items, heard, context.sounds(items), strict=True)]
    other = [scores_of(i, h) for i, h in zip(items, turned(heard), strict=True)] if len(items) > 1 else []
    known = [scores_of(i, h) for i, h in zip(real, truth, strict=True)]
    names = sorted({name for scores in own for name in scores}, key=ORDER.index)
    rows = []
    for name in names:
        scores = {item.id: s[name] for item, s in zip(items, own, strict=True) if name in s}
        rows.append(
            mean_row(CONTROLS, name, scores, [s[name] for s in other if name in s], _majority(name, items),
                     [s[name] for s in known if name in s], percent=True)
        )  # fmt: skip
    everything = {item.id: float(np.mean(list(s.values()))) for item, s in zip(items, own, strict=True) if s}
    average = mean_row(
        CONTROLS, "everything asked", everything, [float(np.mean(list(s.values()))) for s in other if s], None,
        [float(np.mean(list(s.values()))) for s in known if s], percent=True,
        note="mean over the prompts of the share of what each asks for",
    )  # fmt: skip
    return [row for row in (average, *rows) if row is not None]


def _majority(name: str, items: Sequence[Item]) -> float | None:
    """What music with the most frequently asked class would score."""
    kind = {"tempo word": "tempo_word"}.get(name, name)
    if kind not in ("tempo_word", "drums", "mode", "metre", "genre"):
        return None
    field = "tempo" if kind == "tempo_word" else kind
    classes = [label(kind, i.asked) for i in items if i.asked is not None and getattr(i.asked, field) is not None]
    return Counter(classes).most_common(1)[0][1] / len(classes) if classes else None


def _tables(items: Sequence[Item], heard: Sequence[Heard], found: Findings) -> None:
    """Confusion of what was asked and what is heard."""
    for kind in ("genre", "mode", "metre", "tempo_word"):
        field = "tempo" if kind == "tempo_word" else kind
        pairs = [
            (str(label(kind, item.asked)), str(label(kind, each.attributes)))
            for item, each in zip(items, heard, strict=True)
            if item.asked is not None and getattr(item.asked, field) is not None
        ]
        if pairs and (table := confusion(CONTROLS, kind, pairs)) is not None:
            found.confusions.append(table)


def _trust(items: Sequence[Item], heard: Sequence[Heard], found: Findings) -> None:
    """How far the ear can be trusted: how often it is right on recordings of which everything is known, and whether its
    confidence says so.
    """
    truths = [attributes_from_dict(item.facts["recording"]) for item in items if "recording" in item.facts]
    ears = [each for item, each in zip(items, heard, strict=True) if "recording" in item.facts]
    for name in TRUSTED:
        cases = [
            (float(each.odds[name].max()), _agrees(name, each.attributes, truth))
            for each, truth in zip(ears, truths, strict=True)
            if getattr(truth, name) not in (None, ())
        ]
        scores = {f"recording-{number}": float(right) for number, (_, right) in enumerate(cases)}
        found.add(mean_row(CONTROLS, f"the ear itself: {name}", scores, percent=True, better=""))
        if name != "instruments" and cases:
            found.reliability.append(_curve(f"ear: {name}", cases))


def _agrees(name: str, heard: Attributes, truth: Attributes) -> float:
    if name == "instruments":
        return families_f1(heard.instruments, truth.instruments)
    if name == "tempo":
        return float(same_tempo(heard.tempo or 1.0, truth.tempo or 1.0))
    if name == "energy":
        return float(abs((heard.energy or 0) - (truth.energy or 0)) <= ENERGY_TOLERANCE)
    return float(getattr(heard, name) == getattr(truth, name))


def _curve(name: str, cases: Sequence[tuple[float, float]]) -> Reliability:
    """Cases (confidence, right) in bins of confidence."""
    bins = [[case for case in cases if low <= case[0] < high] for low, high in pairwise(BINS)]
    filled = [each for each in bins if each]
    return Reliability(
        name,
        [float(np.mean([confidence for confidence, _ in each])) for each in filled],
        [float(np.mean([right for _, right in each])) for each in filled],
        [len(each) for each in filled],
    )


def _length_row(context: Context, items: Sequence[Item]) -> list[Row | None]:
    scores = {
        item.id: float(abs(audio.duration / item.duration - 1) <= DURATION_TOLERANCE)
        for item, audio in zip(items, context.sounds(items), strict=True)
        if item.duration is not None
    }
    return [mean_row(CONTROLS, "duration within 1 %", scores, percent=True)]


def _sound_rows(context: Context, items: Sequence[Item], real: Sequence[Item]) -> list[Row | None]:
    """Level and repetition, beside the real recordings."""
    clips = context.sounds(items)
    truth = [context.audio(path) for path in context.recordings(real)]
    levels, known = [level_figures(clip) for clip in clips], [level_figures(clip) for clip in truth]
    rows = [
        mean_row(CONTROLS, name, {i.id: each[name] for i, each in zip(items, levels, strict=True)},
                 real=[each[name] for each in known], better=better, note=note)
        for name, (better, note) in LEVELS.items()
    ]  # fmt: skip
    frames = [chroma(clip) for clip in clips]
    rng = np.random.default_rng(0)
    rows.append(
        mean_row(CONTROLS, "repetition", {i.id: repetition(each) for i, each in zip(items, frames, strict=True)},
                 [repetition(each[rng.permutation(len(each))]) for each in frames],
                 real=[repetition(chroma(clip)) for clip in truth], better="",
                 note="similarity of the harmony at its best lag, above the mean; shuffled: the frames in any order")
    )  # fmt: skip
    return rows


def diversity_row(context: Context) -> Row | None:
    """How far apart two pieces for one prompt are, beside pieces for different prompts: cosine distance of mean
    embeddings.
    """
    again = [item for item in context.items(TASK) if item.kind == "variant" and item.of is not None]
    first = {item.id: item for item in context.items(TASK) if item.kind != "variant"}
    pairs = [(item, first[item.of]) for item in again if item.of in first]
    if not pairs or len(first) < 2:
        return None
    embedder = context.measuring.embedders[-1]

    def vectors(items: Sequence[Item]) -> np.ndarray:
        means = np.stack([e.mean(axis=0) for e in context.cache.embeddings(embedder, context.sounds(items))])
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))

    own = 1.0 - (vectors([a for a, _ in pairs]) * vectors([b for _, b in pairs])).sum(axis=1)
    base = vectors(list(first.values()))
    between = (1.0 - base @ base.T)[np.triu_indices(len(base), 1)]
    return mean_row(
        CONTROLS, f"diversity across seeds ({embedder.name})",
        {item.id: float(value) for (item, _), value in zip(pairs, own, strict=True)}, between.tolist(), better="",
        note="cosine distance of pieces for one prompt; shuffled: of pieces for different prompts",
    )  # fmt: skip
