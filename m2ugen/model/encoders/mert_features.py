"""Constant-Q features for MERT, and masks over frames."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from m2ugen.errors import InputError

LOWEST = 32.7  # Hz, the first bin of MERT's constant-Q transform: C1
OCTAVES = 7
FRAMES_PER_SECOND = 50  # of that transform


def frame_mask(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """True for the first ``lengths`` [batch] of ``frames``: [batch, frames]."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


class ConstantQ(nn.Module):
    """Magnitudes of a constant-Q transform with ``num_bins`` over seven octaves from C1 and 50 frames a second.

    Brown's transform (1991) computed in the time domain: a periodic Hann window around each frame's middle, as long as
    its frequency's quality factor asks, L1-normalised, times the square root of its length; silence around the
    waveform. ``sample_rate`` in Hz. Raises InputError when the top bin lies above half the sample rate.
    """

    def __init__(self, sample_rate: int, num_bins: int) -> None:
        super().__init__()
        per_octave = num_bins // OCTAVES
        frequencies = [LOWEST * 2.0 ** (index / per_octave) for index in range(num_bins)]
        if frequencies[-1] > sample_rate / 2:
            raise InputError(
                f"{num_bins} constant-Q bins reach {frequencies[-1]:.0f} Hz, above half of {sample_rate} Hz"
            )
        quality = 1.0 / (2.0 ** (1.0 / per_octave) - 1.0)
        lengths = [math.ceil(quality * sample_rate / frequency) for frequency in frequencies]
        self.hop = sample_rate // FRAMES_PER_SECOND
        self.middle = lengths[0] // 2 + 1
        kernels = torch.zeros(2, num_bins, 2 * self.middle, dtype=torch.float64, device="cpu")
        for index, (frequency, length) in enumerate(zip(frequencies, lengths)):
            places = torch.arange(length, dtype=torch.float64, device="cpu") - (length + 1) // 2
            window = torch.hann_window(length, dtype=torch.float64, device="cpu")
            phase = 2.0 * math.pi * frequency / sample_rate * places
            window = window * math.sqrt(length) / window.sum()
            start = self.middle + int(places[0])
            kernels[0, index, start : start + length] = window * phase.cos()
            kernels[1, index, start : start + length] = window * phase.sin()
        self.kernels: torch.Tensor
        self.register_buffer("kernels", kernels.flatten(0, 1)[:, None].float(), persistent=False)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Waveforms [batch, samples] → magnitudes [batch, 1 + samples // hop, num_bins]."""
        padded = functional.pad(waveforms[:, None], (self.middle, self.middle))
        parts = functional.conv1d(padded, self.kernels, stride=self.hop)  # [batch, 2 * num_bins, frames]
        return parts.unflatten(1, (2, -1)).square().sum(dim=1).sqrt().transpose(1, 2)
