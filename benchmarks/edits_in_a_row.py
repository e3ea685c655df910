"""What several edits in a row leave of a recording.

    .venv/bin/python benchmarks/edits_in_a_row.py [--json] [--music FILE]

Six edits that undo each other (tempo, pitch and volume there and back) should give the recording back; five additions
should leave it under what is added. After every edit: the log-spectral distance from the source and its share above
8 kHz (what decays first), how much of the harmony is kept (cosine of pitch classes over time), and the true peak. For
scale, the first line is the source after MP3 at 128 kbit/s.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from m2ugen.evaluate.metrics.distances import log_spectral_distance
from m2ugen.evaluate.signals import chroma, harmony_kept
from m2ugen.examples import example
from m2ugen.media.audio import Audio, load_audio, save_audio
from m2ugen.pipeline import M2UGen
from m2ugen.score.mixing import measure_loudness, measure_true_peak

THERE_AND_BACK = (
    "change the tempo to 125 %",
    "transpose it up by 2 semitones",
    "make it 6 dB quieter",
    "make it 6 dB louder",
    "transpose it down by 2 semitones",
    "change the tempo to 80 %",
)
ADDITIONS = ("add drums", "add strings", "add a flute", "add an electric bass", "add a vibraphone")
RATE = 44_100
HIGH = 8_000  # Hz


def share_above(audio: Audio, cutoff: float = HIGH) -> float:
    """Energy above ``cutoff`` Hz in dB of all."""
    power = np.abs(np.fft.rfft(audio.mono())) ** 2
    frequencies = np.fft.rfftfreq(audio.samples.shape[-1], 1 / audio.sample_rate)
    return float(10 * np.log10(power[frequencies >= cutoff].sum() / power.sum() + 1e-12))


def compared(source: Audio, other: Audio) -> dict[str, float]:
    """The figures of ``other`` beside ``source``, both at RATE."""
    one, two = source.mono(), other.mono()
    length = min(len(one), len(two))
    return {
        "lsd": round(log_spectral_distance(one[:length], two[:length]), 3),
        "highs_db": round(share_above(other) - share_above(source), 2),
        "harmony_kept": round(harmony_kept(chroma(source), chroma(other)), 3),
        "loudness_db": round(measure_loudness(other.samples, RATE) - measure_loudness(source.samples, RATE), 2),
        "true_peak_db": round(20 * float(np.log10(measure_true_peak(other.samples) + 1e-9)), 2),
    }


def as_mp3(source: Audio) -> Audio:
    """The source after a lossy file, for scale."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_audio(Path(folder) / "a.mp3", source.samples, source.sample_rate)
        return load_audio(path).resampled(RATE)


def measure(music: Path) -> dict[str, Any]:
    """The rows of both chains."""
    model = M2UGen.from_pretrained("nano")
    source = load_audio(music).resampled(RATE)
    report: dict[str, Any] = {"mp3": compared(source, as_mp3(source))}
    for name, chain in (("there_and_back", THERE_AND_BACK), ("additions", ADDITIONS)):
        audio, rows = source, {}
        for instruction in chain:
            reply = model.edit(instruction, music=(audio.samples, RATE), seed=1)
            audio = Audio(*reply.sound).resampled(RATE)
            rows[instruction] = compared(source, audio)
        report[name] = rows
    return report


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--music", type=Path, default=example("music"), help="a recording")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    report = measure(arguments.music)
    if arguments.json:
        print(json.dumps(report))
        return
    print(f"MP3 for scale: {report['mp3']}")
    for name in ("there_and_back", "additions"):
        print("\n".join([name, *(f"  {step}: {row}" for step, row in report[name].items())]))


if __name__ == "__main__":
    main()
