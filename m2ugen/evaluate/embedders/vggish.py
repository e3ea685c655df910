"""VGGish (Hershey et al., ICASSP 2017), the published space of the Fréchet audio distance.

The network and its features natively; weights are the file of the PyTorch port (vggish-10086976.pth: ``features.*``,
``embeddings.*``). As in the published evaluation there is neither PCA nor a ReLU after the last layer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from m2ugen.evaluate.embedders.mel import frames, mel_filters
from m2ugen.evaluate.embedders.weights import load_exactly, read_checkpoint

CHANNELS = (64, 128, 256, 256, 512, 512)
POOLED = (0, 1, 3, 5)  # convolutions with a max pool behind them
BANDS, EXAMPLE_FRAMES = 64, 96  # 0.96 s
WINDOW, HOP, FFT = 400, 160, 512


class VGGish(nn.Module):
    """Waveform at 16 kHz to 128 numbers for every 0.96 s."""

    name = "VGGish"
    sample_rate = 16_000

    def __init__(self, width: int = 4096, dim: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for index, channels in enumerate(CHANNELS):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if index in POOLED else []
            before = channels
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 4 * 6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dim)
        )
        self.requires_grad_(False).eval()

    @classmethod
    def from_file(cls, path: str | Path) -> VGGish:
        """The network with published weights. Raises MissingWeights."""
        state = read_checkpoint(Path(path))
        model = cls(state["embeddings.0.weight"].shape[0] if "embeddings.0.weight" in state else 4096)
        load_exactly(model, {k: v for k, v in state.items() if not k.startswith("pproc.")}, Path(path))
        return model

    @torch.inference_mode()
    def embed(self, mono: np.ndarray) -> np.ndarray:
        """float32 [seconds / 0.96, 128] of mono float32 [samples]."""
        return np.asarray(self(torch.from_numpy(examples(mono))).numpy())

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Log-mel examples [n, 96, 64] → [n, 128]."""
        maps = self.features(spectrograms[:, None])  # [n, 512, 6, 4]
        return torch.as_tensor(self.embeddings(maps.permute(0, 2, 3, 1).flatten(1)))  # TensorFlow's order


def examples(mono: np.ndarray) -> np.ndarray:
    """Log-mel spectrograms of 0.96 s without overlap, float32 [n, 96, 64]; short sound is filled up with silence."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # a periodic Hann window
    needed = WINDOW + (EXAMPLE_FRAMES - 1) * HOP
    sound = np.pad(mono, (0, max(needed - len(mono), 0)))
    magnitude = np.abs(np.fft.rfft(frames(sound, WINDOW, HOP) * window, FFT, axis=1))
    logs = np.log(magnitude @ mel_filters(FFT // 2 + 1, VGGish.sample_rate / FFT, BANDS, 125.0, 7500.0) + 0.01)
    count = len(logs) // EXAMPLE_FRAMES
    return np.asarray(logs[: count * EXAMPLE_FRAMES].reshape(count, EXAMPLE_FRAMES, BANDS), dtype=np.float32)
