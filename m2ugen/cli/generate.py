"""``m2ugen generate``: music from words, a picture, a video or other music."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2ugen.cli import common
from m2ugen.media.files import AUDIO_SUFFIXES, MIDI_SUFFIXES, VIDEO_SUFFIXES

if TYPE_CHECKING:
    from m2ugen.reply import Reply
    from m2ugen.streaming import MusicStream

NAME = "generate"
EXAMPLES = """Examples:

m2ugen generate "a calm piano piece in D minor" --duration 20 --seed 7 --output calm.wav --midi calm.mid

m2ugen generate "a slow waltz for strings" --bpm 84 --meter 3/4 --chords "Am F C G" --output waltz.wav

m2ugen generate "an energetic rock song" --duration 120 --play --output rock.flac

m2ugen generate "music for this picture" --image beach.jpg --output beach.mp3

m2ugen generate "an exciting soundtrack" --video clip.mp4 --output clip.wav --mux clip-with-music.mp4"""


def run(
    prompt: Annotated[str, typer.Argument(help="What the music should be like.")],
    music: common.MusicOption = None,
    image: common.ImageOption = None,
    video: common.VideoOption = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", "-d", help="Seconds of music; default: the video's length, else 30.", metavar="S"),
    ] = None,
    seed: common.SeedOption = None,
    output: common.OutputOption = Path("music.wav"),
    midi: common.MidiOption = None,
    mux: Annotated[
        Path | None, typer.Option("--mux", help="Also write the video with the music as its sound.", metavar="FILE")
    ] = None,
    keep_sound: Annotated[
        bool, typer.Option("--keep-sound", help="Keep the video's own sound under the music of --mux.")
    ] = False,
    guidance_scale: Annotated[
        float | None, typer.Option("--guidance-scale", help="How closely to follow the prompt (1 = off).", min=0.0)
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Play this plan (JSON) instead of writing one.", metavar="FILE")
    ] = None,
    bpm: Annotated[float | None, typer.Option("--bpm", help="Tempo in beats per minute.")] = None,
    key: Annotated[str | None, typer.Option("--key", help='Key, such as "D minor".')] = None,
    meter: Annotated[str | None, typer.Option("--meter", help="4/4, 3/4 or 6/8.")] = None,
    chords: Annotated[
        str | None,
        typer.Option("--chords", help='A chord for each bar, repeated to the end: "C G A:min F", "C,G Am F" for two.'),
    ] = None,
    save_plan: Annotated[
        Path | None, typer.Option("--save-plan", help="Write the plan of the piece as JSON.", metavar="FILE")
    ] = None,
    play: Annotated[
        bool, typer.Option("--play", help="Play it while the rest is still being written. Ctrl-C stops only this.")
    ] = False,
    soundfont: common.SoundFontOption = None,
    model: common.ModelOption = common.DEFAULT_MODEL,
    json: common.JsonOption = False,
) -> None:
    """Make music from words, a picture, a video or other music."""
    common.check_outputs(
        [music, image, video, soundfont, plan],
        output=(output, AUDIO_SUFFIXES),
        midi=(midi, MIDI_SUFFIXES),
        mux=(mux, VIDEO_SUFFIXES),
        save_plan=(save_plan, (".json",)),
    )
    if mux is not None and video is None:
        raise typer.BadParameter("--mux needs --video")
    if keep_sound and mux is None:
        raise typer.BadParameter("--keep-sound needs --mux")
    from m2ugen.score.directions import Directions

    directions = Directions.read(bpm, key, meter, chords)
    given_plan = None if plan is None else common.read_plan(plan)
    with common.quiet_libraries():
        if play:
            from m2ugen.media.playback import check_loudspeaker

            check_loudspeaker()
        loaded = common.load_model(model, soundfont)
        with common.progress_bar("composing") as progress:
            make: Callable[..., Any] = partial(
                loaded.model.generate,
                prompt,
                music=music,
                image=image,
                video=video,
                duration=duration,
                seed=seed,
                guidance_scale=guidance_scale,
                plan=given_plan,
                directions=directions,
                progress=progress,
            )
            reply: Reply = _heard(make(stream=True)) if play else make()
        reply.save(output)
        if midi is not None:
            reply.save_midi(midi)
        if save_plan is not None:
            common.write_plan(reply, save_plan)
        if mux is not None and video is not None:
            from m2ugen.media.video import mux_audio

            mux_audio(video, *reply.sound, mux, keep_sound=keep_sound)
    for notice in reply.notices:
        common.print_error(notice)
    if json:
        common.print_json(common.result(reply, loaded, output, midi))
        return
    print(reply.text)
    print(output)
    if reply.plan is not None:
        print(reply.plan.summary(), file=sys.stderr)


def _heard(stream: MusicStream) -> Reply:
    """Play a reply as it comes. Interrupting the sound does not lose the music."""
    from m2ugen.media.playback import Loudspeaker

    try:
        with Loudspeaker(stream.sample_rate) as loudspeaker:
            for piece in stream:
                loudspeaker.write(piece)
    except KeyboardInterrupt:
        print("m2ugen: the sound is stopped; the music is still written to its file", file=sys.stderr)
    return stream.reply
