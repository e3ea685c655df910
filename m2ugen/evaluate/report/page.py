"""A result as one HTML page that needs no other file: tables, plots, players and spectrograms."""

from __future__ import annotations

import base64
import html
import io
import tempfile
from pathlib import Path

import numpy as np

from m2ugen.demo.pictures import spectrogram
from m2ugen.evaluate.report.markdown import READING, TITLES, shown_figure
from m2ugen.evaluate.report.plots import draw_plots
from m2ugen.evaluate.results import BASELINES, Example, Result, Row
from m2ugen.media.audio import load_audio, save_audio
from m2ugen.media.files import atomic_output

PLAYER_RATE, PLAYER_SECONDS = 22_050, 10.0  # of the sound on the page
VIDEO_SUFFIX = ".mp4"
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8884; }
td:first-child, th:first-child { text-align: left; } .range, .note, figcaption { color: #888; font-size: .85em; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; align-items: start; } .plots img { background: white; }
.case { border-top: 1px solid #8884; padding: .6rem 0; } .case img { max-height: 9rem; max-width: 100%; }
audio { width: 100%; }
"""


def write_page(result: Result, path: Path, players: bool = True) -> None:
    """Write the page; without ``players`` it stays small. Raises MissingExtra without matplotlib."""
    with tempfile.TemporaryDirectory() as folder:
        plots = draw_plots(result, Path(folder))
        images = {plot.name: _embedded(plot.read_bytes(), "image/png") for plot in plots}
    body = [f"<h1>{html.escape(result.system)}</h1>", f"<p>{html.escape(READING).replace('**', '')}</p>"]
    for task in result.tasks:
        body += [f"<h2>{html.escape(TITLES.get(task, task))}</h2>", _table(result.of(task))]
        shown = [url for name, url in images.items() if name.startswith(f"{task}-")]
        body.append(_plots(shown))
        if players:
            body += [_case(example) for example in result.examples if example.task == task]
    if "reliability.png" in images:
        body += ["<h2>How far the ear can be trusted</h2>", _plots([images["reliability.png"]])]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(result.system)}: evaluation</title><style>{STYLE}</style></head>\n"
        f"<body>{chr(10).join(body)}</body></html>\n"
    )
    with atomic_output(path, (".html",)) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _table(rows: list[Row]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("", "figure", *BASELINES, "cases"))
    lines = [f"<table><tr>{head}</tr>"]
    for row in rows:
        figures = [(row.figure, True), *((row.baselines.get(name), name != "majority") for name in BASELINES)]
        cells = "".join(f"<td>{_ranged(shown_figure(figure, row.percent, wide))}</td>" for figure, wide in figures)
        note = f' <span class="note">{html.escape(row.note)}</span>' if row.note else ""
        mark = {"lower": " ↓", "higher": "", "": " ·"}[row.better]
        lines.append(f"<tr><td>{html.escape(row.name)}{mark}{note}</td>{cells}<td>{row.figure.count}</td></tr>")
    return "".join([*lines, "</table>"])


def _ranged(text: str) -> str:
    value, bracket, rest = text.partition(" [")
    return f'{value} <span class="range">[{rest}</span>' if bracket else value


def _plots(urls: list[str]) -> str:
    return f'<div class="plots">{"".join(f"<img src={chr(34)}{url}{chr(34)}>" for url in urls)}</div>' if urls else ""


def _case(example: Example) -> str:
    """A prompt with what was given and what came out."""
    parts = [f'<div class="case"><b>{html.escape(example.prompt)}</b> {html.escape(example.text)}']
    if example.picture is not None and Path(example.picture).is_file():
        data, video = Path(example.picture).read_bytes(), example.picture.endswith(VIDEO_SUFFIX)
        url = _embedded(data, "video/mp4" if video else "image/jpeg")
        parts.append(f'<br><video controls muted src="{url}"></video>' if video else f'<br><img src="{url}">')
    for caption, file in (("before", example.source), ("the system's music", example.output)):
        if file is not None and Path(file).is_file():
            parts.append(_player(caption, Path(file)))
    return "".join([*parts, "</div>"])


def _player(caption: str, path: Path) -> str:
    """Sound, small, and its spectrogram."""
    audio = load_audio(path, sample_rate=PLAYER_RATE, mono=True)
    samples = audio.samples[:, : int(PLAYER_SECONDS * PLAYER_RATE)]
    with tempfile.TemporaryDirectory() as folder:
        file = save_audio(Path(folder) / "clip.ogg", samples, PLAYER_RATE)
        sound = _embedded(file.read_bytes(), "audio/ogg")
    picture = io.BytesIO()
    spectrogram(np.asarray(samples), PLAYER_RATE).resize((600, 130)).save(picture, "JPEG", quality=70)
    image = _embedded(picture.getvalue(), "image/jpeg")
    return (
        f'<figure><audio controls preload="none" src="{sound}"></audio><br><img src="{image}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _embedded(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
