# ruff: noqa: E501 (lists of phrases read best in a row)
"""Captions of music and of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2ugen.data.nano.language.fragments import maybe, pick
from m2ugen.data.nano.language.prompts import MEDIA_WORDS
from m2ugen.score.attributes import Attributes
from m2ugen.score.lexicon_words import ENERGY_ADJECTIVES
from m2ugen.score.wording import describe, join, key_name, tempo_class, with_article

CAPTION_REQUESTS = (
    "Describe this music.", "describe the music", "What do you hear?", "Caption this track.", "Describe what you hear in this song.",
    "Write a caption for this music.", "what kind of music is this?", "Tell me about this piece.", "Please describe the recording.",
    "Summarize this music in one sentence.", "How would you describe this?", "what is this music like", "Give a short description of the song.",
)  # fmt: skip
PICTURE_REQUESTS = (
    "Describe this {0}.", "What is in this {0}?", "what do you see?", "What does the {0} show?", "Caption this {0}.",
    "Tell me what you see in the {0}.", "what is this a {0} of", "Write a caption for the {0}.",
)  # fmt: skip
PICTURE_CAPTIONS = {
    "image": ("A picture of {0}.", "This is a picture of {0}."),
    "video": ("A video of {0}.", "This video shows {0}."),
}


def sample_caption(rng: np.random.Generator, attributes: Attributes) -> str:
    """One or two sentences that say these attributes (all of them, or most of them)."""
    said = attributes.keep([n for n in vars(attributes) if n != "excluded"])
    if maybe(rng, 0.5):
        exact = maybe(rng, 0.3)
        return f"{pick(rng, ('This is', 'You hear', 'The music is'))} {describe(said, pick(rng, ('piece', 'song', 'track')), exact)}."
    return _plain_caption(rng, said)


def _plain_caption(rng: np.random.Generator, attributes: Attributes) -> str:
    """A caption in several sentences, as people write them."""
    noun = pick(rng, ("piece", "song", "track"))
    adjectives = [ENERGY_ADJECTIVES[attributes.energy]] if attributes.energy is not None else []
    first = f"{with_article(' '.join([*adjectives, attributes.genre or '', noun]).replace('  ', ' ').strip())}"
    sentences = [f"{first[0].upper()}{first[1:]}"]
    if attributes.instruments:
        sentences[0] += f" with {join(attributes.instruments)}"
    if attributes.tempo is not None:
        slow = tempo_class(attributes.tempo)
        sentences.append(
            f"The tempo is {slow}, around {attributes.tempo:.0f} bpm" if maybe(rng, 0.4) else f"The tempo is {slow}"
        )
    if attributes.mode is not None:
        key = (
            key_name(attributes.tonic, attributes.mode) if attributes.tonic is not None else f"a {attributes.mode} key"
        )
        sentences.append(f"It is in {key}" + (f" and in {attributes.metre} time" if attributes.metre else ""))
    if attributes.lead is not None and attributes.lead != "drums":
        sentences.append(f"The {attributes.lead} plays the melody")
    if attributes.drums is False:
        sentences.append("There are no drums")
    first, rest = sentences[0], sentences[1:]
    return ". ".join([first, *(rest[i] for i in rng.permutation(len(rest)))]) + "."


def sample_caption_request(rng: np.random.Generator, attributes: Attributes) -> tuple[str, str]:
    """A request to describe music, and the caption."""
    return pick(rng, CAPTION_REQUESTS), sample_caption(rng, attributes)


def sample_picture_caption(rng: np.random.Generator, words: str | Sequence[str], media: str) -> tuple[str, str]:
    """A request to describe an ``image`` or ``video``, and a caption of what ``words`` say is on it.

    The first of ``words`` is the subject, the others are what comes with it."""
    shown = words if isinstance(words, str) else words[0]
    if not isinstance(words, str) and len(words) > 1:
        shown += f" with {join(words[1:])}"
    request = pick(rng, PICTURE_REQUESTS).format(pick(rng, MEDIA_WORDS[media]))
    return request, pick(rng, PICTURE_CAPTIONS[media]).format(shown)
