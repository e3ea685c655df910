"""The trained heads of nano's music encoder."""

from __future__ import annotations

import torch
from torch import nn

from m2ugen.model.encoders import front_end
from m2ugen.model.encoders.beat_key_net import TAGGER_DIM, BeatKeyNet
from m2ugen.model.encoders.drum_net import DrumNet
from m2ugen.model.encoders.timbre import TIMBRE_DIM, TimbreNet
from m2ugen.score.attributes import ENERGIES, GENRES, INSTRUMENTS, METRES, MODES, TEMPOS, TONICS

TRUNK = 192
EAR_SHARE, STRUCK_SHARE = 0.3, 0.9  # in the log odds of drums, of what two readers of the same music say
GENRE_SHARES = (0.3, 0.7)  # in the log odds of genres, of the heads and of the network that reads beats and keys

HEADS: dict[str, int] = {  # attribute → number of values
    "tempo": len(TEMPOS),
    "metre": len(METRES),
    "mode": len(MODES),
    "tonic": len(TONICS),
    "genre": len(GENRES),
    "energy": len(ENERGIES),
    "drums": 2,
    "lead": len(INSTRUMENTS),
    "instruments": len(INSTRUMENTS),  # independent probabilities
}
MEASURED = ("tempo", "metre", "mode", "tonic")  # what the network that reads beats and keys tells alone


class Ear(nn.Module):
    """The trained heads: features of a file → logits [batch, values] per attribute.

    Most heads read three things, and their logits are added: a small network over the features of the taggers, the
    features themselves (with a few thousand clips a linear reading is hard to beat), and a network over the patches.
    Drums have a network of their own besides, and tempo, metre, key and mode one that tells them alone and has a say in
    the genre; both learn by themselves, and what they say counts in evaluation mode.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = TAGGER_DIM + front_end.STATS + front_end.TEMPO_ROWS * 2
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.trunk = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(inputs, 256), nn.GELU(), nn.Dropout(0.3), nn.Linear(256, TRUNK), nn.GELU()
        )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(TRUNK, size) for name, size in HEADS.items() if name not in MEASURED}
        )
        self.straight = nn.ModuleDict({name: nn.Linear(inputs, HEADS[name], bias=False) for name in self.heads})
        self.blur = nn.Dropout(0.5)
        self.timbre = TimbreNet()
        self.drum_net = DrumNet()
        self.timbral = nn.ModuleDict({name: nn.Linear(TIMBRE_DIM, HEADS[name], bias=False) for name in self.heads})
        self.mute = nn.Dropout(0.4)
        self.beat_key_net = BeatKeyNet()

    def forward(
        self,
        chroma: torch.Tensor,
        tempogram: torch.Tensor,
        statistics: torch.Tensor,
        tags: torch.Tensor,
        timbre: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Logits per attribute; ``timbre`` is what ``listen`` makes of the patches. In training mode what the networks
        of their own say does not count, as each is to learn as if there were no other: "struck" [batch] are then the
        log odds of drums by theirs, and what is measured is missing.
        """
        inputs = (self.inputs(tempogram, statistics, tags) - self.mean) / self.scale
        struck = timbre[:, TIMBRE_DIM]
        trunk, straight, timbral = self.trunk(inputs), self.blur(inputs), self.mute(timbre[:, :TIMBRE_DIM])
        logits = {
            name: head(trunk) + self.straight[name](straight) + self.timbral[name](timbral)
            for name, head in self.heads.items()
        }
        logits["struck"] = struck
        if not self.training:
            measured = self.beat_key_net(chroma, tempogram, statistics, tags)
            shares = zip(GENRE_SHARES, (logits["genre"], measured.pop("genre")), strict=True)
            logits |= {**measured, "genre": sum(share * own.log_softmax(dim=1) for share, own in shares)}
            both = EAR_SHARE * (logits["drums"][:, 1] - logits["drums"][:, 0]) + STRUCK_SHARE * struck
            logits["drums"] = torch.stack([-both / 2, both / 2], dim=1)
        return logits

    def listen(self, patches: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """What the networks over patches make of those of ``mask`` [batch, patches] in ``patches`` [batch, patches,
        frames, mels] (all without it): [batch, TIMBRE_DIM + 1], the last column the mean log odds of drums.
        """
        if mask is None:
            mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        odds = patches.new_zeros(mask.shape)
        odds[mask] = self.drum_net(patches[mask]).to(odds.dtype)
        struck = odds.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)
        return torch.cat([self.timbre(patches, mask), struck], dim=1)

    def standardise_by(self, inputs: torch.Tensor) -> None:
        """Take mean and spread of the trunk's inputs [clips, inputs]."""
        self.mean: torch.Tensor = inputs.mean(dim=0)
        self.scale: torch.Tensor = inputs.std(dim=0).clamp(min=1e-3)

    @staticmethod
    def inputs(tempogram: torch.Tensor, statistics: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """What the trunk reads, before standardisation: [batch, inputs]."""
        return torch.cat([tags, statistics, tempogram.amax(dim=2), tempogram.mean(dim=2)], dim=1)
