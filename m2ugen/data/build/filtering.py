"""Operators that keep out what is no music: measuring, limits, duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from m2ugen.data.build.engine import Operator, each
from m2ugen.data.build.fingerprint import find_duplicates, fingerprint, sketch
from m2ugen.data.build.measures import RATE, clipped_share, signal_to_noise, silent_share
from m2ugen.data.build.media import music_of
from m2ugen.data.build.records import Outcome, Record
from m2ugen.data.build.speech import speech_model, speech_share
from m2ugen.media.audio import load_audio

MIN_SECONDS = 1.0
MAX_SILENT = 0.5
MAX_CLIPPED = 0.01


@dataclass(frozen=True)
class Measure(Operator):
    """Decodes music and measures it: duration (s), shares of silence, clipping and (with ``speech``) speech,
    signal-to-noise ratio (dB), fingerprint.
    """

    speech: bool = True
    name = "measure"

    def __call__(self, records: list[Record]) -> list[Outcome]:
        return each(records, self._measure)

    def _measure(self, record: Record) -> Outcome:
        audio = music_of(record)
        mono = load_audio(audio, sample_rate=RATE, mono=True).samples[0]
        facts: dict[str, Any] = {
            "duration": round(audio.duration, 3),
            "sample_rate": audio.sample_rate,
            "silent": round(silent_share(audio.mono(), audio.sample_rate), 4),
            "clipped": round(clipped_share(audio.samples), 5),
            "snr": round(signal_to_noise(mono), 2),
        }
        model = speech_model() if self.speech else None
        if model is not None:
            facts["speech"] = round(speech_share(mono, model), 4)
        words = fingerprint(mono)
        return Outcome(facts, {"fingerprint": words, "sketch": sketch(words)})


@dataclass(frozen=True)
class Screen(Operator):
    """Holds what was measured against limits: least ``min_snr`` dB, most ``max_speech`` (share of the time)."""

    min_snr: float = 6.0
    max_speech: float = 0.3
    name = "filter"
    needs = ("measure",)
    stored = False

    def __call__(self, records: list[Record]) -> list[Outcome]:
        return [Outcome(rejected=self.verdict(record.facts)) for record in records]

    def verdict(self, facts: dict[str, Any]) -> str | None:
        """Why music with these ``facts`` is unfit, or None."""
        if facts["duration"] < MIN_SECONDS:
            return f"it is {facts['duration']:.2f} s long; at least {MIN_SECONDS:g} s are needed"
        if facts["silent"] > MAX_SILENT:
            return f"{facts['silent']:.0%} of it is silent"
        if facts["clipped"] > MAX_CLIPPED:
            return f"{facts['clipped']:.1%} of it is clipped"
        if facts["snr"] < self.min_snr:
            return f"it is only {facts['snr']:.1f} dB above its noise"
        if facts.get("speech", 0.0) > self.max_speech:
            return f"somebody speaks in {facts['speech']:.0%} of it"
        return None


def reject_duplicates(records: list[Record]) -> None:
    """Reject those of ``records`` whose music is an earlier one's, by their fingerprints."""
    alive = [record for record in records if record.alive]

    def words(index: int) -> np.ndarray:
        return alive[index].array("fingerprint")

    for index, first in find_duplicates([record.array("sketch") for record in alive], words).items():
        alive[index].rejected = ("duplicates", f"it is the same recording as {alive[first].name}")
