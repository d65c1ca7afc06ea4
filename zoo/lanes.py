"""Work of torch dealt to threads of one core each: on a CPU two halves side by side beat one whole on two cores.

A product of two cores waits for its slower half, and what lies between products (dropout, normalisation, the loop
itself) uses one core alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np

Job = TypeVar("Job")
Result = TypeVar("Result")
Hand = TypeVar("Hand", np.ndarray, Sequence[np.ndarray], Sequence[int])


@contextlib.contextmanager
def lanes(threads: int) -> Iterator[Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]]:
    """Give a function like ``list(map(act, jobs))`` whose jobs run in `threads` threads, each on one core.

    One thread is the caller's own, with as many cores as it has.
    """
    if threads < 2:
        yield one_by_one
        return
    import torch

    own = torch.get_num_threads()
    with ThreadPoolExecutor(threads, "lane", lambda: torch.set_num_threads(1)) as pool:

        def side_by_side(act: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
            running = [pool.submit(act, job) for job in jobs]
            wait(running)  # all of them: what goes on after another's failure would meet the next attempt
            return [job.result() for job in running]

        try:
            yield side_by_side
        finally:
            torch.set_num_threads(own)  # MKL keeps one number for all threads


def one_by_one(act: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    """Do all jobs in the caller's own thread."""
    return [act(job) for job in jobs]


def dealt(rows: Hand, threads: int) -> list[Hand]:
    """Return `rows` in `threads` parts, like hands of cards; fewer where there are fewer rows.

    >>> dealt([5, 4, 3, 2, 1], 2)
    [[5, 3, 1], [4, 2]]
    """
    return [rows[first::threads] for first in range(min(threads, len(rows)))]
