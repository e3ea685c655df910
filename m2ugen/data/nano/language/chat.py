# ruff: noqa: E501 (lists of phrases read best in a row)
"""Plain talk: greetings, questions about the system and general questions about music, with short answers."""

from __future__ import annotations

import numpy as np

from m2ugen.data.nano.language.fragments import pick
from m2ugen.score.attributes import GENRES, INSTRUMENTS, TONICS
from m2ugen.score.wording import join

_COURTESIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("hi", "hello", "Hi!", "Hello!", "hey", "hey there", "good morning", "good evening", "hi there"), "Hello! I can listen to music, talk about it, make it and edit it."),
    (("how are you?", "how are you today?", "hello, how are you?"), "I am fine, thank you. Shall we make some music?"),
    (("what can you do?", "help", "how do you work?", "what can I do here?"), "I answer questions about music, make music from words, pictures and videos, and edit music."),
    (("thanks", "thank you!", "great, thanks", "thank you very much", "cool, thanks", "nice"), "You are welcome."),
    (("who are you?", "what is your name?", "what are you?"), "I am M2UGen, a model that understands and makes music."),
    (("bye", "goodbye", "see you", "good night"), "Goodbye! I hope the music is good."),
)  # fmt: skip
_TALK: tuple[tuple[tuple[str, ...], str], ...] = (
    (("what does bpm mean?", "what is bpm?"), "Bpm means beats per minute; it measures the tempo."),
    (("what is the difference between major and minor?", "major or minor, what is the difference"), "Major keys have a large third and sound bright; minor keys have a small third and sound darker."),
    (("what is MIDI?", "what's midi"), "MIDI stores notes instead of sound: pitch, time, length and velocity."),
    (("how fast is techno?", "what tempo has techno?"), "Techno is mostly played at 120 to 150 beats per minute."),
    (("how fast is a ballad?", "what tempo has a ballad"), "A ballad is slow, at about 60 to 80 beats per minute."),
    (("what makes music sad?", "why does some music sound sad"), "Slow tempi, minor keys, soft dynamics and falling melodies make music sound sad."),
    (("what makes music happy?", "why does some music sound happy"), "Fast tempi, major keys and bright, lively rhythms make music sound happy."),
    (("which instruments play in a jazz trio?", "what is a jazz trio"), "A jazz trio is often piano, bass and drums."),
    (("which instruments are in a string quartet?", "what is a string quartet"), "A string quartet has two violins, a viola and a cello."),
    (("which instruments are in a rock band?", "what does a rock band need"), "A rock band has electric guitars, bass and drums, and a singer."),
    (("which instruments are in an orchestra?", "what is an orchestra?"), "An orchestra has strings, woodwinds, brass and percussion."),
    (("how many keys does a piano have?",), "A piano has 88 keys."),
    (("how many strings has a guitar?", "how many strings does a guitar have"), "A guitar usually has six strings."),
    (("how many strings has a violin?",), "A violin has four strings."),
    (("which chords are in C major?",), "C major has the chords C, D minor, E minor, F, G, A minor and B diminished."),
    (("how do I write a melody?", "tips for writing a melody"), "Start from a short idea, repeat it, change it a little, and end it on the home note."),
    (("how do I write a song?", "how do I start a song"), "Begin with a few chords or a short tune, and build a verse and a chorus from it."),
)  # fmt: skip

# What a thing of music is: the question "what is …?" and its answer.
_TERMS: tuple[tuple[str, str], ...] = (
    ("a waltz", "A waltz is a dance in 3/4 time."),
    ("a chord", "A chord is several notes that sound together."),
    ("a melody", "A melody is a line of notes that is heard as the tune."),
    ("harmony", "Harmony is how notes sound together and how chords follow each other."),
    ("rhythm", "Rhythm is how notes are placed in time."),
    ("a key", "The key says which note is home and which scale is used."),
    ("a scale", "A scale is an order of notes from low to high, such as the seven notes of C major."),
    ("a time signature", "A time signature says how many beats a bar has, for example 3/4 or 4/4."),
    ("a bar", "A bar is a group of beats; in 4/4 it has four."),
    ("a beat", "The beat is the steady pulse of music to which feet tap."),
    ("tempo", "Tempo is the speed of music, counted in beats per minute."),
    ("an octave", "An octave is the distance of twelve semitones; both notes have the same name."),
    ("a semitone", "A semitone is the smallest step on a piano, from one key to the next."),
    ("an interval", "An interval is the distance between two notes."),
    ("a triad", "A triad is a chord of three notes: root, third and fifth."),
    ("an arpeggio", "An arpeggio is a chord whose notes are played one after the other."),
    ("reverb", "Reverb is the sound of a room that goes on after the note."),
    ("delay", "Delay is an effect that repeats the sound a little later, like an echo."),
    ("distortion", "Distortion is an effect that makes a sound rough by overdriving it."),
    ("a bass line", "A bass line is the lowest part; it carries the harmony and the rhythm."),
    ("a riff", "A riff is a short figure that is repeated, often on the guitar."),
    ("a groove", "A groove is the rhythm of bass and drums that makes people move."),
    ("syncopation", "Syncopation puts accents between the beats."),
    ("swing", "In swing, pairs of notes are played long and short instead of even."),
    ("a cadence", "A cadence is a pair of chords that ends a phrase, such as G to C."),
    ("a chorus", "The chorus is the part of a song that returns with the same words and melody."),
    ("a verse", "The verse is the part of a song whose words change while its melody returns."),
    ("a bridge", "A bridge is a part of a song that contrasts with verse and chorus."),
    ("an intro", "An intro is what is played before the song begins."),
    ("a coda", "A coda is a part that ends a piece."),
    ("a sonata", "A sonata is a piece for one or two instruments, mostly in several movements."),
    ("a symphony", "A symphony is a long piece for orchestra, mostly in four movements."),
    ("a concerto", "A concerto is a piece for a soloist and an orchestra."),
    ("a fugue", "A fugue is a piece in which voices enter one after the other with the same theme."),
    ("an opera", "An opera is a play whose words are sung, with an orchestra."),
    ("a lullaby", "A lullaby is a quiet, slow song that puts a child to sleep."),
    ("a march", "A march is music in 2/4 or 4/4 to which people walk."),
    ("a tango", "A tango is a dance from Argentina and Uruguay with sharp accents."),
    ("a bossa nova", "Bossa nova is a soft style from Brazil, between samba and jazz."),
    ("dynamics", "Dynamics are how loud and soft music is."),
    ("staccato", "Staccato notes are short and separate."),
    ("legato", "Legato notes are joined without gaps."),
    ("timbre", "Timbre is the colour of a sound, by which instruments are told apart."),
    ("counterpoint", "Counterpoint is the art of leading several melodies at the same time."),
    ("a metronome", "A metronome is a device that clicks at a steady tempo."),
    ("a soundtrack", "A soundtrack is the music that goes with a film or a game."),
    ("a synthesizer", "A synthesizer is an instrument that makes its sounds electronically."),
    ("rock", "Rock is music with electric guitars, bass, drums and a strong beat."),
    ("pop", "Pop is music with simple forms and tunes that are easy to remember."),
    ("jazz", "Jazz is music with swing, rich chords and improvised solos."),
    ("blues", "Blues is music on three chords in twelve bars, with bent notes."),
    ("country music", "Country is music with guitars, fiddle or banjo, and songs that tell stories."),
    ("funk", "Funk is music in which a syncopated groove of bass and drums matters most."),
    ("latin music", "Latin music has lively rhythms from South America and the Caribbean, with much percussion."),
    ("classical music", "Classical music is written for orchestra, piano, choir or small groups of instruments."),
    ("electronic music", "Electronic music is made with synthesizers, drum machines and computers."),
    ("a ballad", "A ballad is a slow song, often about love."),
)  # fmt: skip
_WHAT = ("what is {}?", "What is {}?", "what's {}", "Explain {}.", "can you explain what {} is?", "Tell me what {} is.")

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


def sample_chat(rng: np.random.Generator) -> tuple[str, str]:
    """A question or remark that needs no attached media, and a short answer."""
    kind = rng.random()
    if kind < 0.4:
        questions, answer = pick(rng, _COURTESIES if kind < 0.2 else _TALK)
        return pick(rng, questions), answer
    if kind < 0.75:
        term, answer = pick(rng, _TERMS)
        return pick(rng, _WHAT).format(term), answer
    if kind < 0.83:
        instrument = pick(rng, [i for i in INSTRUMENTS if i.family not in ("drums", i.name)])
        return (
            f"What kind of instrument is the {instrument.name}?",
            f"The {instrument.name} belongs to the {instrument.family} family.",
        )
    if kind < 0.95:
        tonic, mode = int(rng.integers(12)), pick(rng, ("major", "minor"))
        notes = [TONICS[(tonic + step) % 12] for step in _SCALES[mode]]
        return f"Which notes are in {TONICS[tonic]} {mode}?", f"{TONICS[tonic]} {mode} has the notes {join(notes)}."
    return pick(rng, ("Which genres do you know?", "what styles can you play?")), f"I can play {join(GENRES)}."
