"""Music that can be heard while the rest of it is still being written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import numpy as np

from m2ugen.reply import Reply


class MusicStream(Iterator[np.ndarray]):
    """The pieces of a reply's sound as they come, float32 [channels, any] at ``sample_rate`` Hz; then ``reply``.

    ``make`` makes the reply, on a thread of its own, and hands pieces of its sound to what it is given. What it raises
    is raised here.
    """

    def __init__(self, make: Callable[[Callable[[np.ndarray], None]], Reply], sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._pieces: SimpleQueue[np.ndarray | None] = SimpleQueue()
        self._made: Reply | BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(make,), daemon=True)
        self._thread.start()

    def _run(self, make: Callable[[Callable[[np.ndarray], None]], Reply]) -> None:
        try:
            self._made = make(self._pieces.put)
        except BaseException as error:  # whatever it is belongs to the one who listens
            self._made = error
        self._pieces.put(None)

    def __next__(self) -> np.ndarray:
        piece = self._pieces.get()
        if piece is not None:
            return piece
        self._pieces.put(None)  # whoever asks again learns the same
        if isinstance(self._made, BaseException):
            raise self._made
        raise StopIteration

    @property
    def reply(self) -> Reply:
        """The whole reply, mixed and mastered as one; waits until it is there."""
        self._thread.join()
        if isinstance(self._made, Reply):
            return self._made
        assert self._made is not None  # the thread has ended
        raise self._made
