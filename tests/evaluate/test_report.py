"""Reports say what was found, survive a round trip, and comparisons find what differs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from m2ugen.errors import InputError
from m2ugen.evaluate.metrics.statistics import Figure
from m2ugen.evaluate.report.card import BEGIN, END, write_card
from m2ugen.evaluate.report.compare import compare, compare_markdown
from m2ugen.evaluate.report.markdown import report_markdown, shown_figure, table
from m2ugen.evaluate.report.published import published_markdown, published_tables
from m2ugen.evaluate.report.write import write_report
from m2ugen.evaluate.results import Confusion, Example, Reliability, Result, Row, load_result, mean_row
from m2ugen.media.audio import save_audio


def result(system: str = "mine", shift: float = 0.0, items: int = 12) -> Result:
    rng = np.random.default_rng(0)
    scores = {f"i{k}": float(value + shift) for k, value in enumerate(rng.uniform(0.2, 0.6, items))}
    first = mean_row("text2music", "CLAP score", scores, shuffled=[0.1, 0.2], note="a note")
    second = mean_row("controls", "mode", {"a": 1.0, "b": 0.0}, majority=0.5, real=[1.0, 1.0], percent=True)
    assert first is not None and second is not None
    fad = Row("text2music", "FAD (VGGish)", Figure(3.5, 3.0, 4.0, 12), better="lower")
    return Result(
        system, "known truth 1", {"limit": items, "seed": 0}, [first, fad, second],
        [Confusion("controls", "mode", ["major", "minor"], [[3, 1], [0, 2]])],
        [Reliability("ear: mode", [0.6, 0.9], [0.5, 1.0], [4, 8])], seconds={"outputs": 3.0},
    )  # fmt: skip


def test_mean_row_holds_figure_and_baselines() -> None:
    row = mean_row("t", "n", {"a": 1.0, "b": float("nan"), "c": 3.0}, shuffled=[0.0], majority=0.25)
    assert row is not None and row.figure.value == 2.0 and row.scores == {"a": 1.0, "c": 3.0}
    assert row.baselines["shuffled"].value == 0.0 and row.baselines["majority"].value == 0.25
    assert mean_row("t", "n", {"a": float("nan")}) is None


def test_tables_show_figures_with_their_baselines() -> None:
    text = table(result().of("controls"))
    assert "| mode | **50 % [0, 100]** | – | 50 % | 100 % [100, 100] | 2 |" in text
    assert "FAD (VGGish) ↓ | **3.500 [3.000, 4.000]** | – | – | – | 12 |" in table(result().of("text2music"))
    assert "- CLAP score: a note" in table(result().of("text2music"))
    assert shown_figure(None, True) == "–" and shown_figure(Figure(123.44, 1, 200, 3), False) == "123.4 [1.0, 200.0]"


def test_report_round_trips_and_is_complete(tmp_path: Path) -> None:
    found = result()
    save_audio(tmp_path / "clip.wav", np.sin(np.arange(20_000) / 9).astype(np.float32), 22_050)
    found.examples.append(Example("text2music", "i0", "a <calm> piece", str(tmp_path / "clip.wav")))
    files = write_report(found, tmp_path / "report")
    again = load_result(tmp_path / "report")
    assert again.examples[0].output == "../clip.wav"
    found.examples = again.examples
    assert again.rows[1:] == found.rows[1:]
    assert again.rows[0].figure.value == pytest.approx(found.rows[0].figure.value, abs=1e-6)
    page = files[2].read_text()
    assert "<audio" in page and "a &lt;calm&gt; piece" in page and page.count("data:image/png") == 2
    assert "http://" not in page and "https://" not in page
    text = files[1].read_text()
    for link in ("plots/controls-mode.png", "plots/reliability.png"):
        assert link in text and (tmp_path / "report" / link).stat().st_size > 1000
    small = tmp_path / "small"
    write_report(found, small, players=False)
    assert "<audio" not in (small / "report.html").read_text()


def test_reports_hold_no_nan(tmp_path: Path) -> None:
    found = result()
    found.settings["value"] = float("nan")
    found.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)["settings"]["value"] is None


def test_damaged_reports_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"version": 1, "rows": [{"x": 1}]}')
    with pytest.raises(InputError, match="not a report"):
        load_result(tmp_path / "r.json")
    (tmp_path / "r.json").write_text('{"version": 7}')
    with pytest.raises(InputError, match="another version"):
        load_result(tmp_path / "r.json")
    with pytest.raises(InputError, match="does not exist"):
        load_result(tmp_path)


def test_published_figures_need_a_source_and_stand_beside_ours(tmp_path: Path) -> None:
    for each in published_tables():
        assert each["source"] and len(each["columns"]) == len(each["ours"])
    text = published_markdown([result()])
    assert "| M2UGen v2 (MusicGen) | – | – | – | published, arXiv 2311.11255 |" in text
    assert "| **mine** | 3.500 | – |" in text and "measured here" in text
    filled = {"tables": [{"task": "text2music", "title": "T", "source": "arXiv 0", "columns": ["FAD"],
                          "ours": ["FAD (VGGish)"], "rows": {"Rival": [1.23]}}]}  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps(filled))
    assert "| Rival | 1.23 | published, arXiv 0 |" in published_markdown([result()], tmp_path / "p.json")
    filled["tables"][0]["source"] = ""
    (tmp_path / "p.json").write_text(json.dumps(filled))
    with pytest.raises(InputError, match="not complete"):
        published_tables(tmp_path / "p.json")
    assert "published" in report_markdown(result())


def test_comparison_finds_a_difference_on_common_items() -> None:
    rows = {d.one.name: d for d in compare(result(), result("theirs", 0.03))}
    clap = rows["CLAP score"]
    assert clap.paired and clap.p is not None and clap.p < 0.01 and clap.winner == "second"
    assert rows["FAD (VGGish)"].p is None and rows["FAD (VGGish)"].winner == ""
    assert rows["mode"].p is None  # two items are too few
    text = compare_markdown(result(), result("theirs", 0.03))
    assert "| CLAP score |" in text and "**" in text.split("CLAP score")[1].split("|")[2]


def test_comparison_of_the_same_finds_nothing_and_others_are_unpaired() -> None:
    same = {d.one.name: d for d in compare(result(), result("copy"))}
    assert same["CLAP score"].p == 1.0 and same["CLAP score"].winner == ""
    other = result("theirs", 0.5)
    other.benchmark = "given"
    assert not {d.one.name: d for d in compare(result(), other)}["CLAP score"].paired
    lonely = Result("x", "b", rows=[Row("t", "n", Figure(0, 0, 0, 1))])
    with pytest.raises(InputError, match="no measure in common"):
        compare(result(), lonely)


def test_many_rows_are_held_back() -> None:
    rng = np.random.default_rng(1)
    one, other = Result("a", "b"), Result("c", "b")
    for number in range(30):
        for each in (one, other):
            row = mean_row("t", f"n{number}", {f"i{k}": float(v) for k, v in enumerate(rng.normal(size=20))})
            assert row is not None
            each.rows.append(row)
    assert not [d for d in compare(one, other) if d.winner]  # some of thirty would differ by chance alone


def test_lower_is_better_where_it_says_so() -> None:
    one, other = result(), result("theirs", 0.1)
    for each in (one, other):
        each.rows[0].better = "lower"
    assert {d.one.name: d for d in compare(one, other)}["CLAP score"].winner == "first"


def test_card_is_renewed_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text(f"# Model\n\nBefore.\n\n{BEGIN}\nold figures\n{END}\n\n## Limits\n")
    write_card(result(), path)
    text = path.read_text()
    assert "old figures" not in text and "Before." in text and "## Limits" in text and "CLAP score" in text
    write_card(result(), path)
    assert path.read_text() == text
    fresh = tmp_path / "new.md"
    write_card(result(), fresh)
    assert BEGIN in fresh.read_text() and fresh.read_text().startswith("# mine: model card")
    fresh.write_text(BEGIN)
    with pytest.raises(InputError, match="only one of the marks"):
        write_card(result(), fresh)
