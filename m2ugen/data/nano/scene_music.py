# ruff: noqa: E501 (a scene's music reads best in a row)
"""The tables behind m2ugen.data.nano.scenes: music for each scene, and who plays a style."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SceneMusic:
    """Music for one scene.

    ``genres`` in order of preference (three); ``major`` is the leaning to major, ``energy`` the liveliness of what is
    shown (both 0 to 1); ``tempo`` in beats per minute at medium energy; ``leads`` may play the tune, ``band`` goes
    with it (the first ones first); ``phrase`` names the scene.
    """

    genres: tuple[str, str, str]
    major: float
    energy: float
    tempo: float
    leads: tuple[str, ...]
    band: tuple[str, ...]
    phrase: str


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(", ")))


def _music(genres: str, major: float, energy: float, tempo: float, leads: str, band: str, phrase: str) -> SceneMusic:
    first, second, third = genres.split()
    return SceneMusic((first, second, third), major, energy, tempo, _names(leads), _names(band), phrase)


_ROCK_BAND = "electric guitar, electric bass, organ"
_POP_BAND = "piano, electric bass, strings"
_ORCHESTRA = "strings, horn, harp"
SCENE_MUSIC: dict[str, SceneMusic] = {
    # Holiday sounds: marimba, steel drums, nylon strings.
    "beach": _music("latin pop country", 0.85, 0.6, 108, "vibraphone, flute", "acoustic guitar, electric bass", "a beach"),
    # Waves sway: flowing arpeggios, unhurried.
    "water": _music("classical ballad pop", 0.7, 0.35, 88, "flute, violin", "harp, strings", "boats on the water"),
    # Grandeur: horns and strings.
    "mountain": _music("classical ballad pop", 0.7, 0.5, 92, "horn, flute", "strings, harp", "mountains"),
    "forest": _music("classical country ballad", 0.6, 0.35, 88, "flute, clarinet", "acoustic guitar, strings", "a forest"),
    "garden": _music("classical pop ballad", 0.85, 0.45, 100, "flute, violin", "piano, harp", "flowers in a garden"),
    "farm": _music("country pop ballad", 0.85, 0.55, 108, "harmonica, violin", "acoustic guitar, banjo, acoustic bass", "the countryside"),
    # City life is funk and jazz since the films of the seventies.
    "city": _music("funk jazz pop", 0.5, 0.65, 108, "saxophone, trumpet", "electric piano, electric guitar, electric bass", "a city street"),
    "travel": _music("pop rock country", 0.75, 0.6, 116, "electric guitar, piano", "electric piano, electric bass", "a journey"),
    "racing": _music("rock electronic funk", 0.35, 0.95, 140, "distorted guitar, electric guitar", "electric guitar, electric bass", "fast machines"),
    "sport": _music("rock electronic pop", 0.55, 0.9, 132, "electric guitar, synth lead", _ROCK_BAND, "sport"),
    "band": _music("rock blues funk", 0.45, 0.85, 124, "electric guitar, distorted guitar", _ROCK_BAND, "a band on a stage"),
    "concert": _music("classical jazz ballad", 0.65, 0.4, 92, "violin, piano", "piano, strings, cello", "a concert"),
    "jazz": _music("jazz blues funk", 0.6, 0.55, 116, "saxophone, trumpet", "piano, acoustic bass", "a jazz instrument"),
    "folk": _music("country blues latin", 0.75, 0.5, 104, "harmonica, accordion", "acoustic guitar, banjo, acoustic bass", "folk music"),
    "tropical": _music("latin pop jazz", 0.8, 0.7, 112, "vibraphone, trumpet", "acoustic guitar, electric bass", "a tropical party"),
    "party": _music("electronic funk pop", 0.6, 0.85, 124, "synth lead, saxophone", "synth bass, electric piano", "a party"),
    # Restaurants play bossa nova and small jazz groups.
    "food": _music("jazz latin pop", 0.75, 0.5, 104, "accordion, clarinet", "piano, acoustic guitar, acoustic bass", "food"),
    "home": _music("pop ballad jazz", 0.7, 0.35, 92, "piano, electric piano", "acoustic guitar, electric bass", "a home"),
    "study": _music("jazz classical ballad", 0.6, 0.25, 84, "electric piano, clarinet", "electric piano, acoustic bass", "books and papers"),
    "children": _music("pop country classical", 0.95, 0.6, 116, "vibraphone, flute", "piano, acoustic guitar", "toys"),
    "pets": _music("pop country jazz", 0.9, 0.55, 112, "clarinet, piano", "acoustic guitar, piano, electric bass", "a pet"),
    "wild animals": _music("classical latin rock", 0.5, 0.6, 104, "horn, flute", "strings, vibraphone", "wild animals"),
    "birds": _music("classical pop ballad", 0.85, 0.45, 104, "flute, clarinet", "harp, strings", "birds"),
    # Small and quick: plucked and staccato.
    "insects": _music("classical jazz electronic", 0.6, 0.5, 116, "clarinet, violin", "vibraphone, strings", "insects"),
    "reptiles": _music("latin electronic blues", 0.3, 0.5, 100, "flute, clarinet", "vibraphone, acoustic bass", "reptiles"),
    # Fear is minor, slow and hollow: harpsichord, organ, choir.
    "eerie": _music("classical electronic rock", 0.05, 0.45, 84, "harpsichord, organ", "choir, strings", "something eerie"),
    "underwater": _music("electronic classical ballad", 0.5, 0.3, 84, "vibraphone, synth pad", "synth pad, harp", "life under water"),
    # Bells and glockenspiel.
    "snow": _music("classical pop ballad", 0.65, 0.4, 100, "vibraphone, flute", "harp, strings", "snow"),
    "space": _music("electronic classical rock", 0.35, 0.45, 96, "synth lead, horn", "synth pad, synth bass", "space"),
    "military": _music("rock classical electronic", 0.15, 0.8, 116, "trumpet, distorted guitar", "brass, strings", "the military"),
    "history": _music("classical ballad rock", 0.5, 0.45, 92, "horn, harpsichord", _ORCHESTRA, "an old building"),
    "sacred": _music("classical ballad jazz", 0.55, 0.25, 76, "organ, choir", "choir, organ", "a sacred place"),
    "technology": _music("electronic funk pop", 0.45, 0.6, 120, "synth lead, electric piano", "synth bass, synth pad", "technology"),
    "fashion": _music("electronic pop funk", 0.6, 0.65, 120, "synth lead, piano", "electric piano, synth bass", "fashion"),
    "object": _music("pop jazz electronic", 0.6, 0.5, 108, "piano, electric piano", _POP_BAND, "an object"),
}  # fmt: skip
# The style of an instrument that is in the picture.
SEEN_GENRES = {
    "electric guitar": "rock", "drums": "rock", "banjo": "country", "saxophone": "jazz", "trumpet": "jazz",
    "trombone": "jazz", "violin": "classical", "cello": "classical", "harp": "classical", "piano": "classical",
}  # fmt: skip
_STRINGS_WINDS = "violin, cello, strings, harp, flute, oboe, clarinet, horn"
_GUITARS = "acoustic guitar, electric guitar"
# Who plays a style; the first three are its usual band. A scene's other instruments stay away from it.
PALETTES: dict[str, tuple[str, ...]] = {
    genre: _names(names)
    for genre, names in {
        "rock": "electric guitar, electric bass, organ, distorted guitar, piano, synth lead, strings, brass, saxophone",
        "pop": f"piano, electric bass, {_GUITARS}, {_STRINGS_WINDS}, electric piano, vibraphone, synth lead, synth pad, "
        "synth bass, saxophone, trumpet, choir, accordion",
        "ballad": f"piano, strings, acoustic bass, {_GUITARS}, {_STRINGS_WINDS}, electric piano, electric bass, vibraphone, "
        "choir, synth pad, saxophone",
        "jazz": f"piano, acoustic bass, saxophone, {_GUITARS}, trumpet, trombone, clarinet, flute, electric piano, "
        "electric bass, vibraphone, accordion, violin, organ, brass",
        "latin": "acoustic guitar, electric bass, piano, trumpet, trombone, flute, saxophone, clarinet, acoustic bass, "
        "vibraphone, accordion, violin, brass",
        "blues": f"{_GUITARS}, electric bass, piano, organ, harmonica, saxophone, acoustic bass, trumpet",
        "country": f"{_GUITARS}, acoustic bass, banjo, harmonica, violin, piano, accordion, flute, electric bass",
        "funk": "electric guitar, electric bass, electric piano, saxophone, trumpet, trombone, brass, organ, synth bass, "
        "synth lead",
        "classical": f"piano, strings, cello, {_STRINGS_WINDS}, harpsichord, organ, choir, trumpet, brass, vibraphone, "
        "acoustic guitar, acoustic bass",
        "electronic": "synth lead, synth bass, synth pad, electric piano, piano, strings, choir, vibraphone, harp",
    }.items()
}
