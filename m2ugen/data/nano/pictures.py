"""Pictures and clips that were never taken: what nano's vision encoders would say of them, with music to match.

There is no corpus of pictures to learn from. The classifier's last layer says which classes resemble each other; from
it class logits are drawn as the network gives them for photographs: one class or a few of its neighbours ahead, some
that are also in view, and correlated noise. Looks and moves are drawn around what the scene suggests, now and then
far from it (drawings, test cards, night shots of anything). Ranges follow photographs outside this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from m2ugen.data.nano.scene_music import SCENE_MUSIC
from m2ugen.data.nano.scenes import sample_music
from m2ugen.model.encoders.appearance import LOOKS, MOVES, appearance_words, clip_energy, picture_energy
from m2ugen.model.encoders.nano_vision import CLASSIFIED_FRAMES, image_tokens, video_tokens
from m2ugen.model.encoders.scenes import SCENES, instrument_matrix, scene_matrix, scene_of_class
from m2ugen.score.attributes import Attributes
from m2ugen.weights import packaged_folder

MAIN_LOGIT = (3.0, 11.0)  # of the class that is most in view
NEIGHBOURS, ALSO_IN_VIEW = 10, 4  # classes like the main one that may follow it; most others in one picture
NOISE = (0.8, 1.45)  # standard deviation of all other logits
UNLIKELY = 0.25  # share of pictures whose looks have nothing to do with their scene
MUSICIANS = 0.12  # share of pictures with an instrument: users of a music program show those more than others
MUSICAL_SCENES = ("band", "concert", "jazz", "folk", "tropical")
# What a scene does to light, saturation, warmth and greenness, against the average photograph.
TINTS: dict[str, tuple[float, float, float, float]] = {
    "beach": (0.15, 0.1, 0.0, 0.0),
    "water": (0.05, 0.0, -0.1, 0.0),
    "mountain": (0.05, 0.0, -0.05, 0.05),
    "forest": (-0.05, 0.1, 0.05, 0.25),
    "garden": (0.0, 0.3, 0.15, 0.15),
    "farm": (0.05, 0.1, 0.1, 0.15),
    "racing": (0.0, 0.1, 0.0, 0.0),
    "band": (-0.12, 0.1, 0.05, -0.05),
    "party": (-0.08, 0.15, 0.1, -0.05),
    "food": (0.0, 0.2, 0.2, -0.05),
    "home": (0.05, -0.05, 0.1, 0.0),
    "children": (0.1, 0.15, 0.05, 0.0),
    "birds": (0.05, 0.0, 0.0, 0.1),
    "insects": (0.0, 0.2, 0.05, 0.25),
    "reptiles": (0.0, 0.1, 0.05, 0.15),
    "eerie": (-0.2, 0.0, 0.05, 0.0),
    "underwater": (-0.05, 0.1, -0.2, 0.05),
    "snow": (0.2, -0.2, -0.08, 0.0),
    "space": (-0.2, -0.1, -0.05, 0.0),
    "sacred": (-0.05, 0.0, 0.05, 0.0),
}


@dataclass(frozen=True)
class Classifier:
    """The last layer of the image network: its ``basis`` for embeddings and how alike its classes are.

    ``likeness`` [1000, 1000] holds cosines between the classes' weights, ``directions`` [1000, features] the weights
    at unit length, ``neighbours`` the classes most like each.
    """

    basis: np.ndarray
    directions: np.ndarray
    likeness: np.ndarray
    neighbours: np.ndarray


@cache
def classifier() -> Classifier:
    """Read from the packaged weights."""
    from safetensors import safe_open

    with safe_open(packaged_folder("nano") / "image_encoder.safetensors", "numpy") as file:
        weight = file.get_tensor("network.classifier.weight").astype(np.float32)
        basis = file.get_tensor("basis").astype(np.float32)
    weight -= weight.mean(axis=0)
    directions = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    likeness = directions @ directions.T
    return Classifier(basis, directions, likeness, np.argsort(-likeness, axis=1)[:, 1 : 1 + NEIGHBOURS])


def sample_logits(rng: np.random.Generator, main: int) -> np.ndarray:
    """Class logits [1000] of a picture that mostly shows class ``main``, as the network would give them."""
    network = classifier()
    height = rng.uniform(*MAIN_LOGIT)
    logits: np.ndarray = height * network.likeness[main]
    followers = rng.choice(network.neighbours[main], size=rng.integers(1, 5), replace=False)
    same_scene = np.flatnonzero(scene_of_class() == scene_of_class()[main])
    others = [
        *rng.choice(same_scene, size=rng.integers(0, 3)),
        *rng.integers(0, len(logits), rng.integers(1, ALSO_IN_VIEW)),
    ]
    for follower in followers:
        logits += max(0.0, height * rng.uniform(0.4, 1.0) - logits[follower]) * network.likeness[follower]
    for other in others:
        logits += max(0.0, rng.uniform(2.5, 0.75 * height + 1.5) - logits[other]) * network.likeness[other]
    noise = network.directions @ rng.standard_normal((network.directions.shape[1],), dtype=np.float32)
    skewed = np.maximum(noise, 0.0) ** 1.15 + np.minimum(noise, 0.0)  # a few wrong classes stand out
    return np.asarray(logits + rng.uniform(*NOISE) * skewed, dtype=np.float32)


def sample_looks(rng: np.random.Generator, scene: str) -> np.ndarray:
    """LOOKS of a picture of ``scene``, float32 [len(LOOKS)]."""
    if rng.random() < UNLIKELY:
        light, saturation, detail, contrast = rng.random(4)
        warmth, greenness = rng.uniform(0.1, 0.9, 2)
    else:
        tint = TINTS.get(scene, (0.0, 0.0, 0.0, 0.0))
        light, contrast = rng.normal(0.45 + tint[0], 0.14), rng.normal(0.55, 0.22)
        saturation, detail = rng.normal(0.5 + tint[1], 0.27), rng.normal(0.36, 0.15)
        warmth, greenness = rng.normal(0.55 + tint[2], 0.14), rng.normal(0.5 + tint[3], 0.12)
    light = float(np.clip(light, 0.02, 0.98))
    room = 4.0 * light * (1.0 - light)  # nothing contrasts in the pitch dark or the glare
    contrast = float(np.clip(contrast, 0.0, 1.0)) * min(1.0, 0.25 + room)
    saturation = float(np.clip(saturation, 0.0, 1.0)) * min(1.0, 0.2 + room)
    detail = float(np.clip(detail, 0.02, 1.0)) * min(1.0, 0.4 + contrast)
    tinted = min(1.0, 2.0 * saturation)  # a grey picture is neither warm nor green
    values = {
        "brightness": light,
        "contrast": contrast,
        "saturation": saturation,
        "warmth": 0.5 + (warmth - 0.5) * tinted,
        "greenness": 0.5 + (greenness - 0.5) * tinted,
        "edges": detail,
        "texture": 1.35 * detail + rng.normal(0.03, 0.05),
        "colourfulness": saturation * rng.uniform(0.5, 1.3),
        "hues": rng.beta(1.2, 3.0) * min(1.0, 8.0 * saturation),
        "shadows": (1.0 - light) ** 4 * rng.uniform(0.0, 2.0) * (0.3 + contrast),
        "highlights": light**3 * rng.uniform(0.0, 1.5) * (0.3 + contrast),
    }
    return np.clip([values[name] for name in LOOKS], 0.0, 1.0).astype(np.float32)


def sample_moves(rng: np.random.Generator, scene: str) -> np.ndarray:
    """MOVES of a clip of ``scene``, float32 [len(MOVES)]; lively scenes move more, but not always."""
    usual = SCENE_MUSIC[scene].energy if rng.random() > UNLIKELY else rng.random()
    pace = float(np.clip(rng.normal(usual, 0.25), 0.0, 1.0))  # how lively the clip is filmed and cut
    values = {
        "motion": rng.beta(1 + 4 * pace, 1 + 4 * (1 - pace)),
        "peaks": np.clip(0.8 * pace + rng.normal(0.0, 0.15), 0.0, 1.0),
        "pan": rng.random() ** (0.5 + 3 * (1 - pace)) if rng.random() < 0.6 else 0.0,
        "flicker": abs(rng.normal(0.0, 0.1 + 0.3 * pace)),
        "cuts": rng.random() ** (0.6 + 3 * (1 - pace)) if rng.random() < 0.3 + 0.6 * pace else 0.0,
    }
    return np.clip([values[name] for name in MOVES], 0.0, 1.0).astype(np.float32)


def sample_picture(rng: np.random.Generator) -> tuple[np.ndarray, Attributes, tuple[str, ...]]:
    """A picture: hidden states of NanoImageEncoder [tokens, dim], music for it, and phrases that say what it shows."""
    main = _sample_class(rng)
    scene = SCENES[scene_of_class()[main]]
    logits, looks = sample_logits(rng, main), sample_looks(rng, scene)
    music = sample_music(rng, *_in_view(logits), looks, float(picture_energy(looks)))
    return image_tokens(logits, looks, classifier().basis), music, _words(scene, looks, None)


def sample_video(rng: np.random.Generator) -> tuple[np.ndarray, Attributes, tuple[str, ...]]:
    """A clip of one to three shots: hidden states of NanoVideoEncoder [tokens, dim], music, and phrases."""
    main = _sample_class(rng)
    scene = SCENES[scene_of_class()[main]]
    moved, base = sample_moves(rng, scene), sample_looks(rng, scene)
    related = np.flatnonzero(scene_of_class() == scene_of_class()[main])
    shots = [main, *rng.choice(related, size=rng.integers(0, 3))]
    views = [sample_logits(rng, int(shot)) for shot in shots]
    logits = np.stack([views[i * len(views) // CLASSIFIED_FRAMES] for i in range(CLASSIFIED_FRAMES)])
    logits += rng.normal(0.0, 0.4, logits.shape).astype(np.float32)
    looks = np.clip(base + rng.normal(0.0, 0.04, (CLASSIFIED_FRAMES, len(LOOKS))), 0.0, 1.0).astype(np.float32)
    mean_look = looks.mean(axis=0)
    scenes, seen = (np.mean(views, axis=0) for views in zip(*map(_in_view, logits)))
    music = sample_music(rng, scenes, seen, mean_look, float(clip_energy(mean_look, moved)))
    return video_tokens(logits, looks, moved, classifier().basis), music, _words(scene, mean_look, moved)


def _sample_class(rng: np.random.Generator) -> int:
    """Scenes are equally frequent, whatever number of classes they have (118 kinds of dogs); instruments more so."""
    scene = str(rng.choice(MUSICAL_SCENES if rng.random() < MUSICIANS else SCENES))
    return int(rng.choice(np.flatnonzero(scene_of_class() == SCENES.index(scene))))


def _in_view(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of SCENES and of SEEN_INSTRUMENTS."""
    exponentials = np.exp(logits - logits.max())
    probabilities = exponentials / exponentials.sum()
    return probabilities @ scene_matrix(), probabilities @ instrument_matrix()


def _words(scene: str, looks: np.ndarray, moved: np.ndarray | None) -> tuple[str, ...]:
    """What a caption names: the scene, and the light, colours and movement where they are out of the ordinary."""
    return (SCENE_MUSIC[scene].phrase, *appearance_words(looks, moved))
