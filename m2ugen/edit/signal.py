"""Tempo, pitch and length: operations on the signal (or on the plan where the score is known) that change nothing
else."""

from __future__ import annotations

import numpy as np

from m2ugen.edit.command import EditCommand
from m2ugen.edit.source import EditContext, EditSource, Handler, limited, rendered
from m2ugen.errors import InputError
from m2ugen.model.decoders.base import Music
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS
from m2ugen.score.lexicon import pitch_class
from m2ugen.score.notes import PART, PITCH
from m2ugen.score.plan import BAR_TICKS, Plan

MIN_FACTOR, MAX_FACTOR = 0.25, 4.0
MAX_SECONDS = 1800.0


def stretch(audio: np.ndarray, sample_rate: int, factor: float = 1.0, semitones: float = 0.0) -> np.ndarray:
    """Play ``audio`` (float32 [channels, samples]) ``factor`` times as fast and ``semitones`` higher.

    Tempo and pitch are independent; the result is samples / factor long. Spectral stretching after Signalsmith
    (Luff, "The Design of Signalsmith Stretch", 2023), whose latency is compensated. Raises InputError for a
    factor outside 0.25-4.
    """
    from python_stretch import Signalsmith

    if not MIN_FACTOR <= factor <= MAX_FACTOR:
        raise InputError(f"music can be played {MIN_FACTOR:g} to {MAX_FACTOR:g} times as fast, not {factor:g} times")
    if abs(factor - 1.0) < 1e-3 and abs(semitones) < 1e-3:
        return audio
    stretcher = Signalsmith.Stretch()
    stretcher.preset(audio.shape[0], float(sample_rate))
    stretcher.setTimeFactor(factor)
    stretcher.setTransposeSemitones(semitones, 8000.0 / sample_rate)  # leaves hiss and cymbals where they are
    changed = np.asarray(stretcher.process(np.ascontiguousarray(audio, dtype=np.float32)), dtype=np.float32)
    before, after = (float(np.sqrt((x**2).mean())) for x in (audio, changed))
    return limited(changed * np.float32(before / after if after > 0 else 1.0), sample_rate)


def change_tempo(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Another tempo, as a percentage of the present one or in beats per minute."""
    amount = command.amount or 100.0
    if source.score is not None:
        plan, notes = source.score
        tempo = amount if command.operation == "bpm" else plan.tempo * amount / 100.0
        return rendered(source, plan.replace(tempo=tempo), notes, context.seed)
    factor = amount / 100.0
    if command.operation == "bpm":
        factor = amount / source.analysis.tempo
        # A tempo is often heard at half or double speed: the nearest reading is what is meant.
        factor = min((factor, factor * 2.0, factor / 2.0), key=lambda f: abs(np.log(f)) + (f != factor) * 0.35)
    return source.changed(stretch(source.audio, source.sample_rate, factor))


def transpose(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """All pitched parts higher or lower; drums stay."""
    return _transposed(source, round(command.amount or 0.0), context)


def _transposed(source: EditSource, semitones: int, context: EditContext) -> Music:
    if source.score is not None:
        plan, notes = source.score
        moved = transpose_notes(notes, plan, semitones)
        return rendered(source, plan.replace(tonic=(plan.tonic + semitones) % 12), moved, context.seed)
    return source.changed(stretch(source.audio, source.sample_rate, semitones=float(semitones)))


def transpose_notes(notes: np.ndarray, plan: Plan, semitones: int) -> np.ndarray:
    """Pitched notes moved; a part that would leave its instrument's range is moved back by octaves."""
    moved = notes.copy()
    for index, part in enumerate(plan.parts):
        own = notes[:, PART] == index
        if part.role != "drums" and own.any():
            moved[own, PITCH] = fit_range(notes[own, PITCH] + semitones, part.instrument)
    return moved


def fit_range(pitches: np.ndarray, instrument: str) -> np.ndarray:
    """``pitches`` moved together by octaves so that their middle lies in the instrument's range, then singly."""
    known = INSTRUMENTS[INSTRUMENT_INDEX[instrument]]
    middle = float(np.median(pitches))
    octaves = 12 * int(np.ceil((known.low - middle) / 12)) if middle < known.low else 0
    octaves -= 12 * int(np.ceil((middle - known.high) / 12)) if middle > known.high else 0
    pitches = pitches + octaves
    pitches = np.where(pitches < known.low, pitches + 12 * np.ceil((known.low - pitches) / 12), pitches)
    pitches = np.where(pitches > known.high, pitches - 12 * np.ceil((pitches - known.high) / 12), pitches)
    return np.clip(pitches, 0, 127).astype(np.int32)


def change_key(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Another tonic by the shortest way; a change of mode besides is the business of `restyle`."""
    name, _, mode = command.targets[0].partition(" ")
    plan = source.music.plan
    tonic, present = (plan.tonic, plan.mode) if plan is not None else (source.analysis.tonic, source.analysis.mode)
    target = pitch_class(name)
    if mode and mode != present:
        if source.score is None and (target - tonic) % 12 == (3 if mode == "major" else 9):
            return source.changed(source.audio)  # the relative key: the same notes
        from m2ugen.edit.restyle import change_mode

        music = change_mode(EditCommand("mode", (mode,)), source, context)
        source = EditSource(music)
    return _transposed(source, (target - tonic + 5) % 12 - 5, context)


def change_length(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Exactly so many seconds: cut with a fade, or continued by looping whole bars."""
    samples = round((command.amount or 0.0) * source.sample_rate)
    if samples > MAX_SECONDS * source.sample_rate:
        raise InputError(f"music can be at most {MAX_SECONDS:g} seconds long")
    audio = source.audio
    if samples > audio.shape[-1]:
        start, period = _loop(source)
        times = int(np.ceil((samples - start) / period)) + 1
        audio = _repeated(audio, start, period, times)
    audio = audio[:, :samples].copy()
    if samples < source.audio.shape[-1] or audio.shape[-1] == samples:
        fade = min(round(1.5 * source.sample_rate), samples // 5)
        if fade:
            audio[:, -fade:] *= np.cos(np.linspace(0.0, np.pi / 2, fade, dtype=np.float32)) ** 2
    return source.changed(np.pad(audio, ((0, 0), (0, samples - audio.shape[-1]))))


def loop(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """The whole piece so many times, bar after bar without a gap."""
    times = round(command.amount or 2.0)
    start, period = _loop(source)
    if start + period * times > MAX_SECONDS * source.sample_rate:
        raise InputError(f"music can be at most {MAX_SECONDS:g} seconds long; repeat it less often")
    return source.changed(_repeated(source.audio, start, period, times))


def _loop(source: EditSource) -> tuple[int, int]:
    """First sample and length in samples of the bars that can be repeated."""
    total, rate = source.audio.shape[-1], source.sample_rate
    if source.music.plan is not None:
        return 0, min(round(source.music.plan.duration * rate), total)
    try:
        analysis = source.analysis
    except InputError:
        return 0, total
    bar = BAR_TICKS[analysis.metre]
    # The ring of the last notes is not a bar of its own: what counts is where the last note begins.
    begins = analysis.ticks_at(analysis.notes[:, 0]) if len(analysis.notes) else np.zeros(0)
    bars = int((begins.max() + bar / 16) // bar) + 1 if len(begins) else analysis.bars
    first, last = analysis.seconds_at(np.array([0.0, max(min(bars, analysis.bars), 1) * bar]))
    start, end = max(round(first * rate), 0), min(round(last * rate), total)
    return (start, end - start) if end - start > rate else (0, total)


def _repeated(audio: np.ndarray, start: int, period: int, times: int) -> np.ndarray:
    """The stretch [start, start + period) ``times`` times; what rings after it sounds into the next round."""
    channels, total = audio.shape
    result = np.zeros((channels, total + period * (times - 1)), dtype=np.float32)
    result[:, :total] = audio
    smooth = np.linspace(0.0, 1.0, min(64, period), dtype=np.float32)  # no click where a round begins
    for round_ in range(1, times):
        piece = audio[:, start:].copy()
        piece[:, : len(smooth)] *= smooth
        at = start + period * round_
        result[:, at : at + piece.shape[-1]] += piece
    return np.asarray(np.clip(result, -1.0, 1.0), dtype=np.float32)


HANDLERS: dict[str, Handler] = {
    "tempo": change_tempo,
    "bpm": change_tempo,
    "transpose": transpose,
    "key": change_key,
    "length": change_length,
    "loop": loop,
}
