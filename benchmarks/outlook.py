"""What a run would do: which of its cells stand, which are stale and why, and how long the rest would take."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..datasets.support.errors import UserError
from ..datasets.support.folders import cache_root
from .cell import Cell
from .execute import Executor
from .history import expected_seconds, spread
from .metrics import METRIC_VERSION
from .options import Request, RunOptions, check
from .plan import Planned, plan
from .record import Record
from .runner import open_engine
from .store import Results

ELSEWHERE = "elsewhere"
State = Literal["recorded", "stale", "new", "again", "cannot"]
_HASHES = {"data_fingerprint": "data", "split_sha256": "folds", "source_sha256": "model source"}
_PLAIN = {"task_version": "task version", "primary_metric": "primary metric"}


@dataclass(frozen=True)
class Outlook:
    """A cell of a run that is not begun.

    Attributes
    ----------
    state
        ``recorded``: up to date; ``stale``: what it was made of has changed; ``new``: never measured here; ``again``:
        measured, and run once more all the same; ``cannot``: cannot run here, and is recorded as such.
    why
        In words; empty for what is recorded.
    runs
        Whether a run makes its record.
    seconds
        That it is likely to take; None where no record tells.
    timed
        The class of hardware that the seconds are of, or `ELSEWHERE`: none was on the run's own.
    """

    cell: Cell
    state: State
    why: str = ""
    runs: bool = True
    seconds: float | None = None
    timed: str = ""


@dataclass(frozen=True)
class Ahead:
    """A run that is not begun: its cells in their order, why tasks were left out, and records that do not read."""

    request: Request
    hardware_class: str
    cells: tuple[Outlook, ...]
    refused: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long the cells take that were timed on this hardware, with the request's jobs."""
        known = [each.seconds or 0.0 for each in self.cells if each.runs and each.timed == self.hardware_class]
        return spread(known, self.jobs)

    @property
    def jobs(self) -> int:
        """Cells side by side; one where a run would measure how many are best."""
        return 1 if self.request.jobs == "auto" else int(self.request.jobs)

    @property
    def untimed(self) -> int:
        """How many cells to run were never timed on this hardware."""
        return sum(each.runs and each.timed != self.hardware_class for each in self.cells)


def look_ahead(suite: str, options: RunOptions, tell: Callable[[str], None]) -> Ahead:
    """Return what `runner.run_suite` would do; nothing is written but the cache of prepared tasks.

    Parameters
    ----------
    tell
        Called with what is done, in words.

    Raises
    ------
    UserError
        For bad input, as a run.
    """
    if options.get("resplit"):
        raise UserError("--resplit deals folds anew, and a plan changes nothing: leave it out here")
    asked = RunOptions(**options)
    if asked.get("trials") is not None:
        asked.pop("storage", None)  # a run tries whether it can write to it
    request = check(suite, asked)
    if request.results.exists() and not request.results.is_dir():
        raise UserError(f"results folder {request.results} is a file: name another with --results")
    tell("measuring this machine")
    engine, request = open_engine(request, tell)
    with contextlib.closing(engine):
        cells, refused = plan(request, tell)
        results = Results(request.results)
        executor = Executor(request, results, engine, cache_root() / "features")
        shelf, here = _Shelf(results), engine.places[0].class_id
        found = tuple(_outlook(planned, executor, shelf, request, here) for planned in cells)
    return Ahead(request, here, found, tuple(refused), tuple(executor.problems))


class _Shelf:
    """The records of a task and a model, each read once."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._read: dict[tuple[str, str], list[Record]] = {}

    def of(self, cell: Cell) -> list[Record]:
        place = (cell.task_name, cell.model)
        if place not in self._read:
            self._read[place] = list(self._results.records(*place))  # a run names what does not read
        return self._read[place]


def _outlook(planned: Planned, executor: Executor, shelf: _Shelf, request: Request, here: str) -> Outlook:
    cell, records = planned.cell, shelf.of(planned.cell)
    standing = executor.find(planned)
    if standing is not None:
        record = standing.record
        if record.status == "ok" and record.metric_version != METRIC_VERSION:
            why = f"metric version {record.metric_version}, now {METRIC_VERSION}: a run keeps it, --fresh scores anew"
            return Outlook(cell, "stale", why, runs=False)
        why = "" if record.status == "ok" else f"{record.status}: {record.reason}"
        return Outlook(cell, "recorded", why, runs=False)
    if planned.obstacle is not None:
        return Outlook(cell, "cannot", planned.obstacle[1], seconds=0.0, timed=here)
    state, why = _reason(cell, records, request, here)
    for classes in ({here}, {record.hardware_class for record in records}):
        there = [record for record in records if record.hardware_class in classes]
        seconds = expected_seconds(cell, there)
        if seconds is not None:
            return Outlook(cell, state, why, seconds=seconds, timed=here if classes == {here} else ELSEWHERE)
    return Outlook(cell, state, why)


def _reason(cell: Cell, records: Sequence[Record], request: Request, here: str) -> tuple[State, str]:
    """Return why a cell is to be run, and what of it changed since the record that is nearest to it."""
    same = next((record for record in records if record.key == cell.key(here)), None)
    if same is not None:
        return "again", _again(same, request)
    mode = "tuned" if cell.tuning else "default"
    place = (cell.preset, mode, cell.seed, cell.fraction)
    near = [each for each in records if place == (each.preset, each.mode, each.seed, each.fraction)]
    if not near:
        return "new", "never measured"
    changes = {record.attempt: _changes(cell, record, here) for record in near}
    nearest = min(
        sorted(near, key=lambda each: each.created, reverse=True), key=lambda each: len(changes[each.attempt])
    )
    found = changes[nearest.attempt]
    if list(found) == ["hardware"]:
        return "new", f"measured on {nearest.hardware_class} alone"
    return "stale", "; ".join(f"{name}: {change}" if change else name for name, change in found.items())


def _again(record: Record, request: Request) -> str:
    if request.fresh:
        return "--fresh"
    limits = {
        "timeout": f"it ran out of time at {record.timeout_s or 0:g} s, and has {request.timeout:g} s now",
        "oom": f"it ran out of memory at {record.memory_limit_gb or 0:g} GB, and has {request.memory_gb or 0:g} GB now",
        "unavailable": f"it was unavailable: {record.reason}",
    }
    return limits.get(record.status, record.status)


def _changes(cell: Cell, record: Record, here: str) -> dict[str, str]:
    """Return what of a cell is other than in a record, by name, with both values where they are short."""
    found = {
        words: f"{getattr(record, name)[:8]}…, now {getattr(cell, name)[:8]}…"
        for name, words in _HASHES.items()
        if getattr(record, name) != getattr(cell, name)
    }
    found |= {
        words: f"{getattr(record, name)}, now {getattr(cell, name)}"
        for name, words in _PLAIN.items()
        if getattr(record, name) != getattr(cell, name)
    }
    if record.tuning is not None:
        budget = {"trials": record.tuning.budget, "seconds": record.tuning.tune_time_s, "pruner": record.tuning.pruner}
        if moved := _moved(budget, {name: cell.tuning.get(name) for name in budget}):
            found["budget"] = moved
    elif moved := _moved(record.config, cell.config):
        found["settings"] = moved
    if record.folders is not None and record.folders != dict(cell.folders):
        found["folders"] = "they hold other files"
    if record.hardware_class != here:
        found["hardware"] = record.hardware_class
    return found or {"settings that were searched, or folders that they name": ""}


def _moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name}={before.get(name, 'none')}, now {now.get(name, 'none')}" for name in names)
