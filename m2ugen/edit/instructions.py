# ruff: noqa: E501 (lists of phrases read best in a row)
"""Reading an edit instruction by rules: the fallback beside the language model, and the oracle of its tests."""

from __future__ import annotations

import re

from m2ugen.edit.command import EditCommand
from m2ugen.edit.parts import BANDS
from m2ugen.errors import InputError
from m2ugen.score.attributes import TONICS
from m2ugen.score.lexicon import (
    Match,
    choose_member,
    find_phrases,
    read_bars,
    read_duration,
    read_key,
    read_tempo,
    tokenize,
)
from m2ugen.score.lexicon_words import NUMBER_WORDS, TYPOS

USUAL_CONTINUATION = 16.0  # seconds
ACCOMPANISTS = ("piano", "electric bass", "drums")  # where nobody is named
_NUMBERS = {"a": 1, "an": 1, **NUMBER_WORDS}
_INTERVALS = {"semitone": 1, "half step": 1, "half tone": 1, "whole step": 2, "whole tone": 2, "tone": 2, "step": 2,
              "minor third": 3, "major third": 4, "third": 4, "fourth": 5, "fifth": 7, "octave": 12}  # fmt: skip
_EFFECT_WORDS = (
    (r"\b(telephone|phone|old radio|radio effect|walkie)\b", "telephone"),
    (r"\b(echo|delay)\b", "echo"),
    (r"\b(reverb\w*|hall|cathedral|spacious|bigger room|church acoustics?)\b", "reverb"),
    (r"\b(muffled?|low[- ]?pass|under ?water|next door|behind a wall|dull)\b", "low-pass"),
    (r"\b(high[- ]?pass|thin|thinner|tinny|cut the lows)\b", "high-pass"),
    (r"\b(revers\w+|backwards?)\b", "reverse"),
    (
        r"\b(overdrive|distortion effect|distort (it|this|the (song|music|sound))|apply distortion|add (some )?distortion)\b",
        "distortion",
    ),
)
_ADD = r"\b(add\w*|include|put in|insert|layer|bring in|throw in|need\w* (some|a)|give (it|me|this) (a|some)|accompany|mix in|overlay|use)\b"
_REMOVE = r"\b(remov\w+|delet\w+|take (out|away)|get rid of|without|drop|mute|no more|cut out|strip|no|eliminate|silence|lose)\b"
_SOLO = r"\b(only|solo|isolat\w+|just|extract|nothing but|alone)\b"
_SWAP = r"\b(replace|swap|exchange|substitute|change|turn|switch|instead of|convert)\b"
_NEW = r"\b(new|another|different|other|regenerate|rewrite|re-write|redo|recompose|write .* (again|anew)|fresh)\b"
_CONTINUE = r"\b(continu\w*|go(es)? on|carry on|keep (it |the music )?(going|playing)|extend\w*|prolong|longer)\b"
_ROLE_WORDS = {"melody": "melody", "tune": "melody", "lead": "melody", "bass": "bass", "bass line": "bass", "bassline": "bass",
               "chords": "chords", "accompaniment": "chords", "arpeggio": "arpeggio", "pad": "pad", "drums": "drums", "beat": "drums"}  # fmt: skip
_COMPARATIVES = {"happier": "happy", "sadder": "sad", "darker": "dark", "calmer": "calm", "brighter": "bright", "softer": "soft",
                 "gentler": "gentle", "dreamier": "dreamy", "angrier": "angry", "jazzier": "jazz", "funkier": "funk",
                 "rockier": "rock", "creepier": "creepy", "warmer": "warm", "cheerier": "cheery"}  # fmt: skip


def read_instruction(text: str) -> EditCommand | None:
    """The edit that ``text`` asks for, or None if the rules do not understand it."""
    tokens = [_COMPARATIVES.get(token, token) for token in tokenize(text)]
    plain = " ".join(TYPOS.get(token, token) for token in tokens)
    matches = [Match(m.start, m.end, m.entry) for m in find_phrases(tokens)]
    for reader in (_infill, _continuation, _effect, _length, _tempo, _pitch, _volume, _players, _style):
        try:
            command = reader(text if reader is _pitch else text.lower(), plain, matches)  # keys need their capitals
        except InputError:
            continue
        if command is not None:
            return command
    return None


def says_amount(text: str) -> bool:
    """Whether an instruction says how much: in a number, an interval, or as half or double."""
    words = [*(word for word in _NUMBERS if len(word) > 2), *_INTERVALS, "half", "halve", "double", "twice"]
    return re.search(rf"\d|\b({'|'.join(words)})s?\b", text.lower()) is not None


def _infill(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    bars = read_bars(text)
    other_edit = re.search(_SWAP, plain) or re.search(r"\b(add|include|insert|put in|layer|instrument)\b", plain)
    if other_edit or not (re.search(_NEW, plain) or (bars and re.search(r"\bwrite\b", plain))):
        return None
    roles = [role for word, role in _ROLE_WORDS.items() if re.search(rf"\b{word}\b", text)]
    named = [m.entry.instruments[0] for m in matches if m.entry.instruments]
    targets = tuple(dict.fromkeys(roles or named))
    if not targets:
        return None
    return EditCommand("infill", targets, bars=bars)


def _continuation(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    if not re.search(_CONTINUE, text) or re.search(r"\bfad(e|es|ing)\b|\b(to|total|loop\w*|repeat\w*)\b", text):
        return None
    return EditCommand("continue", (), float(round(read_duration(text) or USUAL_CONTINUATION)))


def _effect(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    if match := re.search(r"\bfad(?:e|es|ing)[- ]?(it )?(in|out)\b", text):
        return EditCommand(f"fade {match[2]}", (), min(max(read_duration(text) or 3.0, 1.0), 60.0))
    if any("distorted guitar" in m.entry.instruments for m in matches):
        return None
    return next((EditCommand("effect", (name,)) for pattern, name in _EFFECT_WORDS if re.search(pattern, text)), None)


def _length(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    if re.search(r"\b(loop|repeat)", text) or re.search(r"\b(twice|two times|double) (as|the) (long|length)", text):
        if re.search(r"\b(twice|double)\b", text):
            return EditCommand("loop", (), 2.0)
        count = re.search(r"(\d+|two|three|four|five|six|eight) ?(x|times)", text)
        return EditCommand("loop", (), float(_number(count[1])) if count else 2.0)
    seconds = read_duration(text)
    if seconds and not re.search(r"\b(fade|delay)", text):
        return EditCommand("length", (), float(round(seconds)))
    return None


def _number(word: str) -> float:
    return float(_NUMBERS.get(word, word))


def _tempo(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    if (bpm := read_tempo(text)) is not None:
        return EditCommand("bpm", (), float(round(bpm)))
    slower = re.search(r"\b(slow\w*|drag)\b", plain)
    faster = re.search(
        r"\b(fast\w*|speed (it |this |the \w+ )?up|quick\w*|accelerate|speed\w*|uptempo|up tempo)\b", plain
    )
    if not slower and not faster and "tempo" not in plain:
        return None
    if percent := re.search(r"\b(by|to|at)? ?(\d+(?:\.\d+)?) ?(%|percent|per cent)", text):
        value = float(percent[2])
        if percent[1] in ("to", "at"):
            return EditCommand("tempo", (), float(round(value)))
        down = slower or re.search(r"\b(decreas|reduc|lower)", text)
        return EditCommand("tempo", (), float(round(100.0 - value if down else 100.0 + value)))
    if re.search(r"\b(half|halve)", text):
        return EditCommand("tempo", (), 50.0)
    if re.search(r"\b(double|twice)\b", text):
        return EditCommand("tempo", (), 50.0 if slower else 200.0)
    strong, slight = re.search(r"\b(much|lot|way|far)\b", plain), re.search(r"\b(bit|slightly|little|touch)\b", plain)
    step = 35.0 if strong else 10.0 if slight else 20.0
    if slower or re.search(r"\b(decreas\w*|reduc\w*|lower)\b", plain):
        return EditCommand("tempo", (), 100.0 - step)
    if faster or re.search(r"\b(increas\w*|rais\w*|higher)\b", plain):
        return EditCommand("tempo", (), 100.0 + step * 1.25 if step == 20.0 else 100.0 + step)
    return None


def _pitch(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    cased, text = text, text.lower()
    interval = "|".join(sorted(_INTERVALS, key=len, reverse=True))
    if match := re.search(rf"([+-]?\d+|\b(?:{'|'.join(_NUMBERS)}))? ?\b({interval})s?\b", text):
        moved = re.search(r"\b(up|down|higher|lower|raise|transpos\w*|shift|pitch|above|below|drop)\b", text)
        if (moved or match[1]) and "tone it" not in text:
            count = _number(match[1]) if match[1] else 1.0
            down = re.search(r"\b(down|lower|below|drop)\b", text)
            return EditCommand(
                "transpose", (), -abs(count * _INTERVALS[match[2]]) if down else count * _INTERVALS[match[2]]
            )
    tonic, mode = read_key(re.sub(r"\bto (?=[A-Ga-g](#|b|♯|♭| sharp| flat)?\b)", "in ", _original_case(cased)))
    if tonic is not None:
        return EditCommand("key", (TONICS[tonic] if mode is None else f"{TONICS[tonic]} {mode}",))
    if re.search(r"\b(pitch|transpos|key|sing|higher|lower)", text) and not re.search(r"\b(volume|energy)", text):
        if re.search(r"\b(higher|up|raise)\b", text):
            return EditCommand("transpose", (), 2.0)
        if re.search(r"\b(lower|down|drop)\b", text):
            return EditCommand("transpose", (), -2.0)
    if mode is not None:
        return EditCommand("mode", (mode,))
    return None


def _original_case(text: str) -> str:
    """Capitals for single note names after "in", "to" and "key of", as the key reader expects them."""
    return re.sub(r"\b(in|to|of) ([b-g]|a(?=#|b))(?=(#|b)?(\s|$|[.,!]))", lambda m: f"{m[1]} {m[2].upper()}", text)


def _volume(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    sign = (
        1.0
        if re.search(r"\b(louder|turn (it )?up|volume up|increase the volume|raise the volume|boost)", text)
        else 0.0
    )
    if re.search(r"\b(quieter|turn (it )?down|volume down|(decrease|reduce|lower) the volume|less loud)", text):
        sign = -1.0
    decibels = re.search(r"([+-]?\d+) ?(db|decibels?)\b", text)
    if decibels:
        value = float(decibels[1])
        return EditCommand("volume", (), -abs(value) if sign < 0 else value)
    if sign and not any(m.entry.instruments for m in matches):
        return EditCommand("volume", (), 6.0 * sign)
    return None


def _players(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    genre = next((m.entry.hint.genre for m in matches if m.entry.hint and m.entry.hint.genre), None)
    named = [m.entry.instruments for m in matches if m.entry.instruments]
    names = tuple(dict.fromkeys(choose_member(members, genre) for members in named))
    if not names:
        if re.search(r"\b(accompan\w+|a (backing )?band|backing (track|band))\b", plain):
            return EditCommand("add", ACCOMPANISTS if genre is None else BANDS[genre][1:])
        if re.search(_ADD, plain) and re.search(r"\b(harmony|chords|backing)\b", plain):
            return EditCommand("add", ("piano",))
        return None
    if len(names) >= 2 and re.search(_SWAP, plain):
        reverse = re.search(r"\binstead of\b", plain) and not re.search(r"\b(replace|swap|exchange)\b", plain)
        new_first = re.search(r"\bsubstitute\b.*\bfor\b", plain)
        return EditCommand("swap", (names[1], names[0]) if reverse or new_first else (names[0], names[1]))
    if (
        re.search(r"\b(melody|tune|lead)\b", plain)
        and re.search(r"\b(on|by|to|play\w*|let|have|lead|carry|take)\b", plain)
        and not re.search(rf"{_REMOVE}|\badd\b", plain)
    ):
        return EditCommand("lead", (names[0],))
    if re.search(r"\b(everything|all)\b.*\b(but|except|apart from)\b", plain):
        return EditCommand("solo", names)
    if re.search(_REMOVE, plain) and not re.search(_SOLO, plain):
        everything = dict.fromkeys(name for members in named for name in members)
        return EditCommand("remove", tuple(everything))
    if re.search(_SOLO, plain) and not re.search(r"\badd\b", plain):
        return EditCommand("solo", names)
    if re.search(_ADD, plain) or re.search(r"\b(more|with|want|some)\b", plain):
        return EditCommand("add", names)
    return None


def _style(text: str, plain: str, matches: list[Match]) -> EditCommand | None:
    hints = [(m, m.entry.hint) for m in matches if m.entry.hint is not None]
    if re.search(
        r"\bmore (energy|energetic|power\w*|intens\w*|lively|exciting)|\b(increase|raise) the energy|livelier|liven",
        plain,
    ):
        return EditCommand("energy", (), 1.0)
    if re.search(
        r"\bless (energy|energetic|intens\w*|lively|busy)|\b(reduce|lower|decrease) the energy|tone (it )?down", plain
    ):
        return EditCommand("energy", (), -1.0)
    for _, hint in hints:
        if hint.genre is not None:
            return EditCommand("genre", (hint.genre,))
    tokens = plain.split()
    for match, hint in hints:
        word = " ".join(tokens[match.start : match.end])
        if hint.kind == "mood":
            return EditCommand("mood", (word,))
    return None
