"""Does composed music do what was asked? Compares what was asked with what the notes hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from m2ugen.evaluate.musicality import key_of
from m2ugen.score.attributes import DRUMS, INSTRUMENT_NAMES, Attributes, same_tempo
from m2ugen.score.notes import PART
from m2ugen.score.plan import Plan
from m2ugen.score.wording import tempo_class

ENERGY_TOLERANCE = 1  # classes
ROWS = ("tempo", "tempo word", "mode", "metre", "genre", "energy", "drums", "instruments", "excluded")


def heard(notes: np.ndarray, plan: Plan) -> Attributes:
    """The attributes of a piece as its notes have them: only players that sound, the mode that is heard."""
    sounding = tuple(
        dict.fromkeys(part.instrument for index, part in enumerate(plan.parts) if (notes[:, PART] == index).any())
    )
    return replace(
        plan.attributes(),
        mode=key_of(notes, plan)[1],
        drums=INSTRUMENT_NAMES[DRUMS] in sounding,
        instruments=sounding,
    )


@dataclass(frozen=True)
class Request:
    """What a prompt asks for. ``tempo_word`` says that the tempo is named by a word ("fast"), not by a number."""

    attributes: Attributes
    tempo_word: bool = False


def compare(request: Request, found: Attributes) -> dict[str, float]:
    """Score (0-1) of every row of ROWS that was asked for; a tempo in words is met by any tempo of its class."""
    rows: dict[str, float] = {}
    asked = request.attributes
    if asked.tempo is not None and found.tempo is not None:
        if request.tempo_word:
            rows["tempo word"] = float(tempo_class(found.tempo) == tempo_class(asked.tempo))
        else:
            rows["tempo"] = float(same_tempo(found.tempo, asked.tempo))
    for name in ("mode", "metre", "genre", "drums"):
        if (wanted := getattr(asked, name)) is not None:
            rows[name] = float(getattr(found, name) == wanted)
    if asked.energy is not None and found.energy is not None:
        rows["energy"] = float(abs(asked.energy - found.energy) <= ENERGY_TOLERANCE)
    if asked.instruments:
        rows["instruments"] = float(np.mean([name in found.instruments for name in asked.instruments]))
    if asked.excluded:
        rows["excluded"] = float(np.mean([name not in found.instruments for name in asked.excluded]))
    return rows


def adherence(pairs: Iterable[tuple[Request, Attributes]]) -> dict[str, tuple[float, int]]:
    """Mean score and number of cases of each row over (request, found) pairs."""
    scores: dict[str, list[float]] = {name: [] for name in ROWS}
    for request, found in pairs:
        for name, score in compare(request, found).items():
            scores[name].append(score)
    return {name: (float(np.mean(values)), len(values)) for name, values in scores.items() if values}


def shuffled(pairs: Sequence[tuple[Request, Attributes]], seed: int = 0) -> list[tuple[Request, Attributes]]:
    """The same pieces, each held against the request for another one: the baseline that ignores the prompt."""
    if len(pairs) < 2:
        return []
    step = int(np.random.default_rng(seed).integers(1, len(pairs)))
    return [(request, pairs[(index + step) % len(pairs)][1]) for index, (request, _) in enumerate(pairs)]
