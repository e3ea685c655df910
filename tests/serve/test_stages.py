"""What a worker does with tasks: read together they are answered as alone, and results can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2ugen.cli.app import run_arguments
from m2ugen.errors import InputError
from m2ugen.examples import example
from m2ugen.media.image import load_image
from m2ugen.pipeline import M2UGen
from m2ugen.serve.media import save_decoded
from m2ugen.serve.results import converted, peaks, read_result
from m2ugen.serve.stages import Understood, carry_out, understand
from m2ugen.serve.tasks import Task


def task(folder: Path, name: str, text: str, picture: bool = False, **fields: object) -> Task:
    own = folder / name
    own.mkdir()
    if picture:
        with (own / "image.npz").open("wb") as file:
            save_decoded(file, pixels=np.asarray(load_image(example("dark"))))
    kind = fields.pop("kind", "ask")
    return Task(name, kind, text, own, ("image",) if picture else (), max_new_tokens=12, **fields)  # type: ignore[arg-type]


def read(nano: M2UGen, tasks: list[Task]) -> tuple[list[Understood], dict[str, str], dict[str, str]]:
    told: dict[str, str] = {}
    refused: dict[str, str] = {}
    done = understand(
        nano, tasks, lambda some, piece: told.update({some.id: told.get(some.id, "") + piece}),
        lambda some, reason: refused.update({some.id: reason}),
    )  # fmt: skip
    return done, told, refused


def test_together_as_alone(nano: M2UGen, tmp_path: Path) -> None:
    tasks = [
        task(tmp_path, "words", "What is a waltz?"),
        # a question with one likely answer: rounding differs with the rows, and decides between words equally likely
        task(tmp_path, "picture", "Describe the picture in one sentence.", picture=True),
        task(tmp_path, "long", "\N{MUSICAL SYMBOL G CLEF}" * 3000),
        task(tmp_path, "more", "Tell me about the drums of a rock band."),
    ]
    together, told, refused = read(nano, tasks)
    assert list(refused) == ["long"] and "2048 tokens" in refused["long"]
    assert [done.task.id for done in together] == ["words", "picture", "more"]
    for done in together:
        alone, _, _ = read(nano, [done.task])
        assert alone[0].understanding.text == done.understanding.text == told[done.task.id].strip()
        assert alone[0].understanding.tokens == done.understanding.tokens


def test_a_result_can_be_read_back_and_edited(nano: M2UGen, tmp_path: Path) -> None:
    made = task(tmp_path, "made", "a calm piano piece", kind="generate", duration=3.0, seed=1)
    (understood,), _, _ = read(nano, [made])
    steps: list[float] = []
    summary = carry_out(nano, understood, steps.append)
    assert summary["duration"] == 3.0 and summary["seed"] == 1 and summary["tokens"][1] > 0
    assert steps == sorted(steps) and steps[0] >= 0.2 and steps[-1] == 1.0
    reply = read_result(made.folder)
    assert reply.plan is not None and reply.notes is not None and len(reply.notes) and reply.text == summary["text"]
    assert converted(made.folder, "audio.mp3").stat().st_size > 1000
    changed = task(tmp_path, "changed", "make it louder", kind="edit", source=made.folder)
    (understood,), _, _ = read(nano, [changed])
    assert carry_out(nano, understood, steps.append)["files"]
    with pytest.raises(InputError, match="no music in it"):
        read_result(tmp_path)


def test_the_outline_of_a_wave() -> None:
    drawn = peaks(np.stack([np.linspace(-1, 1, 8000)] * 2).astype(np.float32))
    assert len(drawn) == 800 and drawn[0][0] == -1.0 and drawn[-1][1] == 1.0
    assert len(peaks(np.zeros((1, 10), np.float32))) == 10


def test_own_sound_needs_a_video_to_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_arguments(["generate", "x", "--keep-sound"]) == 2
    assert "--mux" in capsys.readouterr().err
