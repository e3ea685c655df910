"""A finished result as files in its job's folder: sound, notes, plan, and an outline that a page can draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from m2ugen.errors import InputError
from m2ugen.media.audio import load_audio, save_audio
from m2ugen.reply import Reply
from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, VELOCITY
from m2ugen.score.plan import Plan
from m2ugen.serve.media import read_json

PEAKS = 800  # columns of the drawn waveform
SOUND = "audio.wav"
AUDIO_FILES = (SOUND, "audio.mp3", "audio.flac", "audio.ogg")
SUMMARY, PLAN, NOTES, OUTLINE, MIDI = "summary.json", "plan.json", "notes.npy", "outline.json", "score.mid"


def write_result(folder: Path, reply: Reply) -> dict[str, Any]:
    """Write ``reply`` into ``folder``; returns the summary that is told of it (and lies there as JSON)."""
    files: list[str] = []
    if reply.audio is not None:
        samples, sample_rate = reply.sound
        save_audio(folder / SOUND, samples, sample_rate)
        files += AUDIO_FILES
        outline: dict[str, Any] = {"duration": reply.duration, "peaks": peaks(samples), "parts": [], "notes": []}
        if reply.plan is not None and reply.notes is not None:
            reply.save_midi(folder / MIDI)
            (folder / PLAN).write_text(json.dumps(reply.plan.to_dict()), encoding="utf-8")
            np.save(folder / NOTES, reply.notes)
            outline["parts"] = [f"{part.instrument} ({part.role})" for part in reply.plan.parts]
            outline["notes"] = drawn_notes(reply.notes, reply.plan)
            files += [MIDI, PLAN]
        (folder / OUTLINE).write_text(json.dumps(outline), encoding="utf-8")
        files.append(OUTLINE)
    summary = {
        "text": reply.text,
        "duration": None if reply.duration is None else round(reply.duration, 3),
        "sample_rate": reply.sample_rate,
        "seed": reply.seed,
        "plan": None if reply.plan is None else reply.plan.summary(),
        "files": files,
        "seconds": {name: round(value, 3) for name, value in reply.seconds.items()},
    }
    (folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
    return summary


def read_result(folder: Path) -> Reply:
    """The reply whose files lie in ``folder``, without stems. Raises InputError when it has no sound."""
    if not (folder / SOUND).is_file():
        raise InputError("the earlier result has no music in it; choose another, or attach a file")
    audio = load_audio(folder / SOUND)
    plan = notes = None
    if (folder / PLAN).is_file() and (folder / NOTES).is_file():
        plan = Plan.from_dict(read_json(folder / PLAN))
        notes = np.load(folder / NOTES, allow_pickle=False)
    summary = read_json(folder / SUMMARY)
    return Reply(summary["text"], audio.samples, audio.sample_rate, plan, notes, seed=summary["seed"])


def converted(folder: Path, name: str) -> Path:
    """The sound in ``folder`` in the format of ``name`` (one of AUDIO_FILES), made when it is first asked for."""
    path = folder / name
    if not path.is_file():
        audio = load_audio(folder / SOUND)
        save_audio(path, audio.samples, audio.sample_rate)
    return path


def peaks(samples: np.ndarray) -> list[list[float]]:
    """Least and greatest value in each of PEAKS equal stretches of ``samples`` [channels, n]."""
    mono = samples.mean(axis=0)
    stretches = np.array_split(mono, min(PEAKS, mono.size))
    return [[round(float(part.min()), 3), round(float(part.max()), 3)] for part in stretches]


def drawn_notes(notes: np.ndarray, plan: Plan) -> list[list[float]]:
    """Notes as [start in seconds, length in seconds, pitch, velocity, index of the part]."""
    tick = plan.seconds_per_tick
    return [
        [round(row[ONSET] * tick, 3), round(row[DURATION] * tick, 3), row[PITCH], row[VELOCITY], row[PART]]
        for row in notes.tolist()
    ]
