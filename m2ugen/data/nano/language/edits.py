# ruff: noqa: E501 (lists of phrases read best in a row)
"""Edit instructions with the canonical phrase that the reply begins with, and what the edited music is like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m2ugen.data.nano.language.fragments import instrument_name, maybe, misspell, pick
from m2ugen.edit.command import EFFECTS, EditCommand
from m2ugen.edit.targets import edited_attributes
from m2ugen.score.attributes import GENRES, INSTRUMENTS, MODES, TONICS, Attributes
from m2ugen.score.lexicon_words import GENRE_WORDS, MOOD_WORDS
from m2ugen.score.wording import join, with_article

_ADD = (
    "add {0}",
    "Add {0} to this.",
    "put in {0}",
    "can you add {0}?",
    "please add {0}",
    "I want {0} in it",
    "include {0}",
    "add {0} to the track",
    "bring in {0}",
    "layer {0} on top",
    "could you add {0} to this song please",
)
_REMOVE = (
    "remove {0}",
    "Remove {0} from this.",
    "take out {0}",
    "get rid of {0}",
    "no {1}",
    "without {1} please",
    "delete {0}",
    "mute {0}",
    "can you take away {0}",
    "drop {0}",
    "same but without {0}",
)
_SOLO = (
    "only {1}",
    "keep only {0}",
    "isolate {0}",
    "just {0} please",
    "solo {0}",
    "I only want to hear {0}",
    "remove everything except {0}",
)
_SWAP = (
    "replace {0} with {1}",
    "swap {0} for {1}",
    "change {0} to {1}",
    "play it with {1} instead of {0}",
    "exchange {0} for {1}",
    "use {1} instead of {0}",
    "substitute {1} for {0}",
    "turn {0} into {1}",
)
_LEAD = (
    "let {0} play the melody",
    "give the melody to {0}",
    "the melody should be played by {0}",
    "I want {0} to play the tune",
    "play the melody on {0}",
)
_SLOWER = {
    80: (
        "make it slower",
        "slow it down",
        "now slower",
        "reduce the tempo",
        "slower please",
        "play it more slowly",
        "decrease the tempo",
    ),
    90: ("a bit slower", "make it slightly slower", "slow it down a little"),
    65: ("much slower", "make it a lot slower"),
    50: ("half speed", "play it at half the speed", "half as fast"),
}
_FASTER = {
    125: (
        "make it faster",
        "speed it up",
        "faster please",
        "increase the tempo",
        "quicker",
        "play it faster",
        "can you speed this up",
    ),
    110: ("a bit faster", "make it slightly faster", "speed it up a little"),
    135: ("much faster", "make it a lot faster"),
    200: ("double speed", "twice as fast"),
}
_STYLE = (
    "make it {0}",
    "turn it into {0}",
    "change the style to {0}",
    "as a {0} song",
    "make this sound like {0}",
    "convert it to {0}",
    "play it in a {0} style",
    "I want a {0} version of this",
)
_MOOD = (
    "make it {0}",
    "make it more {0}",
    "it should sound {0}",
    "more {0} please",
    "I want it to feel {0}",
    "give it a {0} mood",
    "turn this into something {0}",
)
_MODE = (
    "make it {0}",
    "change it to {0}",
    "put it in a {0} key",
    "in {0} please",
    "turn it to {0}",
    "use a {0} key instead",
)
_MORE_ENERGY = ("more energy", "give it more energy", "raise the energy")
_LESS_ENERGY = ("less energy", "lower the energy", "tone it down")
_EFFECT_TEXTS = {
    "reverb": (
        "add reverb",
        "give it some reverb",
        "make it sound like in a cathedral",
        "add a hall reverb",
        "more reverb",
    ),
    "echo": ("add an echo", "add echo", "apply a delay effect", "put some delay on it"),
    "low-pass": (
        "make it muffled",
        "make it sound muffled",
        "apply a low-pass filter",
        "as if it played next door",
        "underwater effect",
    ),
    "high-pass": ("make it thin and tinny", "apply a high-pass filter", "cut the lows"),
    "telephone": ("make it sound like a telephone", "telephone effect", "like an old radio", "as if over the phone"),
    "distortion": ("apply distortion", "distort it", "add some distortion"),
    "reverse": ("reverse it", "play it backwards", "reverse the audio"),
}
_INTERVALS = {
    1: "a semitone",
    2: "two semitones",
    3: "three semitones",
    4: "4 semitones",
    5: "5 semitones",
    7: "a fifth",
    12: "an octave",
}
_GOOD_MOODS = ("happy", "sad", "dark", "calm", "energetic", "epic", "tense", "dreamy", "romantic", "relaxing", "cheerful", "melancholic", "mysterious",
               "peaceful", "dramatic", "playful", "aggressive", "joyful", "gentle", "exciting", "gloomy", "triumphant")  # fmt: skip
Sampled = tuple[str, EditCommand]


def sample_edit(rng: np.random.Generator, attributes: Attributes) -> tuple[str, str, Attributes]:
    """An instruction to edit music with ``attributes``: (instruction, canonical phrase, attributes afterwards)."""
    families: tuple[tuple[Callable[[np.random.Generator, Attributes], Sampled | None], float], ...] = (
        (_sample_add, 3.0), (_sample_remove, 2.5), (_sample_solo, 1.0), (_sample_swap, 2.0), (_sample_lead, 0.7), (_sample_tempo, 2.5),
        (_sample_pitch, 2.0), (_sample_style, 2.0), (_sample_mode, 1.0), (_sample_mood, 2.0), (_sample_length, 1.0), (_sample_effect, 1.5),
        (_sample_volume, 0.8),
    )  # fmt: skip
    shares = np.array([share for _, share in families])
    while True:  # what a family cannot do with this piece (remove from a solo) is drawn again
        sampled = families[int(rng.choice(len(families), p=shares / shares.sum()))][0](rng, attributes)
        if sampled is not None:
            break
    text, command = sampled
    if maybe(rng, 0.3):
        text = text[0].upper() + text[1:]
    if maybe(rng, 0.06):
        text = misspell(rng, text)
    return text, command.phrase(), edited_attributes(attributes, command)


def word_edit(rng: np.random.Generator, command: EditCommand) -> str:
    """A request for ``command``: add, remove, swap, lead, genre, mode or energy."""
    first, second = (*command.targets, "", "")[:2]
    match command.operation:
        case "add":
            return pick(rng, _ADD[:7]).rstrip(".?").format(join([_some(name) for name in command.targets]))
        case "remove":
            return pick(rng, _REMOVE[:4]).rstrip(".").format(_the(first), first)
        case "swap":
            return pick(rng, _SWAP).format(_the(first), _some(second))
        case "lead":
            return pick(rng, _LEAD).format(_the(first))
        case "energy":
            return pick(rng, _MORE_ENERGY if (command.amount or 0) > 0 else _LESS_ENERGY)
        case _:
            return pick(rng, _STYLE[:4] if command.operation == "genre" else _MODE).format(first)


def _the(name: str) -> str:
    return f"the {name}"


def _some(name: str) -> str:
    return (
        name if name.endswith("s") or name in ("brass", "percussion") or name.startswith("a ") else with_article(name)
    )


def _sample_add(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    families = {i.family for i in INSTRUMENTS if i.name in attributes.instruments}
    new = [i.name for i in INSTRUMENTS if i.family not in families]
    if not new:
        return None
    if "drums" in new and maybe(rng, 0.35):
        names = ["drums"]
    else:
        names = [pick(rng, new)]
        if maybe(rng, 0.15) and len(new) > 1:
            names.append(pick(rng, [n for n in new if n != names[0]]))
    said = join([_some(instrument_name(rng, n, 0.2)) for n in names])
    return pick(rng, _ADD).format(said), EditCommand("add", tuple(names))


def _sample_remove(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    if len(attributes.instruments) < 2:
        return None
    name = "drums" if "drums" in attributes.instruments and maybe(rng, 0.5) else pick(rng, attributes.instruments)
    word = instrument_name(rng, name, 0.25).removeprefix("a ")
    return pick(rng, _REMOVE).format(_the(word), word), EditCommand("remove", (name,))


def _sample_solo(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    if len(attributes.instruments) < 2:
        return None
    name = pick(rng, attributes.instruments)
    return pick(rng, _SOLO).format(_the(name), name), EditCommand("solo", (name,))


def _sample_swap(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    old = [n for n in attributes.instruments if n != "drums"]
    if not old:
        return None
    gone = pick(rng, old)
    family = next(i.family for i in INSTRUMENTS if i.name == gone)
    new = [
        i.name
        for i in INSTRUMENTS
        if i.name not in attributes.instruments and i.name != "drums" and (i.family == "bass") == (family == "bass")
    ]
    name = pick(rng, new)
    text = pick(rng, _SWAP).format(_the(instrument_name(rng, gone, 0.2)), _some(instrument_name(rng, name, 0.0)))
    return text, EditCommand("swap", (gone, name))


def _sample_lead(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    name = pick(rng, [i.name for i in INSTRUMENTS if i.family not in ("bass", "drums") and i.name != attributes.lead])
    return pick(rng, _LEAD).format(_the(name)), EditCommand("lead", (name,))


def _sample_tempo(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    way = rng.random()
    if way < 0.55:
        table = _SLOWER if maybe(rng, 0.5) else _FASTER
        weights = np.array([5.0, 2.0, 1.0, 1.0])
        percent = list(table)[int(rng.choice(4, p=weights / weights.sum()))]
        return pick(rng, table[percent]), EditCommand("tempo", (), float(percent))
    if way < 0.8:
        bpm = float(rng.integers(50, 190))
        text = pick(
            rng,
            (
                "set the tempo to {0} bpm",
                "make it {0} bpm",
                "change the tempo to {0}",
                "{0} bpm please",
                "play it at {0} bpm",
            ),
        )
        return text.format(round(bpm)), EditCommand("bpm", (), bpm)
    change = int(rng.choice([5, 10, 15, 20, 25, 30, 40, 50]))
    slower = maybe(rng, 0.5)
    text = pick(rng, ("slow it down by {0}%", "{0} percent slower", "reduce the tempo by {0} %") if slower else
                ("speed it up by {0}%", "{0} percent faster", "increase the tempo by {0} %"))  # fmt: skip
    return text.format(change), EditCommand("tempo", (), 100.0 - change if slower else 100.0 + change)


def _sample_pitch(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    if maybe(rng, 0.45):
        semitones = pick(rng, list(_INTERVALS))
        up = maybe(rng, 0.5)
        text = pick(rng, ("transpose it {0} by {1}", "shift it {0} {1}", "move it {0} by {1}", "pitch it {0} {1}"))
        return text.format("up" if up else "down", _INTERVALS[semitones]), EditCommand(
            "transpose", (), float(semitones if up else -semitones)
        )
    key = f"{pick(rng, TONICS)} {attributes.mode or pick(rng, MODES)}"
    text = pick(
        rng,
        ("transpose it to {0}", "change the key to {0}", "play it in {0}", "in {0} please", "to {0}", "move it to {0}"),
    )
    return text.format(key), EditCommand("key", (key,))


def _sample_style(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    genre = pick(rng, [g for g in GENRES if g != attributes.genre])
    if maybe(rng, 0.7):
        word = genre
    else:
        good = [w for w, h in GENRE_WORDS.items() if h.genre == genre and not w.endswith(("song", "music", "y", "ful"))]
        word = pick(rng, good)
    return pick(rng, _STYLE).format(word), EditCommand("genre", (genre,))


def _sample_mode(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    mode = "minor" if attributes.mode == "major" else "major"
    return pick(rng, _MODE).format(mode), EditCommand("mode", (mode,))


def _sample_mood(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    if maybe(rng, 0.2):
        more = maybe(rng, 0.5)
        text = pick(rng, _MORE_ENERGY if more else _LESS_ENERGY)
        return text, EditCommand("energy", (), 1.0 if more else -1.0)
    word = pick(rng, _GOOD_MOODS)
    assert word in MOOD_WORDS
    return pick(rng, _MOOD).format(word), EditCommand("mood", (word,))


def _sample_length(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    if maybe(rng, 0.3):
        times = int(rng.integers(2, 5))
        text = pick(rng, ("loop it {0} times", "repeat it {0} times"))
        return (
            ("loop it twice", EditCommand("loop", (), 2.0))
            if times == 2
            else (text.format(times), EditCommand("loop", (), float(times)))
        )
    seconds = int(rng.choice([10, 15, 20, 30, 40, 45, 60, 90]))
    text = pick(
        rng,
        (
            "make it {0} seconds",
            "make it {0} seconds long",
            "change the length to {0} seconds",
            "cut it to {0} seconds",
            "extend it to {0} s",
        ),
    )
    return text.format(seconds), EditCommand("length", (), float(seconds))


def _sample_effect(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    name = pick(rng, EFFECTS)
    return pick(rng, _EFFECT_TEXTS[name]), EditCommand("effect", (name,))


def _sample_volume(rng: np.random.Generator, attributes: Attributes) -> Sampled | None:
    if maybe(rng, 0.5):
        way = pick(rng, ("in", "out"))
        if maybe(rng, 0.5):
            seconds = int(rng.integers(2, 11))
            return f"fade {way} over {seconds} seconds", EditCommand(f"fade {way}", (), float(seconds))
        return pick(rng, ("fade {0}", "add a fade {0}", "let it fade {0}")).format(way), EditCommand(
            f"fade {way}", (), 3.0
        )
    louder = maybe(rng, 0.5)
    text = pick(
        rng,
        ("make it louder", "louder please", "turn it up")
        if louder
        else ("make it quieter", "quieter please", "turn it down"),
    )
    return text, EditCommand("volume", (), 6.0 if louder else -6.0)
