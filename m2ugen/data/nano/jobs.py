"""Independent jobs, here or in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Job = TypeVar("Job")


def run_jobs(function: Callable[[Job], None], jobs: Sequence[Job], workers: int) -> Iterator[None]:
    """Call ``function`` with each of ``jobs``, in ``workers`` processes if there are several; one item per finished
    job, in any order. An exception of a job is raised here.
    """
    if workers <= 1:
        for job in jobs:
            function(job)
            yield
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(function, job) for job in jobs]):
            future.result()
            yield
