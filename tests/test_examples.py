"""The bundled media open, are small, and each has its licence."""

from __future__ import annotations

import numpy as np
import pytest

from m2ugen.errors import InputError
from m2ugen.examples import EXAMPLES, example
from m2ugen.media.audio import load_audio
from m2ugen.media.image import load_image
from m2ugen.media.video import load_video

MAX_BYTES = {"bright": 300_000, "dark": 300_000, "video": 600_000, "music": 600_000, "midi": 20_000}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_there_and_licensed(name: str) -> None:
    path = example(name)
    assert 500 < path.stat().st_size <= MAX_BYTES[name]
    assert f"`{path.name}`" in path.with_name("LICENSES.md").read_text(encoding="utf-8")


def test_examples_open() -> None:
    from symusic import Score

    assert min(load_image(example("bright")).size) >= 400 and min(load_image(example("dark")).size) >= 400
    assert 6.0 < load_video(example("video")).duration < 9.0
    music = load_audio(example("music"))
    assert 15.0 < music.samples.shape[-1] / music.sample_rate < 30.0
    assert 0.1 < np.abs(music.samples).max() <= 1.0
    assert sum(len(track.notes) for track in Score(str(example("midi"))).tracks) > 100


def test_an_unknown_example_is_refused() -> None:
    with pytest.raises(InputError, match="bright"):
        example("nothing")
