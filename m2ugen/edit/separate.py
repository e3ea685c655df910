"""Removing players, or keeping only some.

Where the score is known this is exact: the part is left out. A recording is split by masks into drums
(percussive against harmonic: Fitzgerald, "Harmonic/percussive separation using median filtering", 2010, with the
margins of Driedger et al., 2014), bass (the harmonic part below BASS_TOP Hz), melody (the harmonics of the
transcribed melody) and the remaining harmony; the four add up to the recording. Players that sound alike and at the
same time cannot be told apart that way: any chord instrument means the harmony, any melodic one the melody.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2ugen.edit.command import EditCommand
from m2ugen.edit.parts import MELODIC
from m2ugen.edit.source import EditContext, EditSource, Handler, rendered
from m2ugen.errors import InputError
from m2ugen.model.decoders.base import Music
from m2ugen.score.attributes import family_of
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH
from m2ugen.score.plan import Plan
from m2ugen.score.wording import join

FFT, HOP = 2048, 512
KERNEL = 17  # bins or frames of the median
BASS_TOP = 160.0  # Hz; an octave of soft transition around it
MARGIN = 1.6  # how clearly a bin must be harmonic to stay when drums are removed
HARMONICS = 12
STEMS = ("drums", "bass", "melody", "harmony")


def separate(source: EditSource, with_melody: bool = True) -> dict[str, np.ndarray]:
    """The four STEMS of a recording, each float32 [channels, samples]; they add up to it.

    ``with_melody`` False leaves the melody in the harmony, which needs no transcription.
    """
    from scipy.ndimage import median_filter
    from scipy.signal import istft, stft

    audio, rate = source.audio, source.sample_rate
    window = {"window": "hann", "nperseg": FFT, "noverlap": FFT - HOP}
    whole = np.pad(audio, ((0, 0), (0, max(FFT - audio.shape[-1], 0))))  # at least one window
    frequencies, _, spectra = stft(whole, rate, **window)  # [channels, bins, frames]
    magnitude = np.abs(spectra).mean(axis=0).astype(np.float32)
    harmonic = median_filter(magnitude, size=(1, KERNEL))
    percussive = MARGIN * median_filter(magnitude, size=(KERNEL, 1))
    share = harmonic**2 / (harmonic**2 + percussive**2 + 1e-12)  # [bins, frames]
    low = np.clip(0.5 - np.log2(np.maximum(frequencies, 1.0) / BASS_TOP), 0.0, 1.0)[:, None]
    tune = _melody_mask(source, frequencies, magnitude.shape[1]) if with_melody else np.zeros_like(share)
    masks = {
        "drums": 1.0 - share,
        "bass": share * low,
        "melody": share * (1.0 - low) * tune,
        "harmony": share * (1.0 - low) * (1.0 - tune),
    }
    return {
        name: np.asarray(istft(spectra * mask, rate, **window)[1][:, : audio.shape[-1]], dtype=np.float32)
        for name, mask in masks.items()
    }


def _melody_mask(source: EditSource, frequencies: np.ndarray, frames: int) -> np.ndarray:
    """How much of each bin belongs to the melody's harmonics, float [bins, frames]."""
    analysis = source.analysis
    mask = np.zeros((len(frequencies), frames))
    if not len(analysis.melody):
        return mask
    starts = analysis.seconds_at(analysis.melody[:, ONSET])
    ends = analysis.seconds_at(analysis.melody[:, ONSET] + analysis.melody[:, DURATION])
    seconds = HOP / source.sample_rate
    for start, end, pitch in zip(starts, ends, analysis.melody[:, PITCH].tolist()):
        first, last = max(round((start - 0.03) / seconds), 0), min(round((end + 0.05) / seconds), frames)
        fundamental = 440.0 * 2 ** ((pitch - 69) / 12)
        for harmonic in range(1, HARMONICS + 1):
            centre = fundamental * harmonic
            width = max(centre * 0.025, 1.2 * frequencies[1])
            near = np.abs(frequencies - centre) < width
            mask[near, first:last] = 1.0
    return mask


def stem_of(instrument: str) -> str:
    """The stem that an instrument sounds in."""
    family = family_of(instrument)
    if family in ("drums", "bass"):
        return family
    return "melody" if instrument in MELODIC else "harmony"


def remove(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Everything but the named players."""
    return _split(command, source, context, keep=False)


def solo(command: EditCommand, source: EditSource, context: EditContext) -> Music:
    """Only the named players."""
    return _split(command, source, context, keep=True)


def _split(command: EditCommand, source: EditSource, context: EditContext, keep: bool) -> Music:
    if source.score is not None:
        return _split_score(command, source, context, keep)
    wanted = {stem_of(name) for name in command.targets}
    stems = separate(source, with_melody=bool(wanted & {"melody", "harmony"}))
    chosen = [stem for name, stem in stems.items() if (name in wanted) == keep]
    return source.changed(np.sum(chosen, axis=0))


def _split_score(command: EditCommand, source: EditSource, context: EditContext, keep: bool) -> Music:
    assert source.score is not None
    plan, notes = source.score
    named = {part.instrument for part in plan.parts} & set(command.targets)
    if not named:  # "guitar" where another guitar plays
        families = {family_of(name) for name in command.targets}
        named = {part.instrument for part in plan.parts if family_of(part.instrument) in families}
    if not named:
        playing = join([part.instrument for part in plan.parts])
        raise InputError(f"there is no {join(command.targets, 'or')} in this music; it has {playing}")
    kept = [index for index, part in enumerate(plan.parts) if (part.instrument in named) == keep]
    if not kept:
        raise InputError(f"without {join(sorted(named))} nothing would be left")
    return rendered(source, *with_parts(plan, notes, kept), context.seed)


def with_parts(plan: Plan, notes: np.ndarray, kept: Sequence[int]) -> tuple[Plan, np.ndarray]:
    """The plan and the notes of the parts with the numbers ``kept`` alone."""
    place = {index: new for new, index in enumerate(kept)}
    left = notes[np.isin(notes[:, PART], kept)].copy()
    left[:, PART] = [place[index] for index in left[:, PART].tolist()]
    return plan.replace(parts=tuple(plan.parts[i] for i in kept)), left


HANDLERS: dict[str, Handler] = {"remove": remove, "solo": solo}
