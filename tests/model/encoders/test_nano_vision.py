"""nano's eyes: the classifier sees what is there, single and batched pictures agree, looks and moves mean something."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from m2ugen.errors import MissingWeights
from m2ugen.examples import example
from m2ugen.media.image import load_image
from m2ugen.media.video import Frames, load_video
from m2ugen.model.encoders.appearance import LOOKS, MOVES, SIDE, clip_energy, look, moves, picture_energy
from m2ugen.model.encoders.base import Encoder
from m2ugen.model.encoders.nano_vision import (
    IMAGE_BLOCKS,
    VIDEO_BLOCKS,
    NanoImageEncoder,
    NanoVideoEncoder,
    image_tokens,
    video_tokens,
)
from m2ugen.model.encoders.scenes import (
    INSTRUMENT_CLASSES,
    SCENE_CLASSES,
    SCENES,
    class_indices,
    instrument_matrix,
    scene_matrix,
    scene_of_class,
)
from m2ugen.score.attributes import INSTRUMENT_NAMES
from m2ugen.weights import packaged_folder

WEIGHTS = packaged_folder("nano") / "image_encoder.safetensors"
HELMET, MISSILE, PROJECTILE = 560, 657, 744  # ImageNet classes (it knows no astronauts)
BRIGHTNESS = LOOKS.index("brightness")


@pytest.fixture(scope="module")
def images() -> NanoImageEncoder:
    return NanoImageEncoder.from_file(WEIGHTS)


@pytest.fixture(scope="module")
def videos() -> NanoVideoEncoder:
    return NanoVideoEncoder.from_file(WEIGHTS)


def clip(draw: Callable[[int], np.ndarray], count: int = 16, seconds: float = 4.0) -> Frames:
    array = np.stack([draw(index) for index in range(count)]).astype(np.uint8)
    return Frames(array, np.arange(count) * seconds / count, seconds, count / seconds)


def pattern(seed: int, height: int = 90, width: int = 160) -> np.ndarray:
    """A smooth colourful picture, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_encoders_fulfil_the_protocol(images: NanoImageEncoder, videos: NanoVideoEncoder) -> None:
    assert isinstance(images, Encoder) and isinstance(videos, Encoder)
    assert not any(parameter.requires_grad for parameter in images.parameters())


def test_the_classifier_knows_the_examples(images: NanoImageEncoder) -> None:
    bright = images.prepare(load_image(example("bright")))
    dark = images.prepare(load_image(example("dark")))
    with torch.no_grad():
        logits = images.network(torch.stack([bright["pixels"], dark["pixels"]]))
    assert logits[0].argmax() == HELMET
    assert logits[1].argmax() in (MISSILE, PROJECTILE)


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (640, 480), (1000, 7)])
def test_pictures_of_any_size(images: NanoImageEncoder, size: tuple[int, int]) -> None:
    inputs = images.prepare(Image.new("RGB", size, (200, 30, 40)))
    hidden_states = images(**{name: tensor[None] for name, tensor in inputs.items()})
    assert hidden_states.shape == (1, images.num_tokens, images.dim)
    assert torch.isfinite(hidden_states).all()


def test_a_batch_equals_its_pictures(images: NanoImageEncoder) -> None:
    inputs = [images.prepare(load_image(example(name))) for name in ("bright", "dark")]
    batch = images(**{name: torch.stack([each[name] for each in inputs]) for name in inputs[0]})
    for row, each in zip(batch, inputs):
        alone = images(**{name: tensor[None] for name, tensor in each.items()})[0]
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-4)


def test_a_batch_equals_its_clips(videos: NanoVideoEncoder) -> None:
    inputs = [videos.prepare(load_video(example("video"))), videos.prepare(clip(lambda index: pattern(index // 4)))]
    batch = videos(**{name: torch.stack([each[name] for each in inputs]) for name in inputs[0]})
    assert batch.shape == (2, videos.num_tokens, videos.dim)
    for row, each in zip(batch, inputs):
        alone = videos(**{name: tensor[None] for name, tensor in each.items()})[0]
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-4)


def test_tokens_have_blocks_of_their_own(images: NanoImageEncoder, videos: NanoVideoEncoder) -> None:
    picture = images.prepare(load_image(example("bright")))
    movie = videos.prepare(load_video(example("video")))
    for encoder, inputs, blocks in ((images, picture, IMAGE_BLOCKS), (videos, movie, VIDEO_BLOCKS)):
        tokens = encoder(**{name: tensor[None] for name, tensor in inputs.items()})[0]
        edges = np.cumsum([0, *blocks])
        for row, (start, stop) in enumerate(pairwise(edges)):
            assert torch.count_nonzero(tokens[row]) == torch.count_nonzero(tokens[row, start:stop]) > 0
            assert 0.0 < tokens[row].norm() < 2.5


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"nothing\.safetensors"):
        NanoImageEncoder.from_file(tmp_path / "nothing.safetensors")


def test_every_class_has_one_scene() -> None:
    listed = [index for spans in SCENE_CLASSES.values() for index in class_indices(spans)]
    assert len(listed) == len(set(listed)), "a class is in two scenes"
    assert all(0 <= index < 1000 for index in listed)
    assert (scene_matrix().sum(axis=1) == 1).all() and (scene_matrix().sum(axis=0) > 0).all()
    assert (scene_of_class() == SCENES.index("object")).mean() < 0.2, "too many classes say nothing about a scene"


def test_instruments_are_those_of_the_vocabulary() -> None:
    assert set(INSTRUMENT_CLASSES) <= set(INSTRUMENT_NAMES)
    assert (instrument_matrix().sum(axis=1) <= 1).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 200), st.floats(0.1, 0.8), st.floats(0.05, 0.2))
def test_energy_grows_with_brightness(seed: int, light: float, step: float) -> None:
    """Every other look the same, a brighter picture has more energy; the same pixels turned up as well."""
    looks = np.random.default_rng(seed).random(len(LOOKS)).astype(np.float32)
    darker, brighter = looks.copy(), looks.copy()
    darker[BRIGHTNESS], brighter[BRIGHTNESS] = light, light + step
    assert picture_energy(brighter) > picture_energy(darker)
    pixels = pattern(seed) * 0.8
    assert picture_energy(look((pixels * (light + step)).astype(np.uint8))) > picture_energy(
        look((pixels * light).astype(np.uint8))
    )


def test_a_bright_busy_photograph_has_more_energy_than_a_dark_calm_one() -> None:
    bright, dark = (float(picture_energy(look(np.asarray(load_image(example(name)))))) for name in ("bright", "dark"))
    assert bright > 0.65 and dark < 0.3


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 1000))
def test_looks_are_shares_and_do_not_depend_on_size(height: int, width: int, seed: int) -> None:
    looks = look(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    assert looks.shape == (len(LOOKS),) and looks.dtype == np.float32
    assert (looks >= 0).all() and (looks <= 1).all()
    small = pattern(seed, SIDE, SIDE)
    large = np.asarray(Image.fromarray(small).resize((3 * SIDE, 3 * SIDE), Image.Resampling.NEAREST))
    np.testing.assert_allclose(look(small), look(large), atol=1e-5)


def test_moves_tell_stillness_travel_and_cuts_apart() -> None:
    wide = pattern(3, 90, 400)
    still = clip(lambda index: wide[:, :160])
    panned = clip(lambda index: wide[:, 12 * index : 12 * index + 160])
    cut = clip(lambda index: pattern(index // 4))
    measured = {name: dict(zip(MOVES, moves(each.array, each.timestamps))) for name, each in
                {"still": still, "panned": panned, "cut": cut}.items()}  # fmt: skip
    assert max(measured["still"].values()) == 0.0
    assert measured["panned"]["pan"] > 0.3 and measured["panned"]["cuts"] == 0.0
    assert measured["cut"]["cuts"] == pytest.approx(3 / 3.75, abs=0.01)
    looks = look(wide)
    energies = [clip_energy(looks, moves(each.array, each.timestamps)) for each in (still, panned, cut)]
    assert energies[0] < energies[1] and energies[0] < energies[2]


def test_one_picture_does_not_move(videos: NanoVideoEncoder) -> None:
    single = clip(lambda index: pattern(1), count=1, seconds=0.04)
    inputs = videos.prepare(single)
    assert inputs["moves"].count_nonzero() == 0
    assert torch.isfinite(videos(**{name: tensor[None] for name, tensor in inputs.items()})).all()


def test_what_is_seen_is_told_in_words() -> None:
    logits, looks = np.zeros(1000, np.float32), np.full(len(LOOKS), 0.5, np.float32)
    logits[class_indices("579")] = 14.0  # a grand piano
    looks[BRIGHTNESS] = 0.2
    basis = np.zeros((1000, 64), np.float32)
    told = NanoImageEncoder.describe(image_tokens(logits, looks, basis))
    scene = SCENES[scene_of_class()[579]]
    assert told.startswith(f"scene: {scene}; instruments: piano; look: darkness; energy: ")
    lively = np.full(len(MOVES), 0.9, np.float32)
    clip = video_tokens(np.stack([logits] * 2), np.stack([looks] * 2), lively, basis)
    words = NanoVideoEncoder.describe(clip)
    assert f"scene: {scene}; instruments: piano; look: darkness, fast movement" in words
    assert words.rpartition("energy: ")[2] != told.rpartition("energy: ")[2]  # movement adds energy


def test_the_photographs_are_told_apart(images: NanoImageEncoder) -> None:
    told = []
    for name in ("bright", "dark"):
        prepared = {key: value[None] for key, value in images.prepare(load_image(example(name))).items()}
        told.append(images.describe(images(**prepared)[0].numpy()))
    assert told[0] != told[1] and all(words.startswith("scene: ") and "energy: " in words for words in told)
