"""``m2ugen edit``: change a piece and keep the rest of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m2ugen.cli import common
from m2ugen.media.files import AUDIO_SUFFIXES, MIDI_SUFFIXES

NAME = "edit"
EXAMPLES = """Examples:

m2ugen edit "add drums" --music song.wav --output with-drums.wav

m2ugen edit "make it slower" --music song.ogg --output slower.flac

m2ugen edit "replace the piano with a violin" --music tune.mid --output tune.wav --midi tune-violin.mid"""


def run(
    instruction: Annotated[str, typer.Argument(help="What to change, in your own words.")],
    music: Annotated[Path, typer.Option("--music", help="The music to change: audio, video or MIDI.", metavar="FILE")],
    output: common.OutputOption = Path("edited.wav"),
    midi: common.MidiOption = None,
    seed: common.SeedOption = None,
    soundfont: common.SoundFontOption = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
    json: common.JsonOption = False,
) -> None:
    """Change a piece of music as told, and keep what was not asked to change."""
    common.check_outputs([music, soundfont], output=(output, AUDIO_SUFFIXES), midi=(midi, MIDI_SUFFIXES))
    with common.quiet_libraries():
        loaded = common.load_model(model, soundfont)
        with common.progress_bar("editing") as progress:
            reply = loaded.model.edit(instruction, music=music, seed=seed, progress=progress)
        if midi is not None:
            reply.save_midi(midi)
        reply.save(output)
    if json:
        common.print_json(common.result(reply, loaded, output, midi))
    else:
        print(reply.text)
        print(output)
