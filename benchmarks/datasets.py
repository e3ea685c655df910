"""How much faster m2ugen data build makes a set than a loop over one record at a time, with the same operators.

    .venv/bin/python benchmarks/datasets.py [--json] [--set musicqa] [--clips 32] [--seconds 10] [--threads 2]

The songs are plain tones: what they are does not matter for the speed, how long they are does. First a loop goes over
the operators record by record, then the build runs with its batches, its overlapping stages and everything that it
writes; both start with the model in memory. ``ratio`` is clips per hour of the build over those of the loop,
``cpu_ratio`` the same in seconds that the processor worked: what batches alone gain, also where others use the machine.
``seconds`` is the processor's time per clip and operator, alone and in a batch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RATE = 22_050  # Hz
CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16))  # semitones above the tonic
PARTIALS = 6
NO_LIMIT = -100.0  # dB: every song counts


def write_song(path: Path, seconds: float, seed: int) -> None:
    """A song of chords, a bass and, every other time, a noise that beats."""
    from m2ugen.media.audio import save_audio

    rng = np.random.default_rng(seed)
    period = 60 / rng.integers(70, 150)
    tonic, strength = int(rng.integers(48, 60)), rng.uniform(0.2, 1, PARTIALS)
    order = rng.permutation(len(CHORDS))
    song = np.zeros(round(seconds * RATE))
    for beat in range(int(seconds / period)):
        start = round(beat * period * RATE)
        time_ = np.arange(min(round(period * RATE), len(song) - start)) / RATE
        chord = CHORDS[order[beat // 4 % 4]]
        for pitch in (*chord, chord[0] - 12, chord[int(rng.integers(3))] + 12):
            hertz = 440 * 2 ** ((tonic + pitch - 69) / 12)
            tone = sum(a * np.sin(2 * np.pi * hertz * k * time_) / k for k, a in enumerate(strength, 1))
            song[start : start + len(time_)] += 0.08 * tone * np.exp(-3 * time_)
        if seed % 2:
            song[start : start + len(time_)] += 0.2 * rng.normal(size=len(time_)) * np.exp(-40 * time_)
    save_audio(path, song, RATE)


def operators_of(name: str, options: Any) -> list[Any]:
    """All operators that a recording goes through."""
    from m2ugen.data.build.build import describing
    from m2ugen.data.build.outputs import Write
    from m2ugen.data.build.writing import Instruct

    write = Write(str(options.output), name)
    return [*describing(name, options), *([] if name == "musicqa" else [Instruct(name)]), write]


def one_by_one(name: str, options: Any, work: Path) -> dict[str, float]:
    """Each operator's cost per clip in a loop over the records."""
    from m2ugen.data.build.discover import discover
    from m2ugen.data.build.engine import make_stages
    from m2ugen.data.build.records import Bundle

    records = discover(name, options)
    stages = make_stages(operators_of(name, options), work, {})
    costs = dict.fromkeys((stage.operator.name for stage in stages), 0.0)
    for index, record in enumerate(records):
        bundle = Bundle(index, [record])
        for stage in stages:
            before = time.process_time()
            bundle = stage(bundle)
            costs[stage.operator.name] += time.process_time() - before
    lost = [record.rejected for record in records if not record.alive]
    if lost:
        print(f"{len(lost)} clips were rejected, for one: {lost[0]}", file=sys.stderr)
    return {operator: cost / len(records) for operator, cost in costs.items()}


def in_batches(name: str, options: Any, work: Path) -> dict[str, float]:
    """Each operator's cost per clip in a bundle, without overlap."""
    from m2ugen.data.build.discover import discover
    from m2ugen.data.build.engine import make_stages, plan_bundles

    records = discover(name, options)
    bundles = plan_bundles(work / "plan.json", records)
    costs = {}
    for stage in make_stages(operators_of(name, options), work, {}):
        before = time.process_time()
        bundles = [stage(bundle) for bundle in bundles]
        costs[stage.operator.name] = (time.process_time() - before) / len(records)
    return costs


def measure(name: str, clips: int, seconds: float, model: str) -> dict[str, Any]:
    """All figures as one JSON value."""
    import torch

    from m2ugen.data.build.build import build
    from m2ugen.data.build.options import BuildOptions
    from m2ugen.data.build.understanding import load_model

    with tempfile.TemporaryDirectory() as folder:
        songs, warm = Path(folder, "songs"), Path(folder, "warm")
        for place, count in ((songs, clips), (warm, 1)):
            place.mkdir()
            for k in range(count):
                write_song(place / f"{k:05d}.mp3", seconds, k)
        load_model(model)
        output = Path(folder, "loop")
        one_by_one(name, BuildOptions(warm, output, model=model, min_snr=NO_LIMIT), Path(folder, "first"))
        options = BuildOptions(songs, output, model=model, min_snr=NO_LIMIT)
        alone, loop = timed(lambda: one_by_one(name, options, Path(folder, "second")))
        batched = in_batches(name, options, Path(folder, "third"))
        built, whole = timed(
            lambda: build(name, BuildOptions(songs, Path(folder, "set"), model=model, min_snr=NO_LIMIT))
        )
    return {
        "set": name,
        "clips": clips,
        "clip_seconds": seconds,
        "model": model,
        "threads": torch.get_num_threads(),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "units": built.units,
        "loop_clips_per_hour": round(clips * 3600 / loop[0]),
        "build_clips_per_hour": round(clips * 3600 / whole[0]),
        "ratio": round(loop[0] / whole[0], 3),
        "cpu_ratio": round(loop[1] / whole[1], 3),
        "seconds": {key: {"alone": round(alone[key], 4), "batched": round(batched[key], 4)} for key in alone},
    }


def timed(function: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What ``function`` gives, and the seconds it took: on the clock, and of the processor."""
    clock, worked = time.perf_counter(), time.process_time()
    result = function()
    return result, (time.perf_counter() - clock, time.process_time() - worked)


def table(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    lines = ["| operator | one by one | in batches |", "|---|---|---|"]
    for name, cost in report["seconds"].items():
        lines.append(f"| {name} | {cost['alone']:.3f} s | {cost['batched']:.3f} s |")
    lines.append("")
    rates = f"{report['loop_clips_per_hour']} an hour one by one, {report['build_clips_per_hour']} built"
    ratios = f"{report['ratio']:.2f} ×, {report['cpu_ratio']:.2f} × in seconds of the processor"
    size = f"{report['clips']} clips of {report['clip_seconds']:g} s"
    lines.append(f"{report['set']}, {size}: {rates}: {ratios}")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("mucaps", "musicqa"), default="musicqa")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--threads", type=int, help="cores to use (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    report = measure(arguments.set, max(1, arguments.clips), max(2.0, arguments.seconds), arguments.model)
    print(json.dumps(report) if arguments.json else table(report))


if __name__ == "__main__":
    main()
