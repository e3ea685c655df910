"""From a song to a piece for a band: which bars, which form, who plays what, and every note of it.

Three kinds of accompaniment: ``original`` (what the song came with), ``band`` (MMA plays the song's chords in a
groove of the genre) and ``mixed`` (the song's own piano over MMA's bass and drums).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from m2ugen.data.nano import form, harmony, styles
from m2ugen.data.nano.mma import BandPart, Groove, Request
from m2ugen.data.nano.songs import Song, cut_notes, monophonic, without_collisions
from m2ugen.data.nano.voices import (
    HARMONY,
    MAX_DENSITY,
    Voice,
    band_voices,
    coverage,
    density,
    ensemble,
    pad_notes,
    swing,
    swings,
)
from m2ugen.score import keys
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import COLUMNS, DURATION, ONSET, PART, PITCH, VELOCITY, sort_notes
from m2ugen.score.plan import CHORDS_PER_BAR, ROLES, Part, Plan, Section

LENGTHS = (8, 12, 16, 20, 24, 28, 32, 36, 40)  # bars
LENGTH_WEIGHTS = (0.12, 0.1, 0.2, 0.11, 0.15, 0.08, 0.14, 0.04, 0.06)
PAD_SHARE = 0.3  # of the bands without a pad that get one
MAX_VOICES = 6  # per part and onset


@dataclass(frozen=True)
class Spec:
    """Everything that is decided about an arrangement before the band plays."""

    name: str
    song: Song  # the chosen bars
    sections: tuple[tuple[str, int, int], ...]  # letter, bars, strength (-1, 0, 1)
    genre: str
    kind: str
    groove: Groove | None
    tempo: float
    tonic: int
    lead: str
    ending: bool
    seed: int

    def request(self) -> Request:
        """What MMA is asked to play."""
        slots, start, parts = CHORDS_PER_BAR[self.song.metre], 0, []
        for _, bars, strength in self.sections:
            parts.append((self.song.chords[start * slots : (start + bars) * slots], strength))
            start += bars
        return Request(tuple(parts), self.tonic, self.ending)


def closes(song: Song, stop: int) -> bool:
    """Whether the bars before ``stop`` end like a piece: on the tonic chord, the tune on a note of it."""
    slots = CHORDS_PER_BAR[song.metre]
    last = song.chords[stop * slots - 1]
    before = song.melody[song.melody[:, ONSET] < stop * song.bar_ticks]
    if last is None or last.root != 0 or not len(before):
        return False
    long_enough = before[-1, ONSET] >= (stop - 2) * song.bar_ticks
    return bool(long_enough and before[-1, PITCH] % 12 in last.pitch_classes())


def choose_piece(song: Song, even: bool, rng: np.random.Generator) -> tuple[Song, bool] | None:
    """Some 8-40 bars of the song that begin and, where possible, end with a phrase, and whether they close.

    ``even`` asks for an even number of bars. None where the song holds no stretch with enough melody and harmony.
    """
    offset = form.phrase_start(song)
    starts = np.arange(offset, song.bars - 7, form.PHRASE)
    sung = np.zeros(song.bars, dtype=bool)
    sung[np.minimum(song.melody[:, ONSET] // song.bar_ticks, song.bars - 1)] = True
    slots = CHORDS_PER_BAR[song.metre]
    named = np.all(np.array([chord is not None for chord in song.chords]).reshape(-1, slots), axis=1)
    for _ in range(12):
        if not len(starts):
            return None
        length = min(int(rng.choice(LENGTHS, p=LENGTH_WEIGHTS)), song.bars - offset)
        ends = [s for s in range(offset + 8, song.bars + 1, form.PHRASE) if closes(song, s)]
        ends += [song.bars] * (3 if song.complete else 0)
        ends = [s for s in ends if s >= offset + length - 3]
        if ends and rng.random() < 0.7:
            stop = int(rng.choice(ends))
            first = [s for s in starts if stop - length - 3 <= s <= stop - 8]
            start = int(first[0]) if first else -1
        else:
            start = int(rng.choice([s for s in starts if s + length <= song.bars] or starts[:1]))
            stop = start + length
        if even and (stop - start) % 2:
            start -= 1
        if start < 0 or not 8 <= stop - start <= 44:
            continue
        inside = slice(start, stop)
        if sung[inside].mean() < 0.65 or not sung[start : start + 4].any() or named[inside].mean() < 0.8:
            continue
        piece = song.cut(start, stop)
        if not _in_key(piece):
            continue
        return _fill_chords(piece), closes(song, stop) or piece.complete
    return None


def _in_key(song: Song) -> bool:
    """Whether the stretch stays in the song's key: its notes, its chords, and no other key fits much better."""
    everything = np.concatenate([song.melody, song.accompaniment])
    if harmony.share_in_key(everything, song.mode) < 0.88:
        return False
    if song.source == "blues":  # its chords are sevenths on every degree
        return True
    scores = keys.key_scores(keys.pitch_class_weights(everything))
    diatonic = float(np.mean([harmony.is_diatonic(chord, song.mode) for chord in song.chords]))
    return diatonic >= 0.65 and scores[0, song.mode] >= max(scores.values()) - 0.15


def _fill_chords(song: Song) -> Song:
    """Holes between chords continue the chord before them (rests of a slot would make the band stumble)."""
    chords = list(song.chords)
    for slot in range(1, len(chords)):
        if chords[slot] is None:
            chords[slot] = chords[slot - 1]
    return replace(song, chords=tuple(chords))


def to_mode(song: Song, mode: str, rng: np.random.Generator) -> Song:
    """The song in ``mode``; unchanged where it is in it already or where its harmony strays too far from the scale."""
    diatonic = np.mean([harmony.is_diatonic(chord, song.mode) for chord in song.chords])
    if song.mode == mode or diatonic < 0.9 or harmony.share_in_key(song.melody, song.mode) < 0.95:
        return song
    keep = bool(rng.random() < 0.5)
    arrays, chords = harmony.to_parallel((song.melody, song.accompaniment), song.chords, song.metre, song.mode, keep)
    return replace(song, melody=arrays[0], accompaniment=arrays[1], chords=chords, mode=mode)


def draw_tempo(genre: str, metre: str, rng: np.random.Generator) -> float:
    """A tempo: mostly from the genre's usual range, often from anywhere, so that genre and tempo stay separable."""
    low, high = styles.PALETTES[genre].tempo if rng.random() < 0.65 else (52.0, 185.0)
    tempo = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return round(np.clip(tempo * (0.72 if metre == "6/8" else 1.0), 45.0, 190.0), 1)


def draw_sections(song: Song, even: bool, rng: np.random.Generator) -> tuple[tuple[str, int, int], ...]:
    """Letters and lengths from the song, strengths by letter: the form should be heard as a change of the band."""
    length = 8 if song.bars >= 12 and rng.random() < 0.65 else 4
    found = form.sections(song, length, rng)
    if even and any(bars % 2 for _, bars in found):
        found = form.sections(song, 8, np.random.default_rng(0))
    strengths = {letter: int(rng.choice([-1, 0, 0, 1])) for letter, _ in found}
    if len(found) > 1 and rng.random() < 0.35:
        strengths[found[-1][0]] = 1
        strengths.setdefault(found[0][0], -1)
    drawn = [(letter, bars, strengths[letter]) for letter, bars in found]
    if len(drawn) > 2 and rng.random() < 0.4:  # begin thin
        drawn[0] = (*drawn[0][:2], -1)
    return tuple(drawn)


def draw_lead(genre: str, rng: np.random.Generator) -> str:
    """The instrument of the tune: likely ones of the genre first, now and then any."""
    if rng.random() < 0.2:
        return str(rng.choice(styles.ANY_LEAD))
    names = styles.PALETTES[genre].lead
    weights = 1.0 / (2.0 + np.arange(len(names)))
    return str(rng.choice(names, p=weights / weights.sum()))


def arrange(spec: Spec, band: list[BandPart] | None) -> tuple[Plan, np.ndarray] | None:
    """The finished piece, or None where the band's parts are unusable. Deterministic: randomness from spec.seed."""
    rng = np.random.default_rng(spec.seed)
    song = spec.song
    voices = [Voice("melody", spec.lead, song.melody.copy())]
    voices[0].notes[:, PITCH] += _shift(spec.tonic)
    if spec.kind in ("original", "mixed"):
        voices += _own_accompaniment(spec, rng)
    if band is not None:
        played = band_voices(band, song, spec.genre, rng)
        if spec.kind == "mixed":
            played = [voice for voice in played if voice.role in ("bass", "drums")]
            if any(voice.role == "bass" for voice in played):
                voices = [voice for voice in voices if voice.role != "bass"]
        else:
            played = ensemble(played, spec.genre, rng)
        played = [v for v in played if v.role != "pad" or coverage(v.notes, song) >= 0.5]
        harmonic = [v for v in [*voices, *played] if v.role in HARMONY and coverage(v.notes, song) >= 0.5]
        if not any(v.role == "pad" for v in played) and (not harmonic or rng.random() < PAD_SHARE):
            played.append(Voice("pad", str(rng.choice(styles.PALETTES[spec.genre].pad)), pad_notes(song, spec.tonic)))
        if swings(played):
            voices[0].notes = swing(voices[0].notes)
        voices += played
    if len(voices) < 2:
        return None
    voices = _dynamics(voices, spec, rng)
    voices.sort(key=lambda voice: ROLES.index(voice.role))
    plan = _plan(spec, voices)
    rows = []
    for index, voice in enumerate(voices):
        notes = _finish(voice, spec)
        notes[:, PART] = index
        rows.append(notes)
    present = [index for index, notes in enumerate(rows) if len(notes) >= song.bars // 4 + 1]
    if len(present) < len(voices):
        plan = replace(plan, parts=tuple(plan.parts[i] for i in present))
        rows = [rows[i] for i in present]
        for index, notes in enumerate(rows):
            notes[:, PART] = index
    if len(rows) < 2 or plan.part("melody") is None:
        return None
    notes = sort_notes(np.concatenate(rows).reshape(-1, COLUMNS))
    return form.with_energy(notes, plan.validated()), notes


def _plan(spec: Spec, voices: list[Voice]) -> Plan:
    request = spec.request()
    sections = tuple(
        Section(letter, bars, 2, chords)
        for (letter, bars, _), (chords, _) in zip(spec.sections, request.sections, strict=True)
    )
    parts = tuple(Part(voice.role, voice.instrument) for voice in voices)
    song = spec.song
    return Plan(spec.tempo, song.metre, spec.tonic, song.mode, spec.genre, 2, parts, sections, spec.ending)


def _shift(tonic: int) -> int:
    """Semitones from C to ``tonic`` the short way."""
    return tonic if tonic <= 6 else tonic - 12


def _own_accompaniment(spec: Spec, rng: np.random.Generator) -> list[Voice]:
    """The song's own accompaniment, on the piano or on instruments of the genre, sometimes with the bass apart."""
    notes = spec.song.accompaniment.copy()
    if not len(notes) or density(notes, spec.song.bars) > MAX_DENSITY:
        return []
    notes[:, PITCH] += _shift(spec.tonic)
    instrument = "piano" if rng.random() < 0.6 else str(rng.choice(styles.PALETTES[spec.genre].chords))
    if rng.random() < (0.12 if instrument == "piano" else 0.4):
        lowest = {int(onset): int(pitch) for onset, pitch in notes[::-1][:, [ONSET, PITCH]]}
        low = np.array([lowest[int(o)] == p and p < 55 for o, p in notes[:, [ONSET, PITCH]]])
        if low.sum() > spec.song.bars and (~low).sum() > spec.song.bars:
            bass = str(rng.choice(styles.PALETTES[spec.genre].bass))
            return [Voice("bass", bass, notes[low]), Voice("chords", instrument, notes[~low])]
    return [Voice("chords", instrument, notes)]


def _dynamics(voices: list[Voice], spec: Spec, rng: np.random.Generator) -> list[Voice]:
    """Loudness of the piece, of its sections and of every note; thin sections lose a player."""
    overall = float(np.exp(rng.normal(0.0, 0.16)))
    roles = [voice.role for voice in voices]
    resting = [r for r in ("drums", "pad", "arpeggio") if r in roles and rng.random() < 0.35]
    if "chords" not in roles:  # somebody has to play the harmony
        resting = [r for r in resting if r == "drums"]
    start = 0
    scales = np.zeros(spec.song.bars)
    thin = np.zeros(spec.song.bars, dtype=bool)
    for _, bars, strength in spec.sections:
        scales[start : start + bars] = overall * (0.85, 1.0, 1.1)[strength + 1]
        thin[start : start + bars] = strength < 0
        start += bars
    if thin.all():
        thin[:] = False
    shaped = []
    for voice in voices:
        notes = voice.notes
        if voice.role in resting:
            notes = notes[~thin[np.minimum(notes[:, ONSET] // spec.song.bar_ticks, len(thin) - 1)]]
        if not len(notes):
            continue
        notes = notes.copy()
        level = {"melody": 90.0, "bass": 80.0, "drums": 78.0, "chords": 68.0, "arpeggio": 66.0, "pad": 60.0}[voice.role]
        centred = level + 0.6 * (notes[:, VELOCITY] - notes[:, VELOCITY].mean()) + rng.normal(0, 2.5, len(notes))
        centred *= scales[np.minimum(notes[:, ONSET] // spec.song.bar_ticks, len(scales) - 1)]
        notes[:, VELOCITY] = np.clip(np.round(centred), 20, 124)
        shaped.append(Voice(voice.role, voice.instrument, notes))
    return shaped


def _finish(voice: Voice, spec: Spec) -> np.ndarray:
    """Ranges, lengths and the number of voices put right."""
    ticks = spec.song.bars * spec.song.bar_ticks
    notes = cut_notes(voice.notes, 0, ticks)
    notes[:, DURATION] = np.minimum(notes[:, DURATION], 2 * spec.song.bar_ticks)
    if voice.role == "drums" or not len(notes):
        return notes
    instrument = INSTRUMENTS[INSTRUMENT_INDEX[voice.instrument]]
    if voice.role == "melody":
        centre = styles.LEAD_CENTRES.get(voice.instrument, styles.LEAD_CENTRE)
        notes[:, PITCH] += 12 * round((centre - float(np.median(notes[:, PITCH]))) / 12)
    low, high = instrument.low, instrument.high
    if voice.role == "bass":
        high = min(high, 55)
    notes[:, PITCH] = fold(notes[:, PITCH], low, high)
    if voice.role == "bass":
        notes[:, PITCH] *= -1  # the lowest line instead of the highest
        notes = monophonic(notes)
        notes[:, PITCH] *= -1
    if voice.role != "melody" and spec.kind == "band":
        notes[:, DURATION] = np.minimum(notes[:, DURATION], _until_change(notes[:, ONSET], spec.song))
    return without_collisions(_thin_onsets(notes))


def fold(pitches: np.ndarray, low: int, high: int) -> np.ndarray:
    """Pitches moved by octaves into [low, high] (at least an octave wide)."""
    pitches = pitches + 12 * np.maximum(-(-(low - pitches) // 12), 0)
    return pitches - 12 * np.maximum(-(-(pitches - high) // 12), 0)


def _until_change(onsets: np.ndarray, song: Song) -> np.ndarray:
    """Ticks from every onset to the next change of chord."""
    slot_ticks = song.bar_ticks // CHORDS_PER_BAR[song.metre]
    changes = [s * slot_ticks for s in range(1, len(song.chords)) if song.chords[s] != song.chords[s - 1]]
    edges = np.array([*changes, len(song.chords) * slot_ticks])
    return edges[np.searchsorted(edges, onsets, side="right").clip(max=len(edges) - 1)] - onsets


def _thin_onsets(notes: np.ndarray) -> np.ndarray:
    """At most MAX_VOICES notes per onset: the lowest and the highest ones stay."""
    order = np.lexsort((notes[:, PITCH], notes[:, ONSET]))
    notes = notes[order]
    starts = np.flatnonzero(np.r_[True, np.diff(notes[:, ONSET]) > 0])
    stops = np.r_[starts[1:], len(notes)]
    chosen: list[int] = []
    for start, stop in zip(starts, stops):
        indices = list(range(start, stop))
        if len(indices) > MAX_VOICES:
            indices = indices[:2] + indices[2 - MAX_VOICES :]
        chosen += indices
    return notes[chosen]
