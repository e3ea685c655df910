"""Simulated pictures are like real ones, and the music that is written for them follows the rules."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from m2ugen.data.nano.pictures import sample_logits, sample_looks, sample_moves, sample_picture, sample_video
from m2ugen.data.nano.scene_music import PALETTES, SCENE_MUSIC
from m2ugen.data.nano.scenes import genre_probabilities, major_probability, music_energy, sample_music
from m2ugen.examples import example
from m2ugen.media.image import load_image
from m2ugen.media.video import load_video
from m2ugen.model.encoders.appearance import LOOKS, clip_energy, look, picture_energy
from m2ugen.model.encoders.nano_vision import NanoImageEncoder, NanoVideoEncoder
from m2ugen.model.encoders.scenes import SCENES, SEEN_INSTRUMENTS, scene_of_class
from m2ugen.score.attributes import GENRES, INSTRUMENT_NAMES
from m2ugen.weights import packaged_folder

WEIGHTS = packaged_folder("nano") / "image_encoder.safetensors"
NOTHING_SEEN = np.zeros(len(SEEN_INSTRUMENTS))


def one_scene(name: str) -> np.ndarray:
    return np.eye(len(SCENES))[SCENES.index(name)]


def real_pictures() -> list[np.ndarray]:
    frames = load_video(example("video"), num_frames=8).array
    return [np.asarray(load_image(example(name))) for name in ("bright", "dark")] + list(frames[::2])


def test_rules_are_complete() -> None:
    assert set(SCENE_MUSIC) == set(SCENES)
    assert set(PALETTES) == set(GENRES)
    players = {name for palette in PALETTES.values() for name in palette}
    for music in SCENE_MUSIC.values():
        assert set(music.genres) <= set(GENRES)
        players |= set(music.leads) | set(music.band)
    assert players <= set(INSTRUMENT_NAMES)


def test_energy_grows_with_what_is_seen_and_with_the_scene() -> None:
    energies = [music_energy(value, one_scene("object")) for value in np.linspace(0, 1, 9)]
    assert all(later >= earlier for earlier, later in pairwise(energies))
    assert music_energy(0.5, one_scene("racing")) > music_energy(0.5, one_scene("study"))


def test_darkness_leans_to_minor() -> None:
    looks = np.full(len(LOOKS), 0.5, dtype=np.float32)
    dark = looks.copy()
    dark[LOOKS.index("brightness")] = 0.05
    for name in SCENES:
        assert major_probability(one_scene(name), dark) <= major_probability(one_scene(name), looks)


def test_calm_pictures_get_no_rock() -> None:
    for name in SCENES:
        assert genre_probabilities(one_scene(name), 0.1)[GENRES.index("rock")] == 0
        assert genre_probabilities(one_scene(name), 0.5).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("scene", SCENES)
def test_music_for_every_scene_is_playable(scene: str) -> None:
    rng = np.random.default_rng(0)
    for energy in (0.0, 0.4, 0.7, 1.0):
        music = sample_music(rng, one_scene(scene), NOTHING_SEEN, sample_looks(rng, scene), energy)
        assert music.lead in music.instruments and len(set(music.instruments)) == len(music.instruments) >= 2
        assert music.drums == ("drums" in music.instruments)
        music.to_conditioning()


def test_an_instrument_in_the_picture_plays() -> None:
    rng = np.random.default_rng(0)
    for index, name in enumerate(SEEN_INSTRUMENTS):
        seen = NOTHING_SEEN.copy()
        seen[index] = 0.8
        music = sample_music(rng, one_scene("concert"), seen, sample_looks(rng, "concert"), 0.5)
        assert name in music.instruments
        assert name == "drums" or music.lead == name


def test_samples_are_reproducible_and_shaped_like_the_encoders() -> None:
    for sample, encoder in ((sample_picture, NanoImageEncoder), (sample_video, NanoVideoEncoder)):
        features, music, words = sample(np.random.default_rng(5))
        again, same_music, same_words = sample(np.random.default_rng(5))
        assert features.shape == (encoder.num_tokens, encoder.dim) and features.dtype == np.float32
        assert np.array_equal(features, again) and music == same_music and words == same_words
        assert words and all(isinstance(word, str) and word for word in words)


def test_energy_of_the_music_follows_the_picture() -> None:
    rng = np.random.default_rng(0)
    seen, wanted = [], []
    for index in range(120):
        scene = SCENES[index % len(SCENES)]
        looks, moved = sample_looks(rng, scene), sample_moves(rng, scene)
        energy = float(clip_energy(looks, moved) if index % 2 else picture_energy(looks))
        seen.append(energy)
        wanted.append(sample_music(rng, one_scene(scene), NOTHING_SEEN, looks, energy).energy)
    assert np.corrcoef(seen, wanted)[0, 1] > 0.85


def test_simulated_pictures_are_like_real_ones() -> None:
    """Real logits and looks lie within the ranges of the simulated; so do the lengths of the hidden states."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 1000, 300)
    logits = np.stack([sample_logits(rng, int(main)) for main in classes])
    looks = np.stack([sample_looks(rng, SCENES[scene_of_class()[main]]) for main in classes])
    encoder = NanoImageEncoder.from_file(WEIGHTS)
    pictures = real_pictures()
    inputs = [encoder.prepare(load_image(picture)) for picture in pictures]
    with torch.no_grad():
        real = encoder.network(torch.stack([each["pixels"] for each in inputs])).numpy()
    for measure in (np.std, np.max, lambda values: np.sort(values)[-5], lambda values: np.sort(values)[-50]):
        simulated = np.array([measure(row) for row in logits])
        for row in real:
            assert simulated.min() * 0.9 < measure(row) < simulated.max() * 1.1
    for picture in pictures:
        measured = look(picture)
        assert (measured >= looks.min(axis=0) - 0.1).all() and (measured <= looks.max(axis=0) + 0.1).all()
    tokens = encoder(**{name: torch.stack([each[name] for each in inputs]) for name in inputs[0]})
    simulated = np.stack([np.linalg.norm(sample_picture(rng)[0], axis=1) for _ in range(100)])
    lengths = tokens.norm(dim=2).numpy()
    assert (lengths.mean(axis=0) < simulated.mean(axis=0) * 1.6 + 0.1).all()
    assert (lengths.mean(axis=0) > simulated.mean(axis=0) * 0.6 - 0.2).all()


def test_the_simulated_class_is_recognised() -> None:
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 1000, 200)
    found = [int(sample_logits(rng, int(main)).argmax()) for main in classes]
    assert 0.4 < np.mean(np.array(found) == classes) < 0.95  # ImageNet classifiers are right in three of four cases
    assert np.mean(scene_of_class()[found] == scene_of_class()[classes]) > 0.65
