"""A gate on the shipped weights: a small slice, with tolerances that chance does not cross and a broken part does.

Full figures are the report's business (docs/report); these floors lie two standard errors or more below them.
"""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.evaluate.benchmark.items import Benchmark
from m2ugen.evaluate.controls import Request, adherence, heard
from m2ugen.evaluate.listening import default_listener
from m2ugen.evaluate.metrics.facts import families_f1
from m2ugen.evaluate.musicality import musicality
from m2ugen.evaluate.replies import answers, conditionings
from m2ugen.evaluate.tasks.understanding import fact_score
from m2ugen.media.audio import load_audio
from m2ugen.pipeline import M2UGen
from m2ugen.score.attributes import Attributes

SECONDS = 8.0
PROMPTS = {
    "a fast rock song with electric guitar and drums": Attributes(
        genre="rock", instruments=("electric guitar", "drums")
    ),
    "a calm piano piece in a minor key, no drums": Attributes(
        mode="minor", instruments=("piano",), excluded=("drums",)
    ),
    "jazz with saxophone, piano and acoustic bass": Attributes(genre="jazz", instruments=("saxophone", "piano")),
    "a waltz in 3/4 for strings": Attributes(metre="3/4", instruments=("strings",)),
}


def test_composed_music_does_what_is_asked_and_is_music(nano: M2UGen) -> None:
    wanted = conditionings(nano, [(prompt, None) for prompt in PROMPTS])
    pairs, figures = [], []
    for number, (asked, conditioning) in enumerate(zip(PROMPTS.values(), wanted, strict=True)):
        plan, notes = nano.model.decoder.compose(conditioning, SECONDS, seed=number)
        pairs.append((Request(asked), heard(notes, plan)))
        figures.append(musicality(notes, plan))
    rows = adherence(pairs)
    assert rows["instruments"][0] >= 0.8 and rows["excluded"][0] == 1.0
    assert rows["genre"][0] >= 0.5
    assert np.mean([figure["in_key"] for figure in figures]) >= 0.85
    assert np.mean([figure["parts_silent"] for figure in figures]) <= 0.5


def test_ear_hears_held_out_recordings(benchmark: Benchmark) -> None:
    items = {item.music: item.asked for item in benchmark.of("understanding")}
    found = default_listener().hear([load_audio(benchmark.path(str(name))) for name in items])
    truths = [known for known in items.values() if known is not None]
    assert np.mean([h.attributes.drums == t.drums for h, t in zip(found, truths, strict=True)]) >= 0.5
    scores = [families_f1(h.attributes.instruments, t.instruments) for h, t in zip(found, truths, strict=True)]
    assert np.mean(scores) >= 0.35


@pytest.mark.slow
def test_answers_follow_the_recording(nano: M2UGen, benchmark: Benchmark) -> None:
    items = benchmark.of("understanding")
    features = {
        name: nano.processor.encode(nano.processor.load(music=benchmark.path(name)))["music"][0].numpy()
        for name in {item.music for item in items if item.music}
    }
    said = answers(nano, [(item.prompt, features[item.music or ""]) for item in items])
    assert np.mean([fact_score(item, text) for item, text in zip(items, said, strict=True)]) >= 0.35
