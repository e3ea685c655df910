"""The score decoder's two trainings: ``PlanTask`` for the PlanWriter, ``NotesTask`` for the NotePlayer.

Both read arrangements from ``DATA/scores``: shards ``{train,valid}-NNNN.npz`` (``notes`` int16 [total, 5], ``offsets``
int64 [n + 1]) with a twin ``.jsonl`` (one JSON object per arrangement, with its ``plan``). Shards that appear during a
run are taken up at the next epoch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m2ugen.errors import InputError
from m2ugen.model.decoders.score.config import PlayerConfig, ScoreConfig, WriterConfig
from m2ugen.model.decoders.score.note_fields import (
    CONTEXT_BARS,
    NUM_POSITION_FIELDS,
    NUM_WINDOW_FIELDS,
    TARGET,
    TARGET_FIELDS,
    Window,
    encode_window,
    windows,
)
from m2ugen.model.decoders.score.note_player import NotePlayer
from m2ugen.model.decoders.score.plan_tokens import BEGIN, STATE_FIELDS, encode_plan
from m2ugen.model.decoders.score.plan_writer import PlanWriter
from m2ugen.model.decoders.score.storage import PLAYER, WRITER, store_half
from m2ugen.score.attributes import (
    INSTRUMENT_NAMES,
    MULTI_SLOTS,
    NUM_SLOTS,
    SLOT_DIM,
    SLOT_INDEX,
    SLOT_NAMES,
    SLOTS,
    Attributes,
)
from m2ugen.score.notes import ONSET
from m2ugen.score.plan import ROLES, Plan
from m2ugen.train.task import BatchSource, Task

BATCH_POSITIONS = 2000  # of the note player: larger batches learn far slower at equal throughput
MAX_WINDOW_POSITIONS = 1024  # a denser window is left out
EPOCH_BATCHES = 200  # short epochs, so that new shards are soon seen
CONTEXT_KEPT = 0.8  # of the windows that have bars before them
ROLE_WEIGHTS = {"melody": 2.0, "bass": 1.5}
PLANS_PER_BATCH = 32
VALID_WINDOWS = 64
VALID_PLANS = 256


@dataclass(frozen=True)
class Arrangement:
    """A plan and its notes int16 [n, 5]."""

    plan: Plan
    notes: np.ndarray


class Arrangements:
    """The arrangements of a split; ``rescan`` adds those of new shards. Raises InputError if there are none."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder / "scores", split
        self.items: list[Arrangement] = []
        self._seen: set[str] = set()
        self.rescan()
        if not self.items:
            raise InputError(f"there are no arrangements {split}-NNNN.npz under {self.folder}; run m2ugen data first")

    def rescan(self) -> None:
        for path in sorted(self.folder.glob(f"{self.split}-*.npz")):
            twin = path.with_suffix(".jsonl")
            if path.name in self._seen or not twin.exists():
                continue
            lines = twin.read_text(encoding="utf-8").splitlines()
            with np.load(path) as arrays:
                notes, offsets = arrays["notes"], arrays["offsets"]
            if len(lines) != len(offsets) - 1:
                raise InputError(f"{twin} has {len(lines)} lines for {len(offsets) - 1} arrangements; build it again")
            for line, begin, end in zip(lines, offsets[:-1], offsets[1:]):
                self.items.append(Arrangement(Plan.from_dict(json.loads(line)["plan"]), notes[begin:end]))
            self._seen.add(path.name)


# -- notes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    arrangement: Arrangement
    window: Window
    positions: int  # estimated


class NotesSource(BatchSource):
    """Windows of similar length, padded to one another; about BATCH_POSITIONS positions a batch."""

    def __init__(self, arrangements: Arrangements, seed: int) -> None:
        self._arrangements, self._seed = arrangements, seed
        self._pieces: list[_Piece] = []
        self._indexed = 0
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self._arrangements.rescan()
        for arrangement in self._arrangements.items[self._indexed :]:
            self._pieces.extend(_pieces(arrangement))
        self._indexed = len(self._arrangements.items)
        rng = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(len(self._pieces))
        lengths = np.array([self._pieces[i].positions for i in order])
        chosen = order[: int(np.searchsorted(np.cumsum(lengths), EPOCH_BATCHES * BATCH_POSITIONS)) + 1]
        lengths = lengths[: len(chosen)]
        batches: list[list[int]] = [[]]
        for place in np.argsort(lengths, kind="stable")[::-1]:  # longest first: a batch is as wide as its first window
            width = int(self._pieces[batches[-1][0]].positions) if batches[-1] else int(lengths[place])
            if len(batches[-1]) * width + width > BATCH_POSITIONS and batches[-1]:
                batches.append([])
            batches[-1].append(int(chosen[place]))
        self._batches = [batches[i] for i in rng.permutation(len(batches))]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self._seed, self.epoch, index))
        pieces = [self._pieces[i] for i in self._batches[index]]
        return collate([(p.arrangement, p.window, bool(rng.random() < CONTEXT_KEPT)) for p in pieces])


def _pieces(arrangement: Arrangement) -> list[_Piece]:
    plan, notes = arrangement.plan, arrangement.notes
    onsets = np.sort(notes[:, ONSET].astype(np.int64))
    found = []
    for window in windows(plan):
        begin, end = window.start * plan.bar_ticks, (window.start + window.bars) * plan.bar_ticks
        first, inside, last = np.searchsorted(onsets, (begin - CONTEXT_BARS["bass"] * plan.bar_ticks, begin, end))
        positions = int(last - first) + len(plan.parts)
        if last > inside and positions <= MAX_WINDOW_POSITIONS:
            found.append(_Piece(arrangement, window, positions))
    return found


def collate(chosen: list[tuple[Arrangement, Window, bool]]) -> dict[str, Any]:
    """Padded tensors ``rows`` [batch, length, fields], ``window_rows``, ``onsets`` and ``targets``; a window with its
    flag set also shows the bars before it."""
    encoded = [encode_window(item.plan, window, item.notes, context) for item, window, context in chosen]
    length = max(len(sequence.rows) for _, sequence in encoded)
    rows = np.zeros((len(encoded), length, NUM_POSITION_FIELDS), dtype=np.int64)
    targets = np.zeros((len(encoded), length, len(TARGET_FIELDS)), dtype=np.int64)
    onsets = np.zeros((len(encoded), length), dtype=np.int64)
    window_rows = np.zeros((len(encoded), NUM_WINDOW_FIELDS), dtype=np.int64)
    for index, (window_row, sequence) in enumerate(encoded):
        count = len(sequence.rows)
        window_rows[index] = window_row
        rows[index, :count], targets[index, :count] = sequence.rows, sequence.targets
        onsets[index, :count] = sequence.onsets
    arrays = {"rows": rows, "window_rows": window_rows, "onsets": onsets, "targets": targets}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class NotesTask(Task):
    """Trains the NotePlayer on windows of arrangements; the tune and the bass weigh more than the rest."""

    name = "score"
    model: NotePlayer

    def __init__(self, data: Path, seed: int = 0, config: PlayerConfig | None = None) -> None:
        self.config = config or ScoreConfig().player
        self.source = NotesSource(Arrangements(Path(data), "train"), seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = NotePlayer(self.config)
        self._weights = torch.tensor([ROLE_WEIGHTS.get(role, 1.0) for role in ROLES])
        self._valid = _valid_batches(Arrangements(Path(data), "valid"))

    def _scored(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        hidden = self.model(batch["rows"], batch["window_rows"], batch["onsets"]).flatten(0, 1)
        targets = batch["targets"].flatten(0, 1)
        scored = (targets[:, TARGET["scored"]] > 0).nonzero().squeeze(1)
        total, fields = self.model.losses(hidden[scored], targets[scored])
        return targets[scored], total, fields

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        targets, total, _ = self._scored(batch)
        weights = self._weights.to(total.device)[targets[:, TARGET["role"]]]
        notes = int((targets[:, TARGET["pitch"]] >= 0).sum())
        figures = {"nats_per_note": float(total.detach().sum()) / notes, "notes": float(notes)}
        return (total * weights).sum() / weights.sum(), figures

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Nats per note of held-out windows (``loss``), by field and by role."""
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}

        def add(name: str, value: torch.Tensor, count: float) -> None:
            sums[name] = sums.get(name, 0.0) + float(value.sum())
            counts[name] = counts.get(name, 0.0) + count

        device = self.model.rows.device
        for batch in self._valid:
            targets, total, fields = self._scored({name: value.to(device) for name, value in batch.items()})
            sounding = targets[:, TARGET["pitch"]] >= 0
            notes = float(sounding.sum())
            add("loss", total, notes)
            for name, value in fields.items():
                add(name, value, notes)
            for index, role in enumerate(ROLES):
                own = targets[:, TARGET["role"]] == index
                if own.any():
                    add(role, total[own], float((own & sounding).sum()))
        return {name: value / max(counts[name], 1.0) for name, value in sums.items()}

    def export(self, folder: Path) -> None:
        store_half(folder, PLAYER, self.model)


def _valid_batches(arrangements: Arrangements) -> list[dict[str, Any]]:
    """A fixed choice of held-out windows, spread over the material."""
    pieces = [piece for item in arrangements.items for piece in _pieces(item)]
    step = max(1, len(pieces) // VALID_WINDOWS)
    chosen = sorted(pieces[::step][:VALID_WINDOWS], key=lambda piece: piece.positions)
    groups = [chosen[i : i + 4] for i in range(0, len(chosen), 4)]
    return [collate([(piece.arrangement, piece.window, True) for piece in group]) for group in groups]


# -- plans ---------------------------------------------------------------------------------------------------------


def partial_conditioning(attributes: Attributes, rng: np.random.Generator) -> np.ndarray:
    """Conditioning float32 [NUM_SLOTS, SLOT_DIM] of a random part of what is true, as a listener or a projector
    might give it: some attributes, some of the instruments, some that do not play, probabilities blurred."""
    share = rng.choice([0.0, rng.random(), 1.0], p=[0.05, 0.8, 0.15])
    kept = [name for name in SLOT_NAMES if rng.random() < share]
    playing = [name for name in attributes.instruments if rng.random() < rng.choice([0.4, 1.0])]
    silent = [name for name in INSTRUMENT_NAMES if name not in attributes.instruments]
    count = len(silent) if rng.random() < 0.15 else int(rng.integers(1, 5))  # "only piano" excludes all others
    excluded = tuple(rng.choice(silent, size=min(count, len(silent)), replace=False))
    full = replace(attributes, instruments=tuple(playing), excluded=excluded)
    matrix = full.keep(kept).to_conditioning()
    return _blurred(matrix, rng)


def _blurred(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The errors of a projector: probability leaks to other values, for tempo to the neighbouring ones."""
    if rng.random() < 0.4:
        return matrix
    for name, slot in SLOT_INDEX.items():
        count = SLOTS[name]
        leak = rng.beta(1.0, 8.0)
        row = matrix[slot]
        if name in MULTI_SLOTS:
            row[: 1 + count] += rng.normal(0.0, 0.5 * leak, 1 + count).astype(np.float32)
            np.clip(row, 0.0, 1.0, out=row)
            continue
        other = rng.dirichlet(np.full(1 + count, 0.3)).astype(np.float32)
        if name == "tempo" and row[0] < 0.5:
            value = float(row[1:].argmax()) + rng.normal(0.0, 0.5)
            near = np.exp(-0.5 * ((np.arange(count) - value) / rng.uniform(0.3, 1.0)) ** 2)
            row[1 : 1 + count] = near / near.sum()
        row[: 1 + count] = (1 - leak) * row[: 1 + count] + leak * other
    return matrix


class PlansSource(BatchSource):
    """PLANS_PER_BATCH plans a batch, with conditioning drawn anew in every epoch."""

    def __init__(self, arrangements: Arrangements, seed: int, plans_per_batch: int = PLANS_PER_BATCH) -> None:
        self._arrangements, self._seed, self._size = arrangements, seed, plans_per_batch
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self._arrangements.rescan()
        self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._arrangements.items))

    def __len__(self) -> int:
        return max(1, len(self._order) // self._size)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self._seed, self.epoch, index))
        chosen = self._order[index * self._size : (index + 1) * self._size]
        return collate_plans([varied(self._arrangements.items[i].plan, rng) for i in chosen], rng)


def varied(plan: Plan, rng: np.random.Generator) -> Plan:
    """The plan in another key, or a stretch of its sections: both are as good plans as the whole one."""
    if rng.random() < 0.5:
        plan = plan.replace(tonic=int(rng.integers(12)))
    if rng.random() < 0.4:
        first, last = sorted(rng.integers(len(plan.sections), size=2).tolist())
        whole = last == len(plan.sections) - 1
        plan = plan.replace(sections=plan.sections[first : last + 1], ending=plan.ending and whole)
    return plan


def collate_plans(plans: list[Plan], rng: np.random.Generator) -> dict[str, Any]:
    """Padded ``tokens`` [batch, length] (padding -1), ``states`` and randomly chosen ``conditioning``."""
    encoded = []
    conditioning = np.zeros((len(plans), NUM_SLOTS, SLOT_DIM), dtype=np.float32)
    for index, plan in enumerate(plans):
        encoded.append(encode_plan(plan))
        conditioning[index] = partial_conditioning(plan.attributes(), rng)
    length = max(len(tokens) for tokens, _ in encoded)
    tokens = np.full((len(plans), length), -1, dtype=np.int64)
    states = np.zeros((len(plans), length, len(STATE_FIELDS)), dtype=np.int64)
    for index, (own_tokens, own_states) in enumerate(encoded):
        tokens[index, : len(own_tokens)] = own_tokens
        states[index, : len(own_states)] = own_states
    arrays = {"tokens": tokens, "states": states, "conditioning": conditioning}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class PlanTask(Task):
    """Trains the PlanWriter; a tenth of the plans without conditioning (classifier-free guidance, 2207.12598)."""

    name = "plan"
    model: PlanWriter
    unconditional = 0.1

    def __init__(self, data: Path, seed: int = 0, config: WriterConfig | None = None) -> None:
        self.config = config or ScoreConfig().writer
        self.source = PlansSource(Arrangements(Path(data), "train"), seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = PlanWriter(self.config)
        valid = [item.plan for item in Arrangements(Path(data), "valid").items]
        valid = valid[:: max(1, len(valid) // VALID_PLANS)][:VALID_PLANS]
        rng = np.random.default_rng(0)
        self._valid = [
            collate_plans(valid[i : i + PLANS_PER_BATCH], rng) for i in range(0, len(valid), PLANS_PER_BATCH)
        ]

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        conditioning = batch["conditioning"]
        draws = torch.rand(len(conditioning), generator=generator, device=generator.device).to(conditioning.device)
        conditioning = conditioning * (draws >= self.unconditional).view(-1, 1, 1)
        losses = self.model.losses(batch["tokens"], batch["states"], conditioning, BEGIN)
        figures = {"nats_per_plan": float(losses.detach().sum()) / len(losses)}
        return losses.sum() / (batch["tokens"] >= 0).sum(), figures

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Nats per token of held-out plans with conditioning (``loss``), and per plan."""
        device = self.model.slots.device
        total = count = plans = 0.0
        for batch in self._valid:
            moved = {name: value.to(device) for name, value in batch.items()}
            losses = self.model.losses(moved["tokens"], moved["states"], moved["conditioning"], BEGIN)
            total += float(losses.sum())
            count += float((moved["tokens"] >= 0).sum())
            plans += len(losses)
        return {"loss": total / count, "nats_per_plan": total / plans}

    def export(self, folder: Path) -> None:
        store_half(folder, WRITER, self.model)
