# ruff: noqa: E501 (lists of phrases read best in a row)
"""Requests for music in the many ways people write them, what they ask for, and the reply that precedes the music."""

from __future__ import annotations

import csv
import io
import lzma
import re
from pathlib import Path

import numpy as np

from m2ugen.data.nano.language import fragments as parts
from m2ugen.data.nano.language.fragments import Fragment, maybe, pick
from m2ugen.errors import InputError
from m2ugen.score.attributes import Attributes
from m2ugen.score.lexicon import read_attributes, read_tempo
from m2ugen.score.wording import describe, with_article

DESCRIPTIONS_FILE = "musiccaps_train.csv.xz"
OPENINGS = (
    "", "", "", "make ", "create ", "generate ", "compose ", "write ", "please make ", "can you make ", "could you compose ",
    "I want ", "I'd like ", "give me ", "play me ", "I need ", "produce ", "please write me ", "let's hear ", "can I have ",
    "I am looking for ", "would you create ", "compose me ",
)  # fmt: skip
CLOSINGS = ("", "", "", ".", ".", "!", " please", ", please.", " thanks")
PICTURE_PROMPTS = (
    "make music for this {0}", "Make music for this {0}.", "Create a soundtrack for this {0}.", "what would this {0} sound like? play it",
    "Compose something that fits this {0}", "background music for this {0} please", "Generate music that matches the mood of the {0}.",
    "Write a piece inspired by this {0}.", "turn this {0} into music", "Give me a score for this {0}.", "music for this",
    "I need music to go with this {0}", "set this {0} to music", "add a soundtrack", "Play something that suits what you see.",
)  # fmt: skip
MEDIA_WORDS = {"image": ("picture", "image", "photo", "photograph"), "video": ("video", "clip", "film", "footage")}


def sample_prompt(rng: np.random.Generator, attributes: Attributes) -> tuple[str, Attributes, str]:
    """A request that ``attributes`` would satisfy: (prompt, what exactly it asks for, the reply).

    ``asked`` holds the true values of what the prompt states or implies ("fast" → the true tempo).
    """
    chosen = _choose(rng, attributes)
    style = rng.random()
    if style < 0.3:
        prompt = _keywords(rng, chosen)
    elif style < 0.85:
        prompt = _sentence(rng, chosen)
    else:
        prompt = _sentences(rng, chosen)
    prompt = re.sub(r"\s+", " ", prompt).strip()
    if maybe(rng, 0.35):
        prompt = _lower(prompt)
    elif maybe(rng, 0.5):
        prompt = prompt[0].upper() + prompt[1:]
    if maybe(rng, 0.1):
        prompt = parts.misspell(rng, prompt)
    asked = parts.merge(chosen)
    return prompt, asked, reply_for(rng, asked, exact_tempo=read_tempo(prompt) is not None)


def _lower(prompt: str) -> str:
    """Lower case, but names of keys keep their letters ("a minor" would mean something else)."""
    return "".join(p if re.fullmatch(r"[A-G][#b]? (?:flat |sharp )?(?:major|minor)", p) else p.lower()
                   for p in re.split(r"([A-G][#b]?(?: flat| sharp)? (?:major|minor))", prompt))  # fmt: skip


def _choose(rng: np.random.Generator, attributes: Attributes) -> list[Fragment]:
    """The fragments of one request: a few of all that could be said."""
    chosen: list[Fragment | None] = []
    few = rng.random()  # short requests are common
    chance = 0.25 if few < 0.4 else 0.5 if few < 0.85 else 0.8
    style = parts.hinted(rng, "genre", attributes) if attributes.genre and maybe(rng, chance + 0.2) else None
    if style is not None and attributes.genre and maybe(rng, 0.6):
        style = Fragment(attributes.genre, "genre", attributes.keep(["genre"]))
    chosen.append(style)
    if attributes.energy is not None and maybe(rng, chance):
        chosen.append(parts.hinted(rng, "mood", attributes))
    if attributes.tempo is not None and maybe(rng, chance) and (style is None or style.says.tempo is None):
        chosen.append(parts.tempo(rng, attributes))
    if attributes.mode is not None and maybe(rng, chance * 0.6):
        chosen.append(parts.key(rng, attributes))
    if attributes.metre is not None and maybe(rng, chance * (0.2 if attributes.metre == "4/4" else 0.8)):
        chosen.append(parts.metre(rng, attributes))
    chosen += _choose_players(rng, attributes, chance)
    if attributes.energy is not None and maybe(rng, 0.12):
        chosen.append(parts.hinted(rng, "scene", attributes))
    kept = [fragment for fragment in chosen if fragment is not None]
    if kept:
        return kept
    if attributes.genre:
        return [Fragment(attributes.genre, "genre", attributes.keep(["genre"]))]
    return [parts.tempo(rng, attributes)] if attributes.tempo else [Fragment("music", "genre", Attributes())]


def _choose_players(rng: np.random.Generator, attributes: Attributes, chance: float) -> list[Fragment | None]:
    chosen: list[Fragment | None] = []
    alone = len(attributes.instruments) == 1
    if attributes.instruments and maybe(rng, 0.7 if alone else 0.05 * (len(attributes.instruments) <= 3)):
        return [parts.only(rng, attributes)]
    if attributes.instruments and maybe(rng, chance + 0.15):
        ensemble = parts.hinted(rng, "ensemble", attributes) if maybe(rng, 0.25) else None
        chosen.append(ensemble or parts.players(rng, attributes))
    if attributes.lead is not None and attributes.lead != "drums" and maybe(rng, chance * 0.45):
        chosen.append(parts.lead(rng, attributes))
    if attributes.instruments and maybe(rng, chance * 0.4):
        chosen.append(parts.absent(rng, attributes))
    return chosen


def _of(chosen: list[Fragment], *places: str) -> list[str]:
    return [fragment.text for fragment in chosen if fragment.place in places]


def _shuffled(rng: np.random.Generator, items: list[str]) -> list[str]:
    return [items[i] for i in rng.permutation(len(items))]


def _keywords(rng: np.random.Generator, chosen: list[Fragment]) -> str:
    """All fragments as a list."""
    return pick(rng, (", ", ", ", ", ", "; ")).join(_shuffled(rng, [fragment.text for fragment in chosen]))


def _core(rng: np.random.Generator, chosen: list[Fragment]) -> str:
    """Adjectives, genre and noun; the noun may be missing after a genre that is one."""
    genre = _of(chosen, "genre")
    noun = "" if genre and genre[0].endswith(("song", "music", "ballad", "waltz", "march")) else pick(rng, parts.NOUNS)
    return " ".join([*_shuffled(rng, _of(chosen, "adjective")), *genre, noun]).strip()


def _sentence(rng: np.random.Generator, chosen: list[Fragment]) -> str:
    core = _core(rng, chosen)
    text = core if core.endswith("music") else with_article(core)
    opening = pick(rng, OPENINGS)
    if not opening and maybe(rng, 0.6):
        text = core
    tail = _of(chosen, "phrase")
    if players := _of(chosen, "player", "lead"):
        tail.append(f"{pick(rng, ('with', 'with', 'featuring', 'for', 'played by', 'using'))} {' and '.join(players)}")
    tail += [f"for {pick(rng, ('a ', '', ''))}{scene}" for scene in _of(chosen, "scene")]
    tail = _shuffled(rng, tail)
    for alone in _of(chosen, "only"):
        tail.insert(0, f"for {alone}" if maybe(rng, 0.5) else f", {alone}")
    tail += [
        f", {negation}" if negation.startswith("no ") or maybe(rng, 0.3) else negation
        for negation in _of(chosen, "negation")
    ]
    return re.sub(r" ,", ",", f"{opening}{' '.join([text, *tail])}{pick(rng, CLOSINGS)}")


def _sentences(rng: np.random.Generator, chosen: list[Fragment]) -> str:
    """A short first sentence and further wishes in sentences of their own."""
    first = f"{pick(rng, [o for o in OPENINGS if o])}{with_article(_core(rng, chosen))}."
    rest = [f"{pick(rng, ('It should be', 'Make it', 'I want it'))} {text}." for text in _of(chosen, "phrase")]
    rest += [
        f"{pick(rng, ('Use', 'I want to hear', 'Instruments:', 'Include'))} {text}."
        for text in _of(chosen, "player", "only")
    ]
    rest += [f"{pick(rng, ('There should be', 'I want'))} {text}." for text in _of(chosen, "lead")]
    rest += [f"{text[0].upper()}{text[1:]}, please." for text in _of(chosen, "negation")]
    rest += [f"{pick(rng, ('It is for', 'This is for'))} {text}." for text in _of(chosen, "scene")]
    return " ".join([first, *_shuffled(rng, rest)])


def reply_for(rng: np.random.Generator, attributes: Attributes, exact_tempo: bool | None = None) -> str:
    """One short sentence that names ``attributes``: what the listener is going to hear."""
    if exact_tempo is None:
        exact_tempo = maybe(rng, 0.3)
    return f"Here is {describe(attributes, 'piece', exact_tempo)}."


def prompt_from_description(rng: np.random.Generator, text: str) -> tuple[str, Attributes, str]:
    """A person's own description of music as a prompt, what of it is understood, and the reply."""
    sentences = [s.strip() for s in re.split(r"(?<=[.!?])\s+", text) if s.strip()]
    if len(sentences) > 2 and maybe(rng, 0.6):  # people write shorter requests than captions
        sentences = parts.subset(rng, sentences, 1)[:3]
    prompt = " ".join(sentences)
    asked = read_attributes(prompt)
    return prompt, asked, reply_for(rng, asked, exact_tempo=read_tempo(prompt) is not None)


def read_descriptions(corpora: Path) -> list[str]:
    """People's descriptions of music in the corpora folder: MusicCaps' captions and aspect lists (CC BY-SA).

    Texts of which the lexicon understands nothing are left out. Raises InputError if the file is not there.
    """
    path = corpora / DESCRIPTIONS_FILE
    if not path.is_file():
        raise InputError(f"{DESCRIPTIONS_FILE} is not in {corpora}; give the folder of the text corpora")
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(io.StringIO(file.read())))
    texts = []
    for row in rows:
        aspects = re.findall(r"['\"]([^'\"]+)['\"]", row.get("aspect_list") or "")
        texts += [row.get("caption") or "", ", ".join(aspects)]
    return [text for text in texts if read_attributes(text) != Attributes()]


def sample_picture_prompt(rng: np.random.Generator, attributes: Attributes, media: str) -> tuple[str, str]:
    """A request for music to an attached ``image`` or ``video``, and the reply that names ``attributes``."""
    prompt = pick(rng, PICTURE_PROMPTS).format(pick(rng, MEDIA_WORDS[media]))
    return prompt, reply_for(rng, attributes, exact_tempo=False)
