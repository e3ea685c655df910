"""``m2ugen chat``: several turns of words and music in the terminal."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m2ugen.cli import common
from m2ugen.errors import InputError, M2UGenError
from m2ugen.media.files import MIDI_SUFFIXES

if TYPE_CHECKING:
    from m2ugen.pipeline import Chat

NAME = "chat"
EXAMPLES = """Commands inside the chat:

/music FILE, /image FILE, /video FILE: attach a file to the next message

/save FILE: save the last music (wav, flac, ogg, mp3, or mid)

/new: forget the conversation; /quit: leave"""

HELP = "Type a message; /music, /image, /video FILE attach a file; /save FILE; /new; /quit"
ATTACHMENTS = ("music", "image", "video")


def run(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the music of this chat.", metavar="DIR")
    ] = Path("chat"),
    seed: common.SeedOption = None,
    soundfont: common.SoundFontOption = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
    json: common.JsonOption = False,
) -> None:
    """Talk about music and make it, turn by turn; each turn may refer to the last music."""
    with common.quiet_libraries():
        loaded = common.load_model(model, soundfont)
        chat = loaded.model.chat(seed=seed)
        print(HELP, file=sys.stderr)
        attached: dict[str, Path] = {}
        while (line := _read_line()) is not None:
            if not line:
                continue
            try:
                if line.startswith("/"):
                    if not _command(line, chat, attached):
                        break
                    continue
                _turn(line, chat, attached, output, loaded, json)
                attached.clear()
            except M2UGenError as error:
                common.print_error(str(error))


def _read_line() -> str | None:
    if sys.stdin.isatty():
        print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _command(line: str, chat: Chat, attached: dict[str, Path]) -> bool:
    """Carry out a slash command; False ends the chat."""
    name, *arguments = shlex.split(line[1:]) or [""]
    if name in ("quit", "exit", "q"):
        return False
    if name == "new":
        chat.reset()
    elif name in ATTACHMENTS and len(arguments) == 1:
        path = Path(arguments[0])
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        attached[name] = path
    elif name == "save" and len(arguments) == 1:
        if chat.last_music is None:
            raise InputError("there is no music to save yet")
        save = chat.last_music.save_midi if Path(arguments[0]).suffix in MIDI_SUFFIXES else chat.last_music.save
        print(save(arguments[0]))
    else:
        raise InputError(HELP)
    return True


def _turn(
    line: str, chat: Chat, attached: dict[str, Path], folder: Path, loaded: common.LoadedModel, json: bool
) -> None:
    with common.progress_bar("thinking") as progress:
        reply = chat.send(
            line,
            music=attached.get("music"),
            image=attached.get("image"),
            video=attached.get("video"),
            progress=progress,
        )
    path = None
    if reply.audio is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = _next_free(folder)
        reply.save(path)
    if json:
        common.print_json(common.result(reply, loaded, path))
        return
    print(reply.text)
    for notice in reply.notices:
        common.print_error(notice)
    if path is not None:
        print(path)


def _next_free(folder: Path) -> Path:
    number = 1
    while (path := folder / f"music-{number:03d}.wav").exists():
        number += 1
    return path
