"""Clips that are put together from several."""

from __future__ import annotations

import numpy as np

from m2ugen.data.nano.recordings import Recording, mosaic
from m2ugen.model.encoders.nano_music import HEADS
from m2ugen.score.attributes import Attributes


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
