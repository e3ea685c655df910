"""The whole decoder: files, text, and music out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from m2ugen.errors import InputError, MissingWeights
from m2ugen.model.decoders.base import MusicDecoder
from m2ugen.model.decoders.score import SamplingConfig, ScoreConfig, ScoreDecoder
from m2ugen.model.decoders.score.sampling import draw
from m2ugen.model.decoders.score.storage import PLAYER, store_half
from m2ugen.score.attributes import Attributes
from tests.model.decoders.score.helpers import TINY, example_notes, example_plan, tiny_decoder


def test_it_is_a_music_decoder() -> None:
    assert isinstance(tiny_decoder(), MusicDecoder)


def test_saved_and_loaded(tmp_path: Path) -> None:
    decoder = tiny_decoder()
    decoder.save_pretrained(tmp_path)
    loaded = ScoreDecoder.from_pretrained(tmp_path)
    assert loaded.config == TINY
    for name, value in decoder.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-3)
    matrix = Attributes(genre="rock").to_conditioning()
    assert loaded.compose(matrix, 8, seed=1)[0] == ScoreDecoder.from_pretrained(tmp_path).compose(matrix, 8, seed=1)[0]


def test_saving_again_replaces_the_sampling_settings(tmp_path: Path) -> None:
    decoder = tiny_decoder()
    decoder.save_pretrained(tmp_path)
    decoder.config = replace(decoder.config, sampling=SamplingConfig(top_p=0.5))
    decoder.save_pretrained(tmp_path)
    assert ScoreDecoder.from_pretrained(tmp_path).config.sampling.top_p == 0.5


def test_half_a_decoder_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights):
        ScoreDecoder.from_pretrained(tmp_path)
    store_half(tmp_path, PLAYER, tiny_decoder().note_player)
    with pytest.raises(MissingWeights, match="plan_writer"):
        ScoreDecoder.from_pretrained(tmp_path)


def test_another_version_is_refused() -> None:
    with pytest.raises(InputError, match="version"):
        ScoreConfig.from_dict({**ScoreConfig().to_dict(), "version": 99})
    with pytest.raises(InputError, match="settings"):
        ScoreConfig.from_dict({**ScoreConfig().to_dict(), "player": {"depth": 3}})
    assert ScoreConfig.from_dict(ScoreConfig().to_dict()) == ScoreConfig()


def test_text_goes_through_the_reader() -> None:
    decoder = ScoreDecoder(TINY, text_reader=lambda text: Attributes(genre=text))
    conditioning = decoder.encode_text(["jazz", "rock"])
    assert conditioning.shape == (2, *decoder.conditioning_shape)
    np.testing.assert_array_equal(conditioning[1].numpy(), Attributes(genre="rock").to_conditioning())


def test_a_given_plan_is_played_as_it_is() -> None:
    plan = example_plan()
    played, notes = tiny_decoder().compose(Attributes().to_conditioning(), 10, seed=0, plan=plan)
    assert played == plan
    assert len(notes)


def test_unusable_arguments() -> None:
    decoder = tiny_decoder()
    with pytest.raises(InputError, match="shape"):
        decoder.compose(np.zeros((3, 3)), 10, seed=0)
    with pytest.raises(InputError, match="seed"):
        decoder.compose(Attributes().to_conditioning(), 10, seed=-1)
    with pytest.raises(InputError, match="plan"):
        decoder.generate(decoder.encode_text(["piano"]), 10, melody=example_notes(example_plan()))


def test_draw_keeps_to_what_is_allowed() -> None:
    rng = np.random.default_rng(0)
    logits = np.array([5.0, 1.0, 0.0, 4.0])
    allowed = np.array([False, True, True, False])
    assert {draw(logits, rng, 1.0, 1.0, allowed) for _ in range(50)} == {1, 2}
    assert draw(logits, rng, 0.0) == 0
    assert {draw(logits, rng, 1.0, 0.5) for _ in range(20)} == {0}


@pytest.mark.slow
def test_generate_gives_sound_of_the_asked_length() -> None:
    decoder = tiny_decoder()
    seen: list[float] = []
    music = decoder.generate(decoder.encode_text(["calm piano"]), 6.0, seed=1, progress=seen.append)
    assert music.audio.shape == (2, 6 * music.sample_rate)
    assert np.abs(music.audio).max() > 0.01
    assert music.stems is not None
    assert music.plan is not None
    assert len(music.stems) == len(music.plan.parts)
    assert seen[-1] == 1.0
