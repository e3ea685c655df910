"""The NotePlayer's step by step form in NumPy: the same numbers, several times faster than eager torch at batch one.

Every window of the piece has a *stream* with its own keys and values. ``advance`` feeds new positions to any number
of streams at once: linear layers see them as one matrix, so that streams which run side by side share the cost of
reading the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from m2ugen.model.decoders.score.layers import EPSILON
from m2ugen.model.decoders.score.note_fields import MELODIC_PITCHES, NO_CLASS, OFFSET, TICK_FIELDS
from m2ugen.model.decoders.score.note_player import MAX_INTERVAL, NotePlayer

_ROOT = TICK_FIELDS.index("root")
FEW_ROWS = 3
_PITCHES = np.arange(MELODIC_PITCHES)


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


def _times(states: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``states @ matrix``, row by row where there are few: BLAS then reads the matrix where it lies, instead of first
    bringing it into the order that pays for many.
    """
    if len(states) > FEW_ROWS:
        return states @ matrix
    product = np.empty((len(states), matrix.shape[1]), dtype=np.float32)
    for row, place in zip(states, product):
        np.dot(row, matrix, out=place)
    return product


def _normed(states: np.ndarray) -> np.ndarray:
    """RMSNorm without its weights, which are folded into the matrices that follow."""
    scale = np.einsum("nw,nw->n", states, states) / states.shape[1] + EPSILON
    return states / np.sqrt(scale)[:, None]


def _gated(states: np.ndarray) -> np.ndarray:
    half = states.shape[1] // 2
    gate, gated = states[:, :half], np.negative(states[:, :half])
    np.exp(gated, out=gated)
    gated += 1.0
    np.divide(gate, gated, out=gated)
    gated *= states[:, half:]
    return gated


class NoteEngine:
    """Runs a NotePlayer's weights; later changes of the module are not seen."""

    def __init__(self, player: NotePlayer) -> None:
        config = player.config
        self.heads, self.head_dim = config.heads, config.width // config.heads
        tensors = {name: value.detach().float().cpu() for name, value in player.state_dict().items()}

        def matrix(name: str, norm: str | None = None) -> np.ndarray:
            weight = tensors[name] if norm is None else tensors[name] * tensors[norm]
            return np.ascontiguousarray(weight.numpy().T)  # [in, out]

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
        self.heads_of = {
            name: (matrix(f"{name}_head.weight"), array(f"{name}_head.bias"))
            for name in ("delta", "pitch", "relative", "interval", "duration", "velocity")
        }
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
        turns = (np.cos(angles)[:, None], np.sin(angles)[:, None])  # each [n, 1, heads, head dim / 2]
        for feed, count in zip(feeds, counts):
            feed.stream.reserve(count)
        for layer, (query_key_value, out, expand, contract) in enumerate(self.layers):
            projected = _times(_normed(states), query_key_value).reshape(len(states), 3, self.heads, self.head_dim)
            self._rotate(projected[:, :2], *turns)
            projected[:, 0] *= self.head_dim**-0.5
            mixed = np.empty_like(states)
            for feed, count, end in zip(feeds, counts, ends):
                own = slice(end - count, end)
                mixed[own] = self._attend(feed.stream, layer, *projected[own].swapaxes(0, 1))
            states = states + _times(mixed, out)
            states = states + _times(_gated(_times(_normed(states), expand)), contract)
        for feed, count in zip(feeds, counts):
            feed.stream.length += count
        last = _normed(states[ends - 1]) * self.norm
        return list(last)

    @staticmethod
    def _rotate(states: np.ndarray, cosines: np.ndarray, sines: np.ndarray) -> None:
        """Turn the two halves of the last dimension of ``states`` [..., head dim], in place."""
        half = cosines.shape[-1]
        first, second = states[..., :half], states[..., half:]
        turned = first * sines
        first *= cosines
        first -= second * sines
        second *= cosines
        second += turned

    def _attend(self, stream: Stream, layer: int, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Attention of the new positions [n, heads, head dim], the query scaled, to the stream and to themselves:
        [n, width].
        """
        count, begin = len(query), stream.length
        end = begin + count
        keys, values = stream.keys[layer], stream.values[layer]
        keys[:, begin:end], values[:, begin:end] = key.swapaxes(0, 1), value.swapaxes(0, 1)
        scores = query.swapaxes(0, 1) @ keys[:, :end].swapaxes(1, 2)  # [heads, n, end]
        if count > 1:
            scores += np.where(np.arange(end) > begin + np.arange(count)[:, None], np.float32(-1e30), np.float32(0))
        scores -= scores.max(axis=2, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=2, keepdims=True)
        return (scores @ values[:, :end]).swapaxes(0, 1).reshape(count, -1)

    def _head(self, name: str, state: np.ndarray) -> np.ndarray:
        weight, bias = self.heads_of[name]
        return state @ weight + bias

    def _network(self, name: str, state: np.ndarray) -> np.ndarray:
        expand, contract = self.networks[name]
        return state + (_gated(_normed(state[None]) @ expand) @ contract)[0]

    def tell_delta(self, hidden: np.ndarray) -> np.ndarray:
        """Onset logits [NUM_DELTAS] from a hidden state [width]."""
        return self._head("delta", hidden)

    def tell_pitch(
        self, hidden: np.ndarray, delta: int, ticks: np.ndarray, previous: int, drum: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """As NotePlayer.tell_pitch, for one position: state [width] and logits [128]."""
        told = self.told_rows[delta + OFFSET["delta"]] + self.told_rows[ticks].sum(axis=0)
        state = self._network("pitch", hidden + told)
        absolute = self._head("pitch", state)
        if drum:
            return state, absolute[MELODIC_PITCHES:]
        root = int(ticks[_ROOT] - OFFSET["root"]) % NO_CLASS
        logits = absolute[:MELODIC_PITCHES] + self._head("relative", state)[(_PITCHES - root) % 12]
        if previous >= 0:
            steps = np.clip(_PITCHES - previous, -MAX_INTERVAL, MAX_INTERVAL) + MAX_INTERVAL
            logits = logits + self._head("interval", state)[steps]
        return state, logits

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
