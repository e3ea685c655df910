"""The NotePlayer's step by step form without torch: the same numbers, several times faster than eager at batch one.

Every window of the piece has a *stream* with its own keys and values. ``advance`` feeds new positions to any number
of streams at once: linear layers see them as one matrix, so that streams which run side by side share the cost of
reading the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from m2ugen.model.compiled import MAX_ROWS, NO_SCALE, multiply
from m2ugen.model.decoders.score.kernels import attend, gate, normalise
from m2ugen.model.decoders.score.note_fields import MELODIC_PITCHES, NO_CLASS, NO_PITCH, OFFSET, TICK_FIELDS
from m2ugen.model.decoders.score.note_player import MAX_INTERVAL, NotePlayer

_ROOT = TICK_FIELDS.index("root")
_HEADS = {  # those that tell a pitch are one matrix
    "delta": ("delta",),
    "pitch": ("pitch", "relative", "interval"),
    "duration": ("duration",),
    "velocity": ("velocity",),
}
_PITCHES = np.arange(MELODIC_PITCHES)
_ABOVE = (_PITCHES - np.arange(12)[:, None]) % 12  # [roots, pitches]: where the pitch head's second part tells each
_STEPS = np.clip(_PITCHES - _PITCHES[:, None], -MAX_INTERVAL, MAX_INTERVAL) + MAX_INTERVAL + 12  # and its third part


class Stream:
    """Keys and values [layers, heads, capacity, head dim] of one window; grows when it is full."""

    def __init__(self, shared: np.ndarray, layers: int, heads: int, head_dim: int, capacity: int) -> None:
        self.shared = shared  # [width]: what all positions of the window have in common
        self.keys = np.zeros((layers, heads, capacity, head_dim), dtype=np.float32)
        self.values = np.zeros_like(self.keys)
        self.length = 0

    def reserve(self, count: int) -> None:
        """Make room for ``count`` more positions."""
        capacity = self.keys.shape[2]
        if self.length + count > capacity:
            room = ((0, 0), (0, 0), (0, max(capacity, count)), (0, 0))
            self.keys, self.values = np.pad(self.keys, room), np.pad(self.values, room)


@dataclass(frozen=True)
class Feed:
    """New positions of a stream: rows [n, fields] and onsets [n] in ticks."""

    stream: Stream
    rows: np.ndarray
    onsets: np.ndarray


def _times(states: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """states [n, in] · weightᵀ, weight [out, in]."""
    if len(states) > MAX_ROWS:
        return states @ weight.T
    product = np.empty((len(states), len(weight)), dtype=np.float32)
    multiply(weight, NO_SCALE, states, product, 0, len(weight))
    return product


def _normed(states: np.ndarray) -> np.ndarray:
    normed = np.empty_like(states)
    normalise(states, normed)
    return normed


def _gated(expanded: np.ndarray) -> np.ndarray:
    gated = np.empty((len(expanded), expanded.shape[1] // 2), dtype=np.float32)
    gate(expanded, gated)
    return gated


class NoteEngine:
    """Runs a NotePlayer's weights; later changes of the module are not seen."""

    def __init__(self, player: NotePlayer) -> None:
        config = player.config
        self.heads, self.head_dim = config.heads, config.width // config.heads
        tensors = {name: value.detach().float().cpu() for name, value in player.state_dict().items()}

        def matrix(name: str, norm: str | None = None) -> np.ndarray:
            weight = tensors[name] if norm is None else tensors[name] * tensors[norm]
            return np.ascontiguousarray(weight.numpy())  # [out, in]

        def array(name: str) -> np.ndarray:
            return tensors[name].numpy()

        self.layers = []
        for layer in range(config.layers):
            at = f"blocks.{layer}."
            self.layers.append(
                (
                    matrix(at + "query_key_value.weight", at + "attention_norm.weight"),
                    matrix(at + "out.weight"),
                    matrix(at + "feed_forward.expand.weight", at + "feed_forward_norm.weight"),
                    matrix(at + "feed_forward.contract.weight"),
                )
            )
        self.rows, self.told_rows, self.norm = array("rows"), array("told_rows"), array("norm.weight")
        self.networks = {
            name: (
                matrix(f"{name}_network.expand.weight", f"{name}_norm.weight"),
                matrix(f"{name}_network.contract.weight"),
            )
            for name in ("pitch", "duration")
        }
        self.heads_of = {}
        for name, joined in _HEADS.items():
            parts = [tensors[f"{part}_head.{kind}"] for kind in ("weight", "bias") for part in joined]
            weight, bias = torch.cat(parts[: len(joined)]), torch.cat(parts[len(joined) :])
            self.heads_of[name] = (weight.numpy(), bias.numpy())
        assert isinstance(player.turn_rates, torch.Tensor)
        self.turn_rates = player.turn_rates.detach().cpu().numpy()  # [heads, head dim / 2]

    def open(self, window_row: np.ndarray, capacity: int = 256) -> Stream:
        """A stream for a window with the given row [NUM_WINDOW_FIELDS]."""
        shared = self.rows[window_row[window_row > 0]].sum(axis=0)
        return Stream(shared, len(self.layers), self.heads, self.head_dim, capacity)

    def advance(self, feeds: Sequence[Feed]) -> list[np.ndarray]:
        """Take in the positions of all feeds and give each one's last hidden state [width]."""
        counts = [len(feed.rows) for feed in feeds]
        ends = np.cumsum(counts)
        states = np.concatenate([self.rows[feed.rows].sum(axis=1) + feed.stream.shared for feed in feeds])
        half = self.heads // 2
        order = np.concatenate([feed.stream.length + np.arange(n) for feed, n in zip(feeds, counts)])
        onsets = np.concatenate([feed.onsets for feed in feeds])
        positions = np.empty((len(order), self.heads, 1), dtype=np.float32)
        positions[:, :half], positions[:, half:] = order[:, None, None], onsets[:, None, None]
        angles = positions * self.turn_rates
        cosines, sines = np.cos(angles), np.sin(angles)  # each [n, heads, head dim / 2]
        for feed, count in zip(feeds, counts):
            feed.stream.reserve(count)
        for layer, (query_key_value, out, expand, contract) in enumerate(self.layers):
            projected = _times(_normed(states), query_key_value).reshape(len(states), 3, self.heads, self.head_dim)
            mixed = np.empty((len(states), self.heads, self.head_dim), dtype=np.float32)
            for feed, count, end in zip(feeds, counts, ends):
                own, stream = slice(end - count, end), feed.stream
                past = stream.keys[layer], stream.values[layer], stream.length
                attend(projected[own], cosines[own], sines[own], *past, mixed[own])
            states += _times(mixed.reshape(states.shape), out)
            states += _times(_gated(_times(_normed(states), expand)), contract)
        for feed, count in zip(feeds, counts):
            feed.stream.length += count
        last = _normed(states[ends - 1]) * self.norm
        return list(last)

    def _head(self, name: str, state: np.ndarray) -> np.ndarray:
        weight, bias = self.heads_of[name]
        logits: np.ndarray = _times(state[None], weight)[0]
        logits += bias
        return logits

    def _network(self, name: str, state: np.ndarray) -> np.ndarray:
        expand, contract = self.networks[name]
        return state + _times(_gated(_times(_normed(state[None]), expand)), contract)[0]

    def tell_delta(self, hidden: np.ndarray) -> np.ndarray:
        """Onset logits [NUM_DELTAS] from a hidden state [width]."""
        return self._head("delta", hidden)

    def tell_pitch(
        self, hidden: np.ndarray, delta: int, ticks: np.ndarray, previous: int, drum: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """As NotePlayer.tell_pitch, for one position: state [width] and logits [128]."""
        told = self.told_rows[delta + OFFSET["delta"]] + self.told_rows[ticks].sum(axis=0)
        state = self._network("pitch", hidden + told)
        logits = self._head("pitch", state)
        absolute, others = logits[:NO_PITCH], logits[NO_PITCH:]
        if drum:
            return state, absolute[MELODIC_PITCHES:]
        root = int(ticks[_ROOT] - OFFSET["root"]) % NO_CLASS
        melodic = absolute[:MELODIC_PITCHES] + others[_ABOVE[root]]
        if previous >= 0:
            melodic += others[_STEPS[previous]]
        return state, melodic

    def tell_duration(self, state: np.ndarray, pitch: int, ticks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As NotePlayer.tell_duration; ``pitch`` counts drum keys from 128."""
        root = int(ticks[_ROOT] - OFFSET["root"])
        melodic = pitch < MELODIC_PITCHES
        told = (
            pitch + OFFSET["pitch"],
            (pitch % 12 if melodic else NO_CLASS) + OFFSET["degree"],
            ((pitch - root) % 12 if melodic and root < NO_CLASS else NO_CLASS) + OFFSET["relative"],
        )
        state = self._network("duration", state + self.told_rows[list(told)].sum(axis=0))
        return state, self._head("duration", state)

    def tell_velocity(self, state: np.ndarray, duration: int) -> np.ndarray:
        """As NotePlayer.tell_velocity."""
        return self._head("velocity", state + self.told_rows[duration + OFFSET["duration"]])
