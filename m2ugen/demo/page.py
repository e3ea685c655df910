"""An HTML page from a list of results, with their files in it or beside it."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from m2ugen.media.files import atomic_output

_MIME = {
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".flac": "audio/flac",
    ".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4", ".mid": "audio/midi",
}  # fmt: skip

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #8884; padding: 1rem 0; }
audio, img, video { width: 100%; max-width: 100%; margin: .3rem 0; }
img.given, video.given { width: auto; max-height: 15rem; }
.command { font: 14px ui-monospace, monospace; background: #8882; padding: .3rem .6rem; overflow-wrap: anywhere; }
.answer { font-size: 1.1rem; } figcaption, .plan { color: #888; font-size: .9rem; }
.answer { white-space: pre-line; }
"""


Link: TypeAlias = Callable[[Path], str]  # what the page calls a file by


@dataclass
class Card:
    """One result: the command that made it, what was given, and what came out."""

    title: str
    command: str
    text: str
    plan: str | None = None
    given: list[Path] = field(default_factory=list)
    audio: Path | None = None
    earlier: Path | None = None  # what an earlier version made of the same
    midi: Path | None = None
    video: Path | None = None
    pictures: list[tuple[str, Path]] = field(default_factory=list)


def write_page(path: Path, title: str, summary: str, cards: list[Card], embed: bool = True) -> None:
    """Write ``cards`` as one HTML file that needs no network, and no other file unless ``embed`` is False.

    Without embedding, files are named by their place relative to the page, so the whole folder can be moved.
    """
    link: Link = _data_url if embed else lambda file: quote(Path(os.path.relpath(file, path.parent)).as_posix())
    body = "\n".join(_card(card, link) for card in cards)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(summary)}</p>\n{body}\n</body></html>\n"
    )
    with atomic_output(path, (".html",)) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _card(card: Card, link: Link) -> str:
    parts = [f"<section><h2>{html.escape(card.title)}</h2>", f'<p class="command">{html.escape(card.command)}</p>']
    parts += [_media(link, path, 'class="given"') for path in card.given]
    parts.append(f'<p class="answer">{html.escape(card.text)}</p>')
    if card.plan:
        parts.append(f'<p class="plan">{html.escape(card.plan)}</p>')
    if card.audio:
        parts.append(_media(link, card.audio))
    if card.earlier:
        parts.append(f"<p>Before:</p>{_media(link, card.earlier)}")
    if card.video:
        parts.append(_media(link, card.video))
    for caption, picture in card.pictures:
        parts.append(f"<figure>{_media(link, picture, f'alt={chr(34)}{html.escape(caption)}{chr(34)}')}"
                     f"<figcaption>{html.escape(caption)}</figcaption></figure>")  # fmt: skip
    if card.midi:
        parts.append(f'<p><a download="{html.escape(card.midi.name)}" href="{link(card.midi)}">MIDI file</a></p>')
    return "\n".join([*parts, "</section>"])


def _media(link: Link, path: Path, attributes: str = "") -> str:
    url = link(path)
    match _MIME[path.suffix].split("/")[0]:
        case "audio":
            return f'<audio controls preload="none" {attributes} src="{url}"></audio>'
        case "video":
            return f'<video controls muted playsinline {attributes} src="{url}"></video>'
        case _:
            return f'<img {attributes} src="{url}">'


def _data_url(path: Path) -> str:
    return f"data:{_MIME[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
