"""The tune of a recording, as melody models hear it: the strongest pitch class of every moment (arXiv 2306.05284,
§2.3).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional as F

FFT_SIZE = 16384  # samples; half a second, so that low notes are told apart
HOP = 4096  # samples


def chroma(samples: torch.Tensor, sample_rate: int, num_chroma: int = 12) -> torch.Tensor:
    """One-hot pitch classes [frames, num_chroma], C first, one frame per ``HOP`` samples of mono audio [samples].

    The same as transformers' ``MusicgenMelodyFeatureExtractor`` gives, without torchaudio. Silence counts as C.
    """
    missing = FFT_SIZE - len(samples)
    if missing > 0:
        samples = F.pad(samples, (missing // 2, missing - missing // 2))
    window = torch.hann_window(FFT_SIZE, device=samples.device)
    spectrum = torch.stft(samples, FFT_SIZE, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum.abs().square()  # [bins, frames]
    strengths = _filters(sample_rate, num_chroma).to(samples.device) @ power
    return F.one_hot(strengths.argmax(dim=0), num_chroma).float()


def melody_window(
    samples: torch.Tensor, sample_rate: int, start: float, frames: int, num_chroma: int = 12
) -> torch.Tensor:
    """``frames`` frames of the chroma of mono audio [samples] from ``start`` seconds on; it begins again at its end."""
    first = round(start * sample_rate) % len(samples)
    span = (frames - 1) * HOP + 1  # samples that give so many frames
    if len(samples) < span:  # short tunes repeat by whole frames, without a new attack where they begin again
        whole = chroma(samples, sample_rate, num_chroma)
        places = (torch.arange(frames, device=samples.device) + round(first / HOP)) % len(whole)
        return whole[places]
    return chroma(samples.roll(-first)[: frames * HOP], sample_rate, num_chroma)[:frames]


@lru_cache(maxsize=4)
def _filters(sample_rate: int, num_chroma: int) -> torch.Tensor:
    """How much of each bin's power counts for each pitch class, [num_chroma, bins]."""
    from transformers.audio_utils import chroma_filter_bank

    bank = chroma_filter_bank(num_frequency_bins=FFT_SIZE, num_chroma=num_chroma, sampling_rate=sample_rate, tuning=0.0)
    return torch.from_numpy(np.ascontiguousarray(bank)).float()
