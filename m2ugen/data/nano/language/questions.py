# ruff: noqa: E501 (lists of phrases read best in a row)
"""Questions about music with short answers that can be checked, and the reading of such answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from m2ugen.data.nano.language.fragments import maybe, pick
from m2ugen.score.attributes import INSTRUMENTS, Attributes
from m2ugen.score.lexicon import find_phrases, read_attributes, read_instruments, read_key, read_tempo, tokenize
from m2ugen.score.lexicon_words import ENERGY_ADJECTIVES, FAMILY_WORDS
from m2ugen.score.wording import join, key_name, mood_words, tempo_class, with_article

_WALTZ, _BEATS = "is it a waltz?", "how many beats are in a bar?"  # whose answers have forms of their own
QUESTIONS: dict[str, tuple[str, ...]] = {
    "drums": ("Are there drums?", "Does it have drums?", "is there percussion", "Do you hear drums in this song?", "Is there a drum beat?",
              "are drums playing?", "are there any drums?", "drums?", "Does this track contain drums or not?", "is there any drumming in this?"),
    "mode": ("Is this in a major or a minor key?", "major or minor?", "What mode is the song in?", "Is the music in major or minor?",
             "is it minor or major", "Does this sound major or minor?", "Is it major or minor?", "is that major?"),
    "key": ("What key is this in?", "what's the key?", "Which key is the song in?", "In what key is this piece?", "tell me the key", "key?", "in which key is it?", "What is the key?"),
    "tempo": ("What is the tempo in bpm?", "How many bpm?", "how many beats per minute does this have", "Estimate the tempo in beats per minute.",
              "What's the bpm of this track?", "bpm?", "how many bpm is it?", "what bpm is that?"),
    "tempo_word": ("Is this fast or slow?", "How fast is the music?", "What is the tempo?", "slow, medium or fast?", "Describe the tempo.", "How fast is it?", "how fast is this?", "Is it fast?", "what's the tempo?", "how slow is it?",
                   "is the tempo slow or fast"),
    "metre": ("What is the time signature?", "what meter is this in?", "Is it in 3/4 or 4/4?", "time signature?", "Which metre does it have?", _WALTZ, _BEATS, "What is the metre?"),
    "instruments": ("Which instruments play?", "What instruments are used?", "what instruments do you hear", "List the instruments.",
                    "Name the instruments in this song.", "Who is playing?", "instruments?", "what do you hear?", "which instruments are in it?"),
    "genre": ("What genre is this?", "which style of music is this", "What kind of music is it?", "Name the genre.", "genre?",
              "What style is this song in?", "What is the genre?", "what style is it?"),
    "energy": ("How energetic is this?", "what is the energy level?", "Is it calm or energetic?", "How intense is the music?", "energy?", "how energetic is it?", "is it calm?"),
    "mood": ("What is the mood?", "How does this music feel?", "what mood does this have", "Is it happy or sad?", "Which emotion does it convey?", "how does it feel?", "Is it sad?", "is it a happy piece?"),
    "lead": ("Which instrument plays the melody?", "What is the lead instrument?", "who plays the tune?", "Which instrument leads?", "what plays the melody?"),
    "duration": ("How long is this?", "How many seconds does it last?", "what is the length of the recording"),
    "has_instrument": ("Is there {0} in this song?", "Do you hear {0}?", "does it have {0}", "Can you hear {0}?", "is {1} playing?",
                       "Does the song feature {0}?"),
}  # fmt: skip
FOLLOW_UPS: dict[str, tuple[str, ...]] = {  # the same, after another question
    "drums": ("and drums?", "does it have drums too?"), "mode": ("and is it major or minor?", "major or minor then?"),
    "key": ("and the key?", "and in which key?"), "tempo": ("and how many bpm?", "and the bpm?"),
    "tempo_word": ("and the tempo?", "and is it fast or slow?"), "metre": ("and the time signature?", "and the metre?"),
    "instruments": ("and the instruments?", "and which instruments play?"), "genre": ("and the genre?", "and what style is it?"),
    "energy": ("and how energetic is it?", "and the energy?"), "mood": ("and the mood?", "and how does it feel?"),
    "lead": ("and who plays the melody?", "and the lead instrument?"),
}  # fmt: skip
_NEEDS = {"tempo_word": "tempo", "key": "tonic", "has_instrument": "instruments"}
_SHARES = {
    "drums": 3.0,
    "metre": 4.0,
    "tempo_word": 1.5,
    "mode": 2.0,
    "has_instrument": 3.0,
    "instruments": 5.0,
    "genre": 2.0,
    "tempo": 1.5,
    "duration": 0.3,
}


def sample_question(
    rng: np.random.Generator, attributes: Attributes, extras: Mapping[str, Any] | None = None, kind: str | None = None
) -> tuple[str, str]:
    """A question about music with these attributes and its answer.

    ``extras`` may hold ``duration`` in seconds. ``kind`` (a key of QUESTIONS) fixes what is asked; otherwise it is
    drawn among what the attributes can answer. Questions about a single instrument are negative half of the time.
    """
    extras = extras or {}
    if kind is None:
        kinds = [k for k in QUESTIONS if _answerable(k, attributes, extras)]
        shares = np.array([_SHARES.get(k, 1.0) for k in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
    if kind == "has_instrument":
        return _instrument_question(rng, attributes)
    question = pick(rng, QUESTIONS[kind])
    if question == _WALTZ:
        return question, f"{'Yes' if attributes.metre == '3/4' else 'No'}, it is in {attributes.metre}."
    if question == _BEATS:
        return question, f"{(attributes.metre or '').partition('/')[0]} beats, it is in {attributes.metre}."
    return question, _answer(rng, kind, attributes, extras)


def sample_follow_up(
    rng: np.random.Generator, attributes: Attributes, extras: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """A question that leans on one before it, in half of the cases, or one that could stand alone; and its answer."""
    kinds = [kind for kind in FOLLOW_UPS if _answerable(kind, attributes, extras or {})]
    if not kinds or maybe(rng, 0.5):
        return sample_question(rng, attributes, extras)
    kind = pick(rng, kinds)
    return pick(rng, FOLLOW_UPS[kind]), _answer(rng, kind, attributes, extras or {})


def _answerable(kind: str, attributes: Attributes, extras: Mapping[str, Any]) -> bool:
    if kind == "duration":
        return "duration" in extras
    if kind == "mood":
        return attributes.mode is not None and attributes.energy is not None
    if kind == "key" and attributes.mode is None:
        return False
    return getattr(attributes, _NEEDS.get(kind, kind)) not in (None, ())


def _answer(rng: np.random.Generator, kind: str, attributes: Attributes, extras: Mapping[str, Any]) -> str:
    match kind:
        case "drums":
            return pick(rng, ("Yes, there are drums.", "Yes, drums are playing.") if attributes.drums else
                        ("No, there are no drums.", "No, it has no drums."))  # fmt: skip
        case "mode":
            return pick(rng, ("It is in a {0} key.", "The music is in {0}.")).format(attributes.mode)
        case "key":
            return pick(rng, ("It is in {0}.", "The key is {0}.")).format(
                key_name(attributes.tonic or 0, attributes.mode)
            )
        case "tempo":
            return pick(rng, ("About {0:.0f} bpm.", "The tempo is about {0:.0f} bpm.")).format(attributes.tempo)
        case "tempo_word":
            name, bpm = tempo_class(attributes.tempo or 0.0), attributes.tempo or 0.0
            name = name if name != "medium" else "medium tempo"
            return pick(rng, ("It is {0}.", "It is {0}, about {1:.0f} bpm.", "The tempo is {0}.")).format(name, bpm)
        case "metre":
            return pick(rng, ("It is in {0}.", "The time signature is {0}.")).format(attributes.metre)
        case "instruments":
            return pick(rng, ("You hear {0}.", "The instruments are {0}.")).format(join(attributes.instruments))
        case "genre":
            return pick(rng, ("It is {0}.", "The genre is {0}.")).format(attributes.genre)
        case "energy":
            return pick(rng, ("It is {0}.", "The music is {0}.")).format(ENERGY_ADJECTIVES[attributes.energy or 0])
        case "mood":
            return pick(rng, ("It feels {0}.", "The mood is {0}.")).format(mood_words(attributes))
        case "lead":
            return pick(rng, ("The {0} plays the melody.", "The melody is played by the {0}.")).format(attributes.lead)
        case _:
            return f"It lasts {extras['duration']:.0f} seconds."


def _instrument_question(rng: np.random.Generator, attributes: Attributes) -> tuple[str, str]:
    """Whether an instrument, a family member or a family word sounds; half of the answers are no.

    Negative questions leave out instruments so close to a playing one that the answer would split hairs.
    """
    playing = set(attributes.instruments)
    families = {i.family for i in INSTRUMENTS if i.name in playing}
    absent = [i.name for i in INSTRUMENTS if i.family not in families]
    if maybe(rng, 0.5) or not absent:
        name = pick(rng, sorted(playing))
        word = next((w for w in ("guitar", "bass") if name in FAMILY_WORDS[w]), name) if maybe(rng, 0.4) else name
    else:
        name = pick(rng, absent)
        word = next((w for w in ("guitar", "bass") if name in FAMILY_WORDS[w]), name) if maybe(rng, 0.5) else name
    plural = word in ("drums", "strings", "brass")
    question = pick(rng, QUESTIONS["has_instrument"])
    if plural:
        question = (
            question.replace("Is there", "Are there").replace("is {1}", "are {1}") if word != "brass" else question
        )
    question = question.format(word if plural else with_article(word), word if plural else f"the {word}")
    are = "are" if word in ("drums", "strings") else "is"
    some = word if plural else with_article(word)
    return question, f"Yes, there {are} {some}." if name in playing else f"No, there {are} no {word}."


_COUNTED = {"3": "3/4", "three": "3/4", "4": "4/4", "four": "4/4", "6": "6/8", "six": "6/8"}  # beats of a bar


def parse_answer(kind: str, text: str) -> Any:
    """What an answer to a question of ``kind`` says, or None where it says nothing of the sort.

    drums, has_instrument → bool; mode, tempo_word, metre, genre, lead → str; key → (tonic, mode); tempo, duration →
    float; energy → int; instruments → tuple of names; mood → Attributes with mode and energy.
    """
    read = read_attributes(text)
    match kind:
        case "drums" | "has_instrument":
            return _yes_or_no(text)
        case "key":
            tonic, mode = read_key(text)
            return None if tonic is None else (tonic, mode)
        case "tempo":
            number = re.search(r"\b(\d{2,3}(?:\.\d+)?)\b", text)
            return read_tempo(text) or (float(number[1]) if number else None)
        case "tempo_word":
            return None if read.tempo is None else tempo_class(read.tempo)
        case "instruments":
            return read.instruments or read_instruments(text)
        case "lead":
            return read.lead or next(iter(read_instruments(text)), None)
        case "mood":
            return read.keep(["mode", "energy"])
        case "metre":
            counted = re.search(r"\b(\w+) beats\b", text.lower())
            return read.metre or (_COUNTED.get(counted[1]) if counted else None)
        case "duration":
            number = re.search(r"\d+(?:\.\d+)?", text)
            return float(number[0]) if number else None
        case _:
            return getattr(read, kind)


def _yes_or_no(text: str) -> bool | None:
    words = tokenize(text)
    if words[:1] == ["yes"]:
        return True
    if words[:1] == ["no"] or "not" in words or "without" in words:
        return False
    found = [m for m in find_phrases(words) if m.entry.instruments]
    return not found[0].negated if found else None
