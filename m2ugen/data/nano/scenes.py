"""Which music suits which picture: scenes and looks to musical attributes.

There is no corpus of pictures with their music that nano may learn from, so the pairing is written down here, after
the habits of film and library music: place and subject choose style and instruments (brass and strings for castles,
marimba and guitar for beaches, electric guitars for racing); what is seen to be played is played; energy and tempo
follow brightness, colour, detail and motion, for these raise arousal; light and warmth lean to major, darkness and
cold to minor, which is the valence half of the same studies (see m2ugen.model.encoders.appearance).
"""

from __future__ import annotations

import numpy as np

from m2ugen.data.nano.scene_music import PALETTES, SCENE_MUSIC, SEEN_GENRES, SceneMusic
from m2ugen.model.encoders.appearance import LOOKS
from m2ugen.model.encoders.scenes import SCENES, SEEN_INSTRUMENTS
from m2ugen.score.attributes import ENERGIES, GENRES, Attributes

SCENE_SHARE = 0.2  # of the energy: what is shown; the rest is how it looks and moves
ENERGY_STRETCH = 1.25  # spreads pictures over all five levels of energy
TEMPO_OCTAVES = 0.8  # from the calmest to the liveliest picture of one scene
MIN_TEMPO, MAX_TEMPO = 54.0, 184.0
TEMPO_SPREAD, ENERGY_SPREAD = 0.05, 0.03  # people who score the same picture differ; relative, and absolute
GENRE_ODDS = (0.7, 0.2, 0.1)  # first, second, third choice of a scene
SEEN_ENOUGH = 0.3  # an instrument this probable is taken to be in the picture
LIGHT_ON_MODE, WARMTH_ON_MODE, MODE_SLOPE = 0.6, 0.3, 2.5
USUAL_BRIGHTNESS = 0.43  # of photographs
# Styles that cannot be quiet, or not loud, and what stands in for them.
WHEN_CALM = {"rock": "ballad", "pop": "ballad", "funk": "jazz", "country": "ballad"}
WHEN_LIVELY = {"ballad": "pop"}
CALM, LIVELY = 0.3, 0.62
WITHOUT_DRUMS = ("classical",)
_LOOK = {name: index for index, name in enumerate(LOOKS)}


def music_energy(visual_energy: float, scene: np.ndarray) -> float:
    """Energy in [0, 1] of music for a picture that looks like ``visual_energy`` and shows ``scene`` [len(SCENES)]."""
    shown = float(scene @ np.array([SCENE_MUSIC[name].energy for name in SCENES]))
    mixed = (1 - SCENE_SHARE) * visual_energy + SCENE_SHARE * shown
    return float(np.clip(0.5 + ENERGY_STRETCH * (mixed - 0.5), 0.0, 1.0))


def major_probability(scene: np.ndarray, looks: np.ndarray) -> float:
    """How probably music for this picture is in major, 0.05 to 0.95."""
    leaning = float(scene @ np.array([SCENE_MUSIC[name].major for name in SCENES]))
    leaning += LIGHT_ON_MODE * (looks[_LOOK["brightness"]] - USUAL_BRIGHTNESS)
    leaning += WARMTH_ON_MODE * (looks[_LOOK["warmth"]] - 0.5)
    return float(np.clip(0.5 + MODE_SLOPE * (leaning - 0.5), 0.05, 0.95))


def genre_probabilities(scene: np.ndarray, energy: float) -> np.ndarray:
    """Genres for ``scene`` probabilities at ``energy``: float64 [len(GENRES)], summing to one."""
    odds = np.zeros(len(GENRES))
    for share, name in zip(scene, SCENES):
        for choice, genre in zip(GENRE_ODDS, SCENE_MUSIC[name].genres):
            stand_in = WHEN_CALM if energy < CALM else WHEN_LIVELY if energy > LIVELY else {}
            odds[GENRES.index(stand_in.get(genre, genre))] += share * choice
    return odds / odds.sum()


def sample_music(
    rng: np.random.Generator, scene: np.ndarray, seen: np.ndarray, looks: np.ndarray, visual_energy: float
) -> Attributes:
    """Attributes of music for a picture or clip.

    ``scene`` are the probabilities of SCENES, ``seen`` those of SEEN_INSTRUMENTS, ``looks`` the picture's LOOKS.
    Metre and tonic stay open: no picture says them.
    """
    scene = scene / scene.sum()
    energy = float(np.clip(music_energy(visual_energy, scene) + rng.normal(0.0, ENERGY_SPREAD), 0.0, 1.0))
    music = SCENE_MUSIC[SCENES[int(scene.argmax())]]
    player = SEEN_INSTRUMENTS[int(seen.argmax())] if seen.max() >= SEEN_ENOUGH else None
    probabilities = genre_probabilities(scene, energy)
    if player in SEEN_GENRES:
        probabilities = 0.25 * probabilities
        probabilities[GENRES.index(SEEN_GENRES[player])] += 0.75
    genre = str(rng.choice(GENRES, p=probabilities))
    tempo = music.tempo * 2.0 ** (TEMPO_OCTAVES * (energy - 0.5)) * np.exp(rng.normal(0.0, TEMPO_SPREAD))
    drums = player == "drums" or (genre not in WITHOUT_DRUMS and energy > 0.2 + 0.2 * rng.random())
    size = 1 + int(energy > 0.35) + int(energy > 0.7)  # fuller bands for livelier pictures
    lead, band = _players(rng, music, genre, None if player == "drums" else player, size)
    return Attributes(
        tempo=float(np.clip(tempo, MIN_TEMPO, MAX_TEMPO)),
        mode="major" if rng.random() < major_probability(scene, looks) else "minor",
        genre=genre,
        energy=min(int(energy * len(ENERGIES)), len(ENERGIES) - 1),
        drums=drums,
        lead=lead,
        instruments=(*band, "drums") if drums else band,
    )


def _players(
    rng: np.random.Generator, music: SceneMusic, genre: str, player: str | None, size: int
) -> tuple[str, tuple[str, ...]]:
    """Who plays the tune, and all who play (``size`` and the lead): the scene's instruments that suit the genre.

    What the genre lacks is filled from its usual band. ``player`` was seen and leads in any style.
    """
    palette = PALETTES[genre]
    leads = [name for name in music.leads if name in palette] or [palette[0]]
    lead = player or (leads[0] if rng.random() < 0.7 else leads[-1])
    band = [name for name in (*music.band, *palette[:3]) if name in palette and name != lead]
    return lead, (lead, *tuple(dict.fromkeys(band))[:size])
