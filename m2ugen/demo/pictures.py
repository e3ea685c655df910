"""Spectrograms and piano rolls as pictures, drawn with Pillow alone."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from m2ugen.score.notes import DURATION, ONSET, PART, PITCH, VELOCITY
from m2ugen.score.plan import Plan

WIDTH, HEIGHT = 1000, 260
FFT_SIZE, LOWEST_HZ, DYNAMIC_RANGE_DB = 4096, 40.0, 80.0
ROLE_COLOURS = {
    "melody": (232, 76, 61),
    "bass": (52, 104, 192),
    "chords": (46, 160, 90),
    "arpeggio": (150, 90, 190),
    "pad": (120, 170, 200),
    "drums": (110, 110, 110),
}
_HEAT = np.array([(0, 0, 20), (60, 15, 110), (170, 45, 110), (245, 110, 70), (252, 230, 150)], dtype=np.float64)


def spectrogram(audio: np.ndarray, sample_rate: int) -> Image.Image:
    """Loudness over time (across) and log frequency (up) of float audio [channels, samples]; RGB WIDTH × HEIGHT."""
    mono = audio.mean(axis=0)
    if len(mono) < FFT_SIZE:
        mono = np.pad(mono, (0, FFT_SIZE - len(mono)))
    starts = np.linspace(0, len(mono) - FFT_SIZE, WIDTH).astype(int)
    frames = np.stack([mono[s : s + FFT_SIZE] for s in starts]) * np.hanning(FFT_SIZE)
    magnitude = np.abs(np.fft.rfft(frames, axis=1))  # [WIDTH, bins]
    hertz = np.geomspace(LOWEST_HZ, min(16000.0, sample_rate / 2.2), HEIGHT)
    bins = np.clip(np.round(hertz * FFT_SIZE / sample_rate).astype(int), 1, magnitude.shape[1] - 1)
    decibels = 20 * np.log10(magnitude[:, bins] + 1e-9)
    level = np.clip((decibels - decibels.max()) / DYNAMIC_RANGE_DB + 1, 0, 1).T[::-1]  # [HEIGHT, WIDTH]
    position = level * (len(_HEAT) - 1)
    low = np.minimum(position.astype(int), len(_HEAT) - 2)
    share = (position - low)[..., None]
    return Image.fromarray((_HEAT[low] * (1 - share) + _HEAT[low + 1] * share).astype(np.uint8))


def piano_roll(notes: np.ndarray, plan: Plan) -> Image.Image:
    """Notes over time (across) and pitch (up), coloured by role, with bar lines and section letters."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), (250, 250, 248))
    draw = ImageDraw.Draw(picture)
    across = WIDTH / max(plan.ticks, 1)
    pitched = notes[[plan.parts[p].role != "drums" for p in notes[:, PART]]]
    low, high = (pitched[:, PITCH].min() - 8, pitched[:, PITCH].max() + 2) if len(pitched) else (36, 84)
    up = (HEIGHT - 20) / max(high - low, 1)
    for bar in range(plan.bars + 1):
        x = bar * plan.bar_ticks * across
        draw.line([(x, 20), (x, HEIGHT)], fill=(225, 225, 222))
    bar = 0
    for section in plan.sections:
        x = bar * plan.bar_ticks * across
        draw.line([(x, 0), (x, HEIGHT)], fill=(150, 150, 150))
        draw.text((x + 4, 4), section.letter, fill=(60, 60, 60))
        bar += section.bars
    for note in notes:
        role = plan.parts[note[PART]].role
        x0, x1 = note[ONSET] * across, (note[ONSET] + note[DURATION]) * across
        if role == "drums":  # percussion keys share a narrow band at the bottom
            y, x1 = HEIGHT - 4 - (note[PITCH] % 12), x0 + 2
        else:
            y = 20 + (high - note[PITCH]) * up
        shade = 0.45 + 0.55 * note[VELOCITY] / 127
        colour = tuple(int(255 - (255 - c) * shade) for c in ROLE_COLOURS[role])
        draw.rectangle([x0, y, max(x1 - 1, x0 + 1), y + max(up - 1, 2)], fill=colour)
    return picture
