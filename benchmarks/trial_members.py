"""The trials of a study as members of an ensemble: a model tuned and ensembled, with no fit beyond the study's."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..datasets.support.errors import UserError
from ..datasets.support.files import sha256_json
from .members import Costs, Member, label_of, member_of
from .record import Record, Timings
from .store import PROBABILITIES, TRIALS, Results, Stored


def with_trials(cells: Iterable[Stored], results: Results) -> list[Member]:
    """Return cells as members; in place of a tuned one the finished trials of its study.

    The default cell of the same model, preset, settings and seed is its study's first trial and does not count twice.

    Raises
    ------
    UserError
        If none of the cells is tuned, or the trials of one are not there any more.
    """
    known = list(cells)
    tuned = {_same(stored.record) for stored in known if stored.record.tuning}
    if not tuned:
        raise UserError("--trials: none of these cells is tuned; `zoobench run --trials N` makes such")
    alone = [stored for stored in known if not stored.record.tuning and _same(stored.record) not in tuned]
    studied = [stored for stored in known if stored.record.tuning]
    return [*map(member_of, alone), *(member for stored in studied for member in trials_of(stored, results))]


def trials_of(stored: Stored, results: Results) -> list[Member]:
    """Return the finished trials of a tuned cell's study.

    What a trial took is known as a whole and counts as its fit; its latency, memory and size are those of the tuned
    cell: nobody measured them trial by trial.

    Raises
    ------
    UserError
        If the study's folder or its list of trials is not there, or the list is damaged.
    """
    record, cell = stored.record, member_of(stored)
    if record.tuning is None:
        return []
    folder = results.study(record.task_name, record.model, record.tuning.key) / "trials"
    found: list[Member] = []
    for trial in _finished(stored.attempt / TRIALS):
        path = folder / f"{int(trial.name):04d}" / PROBABILITIES
        if not path.is_file():
            continue  # of another machine on the same storage
        timings = Timings(fit=trial.seconds, wall=trial.seconds, prepare=cell.costs.timings.prepare)
        same = (cell.costs.speed, cell.costs.memory, cell.costs.parameters, cell.costs.threads, cell.costs.beside)
        key, fit_key = (sha256_json([known, trial.name])[:20] for known in (record.key, record.fit_key))
        label = f"{label_of(record)}, trial {trial.name}"
        costs = Costs(timings, *same, cell.costs.overlap)
        found.append(Member(key, label, fit_key, cell.place, path, costs, trial.sha256))
    if not found:
        raise UserError(
            f"{folder} holds no trial of {label_of(record)}: remove {folder.parent} and run the tuned cell with --fresh"
        )
    return found


class _Trial(NamedTuple):
    """A finished trial: its number as it is written, and the SHA-256 of its probabilities, empty if not kept."""

    name: str
    seconds: float
    sha256: str


def _finished(path: Path) -> list[_Trial]:
    """Return the finished trials of a list; UserError where it cannot be read or is none."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["state"] == "complete"]
        found = [_Trial(str(row["trial"]), float(row["seconds"]), row.get("sha256") or "") for row in rows]
        if not all(int(trial.name) >= 0 and 0 <= trial.seconds < math.inf for trial in found):
            raise ValueError("a number or seconds below 0")
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: run the tuned cell again with --fresh") from error
    return found


def missing(stored: Stored, results: Results) -> str:
    """Return in words how many trials of a tuned cell are not on this machine; "" where all are."""
    tuning = stored.record.tuning
    if tuning is None:
        return ""
    gone = tuning.finished - len(trials_of(stored, results))
    return f"{label_of(stored.record)}: {gone} of {tuning.finished} trials are not on this machine" if gone else ""


def _same(record: Record) -> tuple[object, ...]:
    return (record.model, record.preset, tuple(sorted(record.settings.items())), record.seed)
