"""Recordings that go together, for MUEdit: what they play, and which one another could have been made of.

The published search draws partners at random and compares beat arrays of different lengths; this one looks among the
nearest in sound, and compares harmony beat by beat where the shorter recording fits the longer one best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m2ugen.data.build.engine import Operator, each
from m2ugen.data.build.media import music_of
from m2ugen.data.build.records import Outcome, Record, digest
from m2ugen.score.attributes import same_tempo

if TYPE_CHECKING:
    from m2ugen.score.transcription import SourceAnalysis

NEIGHBOURS = 24  # nearest in sound that are looked at
MANY = 4096  # recordings from which FAISS searches, where it is installed
MIN_HARMONY = 0.6  # mean similarity of the beats' pitch classes
MIN_BEATS = 8
SMOOTHED = 4  # beats over which harmony is compared


@dataclass(frozen=True)
class Analyse(Operator):
    """What a recording plays: ``tempo``, ``metre``, ``tonic``, ``mode``, and ``beats``: pitch classes [beats, 12]."""

    name = "analyse"

    def __call__(self, records: list[Record]) -> list[Outcome]:
        from m2ugen.score.transcription import describe

        def analyse(record: Record) -> Outcome:
            found = describe(music_of(record))
            facts = {
                "tempo": round(found.tempo, 2),
                "metre": found.metre,
                "tonic": found.tonic,
                "mode": found.mode,
            }
            return Outcome(facts, {"beats": beat_chroma(found)})

        return each(records, analyse)


def beat_chroma(analysis: SourceAnalysis) -> np.ndarray:
    """How long each pitch class sounds in each beat, as shares of the beat, float32 [beats, 12]."""
    times = analysis.beats.times
    chroma = np.zeros((max(len(times) - 1, 1), 12), dtype=np.float32)
    for start, end, pitch, _ in analysis.notes:
        first = max(int(np.searchsorted(times, start, side="right")) - 1, 0)
        last = min(int(np.searchsorted(times, end, side="left")), len(chroma))
        for beat in range(first, last):
            sounding = min(end, times[beat + 1]) - max(start, times[beat])
            chroma[beat, int(pitch) % 12] += max(sounding, 0.0) / (times[beat + 1] - times[beat])
    return chroma


def harmony_similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Mean cosine of the pitch classes [beats, 12] of two recordings, where the shorter one fits best; 0 where either
    has less than MIN_BEATS beats.
    """
    if len(one) > len(other):
        one, other = other, one
    if len(one) < MIN_BEATS:
        return 0.0
    one, other = _smooth(one), _smooth(other)
    fits = [(one * other[shift : shift + len(one)]).sum(axis=1).mean() for shift in range(len(other) - len(one) + 1)]
    return float(max(fits))


def _smooth(chroma: np.ndarray) -> np.ndarray:
    """Sums over SMOOTHED beats, each of unit length."""
    total = np.lib.stride_tricks.sliding_window_view(chroma, SMOOTHED, axis=0).sum(axis=-1)
    unit: np.ndarray = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-6)
    return unit


def related_keys(one: tuple[int, str], other: tuple[int, str]) -> bool:
    """Whether two keys (tonic 0-11, mode) are the same, relative, parallel, or a fifth apart."""
    (tonic, mode), (second, second_mode) = one, other
    if mode == second_mode:
        return (tonic - second) % 12 in (0, 5, 7)
    major, minor = (tonic, second) if mode == "major" else (second, tonic)
    return (major - minor) % 12 in (0, 3)


def nearest(vectors: np.ndarray, count: int) -> np.ndarray:
    """For each of ``vectors`` [n, dim] the indices of the ``count`` others nearest in direction, [n, count]."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    unit = np.ascontiguousarray(unit, dtype=np.float32)
    count = min(count, len(unit) - 1)
    if len(unit) >= MANY:
        try:
            import faiss
        except ImportError:
            pass
        else:
            index = faiss.IndexFlatIP(unit.shape[1])
            index.add(unit)
            return _without_self(index.search(unit, count + 1)[1], count)
    found = []
    for start in range(0, len(unit), 1024):
        similarity = unit[start : start + 1024] @ unit.T
        found.append(np.argsort(-similarity, axis=1, kind="stable")[:, : count + 1])
    return _without_self(np.concatenate(found), count)


def _without_self(found: np.ndarray, count: int) -> np.ndarray:
    return np.stack([row[row != index][:count] for index, row in enumerate(found)])


def compatible(one: Record, other: Record) -> float:
    """How alike the harmony of two analysed recordings is, 0 where they do not go together."""
    a, b = one.facts, other.facts
    if not same_tempo(a["tempo"], b["tempo"]) or a["metre"] != b["metre"]:
        return 0.0
    if not related_keys((a["tonic"], a["mode"]), (b["tonic"], b["mode"])):
        return 0.0
    similarity = harmony_similarity(one.array("beats"), other.array("beats"))
    return similarity if similarity >= MIN_HARMONY else 0.0


def find_pairs(records: Sequence[Record]) -> list[Record]:
    """For each of ``records`` the pair with the partner that fits it best, as a record of its own; records without a
    partner are rejected.

    A pair's facts: ``source`` and ``target`` (ids), ``source_caption`` and ``caption``.
    """
    alive = [record for record in records if record.alive]
    pairs = []
    sounds = [record.array("music").reshape(-1) for record in alive]
    near = nearest(np.stack(sounds), NEIGHBOURS) if len(alive) > 1 else np.zeros((len(alive), 0), int)
    partnered: set[str] = set()
    for index, record in enumerate(alive):
        others = [alive[int(k)] for k in near[index]]
        fits = [(compatible(record, other), other) for other in others]
        best = max(
            fits, key=lambda fit: fit[0], default=(0.0, record)
        )  # the first, nearest one where several are equal
        if best[0] > 0:
            pairs.append(_pair(record, best[1]))
            partnered |= {record.id, best[1].id}
    for record in alive:
        if record.id not in partnered:
            record.rejected = ("pair", "no other recording goes with it in tempo, metre, key and harmony")
    return pairs


def _pair(source: Record, target: Record) -> Record:
    facts = {
        "source": source.id,
        "target": target.id,
        "source_caption": source.facts["caption"],
        "caption": target.facts["caption"],
    }
    name, version = digest(source.id, target.id)[:12], digest(source.version, target.version, facts)[:16]
    return Record(name, version, f"{source.name} → {target.name}", facts=facts)
