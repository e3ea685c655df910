"""Is an answer about music true? Reads the answer and holds it against what is known of the recording."""

from __future__ import annotations

from collections.abc import Callable

from m2ugen.data.nano.language.questions import parse_answer
from m2ugen.score.attributes import Attributes, family_of, same_tempo
from m2ugen.score.wording import tempo_class


def _same(kind: str) -> Callable[[str, Attributes], float]:
    return lambda text, truth: float(parse_answer(kind, text) == getattr(truth, kind))


def _tempo(text: str, truth: Attributes) -> float:
    told = parse_answer("tempo", text)
    return float(told is not None and same_tempo(told, truth.tempo or 1.0))


def families_f1(found: tuple[str, ...], truth: tuple[str, ...]) -> float:
    """F1 of the instrument families of two lists of instruments."""
    told = {family_of(name) for name in found}
    there = {family_of(name) for name in truth}
    return 2 * len(told & there) / max(len(told) + len(there), 1)


SCORES: dict[str, Callable[[str, Attributes], float]] = {  # kind of question → score 0-1 of (answer, truth)
    "drums": _same("drums"),
    "mode": _same("mode"),
    "metre": _same("metre"),
    "genre": _same("genre"),
    "tempo": _tempo,
    "tempo_word": lambda text, truth: float(parse_answer("tempo_word", text) == tempo_class(truth.tempo or 0)),
    "key": lambda text, truth: float(parse_answer("key", text) == (truth.tonic, truth.mode)),
    "instruments": lambda text, truth: families_f1(parse_answer("instruments", text) or (), truth.instruments),
}


def label(kind: str, truth: Attributes) -> str | None:
    """The true class of a kind of question whose answers are classes; None for the others."""
    match kind:
        case "tempo_word":
            return tempo_class(truth.tempo or 0)
        case "drums":
            return "drums" if truth.drums else "no drums"
        case "mode" | "metre" | "genre":
            return str(getattr(truth, kind))
        case _:
            return None


def told_label(kind: str, text: str) -> str:
    """The class that an answer names; "–" where it names none."""
    told = parse_answer(kind, text)
    if told is None:
        return "–"
    return ("drums" if told else "no drums") if kind == "drums" else str(told)
