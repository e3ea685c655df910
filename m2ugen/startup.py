"""What makes a program start sooner."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Python's search for unused cycles rests meanwhile, if it is on.

    To import torch and transformers and to load a model makes hundreds of thousands of objects that stay; to look
    through them again and again takes a seventh of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
