"""Scoring: a system that gives back the truth is scored high, one that gives anything else is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from m2ugen.evaluate.benchmark.items import OTHER, Benchmark, Item
from m2ugen.evaluate.embedders.registry import Measuring, load_measuring
from m2ugen.evaluate.listening import default_listener
from m2ugen.evaluate.outputs import Outputs
from m2ugen.evaluate.results import Row
from m2ugen.evaluate.tasks import editing, music, pictures
from m2ugen.evaluate.tasks.context import Context, confusion, turned
from m2ugen.evaluate.tasks.editing import Version, success_of
from m2ugen.evaluate.tasks.music import evaluate_controls, evaluate_text2music
from m2ugen.evaluate.tasks.pictures import evaluate_pictures
from m2ugen.evaluate.tasks.understanding import evaluate_understanding
from m2ugen.media.audio import Audio, load_audio, save_audio
from m2ugen.score.attributes import Attributes


@pytest.fixture(scope="module")
def measuring() -> Measuring:
    return load_measuring()


def context(benchmark: Benchmark, folder: Path, measuring: Measuring) -> Context:
    return Context(benchmark, Outputs(folder), measuring, default_listener())


def named(rows: list[Row], name: str) -> Row:
    return next(row for row in rows if row.name.startswith(name))


def test_true_answers_score_one_and_the_shuffled_ones_less(
    benchmark: Benchmark, measuring: Measuring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from m2ugen.evaluate.tasks import understanding

    matches = lambda a, b: [type("M", (), {"recall": float(x == y), "f1": float(x == y)}) for x, y in zip(a, b)]  # noqa: E731
    monkeypatch.setattr(understanding, "default_bert_score", lambda source: ("BERTScore (fake)", matches))
    items = benchmark.of("understanding")
    by_music = {(i.music, i.kind): i.reference or "" for i in items}
    said = {item.id: item.reference for item in items}
    said |= {i.id + OTHER: by_music.get((i.other or "", i.kind), "Hm.") for i in items}
    (tmp_path / "answers.json").write_text(json.dumps(said))
    found = evaluate_understanding(context(benchmark, tmp_path, measuring))
    headline = named(found.rows, "factual accuracy")
    assert headline.figure.value == 1.0 and headline.figure.count == len(items)
    assert headline.baselines["shuffled"].value < 0.8
    assert named(found.rows, "BLEU (words)").figure.value == pytest.approx(1.0)
    genre = next(table for table in found.confusions if table.name == "genre")
    assert np.trace(np.array(genre.counts)) == np.sum(genre.counts) == 4
    drums = named(found.rows, "factual accuracy: drums")
    truths = [i.asked.drums for i in items if i.kind == "drums" and i.asked]
    assert drums.baselines["majority"].value == max(np.mean(truths), 1 - np.mean(truths))


def test_unanswered_questions_count_as_unanswered(benchmark: Benchmark, measuring: Measuring, tmp_path: Path) -> None:
    found = evaluate_understanding(context(benchmark, tmp_path, measuring))
    assert [row.name for row in found.rows] == ["items answered"] and found.rows[0].figure.value == 0.0


@pytest.fixture(scope="module")
def copied(benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system that plays the very recordings that the prompts describe."""
    folder = tmp_path_factory.mktemp("copied")
    for item in benchmark.of("text2music"):
        sound = load_audio(benchmark.path(item.reference or ""))
        save_audio(folder / f"{item.id}.wav", sound.samples[:, : 10 * sound.sample_rate], sound.sample_rate)
    return folder


def test_music_of_the_truth_is_as_good_as_real(benchmark: Benchmark, measuring: Measuring, copied: Path) -> None:
    where = context(benchmark, copied, measuring)
    found = evaluate_controls(where)
    everything = named(found.rows, "everything asked")
    assert everything.figure.value == pytest.approx(everything.baselines["real"].value, abs=0.25)
    assert everything.figure.value > everything.baselines["shuffled"].value
    assert named(found.rows, "duration within 1 %").figure.value == 1.0
    assert named(found.rows, "the ear itself: tempo").figure.count == 4 and found.reliability
    # variants are the same sound here: no diversity, where different prompts have some
    diversity = named(found.rows, "diversity across seeds")
    assert abs(diversity.figure.value) < 1e-3 < diversity.baselines["shuffled"].value

    found = evaluate_text2music(where)
    kl = named(found.rows, "KL over classes")
    assert kl.figure.value < 0.3 * kl.baselines["shuffled"].value
    fad = named(found.rows, "FAD (musicnn")
    assert fad.figure.value == pytest.approx(fad.baselines["real"].value, rel=0.3)


def test_noise_is_worse_than_music(benchmark: Benchmark, measuring: Measuring, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for item in benchmark.of("text2music"):
        save_audio(tmp_path / f"{item.id}.wav", rng.normal(0, 0.2, 40_000).astype(np.float32), 8000)
    found = evaluate_text2music(context(benchmark, tmp_path, measuring))
    for name in ("FAD (musicnn", "kernel distance"):
        row = named(found.rows, name)
        assert row.figure.value > 1.3 * row.baselines["real"].value and row.better == "lower"


@pytest.fixture
def no_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the distances out, which other tests are about."""
    for module in (editing, pictures):
        monkeypatch.setattr(module, "distance_rows", lambda *arguments: [])


@pytest.mark.usefixtures("no_distances")
def test_energy_and_cuts_of_pictures(benchmark: Benchmark, measuring: Measuring, tmp_path: Path) -> None:
    items = benchmark.of("video2music")
    for item in items:  # clicks on the cuts, denser and louder the livelier the clip is
        sound = np.random.default_rng(0).normal(0, 1e-3, int(item.facts["duration"] * 16_000))
        for second in [*item.facts["cuts"], *np.arange(0.3, item.facts["duration"], 2.0 - 1.8 * item.facts["energy"])]:
            sound[int(second * 16_000) : int(second * 16_000) + 400] += 0.5
        save_audio(tmp_path / f"{item.id}.wav", sound.astype(np.float32), 16_000)
    found = evaluate_pictures(context(benchmark, tmp_path, measuring), "video2music")
    assert named(found.rows, "energy seen and heard, correlation (onsets").figure.value > 0.7
    cuts = named(found.rows, "cuts met")
    assert cuts.figure.value > cuts.baselines["shuffled"].value
    assert named(found.rows, "duration within 1 %").figure.value == 1.0


@pytest.mark.usefixtures("no_distances")
def test_edits_are_measured_in_the_sound(benchmark: Benchmark, measuring: Measuring, tmp_path: Path) -> None:
    items = benchmark.of("editing")
    for item in items:  # nothing is done at all
        shutil.copy(benchmark.path(item.music or ""), tmp_path / f"{item.id}.wav")
    found = editing.evaluate_editing(context(benchmark, tmp_path, measuring))
    kept = named(found.rows, "harmony kept").scores
    for item in items:  # a transposition that was not made has another harmony than it should
        assert (kept[item.id] > 0.999) == (item.kind != "transpose")
    assert named(found.rows, "LSD").figure.value == pytest.approx(0.0, abs=1e-6)
    untouched = named(found.rows, "the untouched source")
    assert named(found.rows, "edit success").figure.value == untouched.figure.value


def version(samples: np.ndarray, like: Version, **heard: float) -> Version:
    attributes = replace(like.heard.attributes, **heard)  # type: ignore[arg-type]
    return Version(Audio(samples, 16_000), replace(like.heard, attributes=attributes), like.harmony)


def test_success_of_each_operation(benchmark: Benchmark) -> None:
    audio = load_audio(benchmark.path("clip-000.wav"), 16_000)
    heard = default_listener().hear([audio])[0]
    base = Version(audio, replace(heard, attributes=Attributes(tempo=100.0, mode="major")), music.chroma(audio))

    def item(kind: str, amount: float | None = None, *targets: str) -> Item:
        return Item("a", "editing", "x", kind=kind, facts={"amount": amount, "targets": list(targets)})

    faded = audio.samples * np.linspace(1, 0, audio.samples.shape[1], dtype=np.float32) ** 2
    cases: list[tuple[Item, Version]] = [
        (item("tempo", 80.0), version(audio.samples, base, tempo=81.0)),
        (item("mode", None, "minor"), version(audio.samples, base, mode="minor")),  # type: ignore[arg-type]
        (item("volume", -9.0), version(audio.samples * 10 ** (-9 / 20), base)),
        (item("length", 8.0), version(audio.samples[:, : 8 * 16_000], base)),
        (item("fade out", 4.0), version(faded, base)),
        (item("transpose", 3.0), Version(audio, base.heard, np.roll(base.harmony, 3, axis=1))),
    ]
    for case, after in cases:
        assert success_of(case, base, after) == 1.0, case.kind
        assert success_of(case, base, base) == 0.0, case.kind
    bands = (Attributes(instruments=("piano", "drums")), Attributes(instruments=("piano",)))
    odds = (
        {
            "energy": np.eye(5)[level],
            "drums": np.array([1 - drums, drums]),
            "instruments": heard.odds["instruments"] * share,
        }
        for level, drums, share in ((4, 0.9, 1.0), (0, 0.1, 0.5))
    )
    with_drums, without = (
        Version(audio, replace(heard, attributes=band, odds={**heard.odds, **told}), base.harmony)
        for band, told in zip(bands, odds)
    )
    assert success_of(item("add", None, "drums"), without, with_drums) == 1.0
    assert success_of(item("remove", None, "drums"), with_drums, without) == 1.0
    assert success_of(item("remove", None, "drums"), without, with_drums) == 0.0
    assert success_of(item("add", None, "drums"), with_drums, with_drums) == 0.0
    assert success_of(item("add", None, "organ"), without, with_drums) == 0.0
    assert success_of(item("add", None, "electric piano"), without, with_drums) == 1.0  # a piano, to most ears
    assert success_of(item("energy", 1.0), without, with_drums) == 1.0
    assert success_of(item("energy", -1.0), without, with_drums) == 0.0
    assert np.isnan(success_of(item("effect", None, "reverb"), base, base))


def test_confusion_and_turning() -> None:
    table = confusion("t", "n", [("a", "a"), ("a", "b"), ("b", "b")])
    assert table is not None and (table.labels, table.counts) == (["a", "b"], [[1, 1], [0, 1]])
    assert confusion("t", "n", [("a", "a")]) is None
    assert turned([1, 2, 3]) == [2, 3, 1]
