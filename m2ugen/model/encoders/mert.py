"""MERT (arXiv 2306.00107), the paper's ear: HuBERT's architecture on music, with the options that MERT adds to it.

Built from transformers' HuBERT modules, under the names of the published files, so that no code comes with the
weights. The features of a file are the mean over time of every layer's hidden states, over the whole file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import HubertConfig
from transformers.models.hubert.modeling_hubert import (
    HubertEncoderLayer,
    HubertEncoderLayerStableLayerNorm,
    HubertFeatureEncoder,
    HubertFeatureProjection,
    HubertPositionalConvEmbedding,
)

from m2ugen.errors import InputError
from m2ugen.model.encoders.mert_features import ConstantQ, frame_mask
from m2ugen.model.encoders.pretrained import load_state, read_config, read_preprocessor, read_state, settings_tensor

WINDOW_SECONDS = 60.0
BATCH_SECONDS = 60.0
VARIANCE_FLOOR = 1e-7  # of the waveform's normalisation, as published
# In published files, but not weights of the forward pass: the vector that hid frames in training, fixed kernels.
UNUSED = ("masked_spec_embed", "feature_extractor_cqt.")
# Weight normalisation under its older names.
WEIGHT_NORM = {
    "encoder.pos_conv_embed.conv.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "encoder.pos_conv_embed.conv.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
}


class MERTConfig(HubertConfig):
    """HuBERT's configuration and MERT's options.

    ``feature_extractor_cqt``: ``feature_extractor_cqt_bins`` constant-Q magnitudes stand beside the convolutions'
    features. ``deepnorm``: residuals are scaled up by (2 · layers)^¼ (arXiv 2203.00555), in post-norm layers only.
    ``attention_relax`` divides the scores by a constant, takes their maximum off and multiplies them again, which
    keeps fp16 from overflowing; a softmax is the same without it, and torch's attention takes the maximum off anyway.
    """

    model_type = "mert_model"

    feature_extractor_cqt: bool = False
    feature_extractor_cqt_bins: int = 336
    deepnorm: bool = False
    attention_relax: float | int = -1.0
    sample_rate: int = 24_000


class DeepNormLayer(HubertEncoderLayer):
    """A post-norm layer whose residuals weigh (2 · layers)^¼."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__(config)
        self.residual_scale = (2.0 * config.num_hidden_layers) ** 0.25

    def forward(  # type: ignore[override]
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``hidden_states`` [batch, frames, hidden] → the same shape; ``attention_mask`` [batch, 1, 1, frames]."""
        attended, _ = self.attention(hidden_states, attention_mask=attention_mask)
        hidden_states = self.layer_norm(self.residual_scale * hidden_states + attended)
        fed: torch.Tensor = self.final_layer_norm(
            self.residual_scale * hidden_states + self.feed_forward(hidden_states)
        )
        return fed


class MERTTransformer(nn.Module):
    """Positional convolution and layers: pre-norm with ``do_stable_layer_norm``, else post-norm."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        if config.do_stable_layer_norm and config.deepnorm:
            raise InputError("MERT's deepnorm needs post-norm layers: switch do_stable_layer_norm off")
        post_norm = DeepNormLayer if config.deepnorm else HubertEncoderLayer
        layer = HubertEncoderLayerStableLayerNorm if config.do_stable_layer_norm else post_norm
        self.pre_norm = config.do_stable_layer_norm
        self.pos_conv_embed = HubertPositionalConvEmbedding(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList([layer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor | None) -> Iterator[torch.Tensor]:
        """Yield the states [batch, frames, hidden] before the first layer and after each; ``mask`` [batch, frames] is
        True for frames that count (None: all do). The last states of a pre-norm model are normalised.
        """
        attention_mask = None
        if mask is not None:
            hidden_states = hidden_states * mask[:, :, None]
            attention_mask = mask[:, None, None]  # [batch, 1, 1, frames]
        hidden_states = hidden_states + self._positions(hidden_states, mask)
        if not self.pre_norm:
            hidden_states = self.layer_norm(hidden_states)
        yield hidden_states
        for number, layer in enumerate(self.layers, start=1):
            hidden_states = layer(hidden_states, attention_mask=attention_mask)
            yield self.layer_norm(hidden_states) if self.pre_norm and number == len(self.layers) else hidden_states

    def _positions(self, hidden_states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        embed = self.pos_conv_embed
        channels = hidden_states.transpose(1, 2)  # [batch, hidden, frames]
        if embed.batch_norm is not None:
            channels = embed.batch_norm(channels)
            if mask is not None:  # its shift would make something of the padding
                channels = channels * mask[:, None]
        positions: torch.Tensor = embed.activation(embed.padding(embed.conv(channels)))
        return positions.transpose(1, 2)


class MERTModel(nn.Module):
    """Waveforms to the hidden states of every layer."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        config._attn_implementation = "sdpa"
        self.config = config
        self.feature_extractor = HubertFeatureEncoder(config)
        self.constant_q: ConstantQ | None = None
        projected = config
        if config.feature_extractor_cqt:
            stride = int(np.prod(config.conv_stride))
            self.constant_q = ConstantQ(config.sample_rate, config.feature_extractor_cqt_bins)
            if self.constant_q.hop != stride:
                raise InputError(
                    f"at {config.sample_rate} Hz constant-Q frames lie {self.constant_q.hop} samples apart, the "
                    f"convolutions' {stride}; this configuration cannot work"
                )
            projected = copy(config)
            projected.conv_dim = [*config.conv_dim[:-1], config.conv_dim[-1] + config.feature_extractor_cqt_bins]
        self.feature_projection = HubertFeatureProjection(projected)
        self.encoder = MERTTransformer(config)

    def num_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames that ``lengths`` samples give."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride):
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return lengths.clamp(min=0)

    @property
    def min_samples(self) -> int:
        """The fewest samples that give a frame."""
        samples = 1
        for kernel, stride in reversed(list(zip(self.config.conv_kernel, self.config.conv_stride))):
            samples = (samples - 1) * stride + kernel
        return samples

    def forward(self, waveforms: torch.Tensor, lengths: Sequence[int] | None = None) -> Iterator[torch.Tensor]:
        """Yield layers + 1 hidden states [batch, frames, hidden] of ``waveforms`` [batch, samples].

        ``lengths`` are the samples that count in each row (None: all); the first ``num_frames(length)`` states of a row
        are those of its samples alone, whatever follows them.
        """
        # A row at a time: the first convolution is normalised over time, where padding would take part; and these
        # tensors are so large that together they are slower than one after the other on a CPU.
        lengths = lengths or [waveforms.shape[1]] * len(waveforms)
        rows = [self._features(waveform[:length]) for waveform, length in zip(waveforms, lengths)]
        features = pad_sequence(rows, batch_first=True)  # [batch, frames, channels]
        frames = torch.tensor([len(row) for row in rows], device=waveforms.device)
        mask = None if min(lengths) == max(lengths) else frame_mask(frames, features.shape[1])
        yield from self.encoder(self.feature_projection(features), mask)

    def _features(self, waveform: torch.Tensor) -> torch.Tensor:
        """[samples] → [frames, channels]."""
        features: torch.Tensor = self.feature_extractor(waveform[None])[0].T
        if self.constant_q is not None:
            features = torch.cat([features, self.constant_q(waveform[None])[0, : len(features)]], dim=1)
        return features


class MERTEncoder(nn.Module):
    """Music to the mean over time of every layer's hidden states: [batch, layers + 1, hidden].

    A file is cut into windows of ``window_seconds``, which cover all of it; the last may be shorter. Each frame of each
    window counts once; padding never does. The default, a minute, is the longest stretch that M2UGen's published
    adapters were trained to hear at once, and takes 1.4 GB for a moment; MERT itself was trained on crops of 5.12 s,
    which take a tenth of that. Windows run together up to ``batch_seconds`` of sound, at least one. ``do_normalize``
    brings the whole waveform to mean 0 and variance 1. Raises InputError for windows that give no frame.
    """

    def __init__(
        self,
        config: MERTConfig,
        window_seconds: float = WINDOW_SECONDS,
        batch_seconds: float = BATCH_SECONDS,
        do_normalize: bool = True,
    ) -> None:
        super().__init__()
        self.model = MERTModel(config)
        self.sample_rate = config.sample_rate
        self.num_tokens = config.num_hidden_layers + 1
        self.dim = config.hidden_size
        self.window = round(window_seconds * self.sample_rate)
        self.batch_samples = round(batch_seconds * self.sample_rate)
        self.do_normalize = do_normalize
        if self.window < self.model.min_samples:
            raise InputError(
                f"window_seconds={window_seconds:g} is too short for MERT; give at least "
                f"{self.model.min_samples / self.sample_rate:.3f}"
            )
        settings = settings_tensor(window=self.window, do_normalize=do_normalize, sample_rate=self.sample_rate)
        self.register_buffer("settings", settings)
        self.requires_grad_(False).eval()

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, window_seconds: float = WINDOW_SECONDS, batch_seconds: float = BATCH_SECONDS
    ) -> Self:
        """The encoder in ``folder``, in the format of m-a-p/MERT-v1-330M: config.json, weights,
        preprocessor_config.json (without it, the published settings). Raises MissingWeights, InputError.
        """
        folder = Path(folder)
        config = read_config(folder, MERTConfig)
        preprocessor = read_preprocessor(folder)
        config.sample_rate = int(preprocessor.get("sampling_rate", config.sample_rate))
        with torch.device("meta"):
            self = cls(config, window_seconds, batch_seconds, bool(preprocessor.get("do_normalize", True)))
        state = {WEIGHT_NORM.get(name, name): tensor for name, tensor in read_state(folder).items()}
        load_state(self.model, {name: state[name] for name in state if not name.startswith(UNUSED)}, folder)
        return self

    def prepare(self, media: np.ndarray) -> dict[str, torch.Tensor]:
        """``windows`` float32 [n, samples] of a mono waveform [samples] at ``sample_rate``, padded with silence,
        and the samples that count in each, ``lengths`` [n].

        A rest at the end that gives no frame is left out; a file that gives none is followed by silence until it does.
        Raises InputError for an empty waveform.
        """
        waveform = np.asarray(media, dtype=np.float32)
        if waveform.ndim != 1 or not len(waveform):
            raise InputError(f"music must be a mono waveform with samples in it, not {list(waveform.shape)}")
        if self.do_normalize:
            mean, variance = waveform.mean(dtype=np.float64), waveform.var(dtype=np.float64)
            waveform = ((waveform - mean) / np.sqrt(variance + VARIANCE_FLOOR)).astype(np.float32)
        shortest = self.model.min_samples
        waveform = np.pad(waveform, (0, max(shortest - len(waveform), 0)))
        parts = [
            torch.from_numpy(waveform[start : start + self.window]) for start in range(0, len(waveform), self.window)
        ]
        if len(parts) > 1 and len(parts[-1]) < shortest:
            parts.pop()
        return {
            "windows": pad_sequence(parts, batch_first=True),
            "lengths": torch.tensor([len(part) for part in parts]),
        }

    @staticmethod
    def collate(prepared: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Files of different lengths as one batch: windows that count for nothing make up what is missing."""
        count = max(len(each["lengths"]) for each in prepared)
        samples = max(each["windows"].shape[1] for each in prepared)
        windows = torch.zeros(len(prepared), count, samples)
        lengths = torch.zeros(len(prepared), count, dtype=torch.int64)
        for row, each in enumerate(prepared):
            windows[row, : each["windows"].shape[0], : each["windows"].shape[1]] = each["windows"]
            lengths[row, : len(each["lengths"])] = each["lengths"]
        return {"windows": windows, "lengths": lengths}

    @torch.no_grad()
    def forward(self, windows: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """``windows`` [batch, n, samples], ``lengths`` [batch, n] (0: no window) → [batch, layers + 1, hidden]."""
        flat, sizes = windows.flatten(0, 1), lengths.flatten().tolist()
        frames = self.model.num_frames(lengths)  # [batch, n]
        sums = torch.zeros(len(windows), self.num_tokens, self.dim, device=windows.device)
        for places in self._batches(sizes):
            longest = sizes[places[0]]
            index = torch.tensor(places, device=windows.device)
            mask = frame_mask(frames.flatten()[index], int(frames.flatten()[index[0]]))[:, :, None]
            states = self.model(flat[index, :longest], [sizes[place] for place in places])
            for layer, hidden_states in enumerate(states):
                total = (hidden_states * mask).sum(dim=1, dtype=torch.float32)  # [windows, hidden]
                sums[:, layer].index_add_(0, index // lengths.shape[1], total)
        return (sums / frames.sum(dim=1)[:, None, None]).to(windows.dtype)

    def _batches(self, sizes: Sequence[int]) -> Iterator[list[int]]:
        """Places of the windows that run together, the longest first, so that little is padded."""
        order = sorted((place for place, size in enumerate(sizes) if size), key=lambda place: -sizes[place])
        while order:
            fitting = max(self.batch_samples // sizes[order[0]], 1)
            yield order[:fitting]
            order = order[fitting:]
