"""Uploads: known by their content, decoded where they can do no harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from m2ugen.errors import InputError
from m2ugen.examples import example
from m2ugen.serve.media import fits, load_image, load_music, load_video, mixed_suffix, sniff
from m2ugen.serve.sandbox import Sandbox

LIMITS = {"memory": 3 << 30, "media_seconds": 60.0, "pixels": 4_000_000, "side": 1024, "num_frames": 8}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    yield made
    made.close()


def decode(sandbox: Sandbox, kind: str, source: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    target = str(folder / f"{kind}.npz")
    return sandbox.run(kind, kind, 30, **{**LIMITS, **changes}, source=str(source), target=target)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("music", "audio"), ("midi", "midi"), ("bright", "image"), ("video", "video")],
)
def test_files_are_known_by_their_content(name: str, kind: str) -> None:
    assert sniff(example(name).read_bytes()[:400]) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><MPD/>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"\x7fELF",
        b"GIT",
        b"",
        b"\xff",
    ],
)
def test_what_is_no_medium_is_not_decoded(head: bytes) -> None:
    assert sniff(head) is None
    assert not any(fits(kind, head) for kind in ("music", "image", "video"))


def test_decoded_forms_are_the_pipelines_own(sandbox: Sandbox, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    assert decode(sandbox, "music", tmp_path / "a.wav", tmp_path)["seconds"] == 0.5
    audio = load_music(tmp_path)
    assert audio.sample_rate == 16000 and np.array_equal(audio.samples, samples.T)
    Image.new("RGB", (1500, 300), (200, 10, 10)).save(tmp_path / "a.png")
    decode(sandbox, "image", tmp_path / "a.png", tmp_path)
    pixels = load_image(tmp_path)
    assert pixels.shape == (205, 1024, 3) and pixels[0, 0].tolist() == [200, 10, 10]
    decode(sandbox, "video", example("video"), tmp_path)
    clip, motion = load_video(tmp_path)
    assert len(clip) == 8 and len(motion) > 100
    assert clip.duration == motion.duration and motion.array.shape[2] <= 160


def test_limits_hold_and_the_sandbox_lives_on(sandbox: Sandbox, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000)).save(tmp_path / "large.png")
    with pytest.raises(InputError, match="the image has 3000 x 2000 pixels"):
        decode(sandbox, "image", tmp_path / "large.png", tmp_path)
    soundfile.write(tmp_path / "long.wav", np.zeros(16000 * 70), 16000)
    with pytest.raises(InputError, match="the music is longer than 60 seconds"):
        decode(sandbox, "music", tmp_path / "long.wav", tmp_path)
    soundfile.write(tmp_path / "wide.wav", np.zeros((1000, 20)), 16000)
    with pytest.raises(InputError, match="20 channels"):
        decode(sandbox, "music", tmp_path / "wide.wav", tmp_path)
    soundfile.write(tmp_path / "big.wav", np.zeros((48000 * 50, 4)), 48000)  # 38 MB when it is decoded
    with pytest.raises(InputError, match="too much memory"):
        decode(sandbox, "music", tmp_path / "big.wav", tmp_path, memory=1 << 20)
    (tmp_path / "cut.mp4").write_bytes(example("video").read_bytes()[:3000])
    with pytest.raises(InputError, match="the video"):
        decode(sandbox, "video", tmp_path / "cut.mp4", tmp_path)
    assert decode(sandbox, "image", example("bright"), tmp_path)["size"]


def test_a_decoder_can_open_no_file(sandbox: Sandbox, tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{example('music')}\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError):  # even if it were let through
        decode(sandbox, "music", playlist, tmp_path)


def test_a_killed_helper_is_started_again(sandbox: Sandbox, tmp_path: Path) -> None:
    assert decode(sandbox, "image", example("bright"), tmp_path)
    assert sandbox._process is not None
    sandbox._process.kill()
    sandbox._process.wait()
    assert decode(sandbox, "image", example("dark"), tmp_path)


def test_the_container_of_the_result_fits_the_video() -> None:
    assert mixed_suffix(example("video").read_bytes()[:400]) == ".mp4"
    assert mixed_suffix(b"\x1a\x45\xdf\xa3 webm") == ".webm"
    assert mixed_suffix(b"\x1a\x45\xdf\xa3 matroska") == ".mkv"
