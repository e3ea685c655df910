"""Who takes which role: a band for a list of instruments or for a genre."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from m2ugen.score.attributes import family_of
from m2ugen.score.plan import ROLES, Part

_WINDS = ("harmonica", "trumpet", "trombone", "horn", "saxophone", "oboe", "clarinet", "flute")
MELODIC = frozenset((*_WINDS, "violin", "cello", "choir", "synth lead", "distorted guitar"))
_ROLES_OF_FAMILY = {  # roles that suit a family, best first; melodic instruments prefer the melody
    "piano": ("chords", "arpeggio", "melody", "pad"),
    "mallets": ("arpeggio", "melody", "chords"),
    "organ": ("chords", "pad", "melody"),
    "guitar": ("chords", "arpeggio", "melody"),
    "bass": ("bass",),
    "strings": ("pad", "chords", "melody", "arpeggio"),
    "voice": ("pad", "melody", "chords"),
    "brass": ("chords", "pad", "melody"),
    "woodwind": ("arpeggio", "pad", "chords"),
    "synth": ("pad", "arpeggio", "chords", "melody"),
    "drums": ("drums",),
}
BANDS: dict[str, tuple[str, ...]] = {  # melody first
    "rock": ("electric guitar", "distorted guitar", "electric bass", "drums"),
    "pop": ("piano", "acoustic guitar", "electric bass", "strings", "drums"),
    "ballad": ("piano", "acoustic guitar", "strings", "electric bass"),
    "jazz": ("saxophone", "piano", "acoustic bass", "drums"),
    "latin": ("trumpet", "acoustic guitar", "acoustic bass", "drums"),
    "blues": ("harmonica", "electric guitar", "electric bass", "drums"),
    "country": ("violin", "acoustic guitar", "electric bass", "drums"),
    "funk": ("saxophone", "electric guitar", "electric bass", "electric piano", "drums"),
    "classical": ("violin", "strings", "cello"),
    "electronic": ("synth lead", "synth pad", "synth bass", "drums"),
}


def suitable_roles(instrument: str) -> tuple[str, ...]:
    """The roles that an instrument can take, best first."""
    roles = _ROLES_OF_FAMILY[family_of(instrument)]
    if instrument in MELODIC:
        return ("melody", *(role for role in roles if role != "melody"))
    return roles


def free_role(instrument: str, taken: Iterable[str]) -> str | None:
    """The best role for an instrument beside the ``taken`` ones; None if none of its roles is free."""
    taken = set(taken)
    return next((role for role in suitable_roles(instrument) if role not in taken), None)


def assign_parts(instruments: Sequence[str], lead: str | None = None) -> tuple[Part, ...]:
    """Parts for these instruments, in the order of ROLES, with ``lead`` (else the best suited one) as melody.

    Instruments for which no role is left are dropped. Without instruments there are no parts.
    """
    names = list(dict.fromkeys(instruments))
    pitched = [name for name in names if family_of(name) not in ("drums", "bass")]
    if lead is None or lead not in names:
        lead = next((name for name in pitched if name in MELODIC), pitched[0] if pitched else None)
    taken: dict[str, str] = {"melody": lead} if lead is not None else {}
    for name in names:
        if name != lead and (role := free_role(name, taken)) is not None:
            taken[role] = name
    if len(pitched) == 1 and lead is not None and "melody" in taken and lead not in MELODIC:
        taken.setdefault("chords", lead)  # one player of chords accompanies itself
    return tuple(Part(role, taken[role]) for role in ROLES if role in taken)
