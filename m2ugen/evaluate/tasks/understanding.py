"""Answers about music: are they true, and what the paper's text metrics make of them; always beside the same answers
to questions about another recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from m2ugen.data.nano.language.questions import parse_answer
from m2ugen.evaluate.benchmark.items import OTHER, Item
from m2ugen.evaluate.benchmark.layouts import chosen_option
from m2ugen.evaluate.metrics.bert_score import default_bert_score
from m2ugen.evaluate.metrics.facts import SCORES, label, told_label
from m2ugen.evaluate.metrics.text import pair_metrics
from m2ugen.evaluate.results import mean_row
from m2ugen.evaluate.tasks.context import Context, Findings, confusion

TASK = "understanding"
HEADLINE = "factual accuracy"


def evaluate_understanding(context: Context) -> Findings:
    """Factual accuracy, accuracy by kind of question, multiple choice, and the text metrics."""
    found, said = Findings(), context.outputs.answered()
    everything = context.benchmark.of(TASK)
    found.add(mean_row(TASK, "items answered", {i.id: float(i.id in said) for i in everything}, percent=True))
    items = [item for item in everything if item.id in said]
    if not items:
        return found
    right = {item.id: fact_score(item, said[item.id]) for item in items if is_checkable(item)}
    wrong = {i.id: fact_score(i, said[i.id + OTHER]) for i in items if is_checkable(i) and i.id + OTHER in said}
    found.add(
        mean_row(TASK, HEADLINE, right, list(wrong.values()), percent=True,
                 note="share of right answers over all questions with known truth (instruments: F1 of families)")
    )  # fmt: skip
    kinds = list(dict.fromkeys(item.kind for item in items if is_checkable(item)))
    for kind in kinds:
        own = [item for item in items if item.kind == kind]
        scores = {item.id: right[item.id] for item in own}
        other = [wrong[item.id] for item in own if item.id in wrong]
        found.add(mean_row(TASK, f"{HEADLINE}: {kind}", scores, other, majority_share(own), percent=True))
        pairs = [(truth, told_label(kind, said[i.id])) for i in own if i.asked and (truth := label(kind, i.asked))]
        if pairs and (table := confusion(TASK, kind, pairs)) is not None:
            found.confusions.append(table)
    _text_rows(context, [item for item in items if item.reference is not None], said, found)
    return found


def is_checkable(item: Item) -> bool:
    """Whether there is a fact to hold the answer against."""
    return item.kind in SCORES or item.kind in ("has_instrument", "choice")


def fact_score(item: Item, answer: str) -> float:
    """Score 0-1 of an answer to a checkable item."""
    if item.kind == "choice":
        return float(chosen_option(answer, item.facts["options"]) == item.facts["right"])
    if item.kind == "has_instrument":
        return float(parse_answer(item.kind, answer) == parse_answer(item.kind, item.reference or ""))
    assert item.asked is not None
    return SCORES[item.kind](answer, item.asked)


def majority_share(items: Sequence[Item]) -> float | None:
    """What the most frequent answer alone would score; None where answers are no classes."""
    kind = items[0].kind
    if kind == "choice":
        return float(sum(1 / len(item.facts["options"]) for item in items) / len(items))
    if kind == "has_instrument":
        classes = [str(parse_answer(kind, item.reference or "")) for item in items]
    else:
        classes = [name for item in items if item.asked and (name := label(kind, item.asked)) is not None]
    return Counter(classes).most_common(1)[0][1] / len(classes) if classes else None


def _text_rows(context: Context, items: Sequence[Item], said: dict[str, str], found: Findings) -> None:
    """The text metrics, each beside the answers about other recordings."""
    if not items:
        return
    names, told = [item.id for item in items], [said[item.id] for item in items]
    references = [item.reference or "" for item in items]
    others = [(said[i.id + OTHER], i.reference or "") for i in items if i.id + OTHER in said]
    other_told, other_references = [text for text, _ in others], [reference for _, reference in others]
    for number, (name, metric) in enumerate(pair_metrics().items()):
        context.report("text metrics", number / 8)
        scores = dict(zip(names, metric(told, references), strict=True))
        found.add(mean_row(TASK, name, scores, metric(other_told, other_references)))
    context.report("BERTScore", 0.8)
    name, bert = default_bert_score(context.measuring.bert)
    matches, other_matches = bert(told, references), bert(other_told, other_references)
    for label_, field in (("recall, as published", "recall"), ("F1", "f1")):
        scores = {key: getattr(match, field) for key, match in zip(names, matches, strict=True)}
        found.add(mean_row(TASK, f"{name}, {label_}", scores, [getattr(m, field) for m in other_matches]))
