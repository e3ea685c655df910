"""A small band for edits: a plan of four chords, and a player of plain parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from m2ugen.score.notes import sort_notes
from m2ugen.score.plan import Chord, Part, Plan, Section

RATE = 22_050
PROGRESSION = ((0, "maj"), (9, "min"), (5, "maj"), (7, "maj"))


def make_plan(*parts: Part) -> Plan:
    chords = tuple(Chord(*PROGRESSION[slot // 2 % 4]) for slot in range(8))
    return Plan(120.0, "4/4", 0, "major", "pop", 2, parts, (Section("A", 4, 2, chords),))


class SimplePlayer:
    """Stands in for the decoder: block chords, roots and a plain beat."""

    def play(
        self,
        plan: Plan,
        given: Mapping[str, np.ndarray] | None = None,
        roles: Sequence[str] | None = None,
        seed: int = 0,
        given_bars: int | None = None,
    ) -> np.ndarray:
        rows: list[list[int]] = []
        for role, own in (given or {}).items():
            index = next(i for i, part in enumerate(plan.parts) if part.role == role)
            rows += [[row[0], index, *row[2:]] for row in own.tolist()]
        for index, part in enumerate(plan.parts):
            if roles is not None and part.role not in roles:
                continue
            begin = 0 if given_bars is None or part.role not in (given or {}) else given_bars * 4
            for beat in range(begin, plan.ticks // 12):
                tick = beat * 12
                chord = plan.chord_at(tick) or Chord(0, "maj")
                if part.role == "drums":
                    rows += [[tick, index, 36 if beat % 2 == 0 else 38, 3, 110], [tick + 6, index, 42, 3, 90]]
                elif part.role == "bass":
                    rows.append([tick, index, 36 + (plan.tonic + chord.root) % 12, 12, 90])
                elif part.role == "melody":
                    rows.append([tick, index, 72 + sorted(chord.pitch_classes(plan.tonic))[beat % 3], 10, 95])
                else:
                    rows += [[tick, index, 60 + pc, 12, 70] for pc in chord.pitch_classes(plan.tonic)]
        return sort_notes(np.array(rows, dtype=np.int32))
