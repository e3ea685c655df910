# ruff: noqa: E501 (lists of phrases read best in a row)
"""Plain talk: greetings, questions about the system and a few general questions about music, with short answers."""

from __future__ import annotations

import numpy as np

from m2ugen.data.nano.language.fragments import pick
from m2ugen.score.attributes import GENRES, INSTRUMENTS, TONICS
from m2ugen.score.wording import join

_TALK: tuple[tuple[tuple[str, ...], str], ...] = (
    (("hi", "hello", "hey there", "good morning"), "Hello! I can listen to music, talk about it, make it and edit it."),
    (("what can you do?", "help", "how do you work?"), "I answer questions about music, make music from words, pictures and videos, and edit music."),
    (("thanks", "thank you!", "great, thanks"), "You are welcome."),
    (("who are you?", "what is your name?"), "I am M2UGen, a model that understands and makes music."),
    (("what is a waltz?",), "A waltz is a dance in 3/4 time."),
    (("what does bpm mean?", "what is bpm?"), "Bpm means beats per minute; it measures the tempo."),
    (("what is a chord?",), "A chord is several notes that sound together."),
    (("what is a melody?",), "A melody is a line of notes that is heard as the tune."),
    (("what is the difference between major and minor?",), "Major keys have a large third and sound bright; minor keys have a small third and sound darker."),
    (("what is a key?", "what is tonality?"), "The key says which note is home and which scale is used."),
    (("what is a time signature?",), "A time signature says how many beats a bar has, for example 3/4 or 4/4."),
    (("what is an octave?",), "An octave is the distance of twelve semitones; both notes have the same name."),
    (("what is reverb?",), "Reverb is the sound of a room that goes on after the note."),
    (("what is a bass line?",), "A bass line is the lowest part; it carries the harmony and the rhythm."),
    (("what is MIDI?", "what's midi"), "MIDI stores notes instead of sound: pitch, time, length and velocity."),
    (("what is a chorus in a song?",), "The chorus is the part that returns with the same words and melody."),
)  # fmt: skip
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


def sample_chat(rng: np.random.Generator) -> tuple[str, str]:
    """A question or remark that needs no attached media, and a short answer."""
    kind = rng.random()
    if kind < 0.6:
        questions, answer = pick(rng, _TALK)
        return pick(rng, questions), answer
    if kind < 0.75:
        instrument = pick(rng, [i for i in INSTRUMENTS if i.family not in ("drums", i.name)])
        return (
            f"What kind of instrument is the {instrument.name}?",
            f"The {instrument.name} belongs to the {instrument.family} family.",
        )
    if kind < 0.9:
        tonic, mode = int(rng.integers(12)), pick(rng, ("major", "minor"))
        notes = [TONICS[(tonic + step) % 12] for step in _SCALES[mode]]
        return f"Which notes are in {TONICS[tonic]} {mode}?", f"{TONICS[tonic]} {mode} has the notes {join(notes)}."
    return pick(rng, ("Which genres do you know?", "what styles can you play?")), f"I can play {join(GENRES)}."
