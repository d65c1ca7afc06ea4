"""From a board to the candidates of a recommendation: one task on one class of hardware, and what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..benchmarks.hardware import Hardware
from ..benchmarks.metrics import MAIN_METRICS
from ..datasets.support.errors import UserError
from . import index
from .elsewhere import CONFIGURATION, Elsewhere, class_in_question, costs_of, look_elsewhere
from .frame import load_board
from .recommend import COSTS, Candidate
from .resampled import Shelf, tied_pairs
from .sheet_notes import told_apart
from .tables import Row, rows_of

SEEN = "its weights were trained before on rows of this task, test fold included"
"""Why a row is barred: its figure is no evidence."""


@dataclass(frozen=True, eq=False)
class Question:
    """A task on a class of hardware.

    Attributes
    ----------
    task, metric
        What the rows are ranked by.
    hardware
        The class that costs are of.
    rows
        All rows of the task's newest data and folds, as `tables.rows_of` has them, the best first.
    pairs
        (rows, rows) of `resampled.tied_pairs`.
    candidates
        The best first; `Candidate.row` is a place in `rows`.
    failed
        Places of rows on this hardware that have no figure.
    unmeasured
        Places of rows that were measured elsewhere alone, and cannot be converted.
    other_hardware
        Other classes that the task was measured on.
    older
        How many rows are of other data or folds, and left out.
    problems
        A line for each record that cannot be read.
    """

    task: str
    metric: str
    hardware: str
    rows: tuple[Row, ...]
    pairs: np.ndarray
    candidates: tuple[Candidate, ...]
    failed: tuple[int, ...]
    unmeasured: tuple[int, ...]
    elsewhere: Elsewhere
    other_hardware: tuple[str, ...] = ()
    older: int = 0
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pairs.shape != (len(self.rows),) * 2:
            raise ValueError(f"pairs must be ({len(self.rows)}, {len(self.rows)}), got {self.pairs.shape}")


def ask(
    results: Path, task: str, metric: str | None = None, hardware: str | None = None, here: Hardware | None = None
) -> Question:
    """Return what a results folder knows of a task on a class of hardware.

    Parameters
    ----------
    metric
        What ranks; the task's primary one without it.
    hardware
        A class; without it the one that most rows of the task were measured on.
    here
        This machine, where `hardware` is its class: it may be one that no record is of.

    Raises
    ------
    UserError
        As `frame.load_board`, and if no record is of the class, or the task has no figure at all.
    """
    board = load_board(results, sort=metric)
    every = rows_of(board.frame)
    rows = _rows_of_task(every, task, metric, results)
    ranked_by = str(rows[0]["ranked_by"])
    asked = hardware if here is not None and hardware == here.class_id else class_in_question(rows, hardware, every)
    root = results.expanduser().absolute()
    elsewhere = look_elsewhere(root, every, here)
    found, unmeasured = candidates_on(rows, str(asked), elsewhere)
    return Question(
        task=task,
        metric=ranked_by,
        hardware=str(asked),
        rows=tuple(told_apart(rows)),
        pairs=pairs_of(shelf_of(root), rows, ranked_by),
        candidates=found,
        failed=tuple(place for place, row in enumerate(rows) if row["hardware"] == asked and row["rank"] is None),
        unmeasured=unmeasured,
        elsewhere=elsewhere,
        other_hardware=tuple(sorted({row["hardware"] for row in rows} - {asked})),
        older=sum(row["task"] == task for row in every) - len(rows),
        problems=tuple(board.problems),
    )


def _rows_of_task(every: Sequence[Row], task: str, metric: str | None, results: Path) -> list[Row]:
    """Return the rows of a task's newest data and folds, or say why nothing of them can be recommended."""
    mine = [row for row in every if row["task"] == task]
    if not mine:
        known = ", ".join(sorted({row["task"] for row in every}))
        raise UserError(f"task {task!r} has no record in {results}; tasks that have: {known}")
    rows = newest_table(mine)
    if all(row["rank"] is None for row in rows):
        raise UserError(f"task {task!r} has no finished record in {results}: `zoobench board --task {task}` says why")
    ranked_by = rows[0]["ranked_by"]
    if metric not in {None, ranked_by}:
        raise UserError(
            f"metric {metric!r} has no figure on {task}, which is ranked by {ranked_by!r}: leave --metric out"
        )
    return rows


def newest_table(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of one task that are of its newest data and folds."""
    newest = max(rows, key=lambda row: row["created"])
    return [row for row in rows if all(row[name] == newest[name] for name in ("fingerprint", "split"))]


def shelf_of(root: Path) -> Shelf:
    """Return the resamples of a results folder."""
    return Shelf(root, index.read_rows(root).frame[["path", "attempt", "resamples", "status"]].to_dict("records"))  # type: ignore[arg-type]


def pairs_of(shelf: Shelf, rows: Sequence[Row], metric: str) -> np.ndarray:
    """Return what the resamples say of every pair of rows, (rows, rows) of `resampled.tied_pairs`."""
    told = metric in MAIN_METRICS
    return tied_pairs([shelf.of(row["records"], metric) if told and row["rank"] is not None else None for row in rows])


def candidates_on(
    rows: Sequence[Row], hardware: str, elsewhere: Elsewhere
) -> tuple[tuple[Candidate, ...], tuple[int, ...]]:
    """Return the rows of a table that can be recommended on a class of hardware, and those that nothing is known of.

    What ran there has its costs; of what ran elsewhere alone, the newest measurement is converted.
    """
    done = [place for place, row in enumerate(rows) if row["rank"] is not None]
    there = [place for place in done if rows[place]["hardware"] == hardware]
    known = {_configuration(row) for row in rows if row["hardware"] == hardware}  # also what failed there
    others = sorted(set(done) - set(there), key=lambda place: rows[place]["created"])
    newest = {_configuration(rows[place]): place for place in others}
    found = [_candidate(rows[place], place, costs_of(rows[place])) for place in there]
    unmeasured: list[int] = []
    for configuration, place in newest.items():
        if configuration in known:
            continue
        costs = elsewhere.estimate(rows[place], hardware)
        if costs is None:
            unmeasured.append(place)
        else:
            found.append(_candidate(rows[place], place, costs, converted=True))
    return tuple(sorted(found, key=lambda each: each.row)), tuple(sorted(unmeasured))


def _configuration(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in CONFIGURATION)


def _candidate(row: Row, place: int, costs: Sequence[float | None], *, converted: bool = False) -> Candidate:
    # A model has the same parameters everywhere; whatever else comes from other hardware is an estimate.
    estimated = [
        converted and name != "parameters" and cost is not None for name, cost in zip(COSTS, costs, strict=True)
    ]
    return Candidate(place, row["rank"], tuple(costs), tuple(estimated), SEEN if row["overlap"] else "")
