"""Words to attributes: what a caption or a request says. The other way is m2ugen.score.wording.

`read_attributes` is a deterministic reading by rules. It gives the score decoder its ``encode_text`` and the tests
their oracle; the language model learns the same mapping from sampled language and does better on free text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from m2ugen.score import lexicon_words as words
from m2ugen.score.attributes import ENERGIES, INSTRUMENT_NAMES, Attributes
from m2ugen.score.lexicon_words import Hint

T = TypeVar("T")
_LONGEST_PHRASE = 5
_BARS = re.compile(
    r"\b(?:bars?|measures?)\s+(\d+)(?:\s*(?:-|–|to|until|through|and)\s*(?:bars?\s+|measures?\s+)?(\d+))?"
)
_LETTERS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_NEGATORS = frozenset(
    [
        "no",
        "without",
        "not",
        "minus",
        "never",
        "don't",
        "dont",
        "lacking",
        "except",
        "exclude",
        "excluding",
        "nor",
        "avoid",
    ]
)
_EXCLUSIVE = frozenset(["only", "just", "solely", "solo", "unaccompanied", "alone"])
_LOUDER = frozenset(["very", "extremely", "super", "really", "incredibly", "so", "ultra"])
_BREAKS = frozenset([".", ";", "!", "?", "(", ")", "but", "with", "featuring"])
_FILLERS = frozenset(
    ["a", "an", "the", "any", "of", "some", "use", "using", "include", "including", "have", "has", "be", "play", "it"]
)


_LEADING = frozenset(
    f"{verb} {what}" for verb in ("plays", "playing", "carries", "takes") for what in ("melody", "tune", "lead")
)
_LED = frozenset(("led by", "lead by", "melody on", "melody by", "tune on"))


@dataclass(frozen=True)
class Entry:
    """One understood phrase: an instrument (several names: a family), a hint, a metre or a tempo."""

    instruments: tuple[str, ...] = ()
    hint: Hint | None = None
    metre: str | None = None
    tempo: float | None = None
    voice: bool = False


@dataclass(frozen=True)
class Match:
    """An Entry found at tokens [start, end); ``negated`` says that the text rules it out."""

    start: int
    end: int
    entry: Entry
    negated: bool = False


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


@lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """Every phrase that is understood."""
    table: dict[str, Entry] = {}
    for word in _split(words.VOICE_WORDS):
        table[word] = Entry(voice=True)
    for name, phrases in words.INSTRUMENT_WORDS.items():
        table.update({phrase: Entry(instruments=(name,)) for phrase in _split(phrases) if phrase != "voices"})
    table.update({word: Entry(instruments=members) for word, members in words.FAMILY_WORDS.items()})
    for hints in (words.SCENE_WORDS, words.MOOD_WORDS, words.GENRE_WORDS, words.ENSEMBLE_WORDS):
        table.update({word: Entry(hint=hint) for word, hint in hints.items()})
    for metre, phrases in words.METRE_WORDS.items():
        for phrase in _split(phrases):
            old = table.get(phrase)
            table[phrase] = Entry(hint=old.hint if old else None, metre=metre)
    for phrases, tempo in words.TEMPO_WORDS:
        table.update({phrase: Entry(tempo=tempo) for phrase in _split(phrases)})
    return table


@lru_cache(maxsize=1)
def _misspellings() -> dict[str, str]:
    """Strings one deletion away from our longer single words, for the correction of typos."""
    single = sorted(phrase for phrase in entries() if len(phrase) >= 5 and phrase.isalpha())
    table: dict[str, str] = {}
    for word in single:
        for position in range(1, len(word)):
            table.setdefault(word[:position] + word[position + 1 :], word)
    return table


@lru_cache(maxsize=1)
def _known_tokens() -> frozenset[str]:
    return frozenset(token for phrase in entries() for token in phrase.split())


def correct(token: str) -> str:
    """``token``, or the word of ours that it misspells by one letter (added, missing, replaced or swapped)."""
    token = words.TYPOS.get(token, token)
    if len(token) < 4 or not token.isalpha() or token in _known_tokens() or token in words.NOT_TYPOS:
        return token
    if token.endswith("s") and token[:-1] in _known_tokens():
        return token
    table = _misspellings()
    if token in table:  # a letter is missing
        return table[token]
    for position in range(1, len(token)):
        shorter = token[:position] + token[position + 1 :]
        if len(shorter) >= 5 and shorter in _known_tokens() and token[-1] != "s":  # a letter too many
            return shorter
        candidate = table.get(shorter)
        if candidate is not None and len(candidate) == len(token) and _one_slip(token, candidate):
            return candidate
    return token


def _one_slip(left: str, right: str) -> bool:
    """Whether two words of equal length differ in one letter (of six or more) or by one swap of neighbours."""
    wrong = [i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b]
    if len(wrong) == 2 and wrong[1] == wrong[0] + 1:
        return left[wrong[0]] == right[wrong[1]] and left[wrong[1]] == right[wrong[0]]
    return len(wrong) == 1 and len(left) >= 6 and left[-1] == right[-1]


def tokenize(text: str) -> list[str]:
    """Lower-case words, numbers, fractions and punctuation; hyphens separate, typos of our words are mended."""
    text = text.lower().replace("♯", "#").replace("♭", "b").replace("’", "'")
    text = re.sub(r"(?<=\w)[-–_](?=\w)", " ", text)
    text = re.sub(r"\bbeats? (?=per|a min|/)|\bper minute\b", " ", text)
    tokens = re.findall(r"\d+/\d+|\d+(?:\.\d+)?|[a-z](?:[a-z&']*[a-z])?#?|[.,;:!?()%]", text)
    return [correct(token) for token in tokens]


def read_bars(text: str) -> tuple[int, int] | None:
    """The first and the last bar that lower-case ``text`` names, as "bars 5 to 8" or "measure 3"."""
    named = _BARS.search(text)
    return None if named is None else (int(named[1]), int(named[2] or named[1]))


def unplayable(text: str) -> list[str]:
    """What ``text`` asks for that no instrument here comes near to, in its words; what it rules out is not meant."""
    tokens, found = tokenize(text), dict[str, None]()
    for phrase in _split(words.UNPLAYABLE_WORDS):
        wanted = phrase.split()
        for start in range(len(tokens) - len(wanted) + 1):
            before = tokens[max(start - 3, 0) : start]
            if tokens[start : start + len(wanted)] == wanted and not _NEGATORS & set(before):
                found[phrase] = None
    return list(found)


def find_phrases(tokens: list[str]) -> list[Match]:
    """The understood phrases in reading order, longest first, without overlap; negation resolved."""
    table = entries()
    found: list[Match] = []
    position = 0
    while position < len(tokens):
        for length in range(min(_LONGEST_PHRASE, len(tokens) - position), 0, -1):
            phrase = " ".join(tokens[position : position + length])
            entry = table.get(phrase) or (table.get(phrase[:-1]) if phrase.endswith("s") else None)
            if entry is not None:
                found.append(Match(position, position + length, entry))
                position += length
                break
        else:
            position += 1
    return _negate(tokens, found)


def _negate(tokens: list[str], found: list[Match]) -> list[Match]:
    """Mark what is negated: the phrase after a negator and the list that it opens ("no drums, bass or guitar")."""
    negated: set[int] = set()
    for index, match in enumerate(found):
        before = tokens[found[index - 1].end if index else 0 : match.start]
        clause = before[
            max((i + 1 for i, token in enumerate(before) if token in _BREAKS and token != "with"), default=0) :
        ]
        negators = [i for i, token in enumerate(clause) if token in _NEGATORS]
        ruled_out = clause[negators[-1] :] if negators else []
        if (
            (0 < len(ruled_out) <= 4 and "," not in ruled_out and "only" not in ruled_out)
            or (index - 1 in negated and _continues(tokens, found, index))
            or tokens[match.end : match.end + 1] == ["free"]
        ):
            negated.add(index)
    return [Match(m.start, m.end, m.entry, i in negated) for i, m in enumerate(found)]


def _continues(tokens: list[str], found: list[Match], index: int) -> bool:
    """Whether phrase ``index`` continues the negated list that its predecessor belongs to."""
    gap = [token for token in tokens[found[index - 1].end : found[index].start] if token not in ("the", "any")]
    if gap in (["or"], ["nor"], ["and"], [",", "or"], [",", "and"]):
        return True
    if gap != [","]:
        return False
    rest = found[index + 1 :]  # a bare comma continues only a list that ends in "or"
    for left, right in zip([found[index], *rest], rest, strict=False):
        gap = [token for token in tokens[left.end : right.start] if token not in ("the", "any")]
        if gap != [","]:
            return gap in (["or"], [",", "or"], ["nor"])
    return False


def read_tempo(text: str) -> float | None:
    """A tempo given as a number ("92 bpm", "tempo of 92"), in beats per minute; None if there is none in 30-260."""
    text = text.lower()
    patterns = (
        r"(\d{2,3}(?:\.\d+)?)\s*(?:-|–|to)\s*(\d{2,3})\s*(?:bpm|beats)",
        r"(\d{2,3}(?:\.\d+)?)\s*-?\s*(?:bpm|b\.p\.m|beats?\s+(?:per|a|/)\s*min)",
        r"(?:bpm|tempo|quarter|♩)\s*(?:is|of|at|to|:|=|around|about|~)*\s*(?:around |about )?"
        r"(\d{2,3}(?:\.\d+)?)(?!\d|\s*(?:%|percent|per cent|/))",
    )
    for pattern in patterns:
        if match := re.search(pattern, text):
            values = [float(group) for group in match.groups()]
            value = sum(values) / len(values)
            if 30.0 <= value <= 260.0:
                return value
    return None


_KEY = re.compile(
    r"(?<![\w#'])(?P<letter>[A-Ga-g])\s?-?(?P<sign>#|♯|♭|b(?![a-z])|-?\s?sharp|-?\s?flat)?[\s-]*(?P<mode>major|minor|maj|min|m)(?![\w'])"
)


def read_key(text: str) -> tuple[int | None, str | None]:
    """Tonic (0-11) and mode that the text names; either may be None. "A minor key" names no tonic."""
    for match in _KEY.finditer(text):
        after = text[match.end() :].lstrip()
        article = match["letter"] in "aA" and not match["sign"]
        before = text[: match.start()].rstrip().lower()
        if match["mode"] == "m" and not before.endswith((" in", "key of", "key", "key:")) and before != "in":
            continue
        if article and (match["letter"] == "a" or not before) and re.match(r"[a-z]", after.lower()):
            joins = re.match(r"(and|at|with|for|in|by|as|\.|,)\b", after.lower())
            if not (joins and before.endswith(("in", "of", "key", "to"))):
                continue
        if article and match["letter"] == "a" and not before.endswith(("in", "of", "key", "to", ",", ":")) and before:
            continue
        mode = "minor" if match["mode"].startswith("mi") or match["mode"] == "m" else "major"
        return pitch_class(match["letter"] + (match["sign"] or "")), mode
    if named := re.search(r"\bkey of ([A-Ga-g](?:#|b|♯|♭| sharp| flat)?)(?![\w#])", text):
        return pitch_class(named[1]), read_mode(text) or "major"
    if named := re.search(r"\bin ([B-G](?:#|b|♯|♭)?|A(?:#|b|♯|♭))(?=[\s.,;!?]|$)", text):
        return pitch_class(named[1]), read_mode(text) or "major"
    return None, read_mode(text)


def read_mode(text: str) -> str | None:
    """``major`` or ``minor`` where the text uses the word (the first one counts), negations left out."""
    match = re.search(r"(?<!not )(?<!not in )(?<!not in a )\b(major|minor)\b(?! (?:change|role|part))", text.lower())
    return match[1] if match else None


def pitch_class(name: str) -> int:
    """Pitch class 0-11 of a note name such as ``F#``, ``B flat`` or ``eb``."""
    rest = name[1:].strip(" -").lower()
    shift = 1 if rest in ("#", "♯", "sharp") else -1 if rest in ("b", "♭", "flat") else 0
    return (_LETTERS[name[0].lower()] + shift) % 12


def read_duration(text: str) -> float | None:
    """A length in seconds that the text asks for ("a 30 second clip", "1:30 long", "two minutes"), or None."""
    number = {
        "a": 1,
        "one": 1,
        "two": 2,
        "three": 3,
        "four": 4,
        "five": 5,
        "ten": 10,
        "half a": 0.5,
        "twenty": 20,
        "thirty": 30,
    }
    pattern = (
        rf"\b(\d+(?:\.\d+)?(?=[\s-]*[sm])|(?:{'|'.join(number)})(?=[\s-]))[\s-]*(s|secs?|seconds?|mins?|minutes?)\b"
    )
    if match := re.search(pattern, text.lower()):
        value = number.get(match[1]) or float(match[1])
        return value * (60.0 if match[2].startswith("m") else 1.0)
    if match := re.search(r"\b(\d{1,2}):([0-5]\d)\b", text):
        return 60.0 * int(match[1]) + int(match[2])
    return None


def read_instruments(text: str) -> tuple[str, ...]:
    """Every instrument that ``text`` names without negation; a family word gives all members of the family."""
    matches = find_phrases(tokenize(text))
    return tuple(dict.fromkeys(name for m in matches if not m.negated for name in m.entry.instruments))


def read_attributes(text: str) -> Attributes:
    """What a caption or a prompt says about the music, by rules; what it does not say stays unspecified.

    Numbers and names beat tempo words, these beat moods and scenes, and what a style merely suggests comes last.
    """
    tokens = tokenize(text)
    matches = find_phrases(tokens)
    positive = [m for m in matches if not m.negated]
    hints = [m for m in positive if m.entry.hint is not None]
    genre = _genre(hints)
    tonic, mode = read_key(text)
    moods = [m for m in hints if m.entry.hint.kind in ("mood", "scene")]  # type: ignore[union-attr]
    styles = [m.entry.hint for m in hints if m.entry.hint and m.entry.hint.kind in ("genre", "ensemble")]
    instruments, excluded, drums, lead = _players(tokens, matches, genre)
    tempo_words = [m.entry.tempo for m in positive if m.entry.tempo is not None]
    tempo = read_tempo(text) or next(iter(tempo_words), None)
    energies = [_energy(tokens, m) for m in moods if m.entry.hint and m.entry.hint.energy is not None]
    return Attributes(
        tempo=tempo or next((h.tempo for h in styles if h.tempo), None),
        metre=_first(m.entry.metre for m in positive) or _first(h.metre for h in styles),
        mode=mode or _first(m.entry.hint.mode for m in moods if m.entry.hint) or _first(h.mode for h in styles),
        tonic=tonic,
        genre=genre,
        energy=round(sum(energies) / len(energies) + 1e-6) if energies else _first(h.energy for h in styles),
        drums=drums if drums is not None else _first(h.drums for h in styles),
        lead=lead,
        instruments=instruments,
        excluded=excluded,
    )


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _genre(hints: list[Match]) -> str | None:
    return _first(m.entry.hint.genre for m in hints if m.entry.hint is not None)


def _energy(tokens: list[str], match: Match) -> float:
    """Energy of a mood word, pushed outwards by "very" and the like."""
    energy = float(match.entry.hint.energy)  # type: ignore[union-attr, arg-type]
    if match.start and tokens[match.start - 1] in _LOUDER:
        energy += 1.0 if energy > 2 else -1.0 if energy < 2 else 0.0
    return min(max(energy, 0.0), len(ENERGIES) - 1.0)


def choose_member(members: tuple[str, ...], genre: str | None) -> str:
    """The instrument that a family word means in ``genre``."""
    if len(members) == 1:
        return members[0]
    return words.FAMILY_CHOICE.get(members[0], {}).get(genre or "", members[0])


def excluded_by(members: tuple[str, ...]) -> tuple[str, ...]:
    """Every instrument that "no X" rules out where X names ``members``."""
    return tuple(dict.fromkeys(name for member in members for name in (member, *words.NEGATED_ALSO.get(member, ()))))


def _players(
    tokens: list[str], matches: list[Match], genre: str | None
) -> tuple[tuple[str, ...], tuple[str, ...], bool | None, str | None]:
    """Instruments, excluded instruments, drums and lead."""
    named: list[str] = []
    excluded: list[str] = []
    lead: str | None = None
    leading: str | None = None
    exclusive = "no other instrument" in " ".join(tokens) or "single instrument" in " ".join(tokens)
    for match in matches:
        entry = match.entry
        if match.negated:
            if "other" not in tokens[match.start - 2 : match.start]:
                excluded += excluded_by(entry.instruments) if entry.instruments else ("choir",) if entry.voice else ()
            continue
        if entry.hint is not None:
            named += entry.hint.instruments
        if not entry.instruments:
            continue
        name = choose_member(entry.instruments, genre)
        member_named = [m for m in entry.instruments if m in named]
        name = member_named[0] if member_named and len(entry.instruments) > 1 else name
        named.append(name)
        before, after = tokens[max(match.start - 4, 0) : match.start], tokens[match.end : match.end + 5]
        if _alone(before, after, tokens, match):
            exclusive, leading = True, leading or name
        if lead is None and name != "drums" and _leads(before, after):
            lead = name
    instruments = tuple(dict.fromkeys(named))
    sure = (
        "only" in tokens
        or "just" in tokens
        or "no other instrument" in " ".join(tokens)
        or "nothing but" in " ".join(tokens)
    )
    if exclusive and instruments and (sure or len(instruments) == 1):
        excluded = [name for name in INSTRUMENT_NAMES if name not in instruments]
        lead = lead or (instruments[0] if len(instruments) == 1 and instruments[0] != "drums" else None)
    elif exclusive and lead is None and leading != "drums":
        lead = leading
    ruled_out = tuple(name for name in dict.fromkeys(excluded) if name not in instruments)
    drums = True if "drums" in instruments else False if "drums" in ruled_out else None
    return instruments, ruled_out, drums, lead


def _alone(before: list[str], after: list[str], tokens: list[str], match: Match) -> bool:
    """Whether the words around an instrument say that it plays alone."""
    near = [token for token in before if token not in _FILLERS][-1:]
    if near and near[0] in _EXCLUSIVE:
        return True
    if before[-2:] == ["nothing", "but"] or before[-3:-1] == ["nothing", "but"]:
        return True
    if after[:1] and after[0] in ("only", "alone"):
        return True
    if after[:1] == ["solo"]:
        return not ("with" in before or "and" in before or "," in before)
    return False


def _leads(before: list[str], after: list[str]) -> bool:
    """Whether the words around an instrument give it the tune."""
    tail = [token for token in after if token not in ("the", "a", "main")]
    if tail[:1] and (tail[0] in ("melody", "lead", "tune", "solo") or " ".join(tail[:2]) in _LEADING):
        return True
    head = [token for token in before if token not in ("the", "a", "an", "main", "is", "played")]
    return head[-1:] == ["lead"] or " ".join(head[-2:]) in _LED
