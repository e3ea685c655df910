"""``m2ugen serve``: the page and the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m2ugen.cli import common

NAME = "serve"
EXAMPLES = """Examples:

m2ugen serve

m2ugen serve --host 0.0.0.0 --port 8080 --api-keys keys.txt --allow-origin https://music.example

curl -F "prompt=a calm piano piece" http://127.0.0.1:8000/v1/music/generate"""


def run(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all.", metavar="H")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option("--workers", help="Processes, each with the whole model.", min=1)] = 1,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads of each worker.", min=1)] = None,
    queue: Annotated[int, typer.Option("--queue", help="Requests that may wait; more must come again.", min=1)] = 32,
    batch: Annotated[int, typer.Option("--batch", help="Requests read together (1: one at a time).", min=1)] = 8,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds that a request may run.", min=1)] = 300.0,
    keep: Annotated[float, typer.Option("--keep", help="Seconds that results are kept.", min=1)] = 3600.0,
    max_duration: Annotated[float, typer.Option("--max-duration", help="Longest music, in seconds.", min=1)] = 300.0,
    max_upload: Annotated[int, typer.Option("--max-upload", help="MiB that an uploaded file may have.", min=1)] = 64,
    drain: Annotated[float, typer.Option("--drain", help="Seconds to finish in when told to stop.", min=0)] = 60.0,
    api_keys: Annotated[
        Path | None, typer.Option("--api-keys", help="File with the keys that are let in, one a line.", metavar="FILE")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option("--allow-origin", help="Web origin whose pages may call.", metavar="URL")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="Name to be called by (default on this machine: its own).", metavar="NAME"),
    ] = None,
    soundfont: common.SoundFontOption = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
) -> None:
    """Serve a web page to play with and an API to build on."""
    try:
        from m2ugen.serve.run import LOOPBACK, serve
    except ModuleNotFoundError as error:
        from m2ugen.errors import MissingExtra

        raise MissingExtra(error.name or "fastapi", "serve") from error
    from m2ugen.serve.settings import Limits, Settings, read_keys

    own = (*LOOPBACK, "[::1]") if host in LOOPBACK else ()
    settings = Settings(
        model=model,
        soundfont=soundfont,
        workers=workers,
        threads=threads,
        queue=queue,
        batch=batch,
        timeout=timeout,
        keep_seconds=keep,
        drain_seconds=drain,
        api_keys=() if api_keys is None else read_keys(api_keys),
        origins=tuple(allow_origin or ()),
        hosts=tuple(allow_host or own),
        limits=Limits(duration=max_duration, file_bytes=max_upload << 20, body_bytes=(5 * max_upload // 2) << 20),
    )
    serve(settings, host, port)
