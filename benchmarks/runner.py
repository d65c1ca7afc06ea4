"""The harness: plan the cells, run each in a process of its own, score them here, keep a record of every one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from rich.console import Console

from ..datasets.support.errors import UserError
from ..datasets.support.folders import cache_root
from .division import Chosen, Work, choose, measured
from .engines.base import Engine, LostError
from .engines.local import LocalEngine
from .engines.servers import server_of
from .execute import Attempt, Executor
from .hardware import measure
from .history import expected_seconds
from .options import Request, RunOptions, check, default_memory_gb, needed
from .plan import Planned, plan
from .progress import Display, is_live
from .record import FAULTS, Record
from .store import Results, Stored


@dataclass
class Finished:
    """A run's cells: the records made now, and those that stood before or were made by another run.

    Attributes
    ----------
    refused
        Why tasks could not be prepared, a line each: their cells were left out.
    interrupted
        Whether the run was stopped before its last cell.
    lost
        Cells that came to no end, for their machines were lost, and why, a line each: they have no record.
    """

    request: Request
    made: list[Stored] = field(default_factory=list)
    kept: list[Stored] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    interrupted: bool = False
    lost: list[str] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """Every record of the run's cells."""
        return [stored.record for stored in (*self.kept, *self.made)]

    @property
    def faults(self) -> list[Record]:
        """The records of cells that failed, ran out of time or out of memory."""
        return [record for record in self.records if record.status in FAULTS]


def run_suite(suite: str, options: RunOptions) -> Finished:
    """Run a suite and return its records; see `RunOptions` for the options.

    Cells that are recorded already are not run again. Ctrl-C ends the running cells, keeps what is done, and
    sets ``interrupted``.

    Raises
    ------
    UserError
        For bad input; no record was written then. A task that cannot be read is left out where there are others.
    """
    request = check(suite, options)
    results = Results(request.results)
    results.ensure_writable()
    results.sweep()
    console = Console(stderr=True, quiet=request.quiet)
    finished = Finished(request)
    try:
        with contextlib.ExitStack() as stack:
            with console.status("measuring this machine") if is_live(console) else contextlib.nullcontext() as status:
                tell = status.update if status else lambda text: None
                engine, request = open_engine(request, tell)
                stack.callback(engine.close)
                cells, finished.refused = plan(request, tell)
            _Run(request, results, engine, console).all(cells, finished)
    except KeyboardInterrupt:
        finished.interrupted = True
    except OSError as error:
        place = error.filename or request.results
        raise UserError(f"{place}: {error.strerror or error}; what is done is kept, mend this and run again") from error
    return finished


def open_engine(request: Request, tell: Callable[[str], None]) -> tuple[Engine, Request]:
    """Return the engine of a run, and the request with what its machines settle."""
    if request.engine == "local":
        engine: Engine = LocalEngine(request.device, measure(request.device), request.gpus, request.cells_per_gpu)
        return engine, request
    from .engines.ray_engine import RayEngine

    cluster = RayEngine(request.address, request.device, request.threads, request.cache, tell)
    try:
        for name, needs, gpus in needed(request, cluster.device):
            cluster.check(name, needs, gpus)
    except BaseException:
        cluster.close()
        raise
    settled = {"jobs": request.jobs or cluster.slots, "memory_gb": request.memory_gb or cluster.memory_gb}
    return cluster, replace(request, device=cluster.device, **settled)


class _Run:
    def __init__(self, request: Request, results: Results, engine: Engine, console: Console) -> None:
        self._request, self._console, self._engine = request, console, engine
        self._told: set[str] = set()
        self._lost: dict[str, str] = {}
        self._lines, self._jobs = list(request.remarks), 1
        self._executor = Executor(request, results, self._engine, cache_root() / "features")

    def all(self, cells: Sequence[Planned], finished: Finished) -> None:
        standing = {id(planned): stored for planned in cells if (stored := self._executor.find(planned))}
        finished.kept.extend(standing.values())
        todo = {self._name(planned): planned for planned in cells if id(planned) not in standing}
        if self._executor.tuner is not None:
            self._executor.tuner.check(todo.values())
        if todo:
            self._share(cells)
        self._announce(len(todo), finished)
        if not todo:
            return
        with Display(self._console, list(todo), self._expected(todo)) as display:
            self._warm(todo.values(), display)
            busy = self._pass(todo, display, finished, patient=False)
            self._pass(busy, display, finished, patient=True)
        finished.lost = list(self._lost.values())

    def _share(self, cells: Collection[Planned]) -> None:
        """Divide the threads among the processes that run at a time: cells, and trials of studies.

        All cells count, so that a run that goes on where it was stopped gives the rest the threads of the first ones.
        """
        chosen = self._chosen(cells) if self._request.jobs == "auto" else None
        self._jobs = jobs = chosen.jobs if chosen else int(self._request.jobs)
        # A study runs as many trials as there is room for; any other cell is one process.
        most = Counter[bool]()
        for planned in cells:
            most[self._executor.launcher.on_gpu(planned)] += jobs if planned.search else 1
        side_by_side = max(1, min(jobs, most[False] + min(most[True], self._seats)))
        self._executor.launcher.divide(side_by_side, self._seats)
        if self._executor.tuner is not None:
            self._executor.tuner.workers = side_by_side
            self._executor.tuner.share = max(1, side_by_side // len(cells))
        if chosen:
            threads = max(1, self._request.threads // side_by_side)
            each = f"{threads} thread{'' if threads == 1 else 's'} each"
            self._lines.append(f"--jobs auto: {side_by_side} side by side, {each} ({chosen.why})")

    def _chosen(self, cells: Collection[Planned]) -> Chosen:
        """Choose how many jobs there are, by a measurement where that can tell."""
        request, work = self._request, Counter[bool]()
        for planned in cells:
            on_gpu = self._executor.launcher.on_gpu(planned)
            work[on_gpu] += request.budget.trials if planned.search and request.budget else 1
        needs = max((planned.model.card.needs.memory_gb for planned in cells), default=1.0)

        def measure() -> Mapping[int, float]:
            what = "measuring how many cells to run side by side"
            live = is_live(self._console)
            if not live:
                self._console.print(f"  … {what}", markup=False, highlight=False)
            with self._console.status(what) if live else contextlib.nullcontext():
                return measured(self._engine.places[0], request.threads)

        return choose(Work(work[False], work[True], self._seats, needs), request.threads, default_memory_gb(), measure)

    @property
    def _seats(self) -> int:
        """How many cells the GPUs have room for."""
        return len(self._request.gpus) * self._request.cells_per_gpu

    def _expected(self, cells: Mapping[str, Planned]) -> dict[str, float]:
        """Return what cells took before, in seconds of wall time; of a study its own progress tells more."""
        untuned = {name: planned for name, planned in cells.items() if not planned.cell.tuning}
        records = list(self._executor.history(untuned.values()))
        seconds = {name: expected_seconds(planned.cell, records) for name, planned in untuned.items()}
        return {name: value for name, value in seconds.items() if value is not None}

    def _name(self, planned: Planned) -> str:
        parts = [planned.cell.task_name] if len(self._request.tasks) > 1 else []
        parts.append(planned.cell.model_name)
        parts += [f"fraction {planned.cell.fraction:g}"] if len(self._request.fractions) > 1 else []
        parts += [f"seed {planned.cell.seed}"] if len(self._request.seeds) > 1 else []
        parts += ["tuned"] if planned.cell.tuning else []
        return " · ".join(parts)

    def _announce(self, todo: int, finished: Finished) -> None:
        cells = f"{todo} cell{'' if todo == 1 else 's'} to run"
        kept = f", {len(finished.kept)} recorded already (--fresh runs them again)" if finished.kept else ""
        places = " and ".join(place.label for place in self._engine.places)
        lines = [f"{self._request.title}: {cells}{kept}"]
        lines.append(f"  on {places}; results in {self._request.results}")
        lines += [f"  kept from before: {r.model} {r.status}: {r.reason}" for r in finished.faults]
        lines += [f"  {line}" for line in self._lines]
        lines += [f"  left out: {line}" for line in finished.refused]
        for line in (*lines, *self._executor.problems):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._remark()

    def _remark(self) -> None:
        """Print what the engine has to say of its machines, each line once."""
        for line in self._engine.remarks:
            if line not in self._told:
                self._told.add(line)
                self._console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)

    def _warm(self, cells: Iterable[Planned], display: Display) -> None:
        """Import every framework before the first cell, so that no cell's clock runs beside an import."""
        names = sorted({server_of(p.model.card, p.cell.config) for p in cells if p.obstacle is None})
        if names:
            with display.waiting(f"importing {', '.join(names)}"):
                self._executor.broken = self._engine.warm(names)
            self._remark()

    def _pass(
        self, cells: dict[str, Planned], display: Display, finished: Finished, *, patient: bool
    ) -> dict[str, Planned]:
        """Run cells `jobs` at a time; return those that another run had in hand.

        As many cells as the GPUs have room for wait in a line of their own: the others go on meanwhile.
        """
        busy: dict[str, Planned] = {}
        lines = {True: max(1, min(self._jobs, self._seats)), False: self._jobs}
        pools = {on_gpu: ThreadPoolExecutor(size, thread_name_prefix="cell") for on_gpu, size in lines.items()}
        line = self._executor.launcher.on_gpu
        try:
            futures = {
                pools[line(each)].submit(self._one, name, each, display, patient): name for name, each in cells.items()
            }
            waiting: set[Future[Attempt | None]] = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    attempt, name = future.result(), futures[future]
                    if attempt is None:
                        busy[name] = cells[name]
                    else:
                        (finished.made if attempt.made else finished.kept).append(attempt.stored)
        except BaseException:
            self._engine.stopping.set()  # before a word is said: whoever read it may be gone
            for pool in pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            display.say("stopping the running cells")
            for pool in pools.values():
                pool.shutdown()
            raise
        for pool in pools.values():
            pool.shutdown()
        return busy

    def _one(self, name: str, planned: Planned, display: Display, patient: bool) -> Attempt | None:
        display.started(name)
        attempt = None
        try:
            attempt = self._executor.attempt(planned, lambda event: display.event(name, event), patient=patient)
            self._lost.pop(name, None)
        except LostError as error:
            self._lost[name] = f"{name}: {error}"  # tried once more when the others are through
        if attempt is None:
            display.postponed(name)
        else:
            display.finished(name, attempt.stored.record)
        return attempt
