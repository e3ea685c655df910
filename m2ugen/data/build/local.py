"""Stages on this machine: in this process, overlapped, or in several processes."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from m2ugen.data.build.engine import Stage
from m2ugen.data.build.records import Bundle
from m2ugen.errors import InputError

AHEAD = 1  # finished bundles that wait for the next stage
MAX_LOSSES = 3  # times that processes may die without a bundle getting done in between


class LocalRunner:
    """Runs stages in ``workers`` processes; in this one, with a thread for each stage, if that is 1."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def run(self, stages: Sequence[Stage], bundles: Sequence[Bundle]) -> Iterator[Bundle]:
        """See Runner. Raises InputError when processes die again and again."""
        if self.workers <= 1 or len(bundles) <= 1:
            return overlapped(stages, bundles)
        return self._in_processes(stages, bundles)

    def _in_processes(self, stages: Sequence[Stage], bundles: Sequence[Bundle]) -> Iterator[Bundle]:
        left = {bundle.index: bundle for bundle in bundles}
        losses = 0
        while left:
            before = len(left)
            try:
                yield from self._one_pool(stages, left)
            except BrokenProcessPool:  # what was done is on disk; the others are done again
                losses = losses + 1 if len(left) == before else 1
                if losses >= MAX_LOSSES:
                    raise InputError(
                        "worker processes die again and again, most likely for want of memory; use fewer --workers"
                    ) from None

    def _one_pool(self, stages: Sequence[Stage], left: dict[int, Bundle]) -> Iterator[Bundle]:
        threads = max((os.cpu_count() or 1) // self.workers, 1)
        pool = ProcessPoolExecutor(self.workers, get_context("spawn"), _limit_threads, (threads,))
        try:
            waiting = iter(list(left.values()))
            running: set[Future[Bundle]] = set()
            while True:
                for bundle in waiting:
                    running.add(pool.submit(run_all, stages, bundle))
                    if len(running) >= 2 * self.workers:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    bundle = future.result()
                    del left[bundle.index]
                    yield bundle
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_all(stages: Sequence[Stage], bundle: Bundle) -> Bundle:
    """``bundle`` through ``stages``, one after the other."""
    for stage in stages:
        bundle = stage(bundle)
    return bundle


def _limit_threads(count: int) -> None:
    """Share the cores among processes."""
    import torch

    torch.set_num_threads(count)


def overlapped(stages: Sequence[Stage], bundles: Iterable[Bundle]) -> Iterator[Bundle]:
    """Bundles through ``stages``, a thread for each: while one bundle is described, the next ones are decoded."""
    streams: list[Ahead] = []
    stream: Iterable[Bundle] = bundles
    for stage in stages:
        streams.append(Ahead(stage, stream))
        stream = streams[-1]
    try:
        yield from stream
    finally:
        for each in streams:
            each.close()


class Ahead:
    """``function`` of each of ``items``, computed ahead in a thread. An exception there is raised where it is read."""

    _END = object()

    def __init__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> None:
        self._results: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(function, items), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        while not self._closed.is_set():
            try:
                item, error = self._results.get(timeout=0.2)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if item is self._END:
                return
            yield item

    def close(self) -> None:
        """Stop after what is under way."""
        self._closed.set()
        self._thread.join()

    def _work(self, function: Callable[[Any], Any], items: Iterable[Any]) -> None:
        try:
            for item in items:
                if self._closed.is_set():
                    return
                self._put((function(item), None))
        except BaseException as error:  # raised again in the reader's thread
            self._put((None, error))
        else:
            self._put((self._END, None))

    def _put(self, result: tuple[Any, BaseException | None]) -> None:
        while not self._closed.is_set():
            try:
                return self._results.put(result, timeout=0.2)
            except queue.Full:
                continue
        return None
