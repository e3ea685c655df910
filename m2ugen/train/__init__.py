"""Training: one loop for every preset and stage.

Here belong the trainer, its checkpoints and journal, and one file per stage (``stages/NAME.py``) that says what is
trained on what. Models live in ``m2ugen.model``, the making of material in ``m2ugen.data``.
"""

from m2ugen.train.config import TrainConfig
from m2ugen.train.export import export, load_best
from m2ugen.train.guards import NonFiniteLoss, OutOfMemory
from m2ugen.train.task import BatchSource, Task
from m2ugen.train.trainer import TrainResult, train

__all__ = [
    "BatchSource",
    "NonFiniteLoss",
    "OutOfMemory",
    "Task",
    "TrainConfig",
    "TrainResult",
    "export",
    "load_best",
    "train",
]
