"""The pieces that texts about music are made of: each says some attributes and knows which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from m2ugen.score import lexicon_words as words
from m2ugen.score.attributes import INSTRUMENT_NAMES, Attributes
from m2ugen.score.lexicon import excluded_by, tokenize
from m2ugen.score.lexicon_words import Hint
from m2ugen.score.wording import join, key_name, tempo_class

T = TypeVar("T")
NOUNS = ("song", "track", "piece", "tune", "piece of music", "music", "instrumental")
TEMPO_ADJECTIVES = {
    "very slow": ("very slow", "really slow", "extremely slow", "largo"),
    "slow": ("slow", "slow", "slow paced", "unhurried", "adagio", "slow tempo"),
    "medium": ("medium tempo", "mid-tempo", "moderate tempo", "medium paced", "moderate", "andante"),
    "fast": ("fast", "fast", "uptempo", "quick", "brisk", "fast-paced", "allegro", "fast tempo"),
    "very fast": ("very fast", "really fast", "super fast", "presto", "extremely fast"),
}
PLAIN_NAMES: dict[str, tuple[str, ...]] = {  # other good names for an instrument; lexicon_words reads many more
    "piano": ("grand piano", "acoustic piano"),
    "electric piano": ("rhodes", "keyboard", "e-piano", "keys"),
    "vibraphone": ("vibes", "marimba", "xylophone", "glockenspiel", "bells"),
    "organ": ("hammond organ", "church organ"),
    "acoustic guitar": ("classical guitar", "nylon guitar", "guitar"),
    "electric guitar": ("e-guitar", "clean guitar", "guitar"),
    "distorted guitar": ("distorted electric guitar", "overdriven guitar", "heavy guitar", "guitar"),
    "acoustic bass": ("upright bass", "double bass", "bass", "walking bass"),
    "electric bass": ("bass guitar", "bass", "bass", "e-bass", "bassline"),
    "synth bass": ("bass", "synthesizer bass"),
    "violin": ("fiddle",),
    "strings": ("string section", "string ensemble", "orchestral strings"),
    "brass": ("brass section", "horn section"),
    "horn": ("french horn",),
    "saxophone": ("sax", "tenor sax", "alto sax"),
    "choir": ("chorus",),
    "flute": ("flutes", "pan flute"),
    "synth lead": ("synth", "lead synth", "synthesizer"),
    "synth pad": ("pads", "warm pad", "synth pads"),
    "drums": ("drums", "drum kit", "percussion", "beats", "a drum beat", "drum set"),
}
ODD_WORDS = frozenset(
    ["ticking", "airy", "balanced", "motionless", "placid", "barely", "there", "loud", "party", "glad", "minuet"]
)


@dataclass(frozen=True)
class Fragment:
    """A piece of text, the ``place`` where it can stand, and the attributes that it states."""

    text: str
    place: str  # adjective, genre, phrase, player, lead, negation, only, scene
    says: Attributes


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of ``items``, evenly."""
    return items[int(rng.integers(len(items)))]


def maybe(rng: np.random.Generator, chance: float) -> bool:
    """True with probability ``chance``."""
    return bool(rng.random() < chance)


def subset(rng: np.random.Generator, items: Sequence[T], least: int = 1) -> list[T]:
    """A random part of ``items`` in their order, at least ``least`` of them (or all)."""
    count = int(rng.integers(min(least, len(items)), len(items) + 1))
    return [items[i] for i in sorted(rng.permutation(len(items))[:count].tolist())]


def fits(hint: Hint, attributes: Attributes) -> bool:
    """Whether everything that the hint says holds for ``attributes`` (energy: within one step, tempo: 12 %)."""
    if hint.energy is not None and (attributes.energy is None or abs(hint.energy - attributes.energy) > 1):
        return False
    if hint.energy is not None and attributes.energy is not None and (hint.energy - 2) * (attributes.energy - 2) < 0:
        return False
    if hint.tempo is not None and (attributes.tempo is None or abs(np.log(hint.tempo / attributes.tempo)) > 0.12):
        return False
    exact = all(
        getattr(hint, name) is None or getattr(hint, name) == getattr(attributes, name)
        for name in ("genre", "metre", "mode", "drums")
    )
    return exact and set(hint.instruments) <= set(attributes.instruments)


@lru_cache(maxsize=8)
def _grouped(kind: str) -> tuple[tuple[Hint, tuple[str, ...]], ...]:
    tables = {
        "genre": words.GENRE_WORDS,
        "mood": words.MOOD_WORDS,
        "scene": words.SCENE_WORDS,
        "ensemble": words.ENSEMBLE_WORDS,
    }
    groups: dict[Hint, list[str]] = {}
    for word, hint in tables[kind].items():
        if not set(word.split()) & ODD_WORDS:
            groups.setdefault(hint, []).append(word)
    return tuple((hint, tuple(members)) for hint, members in groups.items())


def hinted(rng: np.random.Generator, kind: str, attributes: Attributes) -> Fragment | None:
    """A genre, mood, scene or ensemble word that is true of ``attributes``, or None if there is none."""
    options = [(hint, members) for hint, members in _grouped(kind) if fits(hint, attributes)]
    if not options:
        return None
    hint, members = pick(rng, options)
    said = [name for name in ("genre", "metre", "mode", "energy", "tempo", "drums") if getattr(hint, name) is not None]
    says = replace(attributes.keep(said), instruments=hint.instruments)
    place = {"mood": "adjective", "genre": "genre", "ensemble": "player", "scene": "scene"}[kind]
    return Fragment(pick(rng, members), place, says)


def tempo(rng: np.random.Generator, attributes: Attributes, number: float = 0.35) -> Fragment:
    """The tempo as a number (with chance ``number``) or as a word."""
    assert attributes.tempo is not None
    says = attributes.keep(["tempo"])
    if maybe(rng, number):
        bpm = round(attributes.tempo)
        forms = (
            "at {0} bpm",
            "{0} bpm",
            "{0}bpm",
            "tempo {0}",
            "at {0} beats per minute",
            "with a tempo of {0} bpm",
            "{0} BPM",
        )
        return Fragment(pick(rng, forms).format(bpm), "phrase", replace(says, tempo=float(bpm)))
    return Fragment(pick(rng, TEMPO_ADJECTIVES[tempo_class(attributes.tempo)]), "adjective", says)


def key(rng: np.random.Generator, attributes: Attributes) -> Fragment:
    """The key, or only its mode."""
    assert attributes.mode is not None
    if attributes.tonic is None or maybe(rng, 0.5):
        forms = ("in a {0} key", "in {0}", "in a {0} mode", "{0} key", "in the {0} mode")
        return Fragment(pick(rng, forms).format(attributes.mode), "phrase", attributes.keep(["mode"]))
    name = key_name(attributes.tonic, attributes.mode)
    if maybe(rng, 0.2):
        name = name.replace("#", " sharp").replace("b ", " flat ")
    forms = ("in {0}", "in {0}", "in the key of {0}", "key: {0}", "key of {0}")
    return Fragment(pick(rng, forms).format(name), "phrase", attributes.keep(["mode", "tonic"]))


def metre(rng: np.random.Generator, attributes: Attributes) -> Fragment:
    """The metre as a fraction or by its dance."""
    assert attributes.metre is not None
    says = attributes.keep(["metre"])
    forms = ["in {0}", "in {0} time", "{0} time", "{0}"]
    if attributes.metre == "3/4" and maybe(rng, 0.4):
        return Fragment(pick(rng, ("in waltz time", "in triple meter", "like a waltz")), "phrase", says)
    return Fragment(pick(rng, forms).format(attributes.metre), "phrase", says)


def instrument_name(rng: np.random.Generator, name: str, synonyms: float = 0.3) -> str:
    """``name`` or, with chance ``synonyms``, another word for it (a family word such as "guitar" included)."""
    others = PLAIN_NAMES.get(name, ())
    return pick(rng, others) if others and maybe(rng, synonyms) else name


def stating(instruments: Sequence[str], **more: str) -> Attributes:
    """Attributes that state these instruments (and drums where they are among them)."""
    lead = more.get("lead")
    return Attributes(instruments=tuple(instruments), drums=True if "drums" in instruments else None, lead=lead)


def players(rng: np.random.Generator, attributes: Attributes) -> Fragment:
    """Some or all of the instruments."""
    chosen = subset(rng, attributes.instruments) if maybe(rng, 0.6) else list(attributes.instruments)
    chosen = [chosen[i] for i in rng.permutation(len(chosen))]
    return Fragment(join([instrument_name(rng, name) for name in chosen]), "player", stating(chosen))


def lead(rng: np.random.Generator, attributes: Attributes) -> Fragment:
    """Who plays the tune."""
    assert attributes.lead is not None
    name = instrument_name(rng, attributes.lead, 0.15)
    forms: tuple[str, ...] = (
        "{0} melody",
        "{0} melody",
        "{0} playing the melody",
        "{0} plays the tune",
        "the melody on {0}",
        "lead {0}",
    )
    if attributes.lead in ("synth lead",):
        forms = ("{0} melody", "{0} playing the melody")
    return Fragment(pick(rng, forms).format(name), "lead", stating([attributes.lead], lead=attributes.lead))


def absent(rng: np.random.Generator, attributes: Attributes) -> Fragment | None:
    """Something that does not play: "no drums", "without guitar"; None if all could."""
    playing = set(attributes.instruments)
    out: tuple[str, ...]
    names = [n for n in INSTRUMENT_NAMES if not set(excluded_by((n,))) & playing]
    families = [
        n for n, members in words.FAMILY_WORDS.items() if n in ("guitar", "bass") and not set(members) & playing
    ]
    if "drums" in names and maybe(rng, 0.6):
        word, out = pick(rng, ("drums", "drums", "percussion", "drum beat")), ("drums",)
    elif families and maybe(rng, 0.5):
        word = pick(rng, families)
        out = excluded_by(words.FAMILY_WORDS[word])
    elif names:
        name = pick(rng, names)
        word, out = instrument_name(rng, name, 0.0), excluded_by((name,))
    else:
        return None
    form = pick(
        rng, ("no {0}", "without {0}", "no {0}", "without any {0}", "{0}-free" if " " not in word else "no {0}")
    )
    return Fragment(form.format(word), "negation", Attributes(excluded=out, drums=False if "drums" in out else None))


def only(rng: np.random.Generator, attributes: Attributes) -> Fragment:
    """That nothing but the instruments plays: "solo piano", "only flute and harp"."""
    chosen = list(attributes.instruments)
    names = [instrument_name(rng, name, 0.15 if len(chosen) == 1 else 0.0) for name in chosen]
    one = len(chosen) == 1
    forms = (
        ("solo {0}", "only {0}", "just {0}", "{0} only", "unaccompanied {0}")
        if one
        else ("only {0}", "just {0}", "nothing but {0}")
    )
    rest = tuple(name for name in INSTRUMENT_NAMES if name not in chosen)
    tune = chosen[0] if one and chosen[0] != "drums" else None
    says = Attributes(instruments=tuple(chosen), excluded=rest, drums="drums" in chosen, lead=tune)
    return Fragment(pick(rng, forms).format(join(names)), "only", says)


def merge(fragments: Sequence[Fragment]) -> Attributes:
    """What the fragments state together."""
    values: dict[str, object] = {}
    for fragment in fragments:
        for name, value in vars(fragment.says).items():
            if name in ("instruments", "excluded"):
                values[name] = tuple(dict.fromkeys((*values.get(name, ()), *value)))  # type: ignore[misc]
            elif value is not None:
                values.setdefault(name, value)
    return Attributes(**values)  # type: ignore[arg-type]


def misspell(rng: np.random.Generator, text: str) -> str:
    """``text`` with one slip of the fingers inside a longer word (numbers and short words stay whole)."""
    parts = text.split(" ")
    long = [i for i, word in enumerate(parts) if len(word) >= 6 and word.isalpha()]
    if not long:
        return text
    index = pick(rng, long)
    word, position = parts[index], int(rng.integers(1, len(parts[index]) - 2))
    swapped = word[:position] + word[position + 1] + word[position] + word[position + 2 :]
    dropped = word[:position] + word[position + 1 :]
    candidate = pick(rng, (swapped, dropped))
    # A slip that makes another word of ours would change what is said.
    if tokenize(candidate) == tokenize(word):
        parts[index] = candidate
    return " ".join(parts)
