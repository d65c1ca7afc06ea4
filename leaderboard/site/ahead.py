"""Figures of many models, computed by other processes while pages are written: alone they take most of the time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from ...benchmarks.hardware import cores
from ...benchmarks.predict import best_of
from ...benchmarks.store import Stored, read_record
from .evidence import Evidence, Figures, TruthsHere

WORTHWHILE = 60
"""Tables of models whose figures are not kept, below which other processes take longer to start than they save."""
MOST = 8
_truths = TruthsHere()
"""Of a process that works ahead."""


@dataclass(frozen=True)
class Job:
    """A model: where its figures are kept, and the paths of its records, a tuple for each task."""

    kept: Path
    tables: tuple[tuple[Path, ...], ...]


def read_stored(paths: Sequence[Path]) -> list[Stored]:
    """Return the records at `paths`; one that is gone by now is left out."""
    found: list[Stored] = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found.append(Stored(read_record(path), path))
    return found


def best_stored(cells: Sequence[Stored]) -> Stored:
    """Return the cell that `zoobench confidence` would take, the best on validation; else the newest one."""
    done = [stored for stored in cells if stored.record.status == "ok"]
    scored = [stored for stored in done if stored.record.policy in stored.record.validation]
    return best_of(scored) if scored else max(done or cells, key=lambda stored: stored.record.created)


class Ahead:
    """Works ahead on the jobs of which nothing is kept, where they are many and there is more than one core."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        new = {model: job for model, job in jobs.items() if not job.kept.exists()}
        self._pool: ProcessPoolExecutor | None = None
        self._futures: dict[str, Future[dict[str, Figures]]] = {}
        workers = min(cores(), MOST)
        if workers > 1 and sum(len(job.tables) for job in new.values()) >= WORTHWHILE:
            # Begun anew and not forked: this process has threads, of pyarrow's and of what shows progress.
            self._pool = ProcessPoolExecutor(workers, get_context("spawn"))
            self._futures = {model: self._pool.submit(_work, job) for model, job in new.items()}

    def figures(self, model: str) -> dict[str, Figures]:
        """Return what was computed of a model; nothing where nobody worked ahead, or the processes died."""
        try:
            return self._futures[model].result() if model in self._futures else {}
        except (BrokenProcessPool, OSError):
            return {}

    def stop(self) -> None:
        """End what is still going on."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def ahead(jobs: Mapping[str, Job]) -> Iterator[Ahead]:
    """Yield who works ahead for as long as the block lasts."""
    made = Ahead(jobs)
    try:
        yield made
    finally:
        made.stop()


def _work(job: Job) -> dict[str, Figures]:
    evidence = Evidence(job.kept, _truths)
    for paths in job.tables:
        cells = read_stored(paths)
        if cells and (best := best_stored(cells)).record.status == "ok":
            evidence.of(best)
    return evidence.used
