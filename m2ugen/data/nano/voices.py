"""The band's parts: MMA's tracks as voices with roles and instruments, smaller ensembles, swing and held chords."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2ugen.data.nano import styles
from m2ugen.data.nano.mma import BandPart
from m2ugen.data.nano.songs import Song, without_collisions
from m2ugen.score.notes import COLUMNS, DURATION, ONSET, PITCH
from m2ugen.score.plan import CHORD_QUALITIES, CHORDS_PER_BAR

HARMONY = ("chords", "arpeggio", "pad")
MAX_DENSITY = 28.0  # notes per bar and pitched part; busier parts are left out
SWING = {3: 4, 6: 8, 9: 10}  # place in the beat: straight → swung


@dataclass
class Voice:
    """A part in the making."""

    role: str
    instrument: str
    notes: np.ndarray


def band_voices(band: list[BandPart], song: Song, genre: str, rng: np.random.Generator) -> list[Voice]:
    """MMA's tracks as at most one voice per role; what is too busy or has no role left stays out."""
    palette = styles.PALETTES[genre]
    drums = [part.notes for part in band if part.drums]
    voices = [Voice("drums", "drums", without_collisions(np.concatenate(drums)))] if drums else []
    pitched = [part for part in band if not part.drums and part.instrument is not None and len(part.notes) >= 4]
    pitched = [part for part in pitched if density(part.notes, song.bars) <= MAX_DENSITY]
    bass = _bass_part(pitched)
    if bass is not None:
        own = bass.instrument.name if bass.instrument and bass.instrument.family == "bass" else palette.bass[0]
        name = own if rng.random() < 0.6 else str(rng.choice(palette.bass))
        voices.append(Voice("bass", name, bass.notes))
    keep = rng.random() < 0.5  # the groove's own instruments
    others = [part for part in pitched if part is not bass]
    # Tracks that play throughout come first; those of one variant of the groove only colour its sections.
    for part in sorted(others, key=lambda p: (-coverage(p.notes, song), -len(p.notes))):
        taken = {voice.role for voice in voices}
        role = next((r for r in _roles(part, song) if r not in taken), None)
        if role is None or part.instrument is None:
            continue
        name = part.instrument.name
        if role == "pad" and (not keep or part.instrument.family in ("piano", "guitar", "bass", "mallets")):
            name = str(rng.choice(palette.pad))
        elif role != "pad" and (not keep or part.instrument.family == "bass"):
            name = str(rng.choice(palette.chords if rng.random() < 0.8 else styles.ANY_CHORDS))
        voices.append(Voice(role, name, part.notes))
    return voices


def density(notes: np.ndarray, bars: int) -> float:
    """Notes per bar in which the part plays (bars of three quarters; an estimate)."""
    used = len(np.unique(notes[:, ONSET] // 36))
    return len(notes) / max(min(used, bars), 1)


def coverage(notes: np.ndarray, song: Song) -> float:
    """Share of the song's bars in which the notes begin, in tenths."""
    return round(len(np.unique(notes[:, ONSET] // song.bar_ticks)) / song.bars, 1)


def _bass_part(parts: list[BandPart]) -> BandPart | None:
    """The bass: a low track on a bass instrument, else the lowest track if it is low enough."""
    low = [part for part in parts if np.median(part.notes[:, PITCH]) < 54]
    named = [part for part in low if part.instrument is not None and part.instrument.family == "bass"]
    pool = named or [part for part in low if len(np.unique(part.notes[:, ONSET])) > 0.8 * len(part.notes)]
    return max(pool, key=lambda part: len(part.notes), default=None)


def _roles(part: BandPart, song: Song) -> tuple[str, ...]:
    """The roles that a track can take, the best first."""
    notes = part.notes
    voices = len(notes) / max(len(np.unique(notes[:, ONSET])), 1)
    sustained = float(np.median(notes[:, DURATION])) >= 0.45 * song.bar_ticks
    family = part.instrument.family if part.instrument else ""
    if sustained and family in ("strings", "voice", "synth", "organ", "brass"):
        return ("pad", "chords")
    if voices < 1.6:
        return ("arpeggio", "chords")
    return ("chords", "pad") if sustained else ("chords", "arpeggio")


def ensemble(voices: list[Voice], genre: str, rng: np.random.Generator) -> list[Voice]:
    """Sometimes only a part of the band plays: no drums, a duo, a trio."""
    draw = rng.random()
    if genre == "classical" and draw < 0.9:
        draw = 0.08
    if draw < 0.1:
        return [voice for voice in voices if voice.role != "drums"] or voices
    if draw < 0.2 and len(voices) > 2:
        harmony_voices = [voice for voice in voices if voice.role in HARMONY]
        others = [voice for voice in voices if voice.role in ("bass", "drums")]
        if harmony_voices:
            chosen = [harmony_voices[int(rng.integers(len(harmony_voices)))]]
            extra = [voice for voice in others if rng.random() < 0.4]
            return chosen + extra
    if draw < 0.3:
        harmony_voices = [voice for voice in voices if voice.role in ("arpeggio", "pad")]
        if harmony_voices:
            drop = harmony_voices[int(rng.integers(len(harmony_voices)))]
            return [voice for voice in voices if voice is not drop]
    return voices


def swings(voices: list[Voice]) -> bool:
    """Whether the band plays triplets where straight time has eighths."""
    places = np.concatenate([voice.notes[:, ONSET] % 12 for voice in voices] or [np.zeros(0, dtype=np.int64)])
    return bool(np.isin(places, (4, 8)).sum() > 1.5 * np.isin(places, (3, 6, 9)).sum())


def swing(notes: np.ndarray) -> np.ndarray:
    """Straight eighths and sixteenths moved to their swung places; ends move with the onsets that follow them."""
    table = np.array([SWING.get(place, place) for place in range(12)])
    ends = notes[:, ONSET] + notes[:, DURATION]
    moved = notes.copy()
    moved[:, ONSET] += (table[notes[:, ONSET] % 12] - notes[:, ONSET] % 12).astype(notes.dtype)
    ends = ends + table[ends % 12] - ends % 12
    moved[:, DURATION] = np.maximum(ends - moved[:, ONSET], 1)
    return moved


def pad_notes(song: Song, tonic: int) -> np.ndarray:
    """Held chords in close position, each voice moving as little as it can."""
    ticks = song.bar_ticks // CHORDS_PER_BAR[song.metre]
    rows: list[list[int]] = []
    voicing = [60, 64, 67]
    start = 0
    for slot in range(1, len(song.chords) + 1):
        if slot < len(song.chords) and song.chords[slot] == song.chords[start] and (slot - start) * ticks < 96:
            continue
        chord = song.chords[start]
        if chord is not None:
            classes = [(chord.root + tonic + i) % 12 for i in CHORD_QUALITIES[chord.quality]]
            wanted = classes if len(classes) == 3 else classes[:2] + classes[3:]  # four notes: without the fifth
            voicing = sorted({_nearest(pc, voicing) for pc in wanted})
            rows += [[start * ticks, 0, pitch, (slot - start) * ticks, 60] for pitch in voicing]
        start = slot
    return np.array(rows, dtype=np.int32).reshape(-1, COLUMNS)


def _nearest(pitch_class: int, voicing: list[int]) -> int:
    """The pitch of a class in the middle register that is nearest to any note of ``voicing``."""
    pitches = [pitch for pitch in range(52, 77) if pitch % 12 == pitch_class]
    return min(pitches, key=lambda pitch: (min(abs(pitch - v) for v in voicing), abs(pitch - 64)))
