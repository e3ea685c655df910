"""``m2ugen ask``: a question about music, a picture or a video."""

from __future__ import annotations

from typing import Annotated

import typer

from m2ugen.cli import common

NAME = "ask"
EXAMPLES = """Examples:

m2ugen ask "Which instruments play?" --music song.ogg

m2ugen ask "Is it in a major or a minor key?" --music song.wav --json"""


def run(
    question: Annotated[str, typer.Argument(help="The question, in your own words.")],
    music: common.MusicOption = None,
    image: common.ImageOption = None,
    video: common.VideoOption = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
    json: common.JsonOption = False,
) -> None:
    """Answer a question about a piece of music, a picture or a video."""
    with common.quiet_libraries():
        loaded = common.load_model(model)
        with common.progress_bar("listening"):
            reply = loaded.model.ask(question, music=music, image=image, video=video)
    for notice in reply.notices:
        common.print_error(notice)
    if json:
        common.print_json(common.result(reply, loaded))
    else:
        print(reply.text)
