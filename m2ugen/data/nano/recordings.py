"""Recordings with exact truth: arrangements played with several SoundFonts, kept as the music encoder's features.

Only features are stored, never audio. Validation comes twice: with the fonts of training ("valid") and with one that
training never hears ("held-out").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from m2ugen.data.nano.degrade import degrade
from m2ugen.data.nano.jobs import run_jobs
from m2ugen.data.nano.shards import Arrangement, read_shards
from m2ugen.errors import InputError
from m2ugen.media.files import atomic_output
from m2ugen.score.attributes import INSTRUMENT_INDEX, INSTRUMENTS, MULTI_SLOTS, Attributes
from m2ugen.score.notes import DURATION, ONSET, PART
from m2ugen.score.plan import Plan

if TYPE_CHECKING:
    from m2ugen.model.encoders.nano_music import NanoMusicEncoder

SECONDS = 14.0
RENDER_RATE = 32000  # Hz
SHARD = 100
FEATURES = ("chroma", "tempogram", "statistics", "tags")
PATCHES = "patches"  # log-mel patches, stored beside the features as bytes of PATCH_STEP
PATCH_STEP = 0.025
DRUMS_LEFT_OUT, PART_LEFT_OUT = 0.3, 0.12  # chances of a part to be silent in a training clip
MIN_SHARE = 0.08  # of the window that an instrument must sound to count as present


@dataclass(frozen=True)
class Recording:
    """A clip: hidden states of the music encoder [tokens, dim], what is true of it, and further facts.

    ``extras`` may hold "notes_per_second", "chords" (names in order) and "degraded" (heard through another room …).
    """

    features: np.ndarray
    attributes: Attributes
    extras: dict[str, Any] = field(default_factory=dict)


def window_of(arrangement: Arrangement, rng: np.random.Generator) -> tuple[Plan, np.ndarray]:
    """About SECONDS of an arrangement from a bar line on: its plan and the notes, counted from the window's start."""
    plan, notes = arrangement.plan, arrangement.notes
    bar = plan.bar_ticks * plan.seconds_per_tick
    bars = max(int(np.ceil(SECONDS / bar)), 1)
    first = int(rng.integers(max(plan.bars - bars, 0) + 1)) * plan.bar_ticks
    last = first + int(SECONDS / plan.seconds_per_tick)
    inside = notes[(notes[:, ONSET] >= first) & (notes[:, ONSET] < last)].copy()
    inside[:, ONSET] -= first
    return plan, inside


def thinned(plan: Plan, notes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The notes without some of the parts, drawn at random: what plays must not follow from the style, or the ear would
    learn to hear drums in every dense piece of jazz.
    """
    kept = [
        index
        for index, part in enumerate(plan.parts)
        if rng.random() >= (DRUMS_LEFT_OUT if part.role == "drums" else PART_LEFT_OUT)
    ]
    return notes[np.isin(notes[:, PART], kept)]


def truth(plan: Plan, notes: np.ndarray) -> Attributes:
    """The attributes of what sounds in a window."""
    ticks = SECONDS / plan.seconds_per_tick
    names = []
    for index, part in enumerate(plan.parts):
        own = notes[notes[:, PART] == index]
        share = (own[:, DURATION].sum() if part.role != "drums" else len(own) * 6) / ticks
        if share >= MIN_SHARE:
            names.append(part.instrument)
    told = plan.attributes()
    return replace(
        told,
        drums="drums" in names,
        lead=told.lead if told.lead in names else None,
        instruments=tuple(dict.fromkeys(names)),
    )


def play(plan: Plan, notes: np.ndarray, soundfont: Path | None, rng: np.random.Generator) -> np.ndarray:
    """The window as mono float32 at RENDER_RATE, with other balances, rooms and programs of the same instruments."""
    from m2ugen.score.mixing import CHANNELS, ROOMS, mix_stems
    from m2ugen.score.soundfont import load_synthesizer, soundfont_path
    from m2ugen.score.synthesis import KITS, humanise, render_track

    samples = int(SECONDS * RENDER_RATE)
    synthesizer = load_synthesizer(soundfont_path(soundfont), RENDER_RATE)
    stems = {}
    for index, part in enumerate(plan.parts):
        played = humanise(notes[notes[:, PART] == index], plan, part.role, rng)
        if part.role == "drums":
            program = int(rng.choice([0, *KITS.values()]))
        else:
            program = int(rng.choice(INSTRUMENTS[INSTRUMENT_INDEX[part.instrument]].programs))
        stems[part.role] = render_track(played, program, part.role == "drums", synthesizer, samples, RENDER_RATE)
    levelled = {}
    for role, stem in stems.items():  # names that the mixer does not know keep the balance that they come with
        loudness = np.sqrt((stem**2).mean()) + 1e-6
        gain = 10 ** ((CHANNELS[role].level + rng.normal(0, 3)) / 20) / loudness
        levelled[f"{role}, levelled"] = stem * np.float32(min(gain, 50.0))
    mix, _ = mix_stems(levelled.items(), RENDER_RATE, str(rng.choice(list(ROOMS))))
    return mix.mean(axis=0)


@dataclass(frozen=True)
class Job:
    """One shard to write: ``size`` clips of the arrangements of ``split`` below ``scores``."""

    path: Path
    scores: Path
    split: str
    index: int
    size: int
    fonts: tuple[Path | None, ...]
    seed: int


def build_recordings(
    scores: Path,
    output: Path,
    count: int,
    soundfonts: Sequence[Path] | None = None,
    held_out_soundfont: Path | None = None,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Write ``count`` training clips, and a tenth of that for each validation set, below ``output``.

    Without ``soundfonts`` the one of the package plays; without ``held_out_soundfont`` there is no "held-out" set.
    Finished shards are kept. Raises InputError when there are no arrangements.
    """
    fonts: dict[str, Sequence[Path | None]] = {"valid": soundfonts or [None], "train": soundfonts or [None]}
    if held_out_soundfont is not None:
        fonts["held-out"] = [held_out_soundfont]
    output.mkdir(parents=True, exist_ok=True)
    jobs = []
    for split in sorted(fonts, key=("valid", "held-out", "train").index):
        total = count if split == "train" else max(count // 10, 1)
        for index in range(-(-total // SHARD)):
            size = min(SHARD, total - index * SHARD)
            path = output / f"{split}-{index:04d}.npz"
            jobs.append(Job(path, scores, split, index, size, tuple(fonts[split]), seed))
    open_jobs = [job for job in jobs if not job.path.is_file()]
    run_jobs("recording", _write, open_jobs, len(jobs) - len(open_jobs), workers)


@lru_cache(maxsize=2)
def _arrangements(scores: Path, split: str) -> list[Arrangement]:
    found = list(read_shards(scores, split))
    if not found:
        raise InputError(f"{scores} holds no finished arrangements; build them first")
    return found


@lru_cache(maxsize=1)
def _encoder() -> NanoMusicEncoder:
    from m2ugen.model.encoders.nano_music import NanoMusicEncoder
    from m2ugen.weights import packaged_folder

    return NanoMusicEncoder.from_folder(packaged_folder("nano"), deaf=True)  # features come before the ear


def _write(job: Job) -> None:
    """Write one shard; what is in it depends on the seed, the split and its number."""
    from m2ugen.media.audio import resample

    arrangements, encoder = _arrangements(job.scores, "train" if job.split == "train" else "valid"), _encoder()
    rng = np.random.default_rng([job.seed, ("train", "valid", "held-out").index(job.split), job.index])
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*FEATURES, PATCHES)}
    facts: list[dict[str, Any]] = []
    while len(facts) < job.size:
        plan, notes = window_of(arrangements[int(rng.integers(len(arrangements)))], rng)
        if job.split == "train":
            notes = thinned(plan, notes, rng)
        if len(notes) < 8:
            continue
        mono = play(plan, notes, job.fonts[int(rng.integers(len(job.fonts)))], rng)
        if not np.isfinite(mono).all():  # a font's filter can become unstable
            continue
        heard = resample(mono[None], RENDER_RATE, encoder.sample_rate)[0]
        if degraded := bool(rng.random() < 0.7):
            heard = degrade(heard, encoder.sample_rate, rng)
        inputs = {name: value[None] for name, value in encoder.prepare(heard).items()}
        with torch.inference_mode():
            inputs["tags"] = encoder.tags(inputs["patches"], inputs["patch_mask"])
        for name in FEATURES:
            rows[name].append(inputs[name][0].numpy().astype(np.float16))
        patches = inputs["patches"][inputs["patch_mask"]].numpy()
        rows[PATCHES].append(np.round(patches / PATCH_STEP).clip(0, 255).astype(np.uint8))
        chords = [c.name(plan.tonic) for s in plan.sections for c in s.chords if c is not None]
        facts.append(
            {
                "attributes": asdict(truth(plan, notes)),
                "notes_per_second": len(notes) / SECONDS,
                "chords": chords[:8],
                "degraded": degraded,
            }
        )
    with atomic_output(job.path, (".npz",)) as partial, partial.open("wb") as file:
        arrays: dict[str, Any] = {name: np.stack(values) for name, values in rows.items()}
        np.savez_compressed(file, facts=np.array(json.dumps(facts)), **arrays)


# Attributes that are told together, and the extras that go with them; those of the band keep the taggers' tokens.
_FACETS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("tempo",), ()),
    (("metre",), ()),
    (("mode", "tonic"), ("chords",)),
    (("genre",), ()),
    (("energy",), ("notes_per_second",)),
)


def mosaic(recordings: Sequence[Recording], rng: np.random.Generator) -> Recording:
    """A clip that never was: the band of one recording, the tempo of another, the key of a third …, each facet with
    what the ear makes of it and with its own truth.

    There are more of them than can be learnt by heart; what remains to be learnt is to read what the ear says.
    """
    from m2ugen.model.encoders.ear import HEADS

    band = recordings[int(rng.integers(len(recordings)))]
    features, told, extras = band.features.copy(), {}, dict(band.extras)
    for names, further in _FACETS:
        other = recordings[int(rng.integers(len(recordings)))]
        for name in names:
            row = list(HEADS).index(name)
            features[row], told[name] = other.features[row], getattr(other.attributes, name)
        extras |= {name: other.extras[name] for name in further if name in other.extras}
    return Recording(features, replace(band.attributes, **told), extras)


def load_features(
    folder: Path, split: str, names: Sequence[str] = (*FEATURES, PATCHES)
) -> tuple[dict[str, np.ndarray], list[Attributes], list[dict[str, Any]]]:
    """The stored features of these ``names`` [clips, ...], truth and extras of a split; the patches, which are most of
    what is stored, as they lie on disk (see ``patches_of``). Raises InputError when there are none.
    """
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
    truths: list[Attributes] = []
    extras: list[dict[str, Any]] = []
    for path in sorted(folder.glob(f"{split}-*.npz")):
        with np.load(path) as data:
            for name in names:
                rows[name].append(data[name] if name == PATCHES else data[name].astype(np.float32))
            for fact in json.loads(str(data["facts"])):
                values: dict[str, Any] = fact.pop("attributes")
                for name in MULTI_SLOTS:
                    values[name] = tuple(values[name])
                truths.append(Attributes(**values))
                extras.append(fact)
    if not truths:
        raise InputError(f"there are no recordings {split}-NNNN.npz in {folder}; run: m2ugen data nano")
    return {name: np.concatenate(values) for name, values in rows.items()}, truths, extras


def patches_of(stored: torch.Tensor) -> torch.Tensor:
    """Log-mel patches, float32, from their stored bytes."""
    return stored.float() * PATCH_STEP


def load_recordings(folder: Path, split: str) -> list[Recording]:
    """All clips of a split with the hidden states of the packaged music encoder."""
    from m2ugen.model.encoders.nano_music import NanoMusicEncoder
    from m2ugen.weights import packaged_folder

    features, truths, extras = load_features(folder, split)
    encoder = NanoMusicEncoder.from_folder(packaged_folder("nano"))
    stored = torch.from_numpy(features.pop(PATCHES))
    with torch.inference_mode():
        timbre = torch.cat([encoder.ear.listen(patches_of(part)) for part in stored.split(SHARD)])
        tensors = {name: torch.from_numpy(value) for name, value in features.items()}
        hidden = encoder.hidden_states(**tensors, timbre=timbre).numpy()
    return [Recording(h, t, e) for h, t, e in zip(hidden, truths, extras, strict=True)]
