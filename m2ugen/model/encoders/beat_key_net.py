"""A network that reads what is measured in a recording along two circles: its tempi and its tonics.

A metre is a pattern around a beat and a mode a pattern around a tonic, so neither is heard for itself: every tempo is
scored together with every metre, and every tonic together with every mode. What was seen at the likeliest of them, the
rhythm as counted in beats and the harmony as counted from the tonic, then tells the genre.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.model.encoders.front_end import CHROMA_ROWS, STATS, TEMPO_ROWS
from m2ugen.model.encoders.musicnn import DENSE_DIM, NUM_TAGS
from m2ugen.score.attributes import GENRES, METRES, MODES, TEMPOS, TONICS

TAGGER_DIM = 2 * (DENSE_DIM + NUM_TAGS)  # of both taggers together
BEAT_WIDTH, KEY_WIDTH, GENRE_WIDTH = 64, 64, 160
SPAN = 2 * len(TEMPOS) - 1  # from each tempo of the grid all others are seen


class BeatKeyNet(nn.Module):
    """Features of a file → logits [batch, values] of "tempo", "metre", "tonic", "mode" and "genre", and the joint ones
    "beat" [batch, metres · tempi] and "key" [batch, tonics · modes].

    chroma [batch, CHROMA_ROWS, 12], tempogram [batch, TEMPO_ROWS, tempi], statistics [batch, STATS] and tags [batch,
    TAGGER_DIM]. Turning the chroma by n columns turns the tonics by n and changes no mode.
    """

    def __init__(self) -> None:
        super().__init__()
        others = TAGGER_DIM + STATS
        self.register_buffer("mean", torch.zeros(others))
        self.register_buffer("scale", torch.ones(others))
        self.blur = nn.Dropout(0.5)
        self.beats = nn.Sequential(
            nn.Conv1d(TEMPO_ROWS, BEAT_WIDTH, 1), nn.GELU(), nn.Dropout(0.2),
            nn.Conv1d(BEAT_WIDTH, BEAT_WIDTH, SPAN, padding=SPAN // 2), nn.GELU(),
        )  # fmt: skip
        self.rest = nn.Dropout(0.2)
        self.beat_head = nn.Conv1d(BEAT_WIDTH, len(METRES), 1)
        self.beat_prior = nn.Parameter(torch.zeros(len(METRES), len(TEMPOS)))
        self.expected = nn.Linear(others, len(METRES) + len(TEMPOS), bias=False)
        self.keys = nn.Sequential(nn.Linear(CHROMA_ROWS * len(TONICS), KEY_WIDTH), nn.GELU(), nn.Dropout(0.15))
        self.key_head = nn.Linear(KEY_WIDTH, len(MODES))
        known = others + BEAT_WIDTH + KEY_WIDTH
        self.genre = nn.Linear(known, len(GENRES))
        self.genre_network = nn.Sequential(
            nn.Linear(known, GENRE_WIDTH), nn.GELU(), nn.Dropout(0.5), nn.Linear(GENRE_WIDTH, len(GENRES))
        )

    def forward(
        self, chroma: torch.Tensor, tempogram: torch.Tensor, statistics: torch.Tensor, tags: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        others = self.blur((torch.cat([tags, statistics], dim=1) - self.mean) / self.scale)
        rhythms = self.beats(tempogram)  # [batch, BEAT_WIDTH, tempi]
        metres, tempi = self.expected(others).split((len(METRES), len(TEMPOS)), dim=1)
        beat = self.beat_head(self.rest(rhythms)) + self.beat_prior + metres[:, :, None] + tempi[:, None]
        turned = torch.stack([chroma.roll(-tonic, dims=2) for tonic in range(len(TONICS))], dim=1)
        harmonies = self.keys(turned.flatten(2))  # [batch, tonics, KEY_WIDTH]
        key = self.key_head(harmonies)  # [batch, tonics, modes]
        rhythm = torch.einsum("bwt,bt->bw", rhythms, _odds(beat).sum(dim=1))
        harmony = torch.einsum("btw,bt->bw", harmonies, _odds(key).sum(dim=2))
        known = torch.cat([others, self.rest(rhythm), harmony], dim=1)
        return {
            "beat": beat.flatten(1),
            "tempo": beat.logsumexp(dim=1),
            "metre": beat.logsumexp(dim=2),
            "key": key.flatten(1),
            "tonic": key.logsumexp(dim=2),
            "mode": key.logsumexp(dim=1),
            "genre": self.genre(known) + self.genre_network(known),
        }

    def standardise_by(self, statistics: torch.Tensor, tags: torch.Tensor) -> None:
        """Take mean and spread of the other features of clips [clips, ...]."""
        others = torch.cat([tags, statistics], dim=1)
        self.mean: torch.Tensor = others.mean(dim=0)
        self.scale: torch.Tensor = others.std(dim=0).clamp(min=1e-3)


def _odds(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities of a table [batch, ...] as a whole; what is learnt by looking at their peak does not move it."""
    return F.softmax(logits.detach().flatten(1), dim=1).view_as(logits)
