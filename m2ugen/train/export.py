"""The best weights of a run, as the package loads them."""

from __future__ import annotations

from pathlib import Path

from m2ugen.errors import InputError
from m2ugen.train import checkpoint as store
from m2ugen.train.task import Task


def load_best(task: Task, output: Path) -> None:
    """Give the model the best weights so far of the run in ``output`` (the newest where none was evaluated).

    May be called while the run goes on in another process. Raises InputError where there is no checkpoint, or one of
    another model.
    """
    found = store.checkpoints(Path(output) / "checkpoints")
    if not found:
        raise InputError(f"there is no checkpoint under {output}; train first")
    best = store.read_state(found[-1])["best_step"]
    chosen = next((path for path in found if path.name == f"step-{best or 0:08d}"), found[-1])
    weights, _, ema, _ = store.read(chosen)
    store.load_model_tensors(task.model, {**weights, **(ema or {})}, chosen)


def export(task: Task, output: Path) -> Path:
    """Export the best weights so far of the run in ``output`` to ``output/export``; raises as ``load_best`` does."""
    load_best(task, output)
    folder = Path(output) / "export"
    folder.mkdir(parents=True, exist_ok=True)
    task.model.eval()
    task.export(folder)
    return folder
