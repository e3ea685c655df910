"""Decoding of uploads in processes that can do nothing else.

A Sandbox is a helper process that has loaded the decoders. For each file it forks a child, which opens its input and
output, gives up the right to open anything more, to write beyond a size, to use more memory or time than allowed, and
decodes. A file that crashes a decoder, or makes it run away, costs that child.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from m2ugen.errors import InputError, M2UGenError

TOO_MUCH = "the {what} needs too much memory or time to decode; cut it, scale it down or convert it"
SOFT_FILES = 64  # that a child may open where a SoundFont or a container must be
MAX_CHANNELS = 8
MIDI_MODULES = (
    "symusic",
    "pyloudnorm",
    "scipy.signal",
    "scipy.ndimage",
    "m2ugen.score.mixing",
    "m2ugen.score.synthesis",
)
OUTPUT_BYTES = 4 << 30


class Sandbox:
    """One helper process; calls from several threads take turns. It is started when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(self, work: str, what: str, seconds: float, **request: Any) -> dict[str, Any]:
        """Have ``work`` (a name in WORKS) done on files, within ``seconds``; ``what`` names the medium in messages.

        Raises InputError when the file cannot be decoded.
        """
        with self._lock:
            process = self._started()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps({"work": work, "seconds": seconds, **request}) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = ""
            if not line:
                self._stop()
                raise InputError(TOO_MUCH.format(what=what))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"].replace("the given data", f"the {what}"))
        if answer.get("crashed"):
            raise InputError(TOO_MUCH.format(what=what))
        return answer

    def warm(self) -> None:
        """Start the helper, so that the first file need not wait for that."""
        with self._lock:
            self._started()

    def close(self) -> None:
        """End the helper process."""
        with self._lock:
            self._stop()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "m2ugen.serve.sandbox"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                start_new_session=True,
            )  # fmt: skip
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None


def main() -> None:
    """Serve requests, one JSON object a line on stdin, one answer a line on stdout, until stdin ends."""
    _rehearse()
    for line in sys.stdin:
        request = json.loads(line)
        answer = _in_child(request)
        print(json.dumps(answer), flush=True)


def _rehearse() -> None:
    """Decode an example of each kind, so that everything is loaded before the children can open nothing any more."""
    import io

    import numpy as np
    import PIL.Image

    from m2ugen.examples import example
    from m2ugen.media.audio import load_audio
    from m2ugen.media.image import load_image
    from m2ugen.media.video import load_clip
    from m2ugen.serve.media import save_decoded

    for name in MIDI_MODULES:  # playing an example would take seconds
        import_module(name)
    PIL.Image.init()
    picture = load_image(example("bright"))
    picture.thumbnail((16, 16))
    save_decoded(io.BytesIO(), pixels=np.asarray(picture))
    load_audio(example("music"))
    load_audio(_tone())
    load_clip(example("video"))


def _tone() -> bytes:
    """A short wave file."""
    import io
    import wave

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    return buffer.getvalue()


def _in_child(request: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(int(request["seconds"]) + 1)
        try:
            answer = WORKS[request["work"]](request)
        except M2UGenError as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"crashed": True}
        except (
            BaseException
        ) as error:  # the edge of the process: nothing of the file's may pass but the kind of failure
            answer = {"error": f"the given data cannot be decoded ({type(error).__name__})"}
        with os.fdopen(writer, "w") as pipe:
            pipe.write(json.dumps(answer))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told) if told else {"crashed": True}


def _confine(request: dict[str, Any], files: int = 0) -> None:
    """Give up what decoding does not need; ``files`` is how many descriptors may be open."""
    seconds = int(request["seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES, OUTPUT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def _opened(request: dict[str, Any]) -> tuple[bytes, BinaryIO]:
    return Path(request["source"]).read_bytes(), open(request["target"], "wb")


def _decode_music(request: dict[str, Any]) -> dict[str, Any]:
    from m2ugen.media.audio import load_audio
    from m2ugen.serve.media import save_decoded, sniff

    data, target = _opened(request)
    _confine(request, SOFT_FILES if sniff(data) == "midi" else 0)  # a SoundFont is needed for MIDI
    audio = load_audio(data, max_seconds=request["media_seconds"])
    if audio.samples.shape[0] > MAX_CHANNELS:
        raise InputError(f"the given data has {audio.samples.shape[0]} channels; at most {MAX_CHANNELS} can be used")
    with target:
        save_decoded(target, samples=audio.samples, sample_rate=audio.sample_rate)
    return {"seconds": audio.duration}


def _decode_image(request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from m2ugen.media.image import load_image
    from m2ugen.serve.media import save_decoded

    data, target = _opened(request)
    _confine(request)
    picture = load_image(data, max_pixels=request["pixels"])
    picture.thumbnail((request["side"], request["side"]))
    with target:
        save_decoded(target, pixels=np.asarray(picture))
    return {"size": list(picture.size)}


def _decode_video(request: dict[str, Any]) -> dict[str, Any]:
    from m2ugen.media.video import load_clip
    from m2ugen.serve.media import save_decoded

    data, target = _opened(request)
    _confine(request)
    clip, motion = load_clip(data, request["num_frames"], max_seconds=request["media_seconds"])
    with target:
        save_decoded(
            target, clip_array=clip.array, clip_times=clip.timestamps, motion_array=motion.array,
            motion_times=motion.timestamps, duration=clip.duration, fps=clip.fps,
        )  # fmt: skip
    return {"seconds": clip.duration}


def _mix(request: dict[str, Any]) -> dict[str, Any]:
    """The video in ``source`` with the sound in ``music`` as ``target``, its own sound kept under it if wanted."""
    from m2ugen.media.audio import load_audio
    from m2ugen.media.video import mux_audio

    data, music = Path(request["source"]).read_bytes(), load_audio(Path(request["music"]))
    _confine(request, SOFT_FILES)
    mux_audio(data, music.samples, music.sample_rate, request["target"], keep_sound=request["keep_sound"])
    return {}


WORKS = {"music": _decode_music, "image": _decode_image, "video": _decode_video, "mix": _mix}

if __name__ == "__main__":
    main()
