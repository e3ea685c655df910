"""PaSST (Koutini et al., arXiv 2110.05069): probabilities of AudioSet's 527 classes, for the KL divergence.

Natively, under the names of the published files (``passt_s_swa_p16_128_ap476`` and its sisters). A patchout
transformer at inference is a vision transformer with separate position embeddings for time and frequency.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.evaluate.embedders.mel import mel_filters
from m2ugen.evaluate.embedders.weights import load_exactly, read_checkpoint

WINDOW, HOP, FFT, BANDS, TOP = 800, 320, 1024, 128, 15_000.0
PATCH, STRIDE = 16, 10
SECONDS = 10.0


class Block(nn.Module):
    """A pre-norm transformer layer with timm's names."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[batch, tokens, dim] → the same."""
        query, key, value = self.attn["qkv"](self.norm1(tokens)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        mixed = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        tokens = tokens + self.attn["proj"](mixed.transpose(1, 2).flatten(2))
        return tokens + torch.as_tensor(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens)))))


class PaSST(nn.Module):
    """Waveform at 32 kHz to class probabilities, averaged over pieces of ten seconds."""

    name = "PaSST"
    sample_rate = 32_000

    def __init__(
        self, dim: int = 768, depth: int = 12, heads: int = 12, classes: int = 527, grid: tuple[int, int] = (12, 99)
    ) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, PATCH, stride=STRIDE)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, dim))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, dim, grid[0], 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, dim, 1, grid[1]))
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))
        self.requires_grad_(False).eval()

    @classmethod
    def from_file(cls, path: str | Path) -> PaSST:
        """The network with published weights; its sizes are read off them. Raises MissingWeights."""
        state = {k: v for k, v in read_checkpoint(Path(path)).items() if not k.startswith("head_dist.")}
        state = {name.removeprefix("net."): tensor for name, tensor in state.items()}
        if {"cls_token", "head.1.weight", "freq_new_pos_embed", "time_new_pos_embed"} <= state.keys():
            dim = state["cls_token"].shape[-1]
            depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
            grid = (state["freq_new_pos_embed"].shape[2], state["time_new_pos_embed"].shape[3])
            model = cls(dim, depth, max(dim // 64, 1), state["head.1.weight"].shape[0], grid)
        else:
            model = cls()
        load_exactly(model, state, Path(path))
        return model

    @torch.inference_mode()
    def probabilities(self, mono: np.ndarray) -> np.ndarray:
        """Softmax of the logits, averaged over the pieces: float32 [classes]."""
        size = int(SECONDS * self.sample_rate)
        pieces = np.array_split(mono, max(-(-len(mono) // size), 1))
        softmax = [self(torch.from_numpy(log_mel(piece))[None]).softmax(dim=-1)[0] for piece in pieces]
        return np.asarray(torch.stack(softmax).mean(dim=0).numpy())

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Normalised log-mel spectrograms [n, 128, frames] → logits [n, classes]."""
        patches = self.patch_embed["proj"](spectrograms[:, None])  # [n, dim, bands, times]
        times = self.time_new_pos_embed.shape[-1]
        patches = patches[..., :times] + self.time_new_pos_embed[..., : patches.shape[-1]] + self.freq_new_pos_embed
        first = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        tokens = torch.cat([first.expand(len(patches), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = self.norm(self.blocks(tokens))
        return torch.as_tensor(self.head(tokens[:, :2].mean(dim=1)))


def log_mel(mono: np.ndarray) -> np.ndarray:
    """Pre-emphasised log-mel spectrogram, (ln + 4.5) / 5: float32 [128, frames], 100 frames a second."""
    sound = np.pad(mono, (0, max(FFT - len(mono) + 1, 0)))
    emphasised = torch.from_numpy(np.ascontiguousarray(sound[1:] - 0.97 * sound[:-1], dtype=np.float32))
    window = torch.hann_window(WINDOW, periodic=False)
    spectrum = torch.stft(emphasised, FFT, HOP, WINDOW, window, center=True, return_complex=True).abs().square()
    filters = mel_filters(FFT // 2 + 1, PaSST.sample_rate / FFT, BANDS, 0.0, TOP)
    filters[-1] = 0.0  # Kaldi's banks end below the Nyquist frequency
    logs = np.log(filters.T.astype(np.float32) @ spectrum.numpy() + 1e-5)
    return np.asarray((logs + 4.5) / 5.0, dtype=np.float32)
