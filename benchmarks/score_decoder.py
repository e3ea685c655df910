"""How fast the score decoder writes notes, beside its own network run the plain way.

    .venv/bin/python benchmarks/score_decoder.py [--json] [--duration 30] [--pieces 3] [--threads 2]

Both write the same plans with the same seeds. The plain way is eager torch, as the network is trained: every window by
itself, one note after the other through the transformer's blocks with a cache of keys and values, then through its
heads. m2ugen's engine feeds the windows of a piece together and folds the norms into the matrices. ``ratio`` is notes
per second of the engine by those of the plain way; ``same_notes`` the share of notes that are equal (rounding may turn
a draw).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from m2ugen.model.decoders.score.layers import KeyValueCache
from m2ugen.model.decoders.score.note_engine import Feed, NoteEngine
from m2ugen.model.decoders.score.note_player import NotePlayer
from m2ugen.model.decoders.score.performer import perform
from m2ugen.pipeline import M2UGen

PROMPT = "a cheerful pop song with piano, bass and drums"
CAPACITY = 4096


class EagerStream:
    """What a window's positions have in common, and their keys and values."""

    def __init__(self, shared: torch.Tensor, cache: KeyValueCache) -> None:
        self.shared, self.cache = shared, cache


class EagerEngine:
    """A NotePlayer's own modules behind the interface of NoteEngine."""

    def __init__(self, player: NotePlayer) -> None:
        self.player = player

    def open(self, window_row: np.ndarray, capacity: int = CAPACITY) -> EagerStream:
        config = self.player.config
        shared = functional.embedding_bag(
            torch.from_numpy(window_row[None].astype(np.int64)), self.player.rows, mode="sum", padding_idx=0
        )
        cache = KeyValueCache(config.layers, 1, config.heads, capacity, config.width // config.heads)
        return EagerStream(shared, cache)

    def advance(self, feeds: Sequence[Feed]) -> list[torch.Tensor]:
        return [self._advance(feed.stream, feed.rows, feed.onsets) for feed in feeds]  # type: ignore[arg-type]

    def _advance(self, stream: EagerStream, rows: np.ndarray, onsets: np.ndarray) -> torch.Tensor:
        cache, count = stream.cache, len(rows)
        states = functional.embedding_bag(
            torch.from_numpy(rows.astype(np.int64)), self.player.rows, mode="sum", padding_idx=0
        )
        states = (states + stream.shared)[None]
        order = cache.length + torch.arange(count)[None]
        turns = self.player.turns(order, torch.from_numpy(onsets.astype(np.int64))[None])
        # the blocks take one position at a time, or the first ones together
        parts = range(0, count, count if cache.length == 0 else 1)
        size = count if cache.length == 0 else 1
        for begin in parts:
            own = slice(begin, begin + size)
            part, turned = states[:, own], tuple(turn[:, :, own] for turn in turns)
            for layer, block in enumerate(self.player.blocks):
                part = block(part, turned, cache=cache, layer=layer)
            cache.length += size
        return self.player.norm(part[:, -1])

    def tell_delta(self, hidden: torch.Tensor) -> np.ndarray:
        return self.player.delta_head(hidden)[0].numpy()

    def tell_pitch(
        self, hidden: torch.Tensor, delta: int, ticks: np.ndarray, previous: int, drum: bool
    ) -> tuple[torch.Tensor, np.ndarray]:
        ticks = torch.from_numpy(ticks[None].astype(np.int64))
        state, logits = self.player.tell_pitch(
            hidden, torch.tensor([delta]), ticks, torch.tensor([previous]), torch.tensor([drum])
        )
        return state, logits[0].numpy()

    def tell_duration(self, state: torch.Tensor, pitch: int, ticks: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        state, logits = self.player.tell_duration(
            state, torch.tensor([pitch]), torch.from_numpy(ticks[None].astype(np.int64))
        )
        return state, logits[0].numpy()

    def tell_velocity(self, state: torch.Tensor, duration: int) -> np.ndarray:
        return self.player.tell_velocity(state, torch.tensor([duration]))[0].numpy()


@torch.inference_mode()
def measure(model: M2UGen, duration: float, pieces: int, threads: int) -> dict[str, Any]:
    """Notes per second of both and their ratio, over some pieces, each written by one after the other."""
    torch.set_num_threads(threads)
    decoder = model.model.decoder
    ways = {"m2ugen": NoteEngine(decoder.note_player), "eager torch": EagerEngine(decoder.note_player)}
    seconds, notes, same = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0), []
    for seed in range(pieces):
        plan = model.generate(PROMPT, duration=duration, seed=seed).plan
        written = {}
        for name, engine in ways.items():
            began = time.perf_counter()
            written[name] = perform(engine, plan, seed, decoder.config.sampling)  # type: ignore[arg-type]
            seconds[name] += time.perf_counter() - began
            notes[name] += len(written[name])
        ours, theirs = ({tuple(note[:4]) for note in piece.tolist()} for piece in written.values())
        same.append(len(ours & theirs) / len(ours | theirs))
    speed = {name: notes[name] / seconds[name] for name in ways}
    return {
        "pieces": pieces,
        "duration": duration,
        "threads": threads,
        "torch": torch.__version__,
        "notes": notes,
        "notes_per_second": {name: round(value, 1) for name, value in speed.items()},
        "same_notes": round(float(np.mean(same)), 3),
        "ratio": round(speed["m2ugen"] / speed["eager torch"], 2),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of music in a piece")
    parser.add_argument("--pieces", type=int, default=3, help="pieces to write")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    report = measure(M2UGen.from_pretrained("nano"), arguments.duration, max(1, arguments.pieces), arguments.threads)
    print(json.dumps(report) if arguments.json else "\n".join(f"{name}: {value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
