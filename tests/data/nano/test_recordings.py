"""Clips that are put together from several, and clips without some of their parts."""

from __future__ import annotations

import numpy as np

from m2ugen.data.nano.recordings import DRUMS_LEFT_OUT, Recording, mosaic, thinned, truth
from m2ugen.model.encoders.ear import HEADS
from m2ugen.score.attributes import Attributes
from m2ugen.score.plan import Part, Plan, Section


def test_a_mosaic_takes_every_facet_with_its_truth_from_one_recording() -> None:
    rng = np.random.default_rng(0)
    rows = len(HEADS) + 2
    clips = [
        Recording(
            np.full((rows, 4), float(k), dtype=np.float32),
            Attributes(tempo=60.0 + k, metre="4/4", mode="minor", tonic=k % 12, genre="jazz", energy=k % 5,
                       drums=bool(k % 2), lead="piano", instruments=("piano",)),
            {"notes_per_second": float(k), "chords": [str(k)]},
        )
        for k in range(12)
    ]  # fmt: skip
    seen = set()
    for _ in range(50):
        made = mosaic(clips, rng)
        heard = {name: int(made.features[row, 0]) for row, name in enumerate(HEADS)}
        told = made.attributes
        assert told.tempo == 60.0 + heard["tempo"] and told.energy == heard["energy"] % 5
        assert told.tonic == heard["tonic"] == heard["mode"] and made.extras["chords"] == [str(heard["mode"])]
        assert told.drums == bool(heard["drums"] % 2)
        assert heard["drums"] == heard["instruments"] == heard["lead"] == int(made.features[-1, 0])
        seen.add(tuple(heard.values()))
    assert len(seen) == 50 and all((clip.features == clip.features[0, 0]).all() for clip in clips)


def test_drums_are_left_out_of_some_clips_with_their_truth() -> None:
    rng = np.random.default_rng(0)
    parts = (Part("melody", "flute"), Part("bass", "electric bass"), Part("drums", "drums"))
    plan = Plan(120.0, "4/4", 0, "major", "jazz", 3, parts, (Section("A", 8, 3, (None,) * 16),))
    notes = np.array([[onset, part, 60, 12, 90] for onset in range(0, 384, 12) for part in range(3)], dtype=np.int32)
    told = [truth(plan, thinned(plan, notes, rng)) for _ in range(300)]
    silent = np.mean([not attributes.drums for attributes in told])
    assert abs(silent - DRUMS_LEFT_OUT) < 0.08
    assert all(("drums" in attributes.instruments) == attributes.drums for attributes in told)
    assert {attributes.lead for attributes in told} == {"flute", None}
