"""A GPU for each cell that computes on one, and for no other cell meanwhile: also not for one of another run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, Timeout

from ...datasets.support.files import lock
from ..gpus import VisibleGpu

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Lease:
    """The GPUs that a cell has, and the seconds that it waited for them."""

    gpus: tuple[VisibleGpu, ...] = ()
    waited_s: float = 0.0


class GpuLeases:
    """Deals GPUs to the cells of this machine. Safe to use from several threads.

    Parameters
    ----------
    gpus
        Those that may be dealt, the best ones first.
    cells_per_gpu
        Cells that may share a GPU.
    folder
        Of the locks by which the runs of a machine know each other's cells; the kernel frees those of a dead run.
    """

    def __init__(self, gpus: Sequence[VisibleGpu], cells_per_gpu: int, folder: Path) -> None:
        self.gpus = tuple(gpus)
        names = {gpu: gpu.uuid.replace("/", "_") for gpu in self.gpus}  # an older driver's slices have paths for names
        self._seats = [(gpu, folder / f"{names[gpu]}.{seat}.lock") for seat in range(cells_per_gpu) for gpu in names]
        # Who waits. The first one alone may take, or cells of one GPU would starve those of several.
        self._line: list[object] = []

    @contextlib.contextmanager
    def lease(self, count: int, stopping: threading.Event, on_wait: Callable[[], object]) -> Iterator[Lease | None]:
        """Yield `count` GPUs, or all where there are fewer, once that many are free; None if the run stops before.

        Who wants several gets them all at once: nobody holds one and waits for another.

        Parameters
        ----------
        on_wait
            Called once, if there is something to wait for.
        """
        start = time.monotonic()
        count = min(count, len(self.gpus))
        held = self._wait(count, stopping, on_wait) if count else []
        try:
            gpus = tuple(gpu for gpu, _ in held)
            yield Lease(gpus, time.monotonic() - start) if len(gpus) == count else None
        finally:
            for _, claim in held:
                claim.release()

    def _wait(
        self, count: int, stopping: threading.Event, on_wait: Callable[[], object]
    ) -> list[tuple[VisibleGpu, BaseFileLock]]:
        """Return `count` GPUs with their locks held, in the order of asking; nothing if the run stops."""
        ticket, told = object(), False
        self._line.append(ticket)
        try:
            while not stopping.is_set():
                if self._line[0] is ticket and (held := self._taken(count)):
                    return held
                if not told:
                    told = True
                    on_wait()
                time.sleep(POLL_SECONDS)
            return []
        finally:
            self._line.remove(ticket)

    def _taken(self, count: int) -> list[tuple[VisibleGpu, BaseFileLock]]:
        """Return `count` different GPUs with their locks held, or nothing."""
        held: list[tuple[VisibleGpu, BaseFileLock]] = []
        for gpu, path in self._seats:
            if len(held) < count and gpu not in [mine for mine, _ in held]:
                claim = lock(path)
                with contextlib.suppress(Timeout):
                    claim.acquire(timeout=0)
                    held.append((gpu, claim))
        if len(held) < count:
            for _, claim in held:
                claim.release()
            return []
        return held
