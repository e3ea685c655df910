"""Training: one loop for every preset and stage.

Here belong the trainer, its checkpoints and journal, and one file per stage (``stages/NAME.py``) that says what is
trained on what. Models live in ``m2ugen.model``, the making of material in ``m2ugen.data``.
"""

from m2ugen.train.config import TrainConfig
from m2ugen.train.task import BatchSource, Task
from m2ugen.train.trainer import NonFiniteLoss, TrainResult, export, load_best, train

__all__ = ["BatchSource", "NonFiniteLoss", "Task", "TrainConfig", "TrainResult", "export", "load_best", "train"]
