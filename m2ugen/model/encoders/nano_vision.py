"""nano's image and video encoders: what is seen (EfficientNet-Lite0), how it looks, how it moves.

The hidden states are a few tokens, each with a block of dimensions of its own: square roots of scene and instrument
probabilities, looks and moves as pairs (v, 1 - v), the energy that they suggest as a soft histogram, and 64 numbers
that sum up the class logits. Every block has a length near one, so that no part drowns another where an adapter
normalises their mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import nn

from m2ugen.errors import MissingWeights
from m2ugen.model.encoders.appearance import (
    LOOKS,
    MOVES,
    appearance_words,
    clip_energy,
    look,
    moves,
    picture_energy,
)
from m2ugen.model.encoders.efficientnet import IMAGE_SIZE, NUM_CLASSES, EfficientNetLite0
from m2ugen.model.encoders.scenes import SCENES, SEEN_INSTRUMENTS, instrument_matrix, scene_matrix
from m2ugen.score.lexicon_words import ENERGY_ADJECTIVES

if TYPE_CHECKING:
    from PIL.Image import Image

    from m2ugen.media.video import Frames

EMBEDDING_DIM = 64
EMBEDDING_SCALE = 25.0  # typical length of a photograph's logits on the basis
ENERGY_BINS = 8
RESIZE, MEAN, SCALE = 256, 127.0, 128.0  # the classifier's own preprocessing
CLASSIFIED_FRAMES = 8  # pictures of a clip that are classified; motion is measured on all of them
SCENE, SEEN, LOOK, ENERGY, EMBEDDING = len(SCENES), len(SEEN_INSTRUMENTS), 2 * len(LOOKS), ENERGY_BINS, EMBEDDING_DIM
IMAGE_BLOCKS = (SCENE, SEEN, LOOK, ENERGY, EMBEDDING)
VIDEO_BLOCKS = (SCENE, SCENE, SEEN, LOOK, 2 * len(MOVES), ENERGY, EMBEDDING)
NAMED_SCENE, NAMED_INSTRUMENT = 0.3, 0.25  # probability from which what is seen is named


def image_tokens(logits: np.ndarray, looks: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Hidden states of an image, float32 [5, sum(IMAGE_BLOCKS)], from class logits [NUM_CLASSES] and LOOKS."""
    probabilities = _softmax(logits)
    energy = float(picture_energy(looks))
    parts = (*_seen(probabilities), _pairs(looks), _histogram(energy), _embed(logits, basis))
    return _disjoint(parts)


def video_tokens(logits: np.ndarray, looks: np.ndarray, moved: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Hidden states of a clip, float32 [7, sum(VIDEO_BLOCKS)], from logits and LOOKS of n pictures and its MOVES."""
    probabilities = _softmax(logits)  # [n, NUM_CLASSES]
    mean_look = looks.mean(axis=0)
    scene, seen = _seen(probabilities.mean(axis=0))
    peak, _ = _seen(probabilities.max(axis=0))
    energy = float(clip_energy(mean_look, moved))
    parts = (scene, peak / max(1.0, float(np.linalg.norm(peak))), seen, _pairs(mean_look), _pairs(moved))
    return _disjoint((*parts, _histogram(energy), _embed(logits.mean(axis=0), basis)))


class NanoImageEncoder(nn.Module):
    """Pixels and looks to hidden states [batch, 5, dim]. Fresh weights are random; ``from_file`` reads trained ones."""

    num_tokens = len(IMAGE_BLOCKS)
    dim = sum(IMAGE_BLOCKS)

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNetLite0()
        self.basis: torch.Tensor
        self.register_buffer("basis", torch.eye(NUM_CLASSES, EMBEDDING_DIM))
        self.requires_grad_(False).eval()

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """The encoder with the weights of a safetensors file, which encoders of the same file share in memory. Raises
        MissingWeights when there is none.
        """
        file = Path(path)
        if not file.is_file():
            raise MissingWeights(
                f"no image encoder at {file}: reinstall m2ugen, or run scripts/convert_image_encoder.py"
            )
        with torch.device("meta"):
            self = cls()
        self.load_state_dict(_read(file.resolve(), file.stat().st_mtime_ns), assign=True)
        return self

    def prepare(self, media: Image) -> dict[str, torch.Tensor]:
        """``pixels`` [3, 224, 224] and ``looks`` [len(LOOKS)] of an RGB picture of any size."""
        return {"pixels": _pixels(media), "looks": torch.from_numpy(look(np.asarray(media.convert("RGB"))))}

    @torch.no_grad()
    def forward(self, pixels: torch.Tensor, looks: torch.Tensor) -> torch.Tensor:
        """``pixels`` [batch, 3, 224, 224], ``looks`` [batch, len(LOOKS)] → [batch, num_tokens, dim]."""
        logits = self.network(pixels.to(self.basis.dtype)).float().cpu().numpy()
        basis = self.basis.float().cpu().numpy()
        tokens = [image_tokens(*pair, basis) for pair in zip(logits, looks.float().cpu().numpy())]
        return torch.from_numpy(np.stack(tokens)).to(pixels.device)

    @staticmethod
    def describe(hidden_states: np.ndarray) -> str:
        """What hidden states [num_tokens, dim] show, for the language model."""
        scene, seen, looks, energy, _ = _blocks(hidden_states, IMAGE_BLOCKS)
        return _said(scene, seen, _unpaired(looks), energy)


class NanoVideoEncoder(NanoImageEncoder):
    """Pictures of a clip, their looks and its moves to hidden states [batch, 7, dim]; same weights as the images'."""

    num_tokens = len(VIDEO_BLOCKS)
    dim = sum(VIDEO_BLOCKS)

    def prepare(self, media: Frames) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """``pixels`` [CLASSIFIED_FRAMES, 3, 224, 224], ``looks`` [CLASSIFIED_FRAMES, len(LOOKS)], ``moves``.

        A clip with fewer pictures repeats them evenly, which leaves means and maxima as they are or nearly so.
        """
        from PIL import Image

        chosen = np.round(np.linspace(0, len(media) - 1, CLASSIFIED_FRAMES)).astype(int)
        different = {int(i): media.array[i] for i in chosen}
        pixels = {i: _pixels(Image.fromarray(picture)) for i, picture in different.items()}
        looks = {i: torch.from_numpy(look(picture)) for i, picture in different.items()}
        return {
            "pixels": torch.stack([pixels[int(i)] for i in chosen]),
            "looks": torch.stack([looks[int(i)] for i in chosen]),
            "moves": torch.from_numpy(moves(media.array, media.timestamps)),
        }

    @torch.no_grad()
    def forward(  # type: ignore[override]
        self, pixels: torch.Tensor, looks: torch.Tensor, moves: torch.Tensor
    ) -> torch.Tensor:
        """``pixels`` [batch, n, 3, 224, 224], ``looks`` [batch, n, …], ``moves`` [batch, …] → [batch, 7, dim]."""
        logits = self.network(pixels.flatten(0, 1).to(self.basis.dtype)).unflatten(0, pixels.shape[:2])
        basis = self.basis.float().cpu().numpy()
        seen, looked, moved = (tensor.float().cpu().numpy() for tensor in (logits, looks, moves))
        tokens = [video_tokens(*each, basis) for each in zip(seen, looked, moved)]
        return torch.from_numpy(np.stack(tokens)).to(pixels.device)

    @staticmethod
    def describe(hidden_states: np.ndarray) -> str:
        scene, _, seen, looks, moved, energy, _ = _blocks(hidden_states, VIDEO_BLOCKS)
        return _said(scene, seen, _unpaired(looks), energy, _unpaired(moved))


@lru_cache(maxsize=1)
def _read(path: Path, _modified: int) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {name: tensor.float() for name, tensor in load_file(path).items()}


def _pixels(picture: Image) -> torch.Tensor:
    """Shorter side to RESIZE, the middle IMAGE_SIZE × IMAGE_SIZE of it; float32 [3, IMAGE_SIZE, IMAGE_SIZE]."""
    from PIL import Image

    scale = RESIZE / min(picture.size)
    width, height = (max(RESIZE, round(side * scale)) for side in picture.size)
    middle = picture.convert("RGB")
    # Only what the crop keeps is resampled: a long panorama costs no more than a square.
    left, top = (width - IMAGE_SIZE) / 2 / width, (height - IMAGE_SIZE) / 2 / height
    box = (left * middle.width, top * middle.height, (1 - left) * middle.width, (1 - top) * middle.height)
    middle = middle.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC, box=box)
    array = (np.asarray(middle, dtype=np.float32) - MEAN) / SCALE
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _seen(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Roots of the scenes' and of the instruments' probabilities: their length is one at most, whatever the spread."""
    return np.sqrt(probabilities @ scene_matrix()), np.sqrt(probabilities @ instrument_matrix())


def _pairs(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, 1.0 - values]) / np.sqrt(len(values))


def _histogram(value: float) -> np.ndarray:
    """A value in [0, 1] shared between the two nearest of ENERGY_BINS."""
    return np.maximum(1.0 - np.abs(value * (ENERGY_BINS - 1) - np.arange(ENERGY_BINS)), 0.0)


def _embed(logits: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return (logits - logits.mean()) @ basis / EMBEDDING_SCALE


def _disjoint(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One token per part, each in its own columns: float32 [len(parts), sum of their lengths]."""
    tokens = np.zeros((len(parts), sum(len(part) for part in parts)), dtype=np.float32)
    start = 0
    for row, part in enumerate(parts):
        tokens[row, start : start + len(part)] = part
        start += len(part)
    return tokens


def _blocks(hidden_states: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """The parts that ``_disjoint`` laid out in tokens."""
    parts, start = [], 0
    for row, size in enumerate(sizes):
        parts.append(hidden_states[row, start : start + size])
        start += size
    return parts


def _unpaired(pairs: np.ndarray) -> np.ndarray:
    """The values of which ``_pairs`` made pairs."""
    count = len(pairs) // 2
    return pairs[:count] * np.sqrt(count)


def _said(
    scene: np.ndarray, seen: np.ndarray, looks: np.ndarray, energy: np.ndarray, moved: np.ndarray | None = None
) -> str:
    """Scene, instruments, appearance and energy in words, from roots of probabilities, LOOKS, a histogram and MOVES."""
    likely = [SCENES[i] for i in np.argsort(-scene)[:2] if scene[i] ** 2 >= NAMED_SCENE]
    said = {
        "scene": " or ".join(likely or [SCENES[int(scene.argmax())]]),
        "instruments": ", ".join(SEEN_INSTRUMENTS[i] for i in np.flatnonzero(seen**2 >= NAMED_INSTRUMENT)),
        "look": ", ".join(appearance_words(looks, moved)),
        "energy": ENERGY_ADJECTIVES[round(float(energy @ np.linspace(0, len(ENERGY_ADJECTIVES) - 1, ENERGY_BINS)))],
    }
    return "; ".join(f"{name}: {words}" for name, words in said.items() if words)
