"""What is put right after the notes are drawn: overlaps, strums that ring too long, and the last bar."""

from __future__ import annotations

import numpy as np

from m2ugen.model.decoders.score.fills import CRASH, KICK, with_fills
from m2ugen.model.decoders.score.voicing import with_led_voices
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, VELOCITY, sort_notes
from m2ugen.score.plan import BEAT_TICKS, CHORD_QUALITIES, CHORDS_PER_BAR, Chord, Plan

MONOPHONIC = ("melody", "bass")
BASS_TOP = 47  # the closing bass note lies below this pitch


def finish(notes: np.ndarray, plan: Plan) -> np.ndarray:
    """Finished notes int32 [n, 5]: no part overlaps itself on a pitch, melody and bass are legato at most, chords
    follow one another closely (see ``voicing``) and end where the harmony leaves them, drums lead from section to
    section (see ``fills``), and a piece with an ending closes (see ``close``). Nothing is written past the last bar."""
    notes = with_led_voices(sort_notes(notes[notes[:, ONSET] < plan.ticks]), plan)
    notes = np.concatenate(
        [_untangled(notes[notes[:, PART] == index], plan, index) for index in range(len(plan.parts))]
    )
    notes = with_fills(notes, plan)
    if plan.ending:
        notes = close(notes, plan)
    notes[:, DURATION] = np.clip(notes[:, DURATION], 1, plan.ticks - notes[:, ONSET])
    return sort_notes(notes.astype(np.int32))


def _untangled(notes: np.ndarray, plan: Plan, index: int) -> np.ndarray:
    """One part without overlaps of a pitch with itself, and without sounds that have outlived their chord."""
    role = plan.parts[index].role
    notes = notes.copy()
    following: dict[int, int] = {}
    for place in range(len(notes) - 1, -1, -1):
        onset, _, pitch, duration, _ = notes[place].tolist()
        lane = 0 if role in MONOPHONIC else pitch
        limit = following.get(lane, plan.ticks)
        if role not in (*MONOPHONIC, "drums"):
            limit = min(limit, _chord_end(plan, onset, pitch, onset + duration))
        notes[place, DURATION] = min(duration, limit - onset)
        following[lane] = onset
    return notes[notes[:, DURATION] > 0]


def _chord_end(plan: Plan, onset: int, pitch: int, end: int) -> int:
    """The first chord change after ``onset`` whose chord does not hold ``pitch``, or ``end``."""
    step = plan.bar_ticks // CHORDS_PER_BAR[plan.metre]
    for tick in range((onset // step + 1) * step, min(end, plan.ticks), step):
        chord = plan.chord_at(tick)
        if chord is not None and pitch % 12 not in chord.pitch_classes(plan.tonic):
            return tick
    return end


def close(notes: np.ndarray, plan: Plan) -> np.ndarray:
    """Shape the last bar into an ending, by rule: all parts come to rest on its last chord.

    The tune keeps what it plays before the middle of the bar and then holds a chord tone; the bass holds the root;
    chords, pad and arpeggio hold one voicing from the bar's beginning; the drums strike once. Parts that had fallen
    silent before stay silent, except the tune.
    """
    begin = plan.ticks - plan.bar_ticks
    chord = plan.chord_at(plan.ticks - 1) or Chord(0, "maj" if plan.mode == "major" else "min")
    kept = [notes[notes[:, ONSET] < begin]]
    kept[0][:, DURATION] = np.minimum(kept[0][:, DURATION], begin - kept[0][:, ONSET])
    for index, part in enumerate(plan.parts):
        own = notes[notes[:, PART] == index]
        last = own[own[:, ONSET] >= begin]
        recent = own[(own[:, ONSET] >= begin - 2 * plan.bar_ticks) & (own[:, ONSET] < begin)]
        if len(last) + len(recent) == 0:
            continue
        velocity = int(np.concatenate((recent, last))[:, VELOCITY].mean())
        if part.role == "drums":
            keys = [key for key in (KICK, CRASH) if velocity >= 50 or key == KICK]
            kept.append(np.array([(begin, index, key, BEAT_TICKS[plan.metre], max(velocity, 60)) for key in keys]))
        elif part.role == "melody":
            kept.append(_closing_melody(last, recent, plan, index, chord, velocity))
        elif part.role == "bass":
            kept.append(_held([_root(own, plan, index, chord)], plan, index, velocity))
        else:
            kept.append(_held(_voicing(last if len(last) else recent, plan, chord), plan, index, velocity))
    return np.concatenate(kept)


def _held(pitches: list[int], plan: Plan, index: int, velocity: int) -> np.ndarray:
    """Pitches that sound through the whole last bar."""
    begin = plan.ticks - plan.bar_ticks
    rows = [(begin, index, pitch, plan.bar_ticks, velocity) for pitch in pitches]
    return np.array(rows, dtype=np.int64).reshape(-1, 5)


def _nearest(pitch: float, classes: frozenset[int], low: int, high: int) -> int:
    """The pitch between ``low`` and ``high`` nearest to ``pitch`` that belongs to one of the pitch classes."""
    choices = [candidate for candidate in range(low, high + 1) if candidate % 12 in classes]
    return min(choices, key=lambda candidate: abs(candidate - pitch))


def _triad(chord: Chord, plan: Plan) -> frozenset[int]:
    return frozenset((plan.tonic + chord.root + step) % 12 for step in CHORD_QUALITIES[chord.quality][:3])


def _range(plan: Plan, index: int) -> tuple[int, int]:
    instrument = INSTRUMENTS[INSTRUMENT_INDEX[plan.parts[index].instrument]]
    return instrument.low, instrument.high


def _root(own: np.ndarray, plan: Plan, index: int, chord: Chord) -> int:
    low, high = _range(plan, index)
    root = frozenset({(plan.tonic + chord.root) % 12})
    return _nearest(float(own[-1, PITCH]), root, low, max(low + 11, min(high, BASS_TOP)))


def _voicing(group: np.ndarray, plan: Plan, chord: Chord) -> list[int]:
    """Three chord tones around where the part plays."""
    index = int(group[0, PART])
    low, high = _range(plan, index)
    centre = float(np.median(group[:, PITCH]))
    choices = [pitch for pitch in range(low, high + 1) if pitch % 12 in _triad(chord, plan)]
    return sorted(sorted(choices, key=lambda pitch: abs(pitch - centre))[:3])


def _closing_melody(
    last: np.ndarray, recent: np.ndarray, plan: Plan, index: int, chord: Chord, velocity: int
) -> np.ndarray:
    """The tune's last bar: what it plays up to the middle, then (or from the first beat) a long chord tone."""
    begin, middle = plan.ticks - plan.bar_ticks, plan.ticks - plan.bar_ticks // 2
    kept = last[last[:, ONSET] <= middle].copy()
    if not len(kept):
        kept = np.array([(begin, index, int(recent[-1, PITCH]) if len(recent) else int(last[0, PITCH]), 1, velocity)])
    low, high = _range(plan, index)
    kept[-1, PITCH] = _nearest(float(kept[-1, PITCH]), _triad(chord, plan), low, high)
    kept[-1, DURATION] = plan.ticks - kept[-1, ONSET]
    return kept
