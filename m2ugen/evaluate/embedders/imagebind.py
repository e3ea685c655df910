"""ImageBind (Girdhar et al., arXiv 2305.05665): sound and pictures in one space, for the paper's ranking.

The vision and the audio trunk natively, under the names of the published file (imagebind_huge.pth; CC BY-NC-SA, so
it must be fetched by whoever may use it). Other modalities in the file are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.errors import MissingWeights
from m2ugen.evaluate.embedders.mel import frames, mel_filters
from m2ugen.evaluate.embedders.weights import load_exactly, read_checkpoint
from m2ugen.media.audio import Audio, load_audio

RATE, WINDOW, HOP, FFT, BANDS, LENGTH = 16_000, 400, 160, 512, 128, 204
AUDIO_MEAN, AUDIO_SCALE = -4.268, 9.138
SECONDS, PIECES = 2.0, 3
SIDE = 224
MEAN, SCALE = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PARTS = {
    "modality_preprocessors.{0}.": "stem.",
    "modality_trunks.{0}.": "trunk.",
    "modality_heads.{0}.": "head.",
}  # where a modality's tensors are in the file → here


class Layer(nn.Module):
    """A pre-norm transformer layer; ``bias_kv`` adds a learned key and value."""

    def __init__(self, dim: int, heads: int, bias_kv: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, bias=True, add_bias_kv=bias_kv, batch_first=True)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[batch, tokens, dim] → the same."""
        states = self.norm_1(tokens)
        tokens = tokens + self.attn(states, states, states, need_weights=False)[0]
        return tokens + torch.as_tensor(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm_2(tokens)))))


class Branch(nn.Module):
    """One modality: patches, a class token, positions, layers, and a projection of the class token."""

    def __init__(self, stem: nn.Module, tokens: int, dim: int, layers: int, heads: int, out: int, vision: bool) -> None:
        super().__init__()
        self.stem = Stem(stem, tokens, dim)
        self.trunk = nn.ModuleDict({"blocks": nn.Sequential(*[Layer(dim, heads, not vision) for _ in range(layers)])})
        if vision:
            self.trunk["pre_transformer_layer"] = nn.Sequential(nn.LayerNorm(dim, eps=1e-6))
        self.head = nn.Sequential(nn.LayerNorm(dim, eps=1e-6), nn.Identity(), nn.Linear(dim, out, bias=False))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches [batch, tokens, dim] → unit vectors [batch, out]."""
        tokens = self.stem(patches)
        if "pre_transformer_layer" in self.trunk:
            tokens = self.trunk["pre_transformer_layer"](tokens)
        tokens = self.trunk["blocks"](tokens)
        return F.normalize(self.head(tokens[:, :1])[:, 0], dim=-1)


class Stem(nn.Module):
    """Patches of one modality behind its class token, with learned positions."""

    def __init__(self, patches: nn.Module, tokens: int, dim: int) -> None:
        super().__init__()
        self.rgbt_stem = patches
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding_helper = nn.ParameterDict({"pos_embed": nn.Parameter(torch.zeros(1, tokens, dim))})

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """[batch, tokens - 1, dim] → [batch, tokens, dim]."""
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return tokens + self.pos_embedding_helper["pos_embed"]


class Patches(nn.Module):
    """A convolution whose places become tokens [batch, tokens, dim], normalised where the modality does so."""

    def __init__(self, proj: nn.Module, norm_layer: nn.Module | None = None) -> None:
        super().__init__()
        self.proj = proj
        self.norm_layer = norm_layer or nn.Identity()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.norm_layer(self.proj(maps).flatten(2).transpose(1, 2)))


class ImageBind(nn.Module):
    """Sounds and pictures to unit vectors. The sizes are those of imagebind_huge; tests use smaller ones."""

    name = "ImageBind"

    def __init__(
        self,
        vision: tuple[int, int, int] = (1280, 32, 16),
        audio: tuple[int, int, int] = (768, 12, 12),
        out: int = 1024,
    ) -> None:
        super().__init__()
        (vision_dim, vision_layers, vision_heads), (audio_dim, audio_layers, audio_heads) = vision, audio
        pictures = Patches(nn.Sequential(nn.Identity(), nn.Conv3d(3, vision_dim, (2, 14, 14), (2, 14, 14), bias=False)))
        sounds = Patches(nn.Conv2d(1, audio_dim, 16, stride=10, bias=False), nn.LayerNorm(audio_dim))
        tokens = (SIDE // 14) ** 2 + 1, ((BANDS - 16) // 10 + 1) * ((LENGTH - 16) // 10 + 1) + 1
        self.vision = Branch(pictures, tokens[0], vision_dim, vision_layers, vision_heads, out, True)
        self.sound = Branch(sounds, tokens[1], audio_dim, audio_layers, audio_heads, out, False)
        self.requires_grad_(False).eval()

    @classmethod
    def from_file(cls, path: str | Path, heads: tuple[int, int] = (16, 12)) -> ImageBind:
        """The two trunks of a published file; sizes are read off it, the numbers of heads are not in it. Raises
        MissingWeights.
        """
        state = read_checkpoint(Path(path))
        picked = {f"{own}.{new}": tensor for own, name in (("vision", "vision"), ("sound", "audio"))
                  for new, tensor in _renamed(state, name).items()}  # fmt: skip
        try:
            sizes = [picked[f"{own}.stem.cls_token"].shape[-1] for own in ("vision", "sound")]
            out = picked["vision.head.2.weight"].shape[0]
        except KeyError as error:
            raise MissingWeights(f"{path} holds no ImageBind model: it misses {error}") from error
        depths = [
            len({name.split(".")[3] for name in picked if name.startswith(f"{own}.trunk.blocks.")})
            for own in ("vision", "sound")
        ]
        model = cls((sizes[0], depths[0], heads[0]), (sizes[1], depths[1], heads[1]), out)
        load_exactly(model, picked, Path(path))
        return model

    @torch.inference_mode()
    def audio(self, clips: Sequence[Audio]) -> np.ndarray:
        """Unit vectors [n, out]: the mean over three pieces of two seconds, spread over each clip."""
        found = []
        for clip in clips:
            mono = load_audio(clip, sample_rate=RATE, mono=True).samples[0]
            patches = self.sound.stem.rgbt_stem(torch.from_numpy(spectrograms(mono))[:, None])
            found.append(self.sound(patches).mean(dim=0))
        return np.asarray(F.normalize(torch.stack(found), dim=-1).numpy())

    @torch.inference_mode()
    def pictures(self, media: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors [n, out] of pictures or clips, each uint8 [frames, height, width, 3]; the mean over frames."""
        found = []
        for stack in media:
            pixels = torch.stack([_pixels(frame) for frame in stack])  # [frames, 3, 224, 224]
            doubled = pixels[:, :, None].expand(-1, -1, 2, -1, -1)  # a still picture is a clip of two equal frames
            patches = self.vision.stem.rgbt_stem(doubled)
            found.append(self.vision(patches).mean(dim=0))
        return np.asarray(F.normalize(torch.stack(found), dim=-1).numpy())


def spectrograms(mono: np.ndarray) -> np.ndarray:
    """Kaldi's log-mel filter bank of three pieces of two seconds, normalised: float32 [3, 128, 204]."""
    size = int(SECONDS * RATE)
    sound = np.tile(mono, -(-size // max(len(mono), 1))) if len(mono) < size else mono
    starts = np.linspace(0, len(sound) - size, PIECES).astype(int)
    filters = mel_filters(FFT // 2 + 1, RATE / FFT, BANDS, 20.0, RATE / 2)
    filters[-1] = 0.0
    rows = []
    for start in starts:
        piece = sound[start : start + size].astype(np.float64)
        stack = frames(piece - piece.mean(), WINDOW, HOP)
        stack = stack - stack.mean(axis=1, keepdims=True)
        stack = stack - 0.97 * np.concatenate([stack[:, :1], stack[:, :-1]], axis=1)
        power = np.abs(np.fft.rfft(stack * np.hanning(WINDOW), FFT, axis=1)) ** 2
        logs = np.log(np.maximum(power @ filters, np.finfo(np.float32).eps)).T  # [bands, frames]
        logs = np.pad(logs, ((0, 0), (0, max(LENGTH - logs.shape[1], 0))))[:, :LENGTH]
        rows.append((logs - AUDIO_MEAN) / AUDIO_SCALE)
    return np.asarray(np.stack(rows), dtype=np.float32)


def _renamed(state: dict[str, torch.Tensor], modality: str) -> dict[str, torch.Tensor]:
    """A modality's tensors under this module's names."""
    found = {}
    for name, tensor in state.items():
        for old, new in PARTS.items():
            prefix = old.format(modality)
            if name.startswith(prefix):
                found[new + name.removeprefix(prefix)] = tensor
    return found


def _pixels(frame: np.ndarray) -> torch.Tensor:
    """Shorter side to 224, the middle of it, normalised: float32 [3, 224, 224]."""
    from PIL import Image

    picture = Image.fromarray(frame)
    scale = SIDE / min(picture.size)
    width, height = (max(round(side * scale), SIDE) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    array = np.asarray(picture.crop((left, top, left + SIDE, top + SIDE)), dtype=np.float32) / 255.0
    return torch.from_numpy(((array - np.array(MEAN)) / np.array(SCALE)).transpose(2, 0, 1).astype(np.float32))
