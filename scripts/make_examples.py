"""Makes the example media in m2ugen/examples/ from their sources (see LICENSES.md there).

    python scripts/make_examples.py PHOTOS SONG.mxl

PHOTOS is the folder skimage/data of scikit-image, SONG.mxl Schubert's "Die Forelle" of OpenScore Lieder.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from m2ugen.data.nano.lieder import read_mxl
from m2ugen.examples import example
from m2ugen.media.audio import save_audio
from m2ugen.score.notes import ONSET, PART, PITCH, VELOCITY, notes_to_score, sort_notes
from m2ugen.score.plan import CHORDS_PER_BAR, Part, Plan, Section
from m2ugen.score.synthesis import SAMPLE_RATE, render

BRIGHT, DARK, DEEP_FIELD = "astronaut.png", "rocket.jpg", "hubble_deep_field.jpg"
PHOTO_SIDE, JPEG_QUALITY = 960, 82
WIDTH, HEIGHT, FPS = 480, 270, 24
FIRST_BAR, SECTIONS, TONIC, TEMPO = 0, (("A", 4), ("B", 4), ("C", 2)), 1, 96.0  # the first verse; D flat major


@dataclass(frozen=True)
class Shot:
    """A camera move over a photograph: from one view to another in ``seconds``.

    A view is the centre (across, down) and the width of what is seen, in shares of the photograph.
    """

    photo: str
    seconds: float
    start: tuple[float, float, float]
    end: tuple[float, float, float]


SHOTS = (
    Shot(DARK, 2.2, (0.5, 0.75, 0.55), (0.48, 0.35, 0.75)),
    Shot(BRIGHT, 1.5, (0.42, 0.3, 0.5), (0.45, 0.35, 0.9)),
    Shot(BRIGHT, 1.3, (0.75, 0.75, 0.45), (0.4, 0.75, 0.45)),
    Shot(DEEP_FIELD, 2.6, (0.6, 0.55, 0.35), (0.5, 0.5, 0.95)),
)


def save_photo(source: Path, target: Path) -> None:
    picture = Image.open(source).convert("RGB")
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    picture.save(target, quality=JPEG_QUALITY, optimize=True)


def frames_of(shot: Shot, folder: Path) -> list[np.ndarray]:
    """The shot's pictures; the hand that holds the camera is not quite still."""
    picture = Image.open(folder / shot.photo).convert("RGB")
    count = round(shot.seconds * FPS)
    frames = []
    for index in range(count):
        share = index / max(count - 1, 1)
        ease = share * share * (3 - 2 * share)
        across, down, width = (a + (b - a) * ease for a, b in zip(shot.start, shot.end))
        across += 0.004 * np.sin(2.1 * index / FPS) + 0.002 * np.sin(7.3 * index / FPS)
        down += 0.004 * np.sin(1.7 * index / FPS + 1) + 0.002 * np.sin(6.1 * index / FPS)
        half = width * picture.width / 2
        high = half * HEIGHT / WIDTH
        x = np.clip(across * picture.width, half, picture.width - half)
        y = np.clip(down * picture.height, high, picture.height - high)
        box = (x - half, y - high, x + half, y + high)
        frames.append(np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box=box)))
    return frames


def save_clip(folder: Path, target: Path) -> None:
    import av

    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "27", "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for shot in SHOTS:
            for picture in frames_of(shot, folder):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def save_song(source: Path, audio: Path, midi: Path) -> None:
    bars = sum(length for _, length in SECTIONS)
    song = next(iter(read_mxl(source))).cut(FIRST_BAR, FIRST_BAR + bars)
    tune, piano = song.melody.copy(), song.accompaniment.copy()
    tune[:, PART], piano[:, PART] = 0, 1
    tune[:, VELOCITY], piano[:, VELOCITY] = 88, 62
    notes = sort_notes(np.concatenate([tune, piano]))
    notes[:, PITCH] += TONIC
    # A line is shaped: it swells to the middle of each section and leaves room for a breath at its end.
    phrase = notes[:, ONSET] % (4 * song.bar_ticks) / (4 * song.bar_ticks)
    notes[:, VELOCITY] += np.round(10 * np.sin(np.pi * phrase) - 4).astype(np.int32)
    slots = CHORDS_PER_BAR[song.metre]
    sections, start = [], 0
    for letter, length in SECTIONS:
        chords = song.chords[start * slots : (start + length) * slots]
        sections.append(Section(letter, length, 2, tuple(chords)))
        start += length
    parts = (Part("melody", "violin"), Part("chords", "piano"))
    plan = Plan(TEMPO, song.metre, TONIC, song.mode, "classical", 2, parts, tuple(sections))
    sound, _ = render(notes, plan, seed=1)
    save_audio(audio, sound, SAMPLE_RATE)
    notes_to_score(notes, plan).dump_midi(str(midi))


def main(photos: Path, song: Path) -> None:
    save_photo(photos / BRIGHT, example("bright"))
    save_photo(photos / DARK, example("dark"))
    save_clip(photos, example("video"))
    save_song(song, example("music"), example("midi"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
