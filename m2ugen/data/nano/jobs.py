"""Independent jobs, here or in several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Job = TypeVar("Job")


def run_jobs(label: str, function: Callable[[Job], None], jobs: Sequence[Job], done: int, workers: int) -> None:
    """Call ``function`` with each of ``jobs``, in ``workers`` processes if there are several, in any order, under a
    progress bar that also counts the ``done`` ones. An exception of a job is raised here.
    """
    from rich.progress import Progress

    with Progress() as progress:
        task = progress.add_task(label, total=done + len(jobs), completed=done)
        if workers <= 1:
            for job in jobs:
                function(job)
                progress.advance(task)
            return
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                future.result()
                progress.advance(task)
