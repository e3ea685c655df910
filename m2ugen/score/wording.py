"""Attributes to words: names of tempi and keys, lists, and one noun phrase that says a set of attributes."""

from __future__ import annotations

from collections.abc import Sequence

from m2ugen.score.attributes import INSTRUMENT_NAMES, TONICS, Attributes
from m2ugen.score.lexicon_words import ENERGY_ADJECTIVES, TEMPO_CLASSES

MOODS: dict[tuple[str, int], str] = {  # mode and energy third → words for it
    ("major", 0): "peaceful and warm", ("major", 1): "bright and hopeful", ("major", 2): "happy and lively",
    ("minor", 0): "sad and reflective", ("minor", 1): "dark and serious", ("minor", 2): "tense and intense",
}  # fmt: skip


def tempo_class(bpm: float) -> str:
    """``very slow``, ``slow``, ``medium``, ``fast`` or ``very fast``."""
    return next(name for name, low, high in TEMPO_CLASSES if low <= bpm < high)


def key_name(tonic: int, mode: str | None = None) -> str:
    """``F# minor``; without a mode only ``F#``."""
    return TONICS[tonic] if mode is None else f"{TONICS[tonic]} {mode}"


def join(items: Sequence[str], last: str = "and") -> str:
    """``a, b and c``; an empty string for no items."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def with_article(text: str) -> str:
    """``text`` with "a" or "an" before it."""
    return f"{'an' if text[:1].lower() in 'aeiou' else 'a'} {text}"


def facts(attributes: Attributes) -> str:
    """What is known, each under its name and in the words that answers use: what a question asks for is easily found.

    >>> facts(Attributes(tempo=140, metre="4/4", mode="minor", tonic=4, drums=False, lead="flute"))
    'tempo: fast, 140 bpm; beats in a bar: 4; metre: 4/4; mode: minor; key: E minor; drums: no; melody: flute'
    """
    said: dict[str, str] = {}
    if attributes.tempo is not None:
        said["tempo"] = f"{tempo_class(attributes.tempo)}, {attributes.tempo:.0f} bpm"
    if attributes.metre is not None:
        said["beats in a bar"] = attributes.metre.partition("/")[0]
        said["metre"] = attributes.metre
    if attributes.mode is not None:
        said["mode"] = attributes.mode
    if attributes.tonic is not None:
        said["key"] = key_name(attributes.tonic, attributes.mode)
    if attributes.genre is not None:
        said["genre"] = attributes.genre
    if attributes.energy is not None:
        said["energy"] = ENERGY_ADJECTIVES[attributes.energy]
        if attributes.mode is not None:
            said["mood"] = mood_words(attributes)
    if attributes.drums is not None:
        said["drums"] = "yes" if attributes.drums else "no"
    if attributes.lead is not None:
        said["melody"] = attributes.lead
    if attributes.instruments:
        said["instruments"] = ", ".join(attributes.instruments)
    return "; ".join(f"{name}: {value}" for name, value in said.items())


def mood_words(attributes: Attributes) -> str:
    """Words for the mood that mode and energy make."""
    energy = attributes.energy if attributes.energy is not None else 2
    return MOODS[attributes.mode or "major", 0 if energy < 2 else 1 if energy == 2 else 2]


def is_solo(attributes: Attributes) -> bool:
    """Whether the excluded instruments leave only the named ones."""
    return (
        bool(attributes.instruments)
        and len(attributes.excluded) >= len(INSTRUMENT_NAMES) - len(attributes.instruments) - 2
    )


def describe(attributes: Attributes, noun: str = "piece", exact_tempo: bool = False) -> str:
    """One noun phrase that says exactly these attributes; `read_attributes` reads them back (tempo: its class).

    >>> describe(Attributes(tempo=140, genre="rock", mode="minor", instruments=("electric guitar", "drums")))
    'a fast rock piece in a minor key with electric guitar and drums'
    """
    adjectives = [ENERGY_ADJECTIVES[attributes.energy]] if attributes.energy is not None else []
    if attributes.tempo is not None and not exact_tempo:
        adjectives.append(tempo_class(attributes.tempo).replace("medium", "medium tempo"))
    if attributes.genre is not None:
        adjectives.append(attributes.genre)
    text = with_article(" ".join([*adjectives, noun]))
    if attributes.tonic is not None:
        text += f" in {key_name(attributes.tonic, attributes.mode or 'major')}"
    elif attributes.mode is not None:
        text += f" in a {attributes.mode} key"
    if attributes.metre is not None:
        text += f" in {attributes.metre} time"
    if attributes.tempo is not None and exact_tempo:
        text += f" at {attributes.tempo:.0f} bpm"
    return text + _players(attributes)


def _players(attributes: Attributes) -> str:
    """The end of the noun phrase: who plays, who leads and who does not play."""
    if is_solo(attributes):
        return f" for {join(attributes.instruments)} only"
    text = f" with {join(attributes.instruments)}" if attributes.instruments else ""
    if attributes.lead is not None:
        text += f", {attributes.lead} melody"
    if attributes.drums and "drums" not in attributes.instruments:
        text += ", drums"
    without = list(attributes.excluded)
    if attributes.drums is False and "drums" not in without:
        without.append("drums")
    return f"{text}, without {join(without, 'or')}" if without else text
