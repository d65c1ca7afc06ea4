"""One process from plan to outcome: what a cell and a trial of a study have in common."""

from __future__ import annotations

import contextlib
import errno
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.core import Fold, as_mapping
from ..datasets.folds import split_path
from ..datasets.support.folders import cache_root
from ..zoo.core import ModelCard
from .cell import Cell
from .engines.base import Ending, Engine, Limits, Listener
from .engines.servers import computes_on, gpus_of, server_of, software_of
from .job import PROBABILITIES as RAW
from .job import ROWS, Job, Outcome
from .options import Request
from .plan import Planned
from .record import Status
from .scoring import refuse
from .store import check_space, temporary

_POLL_S = 0.2


class Launcher:
    """Runs the processes of a run's cells. Safe to use from several threads.

    Cells and the trials of studies alike hold a `room` while their process runs, so that a study has all the machine
    when the other cells are through.
    """

    def __init__(self, request: Request, engine: Engine, features: Path) -> None:
        self._request, self._engine, self._features = request, engine, features
        self.divide(1, 1)

    def divide(self, side_by_side: int, on_gpus: int) -> None:
        """Let so many processes run at a time, at most `on_gpus` of them on GPUs; they share the run's threads."""
        self._side_by_side = side_by_side
        self._rooms, self._seats = threading.Semaphore(side_by_side), threading.Semaphore(max(1, on_gpus))

    def threads(self, card: ModelCard) -> int:
        """Return the threads of one process of a model."""
        return self._engine.threads(card) or max(1, self._request.threads // self._side_by_side)

    def on_gpu(self, planned: Planned) -> bool:
        """Return whether a cell's processes wait for GPUs of this machine."""
        device = computes_on(planned.model.card, planned.cell.config, self._request.device)
        return bool(self._request.gpus) and device == "cuda"

    @contextlib.contextmanager
    def room(self, planned: Planned, on_wait: Callable[[], object] = lambda: None) -> Iterator[float]:
        """Wait until one more process may run, and hold its place; yield the seconds that took.

        A run that is being stopped waits for none.

        Parameters
        ----------
        on_wait
            Called once, if there is something to wait for.
        """
        start, told = time.monotonic(), False
        with contextlib.ExitStack() as held:
            # A GPU's first: who waits for one keeps nobody else from running.
            for place in (self._seats, self._rooms) if self.on_gpu(planned) else (self._rooms,):
                while not (mine := place.acquire(timeout=_POLL_S if told else 0)):
                    if self._engine.stopping.is_set():
                        break
                    if not told:
                        told = True
                        on_wait()
                if mine:
                    held.callback(place.release)
            yield time.monotonic() - start

    def run(
        self,
        planned: Planned,
        cell: Cell,
        scratch: Path,
        listen: Listener,
        *,
        trial: bool = False,
        checkpoints: Path | None = None,
    ) -> tuple[Outcome, Ending]:
        """Run a cell's process in `scratch` to its end and say what came of it.

        Parameters
        ----------
        cell
            The planned one, or one with another configuration.
        trial
            Whether only probabilities of the validation and test folds are wanted.
        checkpoints
            Where the fit keeps its epochs, if it shall.

        Raises
        ------
        OSError
            If it failed for want of space on a disk: the next one would too.
        LostError
            If too many machines were lost under it.
        """
        temporary(scratch).mkdir(mode=0o700)
        card = planned.model.card
        limits = Limits(self._request.timeout, self._request.memory_gb, card.needs, software_of(card, cell.config))
        job, server = self._job(planned, cell, scratch, trial), server_of(card, cell.config)
        if checkpoints is not None:
            job = replace(job, checkpoint=str(checkpoints / cell.fit_key))
        ending = self._engine.run(job, server, limits, listen)
        outcome = judge(ending, Outcome.read(scratch), limits)
        if outcome.no_space:
            raise OSError(errno.ENOSPC, outcome.reason, f"node {ending.machine}" if ending.machine else str(scratch))
        if outcome.status == "failed" and ending.cause != "stopped":
            check_space(scratch)  # it may have been unable to say so
        return outcome, ending

    def _job(self, planned: Planned, cell: Cell, scratch: Path, trial: bool) -> Job:
        prepared, device = planned.prepared, computes_on(planned.model.card, cell.config, self._request.device)
        threads = self.threads(planned.model.card)
        return Job(
            model=cell.model,
            module=planned.model.module,
            config=cell.config,
            card=as_mapping(planned.card),
            protocol=cell.protocol,
            seed=cell.derived_seed,
            device=device,
            threads=threads,
            plugins=tuple(str(path) for path in self._request.plugins),
            source_sha256=cell.source_sha256,
            public=str(prepared.folder / "public"),
            sealed=(str(cache_root() / "tasks"), str(split_path(cell.task).parent), *map(str, planned.sources)),
            features=str(self._features),
            scope={
                "data": prepared.fingerprint,
                "hardware": self._engine.places[0].class_id,
                "device": device,
                "threads": threads,
            },
            out=str(scratch),
            temporary=str(temporary(scratch)),
            trial=trial,
            rows="" if planned.subset is None else str(_write_rows(scratch / ROWS, planned.subset)),
            gpus=gpus_of(cell.config, device),
            tf32=cell.tf32,
        )


def read_probabilities(
    planned: Planned, outcome: Outcome, scratch: Path, folds: Sequence[Fold]
) -> tuple[Outcome, dict[Fold, np.ndarray]]:
    """Return the (n, labels) float32 probabilities that a process left; what are none make its outcome a failure."""
    card, rows = planned.card, planned.rows
    try:
        with np.load(scratch / RAW, allow_pickle=False) as kept:
            found: dict[Fold, np.ndarray] = {fold: kept[fold].astype(np.float32) for fold in folds}
    except (OSError, ValueError, KeyError) as error:
        return replace(outcome, status="failed", reason=f"the probabilities cannot be read back: {error}"), {}
    for fold in reversed(folds):
        if reason := refuse(card.kind, found[fold], rows[fold], len(card.labels)):
            return replace(outcome, status="failed", reason=f"{reason} ({fold} fold)"), {}
    return outcome, found


def _write_rows(path: Path, rows: np.ndarray) -> Path:
    np.save(path, rows, allow_pickle=False)
    return path


def judge(ending: Ending, outcome: Outcome | None, limits: Limits) -> Outcome:
    """Return the outcome of a process from how it ended and what it left; a reason in words where it failed."""
    if ending.cause == "timeout":
        return Outcome("timeout", f"ran longer than {limits.timeout_s:g} s; raise it with --timeout")
    if ending.cause == "memory":
        return Outcome(
            "oom",
            f"added {ending.added_gb:.2f} GB of memory, more than {limits.memory_gb:g} GB; raise it with --memory-gb",
        )
    return outcome or Outcome(*_death(ending))


def _death(ending: Ending) -> tuple[Status, str]:
    """Return the status and reason of a process that died before it could say anything."""
    if ending.cause == "lost":
        return "failed", "the warm process that the cell forked from died twice; run it again with --fresh"
    code = ending.code or 0
    if code == -signal.SIGKILL and ending.killed_for_memory:
        return "oom", f"killed by the system for want of memory after adding {ending.added_gb:.1f} GB"
    if code < 0:
        return "failed", f"the process was killed by {signal.Signals(-code).name}"
    return "failed", f"the process ended with exit status {code} before it answered"
