"""The NotePlayer: a transformer over notes whose next note is told field by field.

One position is one note. Position ``i`` predicts the note at ``i + 1``: first the distance of its onset; then the
chord and the place in the bar *at that onset* are looked up and added, and the pitch is predicted as the sum of
three views (absolute, above the chord's root, interval from the voice's previous note); then duration and velocity.
Half of the heads see the order of positions, half see musical time, so that a part finds what the others play at the
same moment, or what it played itself one bar earlier.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from m2ugen.model.decoders.score.config import PlayerConfig
from m2ugen.model.decoders.score.layers import EPSILON, Block, Rotation, SwiGLU, frequencies, rotation
from m2ugen.model.decoders.score.note_fields import (
    DURATIONS,
    IGNORE,
    MELODIC_PITCHES,
    NO_PITCH,
    NUM_DELTAS,
    NUM_ROWS,
    NUM_VELOCITIES,
    OFFSET,
    TARGET,
    TICK_FIELDS,
)

TICKS_PER_STEP = 3.0  # the unit of musical time in the rotary heads: a sixteenth note
ORDER_BASE, TIME_BASE = 10000.0, 1000.0
MAX_INTERVAL = 25
NUM_INTERVALS = 2 * MAX_INTERVAL + 1
EMBEDDING_SCALE = 0.05


class NotePlayer(nn.Module):
    """Predicts notes from a window's plan and the notes before (see ``note_fields`` for both).

    The fields after the onset distance are told by ``tell_pitch``, ``tell_duration`` and ``tell_velocity``, each from
    the state that the previous one returns.
    """

    def __init__(self, config: PlayerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.rows = nn.Parameter(torch.randn(NUM_ROWS, width) * EMBEDDING_SCALE)
        self.blocks = nn.ModuleList(Block(width, config.heads, config.feed_forward) for _ in range(config.layers))
        self.norm = nn.RMSNorm(width, EPSILON)
        self.delta_head = nn.Linear(width, NUM_DELTAS)
        # the heads have their own rows: what helps to read a note need not help to tell one
        self.told_rows = nn.Parameter(torch.randn(NUM_ROWS, width) * EMBEDDING_SCALE)
        self.pitch_norm = nn.RMSNorm(width, EPSILON)
        self.pitch_network = SwiGLU(width, width)
        self.pitch_head = nn.Linear(width, NO_PITCH)
        self.relative_head = nn.Linear(width, 12)
        self.interval_head = nn.Linear(width, NUM_INTERVALS)
        self.duration_norm = nn.RMSNorm(width, EPSILON)
        self.duration_network = SwiGLU(width, width)
        self.duration_head = nn.Linear(width, len(DURATIONS))
        self.velocity_head = nn.Linear(width, NUM_VELOCITIES)
        half = config.heads // 2
        head_dim = width // config.heads
        scales = torch.cat(
            (
                frequencies(head_dim, ORDER_BASE).expand(half, -1),
                frequencies(head_dim, TIME_BASE).expand(config.heads - half, -1) / TICKS_PER_STEP,
            )
        )
        self.register_buffer("turn_rates", scales, persistent=False)  # [heads, head dim / 2]

    def turns(self, order: torch.Tensor, onsets: torch.Tensor) -> Rotation:
        """Rotations [batch, heads, length, head dim / 2] from order and onsets in ticks, both [batch, length]."""
        half = self.config.heads // 2
        positions = torch.stack((order, onsets), dim=1).float()  # [batch, 2, length]
        positions = positions.repeat_interleave(torch.tensor([half, self.config.heads - half]), dim=1)
        assert isinstance(self.turn_rates, torch.Tensor)
        return rotation(positions, self.turn_rates.unsqueeze(1))

    def forward(self, rows: torch.Tensor, window_rows: torch.Tensor, onsets: torch.Tensor) -> torch.Tensor:
        """Hidden states [batch, length, width] from rows [batch, length, fields], window_rows [batch, fields] and
        onsets [batch, length] in ticks. Padding goes to the right and holds row 0."""
        batch, length, fields = rows.shape
        states = functional.embedding_bag(rows.reshape(-1, fields), self.rows, mode="sum", padding_idx=0)
        shared = functional.embedding_bag(window_rows, self.rows, mode="sum", padding_idx=0)
        states = states.view(batch, length, -1) + shared.unsqueeze(1)
        order = torch.arange(length, device=rows.device).expand(batch, -1)
        turns = self.turns(order, onsets)
        for block in self.blocks:
            states = block(states, turns)
        return self.norm(states)

    def tell_pitch(
        self,
        hidden: torch.Tensor,
        delta: torch.Tensor,
        ticks: torch.Tensor,
        previous: torch.Tensor,
        drum: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """State [n, width] and pitch logits [n, 128] (drum keys where ``drum``).

        hidden [n, width]; delta [n]; ticks [n, TICK_FIELDS] are the onset's rows; previous [n] is the voice's last
        pitch, or negative; drum [n] is boolean.
        """
        told = torch.cat((delta.unsqueeze(1) + OFFSET["delta"], ticks), dim=1)
        state = hidden + functional.embedding_bag(told, self.told_rows, mode="sum")
        state = state + self.pitch_network(self.pitch_norm(state))
        absolute = self.pitch_head(state)
        melodic, keys = absolute[:, :MELODIC_PITCHES], absolute[:, MELODIC_PITCHES:]
        pitches = torch.arange(MELODIC_PITCHES, device=hidden.device)
        root = (ticks[:, TICK_FIELDS.index("root")] - OFFSET["root"]) % 12  # no chord: the tonic
        relative = self.relative_head(state).gather(1, (pitches - root.unsqueeze(1)) % 12)
        steps = (pitches - previous.unsqueeze(1)).clamp(-MAX_INTERVAL, MAX_INTERVAL) + MAX_INTERVAL
        interval = self.interval_head(state).gather(1, steps) * (previous >= 0).unsqueeze(1)
        return state, torch.where(drum.unsqueeze(1), keys, melodic + relative + interval)

    def tell_duration(
        self, state: torch.Tensor, pitch: torch.Tensor, ticks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """State [n, width] and duration logits [n, DURATIONS]; pitch [n] counts drum keys from 128."""
        state = state + functional.embedding_bag(self._pitch_rows(pitch, ticks), self.told_rows, mode="sum")
        state = state + self.duration_network(self.duration_norm(state))
        return state, self.duration_head(state)

    def tell_velocity(self, state: torch.Tensor, duration: torch.Tensor) -> torch.Tensor:
        """Velocity logits [n, NUM_VELOCITIES]."""
        return self.velocity_head(state + functional.embedding(duration + OFFSET["duration"], self.told_rows))

    @staticmethod
    def _pitch_rows(pitch: torch.Tensor, ticks: torch.Tensor) -> torch.Tensor:
        root = ticks[:, TICK_FIELDS.index("root")] - OFFSET["root"]
        melodic = pitch < MELODIC_PITCHES
        degree = torch.where(melodic, pitch % 12, 12)
        relative = torch.where(melodic & (root < 12), (pitch - root) % 12, 12)
        return torch.stack((pitch + OFFSET["pitch"], degree + OFFSET["degree"], relative + OFFSET["relative"]), dim=1)

    def losses(self, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Negative log likelihoods in nats of each scored target and its parts.

        hidden [n, width] and targets [n, TARGET_FIELDS] of the scored positions. Gives the sum of all fields [n] and
        the fields by name [n] (zero where a position does not have the field).
        """
        column = {name: targets[:, index] for name, index in TARGET.items()}
        delta = functional.cross_entropy(self.delta_head(hidden), column["delta"], reduction="none")
        fields = {"delta": delta}
        notes = (column["pitch"] != IGNORE).nonzero().squeeze(1)
        ticks = targets[notes, TARGET[TICK_FIELDS[0]] :]
        drum = column["drum"][notes] > 0
        pitch = column["pitch"][notes]
        state, logits = self.tell_pitch(
            hidden[notes], column["delta"][notes], ticks, column["previous"][notes], drum
        )  # fmt: skip
        key = torch.where(drum, pitch - MELODIC_PITCHES, pitch)
        parts = {"pitch": functional.cross_entropy(logits, key, reduction="none")}
        state, logits = self.tell_duration(state, pitch, ticks)
        length = functional.cross_entropy(logits, column["duration"][notes], reduction="none")
        parts["duration"] = length.masked_fill(drum, 0.0)
        velocity = self.tell_velocity(state, column["duration"][notes])
        parts["velocity"] = functional.cross_entropy(velocity, column["velocity"][notes], reduction="none")
        for name, values in parts.items():
            fields[name] = delta.new_zeros(len(delta)).index_put((notes,), values.to(delta.dtype))
        return torch.stack(tuple(fields.values())).sum(dim=0), fields
