"""nano's music encoder: musicnn's features and measured ones, read by small trained heads.

The hidden states are what is heard: one token per musical attribute with the probabilities of its values, and one
per tagger with those of its tags, each in dimensions of its own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from m2ugen.errors import MissingWeights
from m2ugen.model.encoders import front_end
from m2ugen.model.encoders.ear import HEADS, Ear
from m2ugen.model.encoders.musicnn import DENSE_DIM, NUM_MELS, NUM_TAGS, PATCH_FRAMES, Musicnn
from m2ugen.score.attributes import (
    FAMILIES,
    INSTRUMENT_INDEX,
    INSTRUMENTS,
    NUM_SLOTS,
    SLOT_DIM,
    SLOT_INDEX,
    Attributes,
    attributes_from_conditioning,
)
from m2ugen.score.wording import facts
from m2ugen.weights import save_tensors

MAX_PATCHES = 12  # three-second patches that the taggers hear, evenly spread over the file
PATCH_SPACING = 3.5  # seconds of music for each patch, in files short enough
FEW_PATCHES = 2  # that the taggers hear at a time: their feature maps are large, and twice as fast in the cache
WINDOW_SECONDS = 4.0  # in which ``over_time`` listens
MIN_SECONDS = 3.1  # shorter music is repeated up to this length

WEIGHTS_FILE = "music_encoder.safetensors"

MULTI = ("instruments",)
# Probability from which an instrument counts as heard. Where the ear hears a family and is not sure who it is, the
# likeliest of it counts: named only from PRESENT on, one family of five would go unsaid.
PRESENT, FAMILY_PRESENT = 0.4, 0.3
_FAMILY_MEMBERS = {
    family: np.array([index for index, instrument in enumerate(INSTRUMENTS) if instrument.family == family])
    for family in FAMILIES
}


class NanoMusicEncoder(nn.Module):
    """Mono samples at ``sample_rate`` → hidden states [batch, num_tokens, dim] of the whole file."""

    sample_rate = front_end.SAMPLE_RATE

    def __init__(self) -> None:
        super().__init__()
        self.taggers = nn.ModuleDict({"mtt": Musicnn(), "msd": Musicnn()})
        self.ear = Ear()
        self.num_tokens = len(HEADS) + len(self.taggers)
        self.dim = sum(HEADS.values()) + len(self.taggers) * NUM_TAGS
        self.requires_grad_(False).eval()

    @classmethod
    def from_folder(cls, folder: Path, deaf: bool = False) -> NanoMusicEncoder:
        """The encoder with the weights in ``folder``; ``deaf`` leaves the ear untrained and reads the taggers alone.

        Raises MissingWeights.
        """
        path = folder / WEIGHTS_FILE
        if not path.is_file():
            raise MissingWeights(f"{path.name} is not in {path.parent}; install m2ugen with its weights")
        encoder = cls()
        state = load_file(path)
        module: nn.Module = encoder
        if deaf:
            module, prefix = encoder.taggers, "taggers."
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise MissingWeights(f"{path} is of another version of the music encoder; reinstall m2ugen") from error
        return encoder

    def save(self, folder: Path) -> Path:
        """Write the weights to ``folder``; those of the networks in half precision."""
        path = folder / WEIGHTS_FILE
        state = self.state_dict()
        nets = ("taggers.", "ear.timbre.", "ear.drum_net.", "ear.beat_key_net.")
        half = {name for name, value in state.items() if name.startswith(nets) and value.is_floating_point()}
        save_tensors(path, {name: value.half() if name in half else value for name, value in state.items()})
        return path

    def prepare(self, media: np.ndarray) -> dict[str, torch.Tensor]:
        """Features of float32 [samples]: measured ones of everything, and patches for the taggers.

        ``patches`` [MAX_PATCHES, frames, mels] is filled up with zeros; ``patch_mask`` [MAX_PATCHES] tells which
        are real.
        """
        waveform = np.asarray(media, dtype=np.float32)
        shortest = int(MIN_SECONDS * self.sample_rate)
        if len(waveform) < shortest:
            waveform = np.tile(waveform, -(-shortest // max(len(waveform), 1)))[:shortest]
        mel = front_end.log_mel(waveform)
        seconds = len(waveform) / self.sample_rate
        count = int(np.clip(np.ceil(seconds / PATCH_SPACING), 1, MAX_PATCHES))
        starts = (
            np.linspace(0, len(mel) - PATCH_FRAMES, count + 2)[1:-1] if count > 1 else [(len(mel) - PATCH_FRAMES) / 2]
        )
        patches = np.zeros((MAX_PATCHES, PATCH_FRAMES, NUM_MELS), dtype=np.float32)
        for index, start in enumerate(np.round(starts).astype(int)):
            patches[index] = mel[start : start + PATCH_FRAMES]
        return {
            "patches": torch.from_numpy(patches),
            "patch_mask": torch.arange(MAX_PATCHES) < count,
            "chroma": torch.from_numpy(front_end.chroma_features(waveform)),
            "tempogram": torch.from_numpy(front_end.tempo_features(mel)),
            "statistics": torch.from_numpy(front_end.statistics(waveform, mel)),
        }

    def forward(
        self,
        patches: torch.Tensor,
        patch_mask: torch.Tensor,
        chroma: torch.Tensor,
        tempogram: torch.Tensor,
        statistics: torch.Tensor,
    ) -> torch.Tensor:
        """Batched outputs of ``prepare`` → hidden states [batch, num_tokens, dim]."""
        timbre = self.ear.listen(patches, patch_mask)
        return self.hidden_states(chroma, tempogram, statistics, self.tags(patches, patch_mask), timbre)

    def tags(self, patches: torch.Tensor, patch_mask: torch.Tensor) -> torch.Tensor:
        """What the taggers hear, averaged over the real patches: [batch, TAGGER_DIM], features and tags of each."""
        real = patches[patch_mask]
        heard = torch.cat([self._tagged(few) for few in real.split(FEW_PATCHES)])  # [real patches, TAGGER_DIM]
        rows = patch_mask.nonzero()[:, 0]
        total = torch.zeros(len(patches), heard.shape[1], dtype=heard.dtype, device=heard.device)
        return total.index_add_(0, rows, heard) / patch_mask.sum(dim=1, keepdim=True)

    def _tagged(self, patches: torch.Tensor) -> torch.Tensor:
        """Features and tags of each tagger [patches, TAGGER_DIM], for patches [patches, frames, mels]."""
        heard = [_dense_and_tags(*tagger(patches)) for tagger in self.taggers.values()]
        return torch.cat([part for parts in heard for part in parts], dim=1)

    def hidden_states(
        self,
        chroma: torch.Tensor,
        tempogram: torch.Tensor,
        statistics: torch.Tensor,
        tags: torch.Tensor,
        timbre: torch.Tensor,
    ) -> torch.Tensor:
        """The last step alone, for features that were computed before."""
        logits = self.ear(chroma, tempogram, statistics, tags, timbre)
        blocks = [probabilities(name, logits[name]) for name in HEADS]
        heard = tags.unflatten(1, (len(self.taggers), DENSE_DIM + NUM_TAGS))
        blocks += [heard[:, index, DENSE_DIM:] for index in range(len(self.taggers))]
        tokens, start = tags.new_zeros(len(tags), self.num_tokens, self.dim), 0
        for index, block in enumerate(blocks):
            tokens[:, index, start : start + block.shape[1]] = block
            start += block.shape[1]
        return tokens

    @torch.inference_mode()
    def over_time(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Times in seconds [n] and what sounds around them: probabilities of the instruments [n, len(INSTRUMENTS)].

        Reads float32 [samples] in windows of WINDOW_SECONDS, a second apart; the first stands for the beginning.
        """
        size, step = int(WINDOW_SECONDS * self.sample_rate), self.sample_rate
        starts = list(range(0, max(len(waveform) - size, 0) + 1, step))
        rows = []
        for start in starts:
            hidden = self(**{k: v[None] for k, v in self.prepare(waveform[start : start + size]).items()})
            odds = _odds(hidden[0].numpy())
            heard = odds[SLOT_INDEX["instruments"], 1 : 1 + len(INSTRUMENTS)].copy()
            heard[INSTRUMENT_INDEX["drums"]] = odds[SLOT_INDEX["drums"], 2]  # that head knows them best
            rows.append(heard)
        times = np.array(starts) / self.sample_rate + WINDOW_SECONDS / 2
        times[0] = 0.0
        return times, np.stack(rows)

    @staticmethod
    def conditioning(hidden_states: torch.Tensor) -> torch.Tensor:
        """What the hidden states [batch, num_tokens, dim] say, in the score decoder's terms: those attributes that are
        more likely right than wrong, as [batch, NUM_SLOTS, SLOT_DIM].
        """
        rows = []
        for tokens in hidden_states.float().cpu().numpy():
            matrix = _odds(tokens)
            for name in HEADS:
                slot = SLOT_INDEX[name]
                matrix[slot, 0] = 1 - _sure(name, matrix[slot, 1:])
            matrix[SLOT_INDEX["excluded"], 0] = 1
            rows.append(attributes_from_conditioning(matrix).to_conditioning())
        return torch.from_numpy(np.stack(rows))

    @staticmethod
    def likeliest(hidden_states: np.ndarray) -> Attributes:
        """Every attribute at its likeliest value, however unsure, from hidden states [num_tokens, dim]."""
        return likeliest_of(_odds(hidden_states))

    @staticmethod
    def confidence(hidden_states: np.ndarray) -> dict[str, float]:
        """The odds of the likeliest value of each attribute that has a single one, from hidden states [num_tokens,
        dim]. They are right about as often as they say; those of a tempo are of its neighbours too.
        """
        matrix = _odds(hidden_states)
        return {name: _sure(name, matrix[SLOT_INDEX[name], 1:]) for name in HEADS if name not in MULTI}

    @staticmethod
    def describe(hidden_states: np.ndarray) -> str:
        """``likeliest`` in words, for the language model."""
        return facts(NanoMusicEncoder.likeliest(hidden_states))


def _odds(tokens: np.ndarray) -> np.ndarray:
    """The heads' probabilities in hidden states [num_tokens, dim] as a conditioning matrix, "unspecified" left at 0."""
    matrix, start = np.zeros((NUM_SLOTS, SLOT_DIM), dtype=np.float32), 0
    for index, (name, size) in enumerate(HEADS.items()):
        matrix[SLOT_INDEX[name], 1 : 1 + size] = tokens[index, start : start + size]
        start += size
    return matrix


def _sure(name: str, odds: np.ndarray) -> float:
    """The odds of the likeliest value among ``odds``; a tempo spreads over its neighbours."""
    best = int(odds.argmax())
    return float(odds[max(best - 1, 0) : best + 2].sum() if name == "tempo" else odds[best])


def likeliest_of(odds: np.ndarray) -> Attributes:
    """Every attribute at its likeliest value, from a conditioning matrix [NUM_SLOTS, SLOT_DIM] that holds its odds."""
    heard = attributes_from_conditioning(odds)
    present = sounding(odds[SLOT_INDEX["instruments"], 1 : 1 + len(INSTRUMENTS)])
    others = tuple(i.name for i, there in zip(INSTRUMENTS, present) if there and i.name != "drums")
    return replace(heard, instruments=(*others, "drums") if heard.drums else others)


def sounding(odds: np.ndarray) -> np.ndarray:
    """Which instruments count as heard, boolean [..., len(INSTRUMENTS)], by their probabilities of the same shape."""
    heard: np.ndarray = odds >= PRESENT
    for family, members in _FAMILY_MEMBERS.items():
        own = odds[..., members]
        there = family_odds(odds, family)[..., None] >= FAMILY_PRESENT
        heard[..., members] |= there & (own == own.max(axis=-1, keepdims=True))
    return heard


def family_odds(odds: np.ndarray, family: str) -> np.ndarray:
    """Probability [...] that any instrument of a family sounds, by those of all instruments [..., len(INSTRUMENTS)]."""
    return np.asarray(1 - np.prod(1 - odds[..., _FAMILY_MEMBERS[family]], axis=-1))


def probabilities(name: str, logits: torch.Tensor) -> torch.Tensor:
    """Probabilities of an attribute's values from its head's logits [batch, values]."""
    return logits.sigmoid() if name in MULTI else logits.softmax(dim=1)


def _dense_and_tags(dense: torch.Tensor, tags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return dense, tags.sigmoid()
