"""Build the score material: songs → specifications → bands → shards.

Shard k of a split depends only on the seed, the split, k and the corpora, so shards can be written in any order and
by any number of processes, and finished ones are skipped. Works (a tenth) and grooves (another tenth, see styles)
are held out for validation: training material uses neither.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2ugen.data.nano import arrange, blues, mma, styles
from m2ugen.data.nano.corpus import read_corpus
from m2ugen.data.nano.jobs import run_jobs
from m2ugen.data.nano.lieder import read_lieder
from m2ugen.data.nano.mma import BandPart, Groove
from m2ugen.data.nano.pop909 import read_pop909
from m2ugen.data.nano.shards import SPLITS, Arrangement, shard_path, write_shard
from m2ugen.data.nano.songs import Song, cached, corpus_folder
from m2ugen.errors import InputError
from m2ugen.score.attributes import GENRES

logger = logging.getLogger(__name__)
SHARD = 100  # arrangements
VALID_SHARE = 0.08  # of the arrangements
SPARE = 1.15  # specifications per arrangement: some turn out unusable
CLIPS_PER_RUN = 10
TRIES = 6  # draws of a stretch, in the hope of one in which material returns
METRE_WEIGHTS = {"4/4": 0.6, "3/4": 0.21, "6/8": 0.19}
KINDS = {  # original, mixed, band
    "classical": (0.8, 0.0, 0.2),
    "ballad": (0.3, 0.25, 0.45),
    "pop": (0.25, 0.25, 0.5),
    "country": (0.08, 0.12, 0.8),
    "rock": (0.0, 0.2, 0.8),
    "electronic": (0.0, 0.1, 0.9),
    "funk": (0.0, 0.1, 0.9),
}
SOURCES = {  # how likely a genre's song comes from a collection, where that has songs in the metre
    "classical": {"lieder": 0.85, "pop909": 0.05, "corpus": 0.1},
    "country": {"lieder": 0.05, "pop909": 0.5, "corpus": 0.45},
    "blues": {"blues": 0.75, "pop909": 0.15, "lieder": 0.05, "corpus": 0.05},
    "ballad": {"lieder": 0.25, "pop909": 0.65, "corpus": 0.1},
    "jazz": {"lieder": 0.1, "pop909": 0.6, "corpus": 0.05, "blues": 0.25},
}
OTHER_SOURCES = {"lieder": 0.1, "pop909": 0.82, "corpus": 0.05, "blues": 0.03}


@dataclass(frozen=True)
class Job:
    """One shard to write."""

    output: Path
    corpora: Path | None
    split: str
    index: int
    count: int
    seed: int


def is_valid_work(work: str) -> bool:
    """Whether a work belongs to validation: a tenth of all, by the hash of its name."""
    return int(hashlib.sha256(work.encode()).hexdigest()[:8], 16) % 10 == 0


def is_valid_groove(groove: Groove) -> bool:
    """Whether a groove is held out for validation."""
    return styles.groove_id(groove) in styles.HELD_OUT


def load_songs(corpora: Path | None, cache: Path) -> list[Song]:
    """All songs of the corpora and of what the music21 package holds; read once, then kept in ``cache``.

    Raises InputError when ``corpora`` is given and holds none of the collections.
    """
    songs: list[Song] = []
    if corpora is not None:
        readers: dict[str, Callable] = {"pop909": read_pop909, "openscore_lieder": read_lieder}
        cache.mkdir(parents=True, exist_ok=True)
        for name, reader in readers.items():
            folder = corpus_folder(corpora, name, cache)
            if folder is not None:
                songs += cached(name, cache, lambda read=reader, folder=folder: read(folder))  # type: ignore[misc]
        if not songs:
            raise InputError(f"{corpora} holds neither pop909 nor openscore_lieder (folders or .tar.xz archives)")
    songs += cached("corpus", cache, read_corpus)
    return songs + cached("blues-" + ("all" if corpora else "corpus"), cache, lambda: blues.make_blues(songs))


def build_scores(output: Path, corpora: Path | None, count: int, seed: int = 0, workers: int = 1) -> None:
    """Write about ``count`` arrangements, VALID_SHARE of them for validation, as shards below ``output``.

    Finished shards are kept. ``corpora`` is a folder with pop909 and openscore_lieder (unpacked or as archives);
    without it the tunes of the music21 package are used. Raises InputError where MMA is missing.
    """
    if not mma.has_mma():
        raise InputError("the program mma is not installed; install the Debian package mma")
    valid = max(round(count * VALID_SHARE), 1)
    jobs = []
    for split, total in (("valid", valid), ("train", count - valid)):
        for index in range(-(-total // SHARD)):
            size = min(SHARD, total - index * SHARD)
            jobs.append(Job(output, corpora, split, index, size, seed))
    open_jobs = [job for job in jobs if not shard_path(output, job.split, job.index).is_file()]
    load_songs(corpora, output / ".songs")  # once, before the processes start
    run_jobs("arranging", write, open_jobs, len(jobs) - len(open_jobs), workers)


_LIBRARY: dict[tuple[Path | None, Path], Library] = {}


class Library:
    """The songs of each split by collection and metre."""

    def __init__(self, songs: list[Song]) -> None:
        self.songs: dict[tuple[str, str, str], list[Song]] = defaultdict(list)
        for song in songs:
            self.songs["valid" if is_valid_work(song.work) else "train", song.source, song.metre].append(song)

    def draw(self, split: str, genre: str, metre: str, mode: str, rng: np.random.Generator) -> Song | None:
        """A song for a genre in a metre, for preference in ``mode``; None where no collection has one."""
        weights = {
            name: weight
            for name, weight in SOURCES.get(genre, OTHER_SOURCES).items()
            if self.songs.get((split, name, metre))
        }
        if not weights:
            return None
        shares = np.array(list(weights.values()))
        source = str(rng.choice(list(weights), p=shares / shares.sum()))
        songs = self.songs[split, source, metre]
        song = songs[int(rng.integers(len(songs)))]
        if song.mode != mode:  # a second draw; what is still in the other mode may be transformed
            song = songs[int(rng.integers(len(songs)))]
        return song


def library(corpora: Path | None, cache: Path) -> Library:
    """The library of this process."""
    key = (corpora, cache)
    if key not in _LIBRARY:
        _LIBRARY[key] = Library(load_songs(corpora, cache))
    return _LIBRARY[key]


def write(job: Job) -> None:
    """Write one shard."""
    songs = library(job.corpora, job.output / ".songs")
    write_shard(shard_path(job.output, job.split, job.index), make(job, songs))


def make(job: Job, songs: Library) -> list[Arrangement]:
    """The arrangements of one shard."""
    rng = np.random.default_rng([job.seed, SPLITS.index(job.split), job.index])
    grooves = _draw_grooves(job.split, rng)
    specs = []
    wanted = round(job.count * SPARE) + 2
    for attempt in range(4 * wanted):
        name = f"{job.split}-{job.index:04d}-{attempt:03d}"
        spec = draw_spec(name, job.split, GENRES[attempt % len(GENRES)], grooves, songs, rng)
        if spec is not None:
            specs.append(spec)
        if len(specs) == wanted:
            break
    bands = _play(specs, job.seed)
    made: list[Arrangement] = []
    for spec in specs:
        band = bands.get(spec.name)
        if spec.groove is not None and band is None:
            continue
        piece = arrange.arrange(spec, band)
        if piece is not None and len(made) < job.count:
            groove = styles.groove_id(spec.groove) if spec.groove else "original"
            made.append(Arrangement(spec.name, spec.song.work, groove, spec.song.source, *piece))
    if len(made) < job.count:
        logger.warning("shard %s-%04d has %d arrangements instead of %d", job.split, job.index, len(made), job.count)
    return made


def _draw_grooves(split: str, rng: np.random.Generator) -> dict[tuple[str, str], list[Groove]]:
    """One or two grooves per genre and metre for this shard: few, so that MMA plays many pieces per run."""
    drawn: dict[tuple[str, str], list[Groove]] = {}
    for genre in GENRES:
        for metre, grooves in styles.GROOVES[genre].items():
            there = [groove for groove in grooves if mma.exists(groove)]
            train = [groove for groove in there if not is_valid_groove(groove)]
            held = [groove for groove in there if is_valid_groove(groove)]
            pool = (held or there) if split == "valid" else train
            if pool:
                number = min(2 if metre == "4/4" else 1, len(pool))
                drawn[genre, metre] = [pool[i] for i in rng.choice(len(pool), number, replace=False)]
    return drawn


def draw_spec(
    name: str,
    split: str,
    genre: str,
    grooves: dict[tuple[str, str], list[Groove]],
    songs: Library,
    rng: np.random.Generator,
) -> arrange.Spec | None:
    """Everything about one arrangement but its notes; None where the draw does not work out."""
    mode = "minor" if rng.random() < 0.48 else "major"
    kinds = ("original", "mixed", "band")
    kind = str(rng.choice(kinds, p=KINDS.get(genre, (0.0, 0.05, 0.95))))
    metres = [m for m in METRE_WEIGHTS if kind == "original" or grooves.get((genre, m))]
    shares = np.array([METRE_WEIGHTS[m] for m in metres])
    metre = str(rng.choice(metres, p=shares / shares.sum()))
    groove = None
    if kind != "original":
        pool = grooves[genre, metre]
        groove = pool[int(rng.integers(len(pool)))]
    song = songs.draw(split, genre, metre, mode, rng)
    if song is None or (kind != "band" and len(song.accompaniment) < 2 * song.bars):
        return None
    even = groove is not None and groove.span == 2
    if song.source == "corpus" and song.bars <= 16 and rng.random() < 0.7:
        song = song.repeated()
    for _ in range(TRIES):
        chosen = arrange.choose_piece(song, even, rng)
        if chosen is None:
            return None
        piece, closing = chosen
        if song.source != "blues":
            piece = arrange.to_mode(piece, mode, rng)
        sections = arrange.draw_sections(piece, even, rng)
        if len({letter for letter, _, _ in sections}) < len(sections) or rng.random() < 0.15:
            break
    if any(bars < 2 or bars > 8 or (even and bars % 2) for _, bars, _ in sections):
        return None
    return arrange.Spec(
        name=name,
        song=piece,
        sections=sections,
        genre=genre,
        kind=kind,
        groove=groove,
        tempo=arrange.draw_tempo(genre, metre, rng),
        tonic=int(rng.integers(12)),
        lead="piano" if kind == "original" and rng.random() < 0.3 else arrange.draw_lead(genre, rng),
        ending=closing if kind == "band" else piece.complete,
        seed=int(rng.integers(1 << 31)),
    )


def _play(specs: list[arrange.Spec], seed: int) -> dict[str, list[BandPart]]:
    """MMA's parts by the arrangement's name; what MMA refuses is missing."""
    groups: dict[Groove, list[arrange.Spec]] = defaultdict(list)
    for spec in specs:
        if spec.groove is not None:
            groups[spec.groove].append(spec)
    bands: dict[str, list[BandPart]] = {}
    for groove, members in groups.items():
        for start in range(0, len(members), CLIPS_PER_RUN):
            batch = members[start : start + CLIPS_PER_RUN]
            try:
                played = mma.render(groove, [spec.request() for spec in batch], seed + batch[0].seed % 10_000)
            except InputError as error:
                logger.warning("%s", error)
                continue
            bands.update({spec.name: parts for spec, parts in zip(batch, played, strict=True)})
    return bands
