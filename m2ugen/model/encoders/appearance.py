"""How a picture looks and how a clip moves, as a few numbers between 0 and 1, and how much energy that suggests.

Brightness, saturation, contrast and detail raise what viewers report as arousal (Valdez and Mehrabian, "Effects of
color on emotions", 1994, for the first two); in films, motion and the rate of cuts do (Hanjalic and Xu, "Affective
video content representation and modeling", 2005). Colourfulness is that of Hasler and Süsstrunk (2003).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

LIGHT_WORDS = ((0.25, "darkness"), (0.37, "dim light"), (0.55, ""), (1.01, "bright light"))  # brightness below → words
COLOUR_WORDS = ((0.12, "hardly any colour"), (0.65, ""), (1.01, "strong colours"))  # saturation
MOVE_WORDS = ((0.15, "hardly any movement"), (0.5, ""), (1.01, "fast movement"))  # motion
SIDE = 128  # pictures are measured at SIDE × SIDE pixels, so that their size does not matter
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
LOOKS = (
    "brightness",
    "contrast",
    "saturation",
    "warmth",  # red against blue; 0.5 is neutral
    "greenness",  # green against magenta; 0.5 is neutral
    "edges",
    "texture",
    "colourfulness",
    "hues",  # variety of colours
    "shadows",  # share of dark pixels
    "highlights",  # share of bright pixels
)
MOVES = (
    "motion",  # typical change from picture to picture
    "peaks",  # the strongest changes
    "pan",  # travel of the whole picture
    "flicker",  # change of brightness over the clip
    "cuts",  # cuts per second
)
EDGE_RANGE, TEXTURE_RANGE, COLOUR_RANGE = 0.12, 0.08, 0.45  # values of a very busy, very colourful picture
SHADOW, HIGHLIGHT = 0.2, 0.8
NUM_HUES = 12
# Weight of each look in the energy of a picture, and the logistic curve that spreads photographs over 0 to 1.
LOOK_WEIGHTS = {"brightness": 0.34, "contrast": 0.10, "saturation": 0.16, "edges": 0.20, "texture": 0.08}
LOOK_WEIGHTS |= {"colourfulness": 0.06, "hues": 0.06}
ENERGY_CENTRE, ENERGY_SLOPE = 0.42, 9.0
MOVE_WEIGHTS = {"motion": 0.35, "peaks": 0.15, "pan": 0.2, "cuts": 0.3}
MOVE_CENTRE, MOVE_SLOPE = 0.3, 7.0
MOVE_SHARE = 0.5  # of a clip's energy; the rest is that of its pictures
REFERENCE_GAP = 0.25  # seconds between pictures at which changes are compared
CUT_CHANGE, CUT_RATIO = 0.25, 2.5  # a cut changes this share of the colours, and so many times more than its neighbours
MAX_CUT_RATE, MAX_PAN = 1.0, 0.4  # cuts per second; picture widths per second


def look(rgb: np.ndarray) -> np.ndarray:
    """The LOOKS of a picture, float32 [len(LOOKS)] in [0, 1]; ``rgb`` is uint8 [height, width, 3]."""
    pixels = _measured(rgb)  # [SIDE, SIDE, 3] in [0, 1]
    luma = pixels @ LUMA
    red, green, blue = (pixels[..., channel] for channel in range(3))
    chroma = pixels.max(axis=-1) - pixels.min(axis=-1)
    down, across = np.gradient(luma)
    soft = luma.reshape(SIDE // 4, 4, SIDE // 4, 4).mean(axis=(1, 3)).repeat(4, axis=0).repeat(4, axis=1)
    yellow_blue = 0.5 * (red + green) - blue
    spread = np.hypot((red - green).std(), yellow_blue.std())
    colourfulness = spread + 0.3 * np.hypot((red - green).mean(), yellow_blue.mean())
    values = {
        "brightness": luma.mean(),
        "contrast": 3.0 * luma.std(),
        "saturation": 2.0 * chroma.mean(),
        "warmth": 0.5 + (red - blue).mean(),
        "greenness": 0.5 + 2.0 * (green - 0.5 * (red + blue)).mean(),
        "edges": np.hypot(down, across).mean() / EDGE_RANGE,
        "texture": np.abs(luma - soft).mean() / TEXTURE_RANGE,
        "colourfulness": colourfulness / COLOUR_RANGE,
        "hues": _hue_variety(pixels, chroma),
        "shadows": (luma < SHADOW).mean(),
        "highlights": (luma > HIGHLIGHT).mean(),
    }
    return np.clip([values[name] for name in LOOKS], 0.0, 1.0).astype(np.float32)


def moves(frames: np.ndarray, timestamps: np.ndarray) -> np.ndarray:
    """The MOVES of a clip, float32 [len(MOVES)] in [0, 1].

    ``frames`` is uint8 [n, height, width, 3] at ``timestamps`` (seconds, ascending). One picture does not move.
    Pictures that lie far apart in time say less: their changes are scaled to REFERENCE_GAP, and cuts between them
    are counted once at most.
    """
    if len(frames) < 2:
        return np.zeros(len(MOVES), dtype=np.float32)
    small = np.stack([_measured(frame)[::2, ::2] for frame in frames])  # [n, 64, 64, 3]
    luma = small @ LUMA
    gaps = np.maximum(np.diff(timestamps), 1e-3)
    recolour = _colour_changes(small)
    typical = np.median(recolour) + 1e-3
    cut = (recolour > CUT_CHANGE) & (recolour > CUT_RATIO * typical)
    # Pictures drift apart like a random walk: the change grows with the root of the time between them.
    change = np.abs(np.diff(luma, axis=0)).mean(axis=(1, 2)) * np.sqrt(REFERENCE_GAP / gaps)
    steady = change[~cut] if not cut.all() else change
    travel = np.array([_shift(a, b) for a, b in pairwise(luma)]) / np.maximum(gaps, REFERENCE_GAP / 4)
    travel = travel[~cut] if not cut.all() else np.zeros(1)
    duration = max(float(timestamps[-1] - timestamps[0]), 1.0)
    values = {
        "motion": 1.0 - np.exp(-float(steady.mean()) / 0.1),
        "peaks": 1.0 - np.exp(-float(np.quantile(change, 0.9)) / 0.2),
        "pan": float(np.median(travel)) / MAX_PAN,
        "flicker": 4.0 * luma.mean(axis=(1, 2)).std(),
        "cuts": cut.sum() / duration / MAX_CUT_RATE,
    }
    return np.clip([values[name] for name in MOVES], 0.0, 1.0).astype(np.float32)


def appearance_words(looks: np.ndarray, moved: np.ndarray | None = None) -> tuple[str, ...]:
    """Light, colours and movement in words, where LOOKS [len(LOOKS)] and MOVES [len(MOVES)] are out of the ordinary."""
    values = [(looks[LOOKS.index("brightness")], LIGHT_WORDS), (looks[LOOKS.index("saturation")], COLOUR_WORDS)]
    if moved is not None:
        values.append((moved[MOVES.index("motion")], MOVE_WORDS))
    words = (next(word for limit, word in table if value < limit) for value, table in values)
    return tuple(word for word in words if word)


def picture_energy(looks: np.ndarray) -> np.ndarray:
    """Energy in (0, 1) that the LOOKS [..., len(LOOKS)] suggest; grows with brightness, colour, contrast, detail."""
    weights = np.array([LOOK_WEIGHTS.get(name, 0.0) for name in LOOKS], dtype=np.float32)
    return _logistic(looks @ weights, ENERGY_CENTRE, ENERGY_SLOPE)


def clip_energy(looks: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Energy in (0, 1) of a clip from its mean LOOKS and its MOVES, each [..., values]."""
    weights = np.array([MOVE_WEIGHTS.get(name, 0.0) for name in MOVES], dtype=np.float32)
    movement = _logistic(moved @ weights, MOVE_CENTRE, MOVE_SLOPE)
    return (1 - MOVE_SHARE) * picture_energy(looks) + MOVE_SHARE * movement


def _logistic(value: np.ndarray, centre: float, slope: float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-slope * (value - centre)))


def _measured(rgb: np.ndarray) -> np.ndarray:
    """The picture at SIDE × SIDE, float32 in [0, 1]."""
    from PIL import Image

    small = Image.fromarray(np.ascontiguousarray(rgb)).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0


def _hue_variety(pixels: np.ndarray, chroma: np.ndarray) -> float:
    """Entropy of the hues, weighted by how coloured each pixel is; 0 for grey or one hue, 1 for all alike."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    hue = np.arctan2(np.sqrt(3.0) * (green - blue), 2.0 * red - green - blue)  # radians
    bins = np.floor((hue / (2 * np.pi) + 0.5) * NUM_HUES).astype(int) % NUM_HUES
    weights = np.bincount(bins.ravel(), weights=np.maximum(chroma - 0.05, 0.0).ravel(), minlength=NUM_HUES)
    if weights.sum() < 1e-3 * chroma.size:
        return 0.0
    shares = weights / weights.sum()
    return float(-(shares * np.log(shares + 1e-12)).sum() / np.log(NUM_HUES))


def _colour_changes(pictures: np.ndarray) -> np.ndarray:
    """Share of the pixels whose coarse colour is another one in the next picture's histogram, float [n - 1]."""
    levels = np.minimum((pictures * 4).astype(int), 3) @ np.array([16, 4, 1])  # [n, height, width]
    histograms = np.stack([np.bincount(level.ravel(), minlength=64) for level in levels]) / levels[0].size
    return 0.5 * np.abs(np.diff(histograms, axis=0)).sum(axis=1)


def _shift(before: np.ndarray, after: np.ndarray) -> float:
    """Travel of the whole picture, in picture widths, by phase correlation (Kuglin and Hines, 1975)."""
    window = np.hanning(len(before))[:, None] * np.hanning(before.shape[1])
    cross = np.fft.fft2((before - before.mean()) * window) * np.conj(np.fft.fft2((after - after.mean()) * window))
    peak = np.fft.ifft2(cross / (np.abs(cross) + 1e-6)).real
    if peak.max() < 0.05:  # nothing lines up: the change is not a travel
        return 0.0
    offsets = np.array(np.unravel_index(int(peak.argmax()), peak.shape), dtype=float)
    sizes = np.array(peak.shape)
    offsets = np.where(offsets > sizes / 2, offsets - sizes, offsets)
    return float(np.hypot(*(offsets / sizes)))
