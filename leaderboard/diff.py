"""What moved between two results folders: quality on the same test rows beyond chance, costs, and what fails now.

Only rows whose records are other ones are compared. Resamples of both sides are paired (the same data and folds draw
the same test rows), and Holm's correction is over all rows that are tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..benchmarks.metrics import MAIN_METRICS
from ..benchmarks.paired import RESOLUTION, Difference, differences, holm
from ..datasets.support.errors import UserError
from . import index
from .elsewhere import costs_of
from .frame import check_metric, folder_of_results, load_board
from .recommend import COSTS
from .resampled import Shelf
from .sheet_notes import told_apart
from .tables import Row, model_words, rows_of

QUALITY = (*index.TABLE[:1], "fingerprint", "split", "model", "preset", "mode", "settings")
PLACE = ("hardware", "device")
LEAST = {"latency_ms": 1.0, "memory_gb": 0.05, "train_s": 1.0}
"""A cost that moved by less (ms, GB, s) is not named, whatever the factor: no two runs take the same milliseconds."""
TOLERANCE = 1.5
"""The factor from which on a cost is named; one timing has no interval."""


@dataclass(frozen=True)
class Changed:
    """A row of the board that both sides have, with other records.

    Attributes
    ----------
    place
        The hardware class, with the device where it is a GPU; both where it is another one now.
    metric
        What `old` and `new` are of, each None where that side has no figure.
    difference
        New - old with its interval, p and Holm's p; None where nothing was tested, and then `why` says why.
    """

    task: str
    name: str
    place: str
    metric: str
    old: float | None
    new: float | None
    difference: Difference | None
    why: str = ""
    seeds: tuple[str, str] = ("1", "1")

    def __post_init__(self) -> None:
        if (self.difference is None) != bool(self.why):
            raise ValueError("a change was tested, or it is said why not")

    @property
    def verdict(self) -> Literal["better", "worse", ""]:
        """What the new side is beyond chance; empty where the two cannot be told apart."""
        better = self.difference and self.difference.better
        return "" if better is None else "better" if better == 0 else "worse"


@dataclass(frozen=True)
class CostMove:
    """A cost that is another one by `TOLERANCE` or more on the same class of hardware."""

    task: str
    name: str
    place: str
    cost: str
    old: float
    new: float

    @property
    def times(self) -> float:
        """New / old."""
        return self.new / self.old


@dataclass(frozen=True)
class Named:
    """A row that one side alone has, or that finished on one side alone, and why."""

    task: str
    name: str
    place: str
    value: float | None
    why: str = ""


@dataclass(frozen=True)
class Diff:
    """All that moved.

    Attributes
    ----------
    changed
        What both sides have, the clearest first: worse, better, and what cannot be told apart.
    costs
        The dearer first.
    new, gone
        What one side alone has.
    failing, recovered
        What did not finish, in all or in some seeds, on the one side alone.
    unchanged
        How many rows have the very same records.
    untimed
        How many changed rows ran with other threads or other company, so that times do not compare.
    problems
        A line for each record that cannot be read.
    """

    changed: tuple[Changed, ...]
    costs: tuple[CostMove, ...]
    new: tuple[Named, ...]
    gone: tuple[Named, ...]
    failing: tuple[Named, ...]
    recovered: tuple[Named, ...]
    unchanged: int
    untimed: int
    problems: tuple[str, ...]

    @property
    def regressions(self) -> int:
        """How many rows got worse beyond chance, or fail now; so do those whose records cannot be read any more."""
        return sum(each.verdict == "worse" for each in self.changed) + len(self.failing)


@dataclass(frozen=True, eq=False)
class _Side:
    """A results folder: its rows, and of each record which attempt it is."""

    root: Path
    rows: list[Row]
    records: Mapping[str, Row]
    problems: tuple[str, ...]

    @cached_property
    def shelf(self) -> Shelf:
        return Shelf(self.root, self.records.values())

    def attempts(self, row: Row) -> frozenset[str]:
        return frozenset(self.records[path]["attempt"] for path in row["records"].split(";"))

    def damaged(self, row: Row) -> bool:
        """Return whether a row of another folder has records here that cannot be read."""
        return any((self.root / path).is_file() and path not in self.records for path in row["records"].split(";"))

    def metric_versions(self, row: Row) -> frozenset[int]:
        found = (self.records[path] for path in row["records"].split(";"))
        return frozenset(int(each["metric_version"]) for each in found if each["status"] == "ok")


Pair = tuple[Row, Row]


def compare_folders(old: Path, new: Path, metric: str | None = None, tolerance: float = TOLERANCE) -> Diff:
    """Return what moved from one results folder to another.

    Parameters
    ----------
    old
        May be empty: then all is new.
    metric
        Of quality; each task's primary one without it.
    tolerance
        The factor from which on a cost is named, more than 1.

    Raises
    ------
    UserError
        If a folder is missing, `new` has no record, or nothing answers to `metric`.
    """
    if not 1 < tolerance < np.inf:
        raise UserError(f"--tolerance {tolerance:g} must be more than 1, and finite: a factor such as {TOLERANCE:g}")
    check_metric(metric)
    before, after = _read(old, metric, empty=True), _read(new, metric)
    names = _names([*before.rows, *after.rows])
    matched, missing, fresh = _match(before.rows, after.rows)
    damaged = [row for row in missing if after.damaged(row)]
    gone = [row for row in missing if not after.damaged(row)]
    moved = [pair for pair in matched if before.attempts(pair[0]) != after.attempts(pair[1])]
    tested = _tested([_changed(pair, (before, after), names) for pair in moved if _has_figures(pair)])
    return Diff(
        changed=tuple(sorted(tested, key=_clearest)),
        costs=tuple(_cost_moves([pair for pair in moved if _same_place(pair)], names, tolerance)),
        new=tuple(_named(row, names, row["reason"]) for row in fresh),
        gone=tuple(_named(row, names, row["reason"]) for row in gone),
        failing=(
            *(_named(two, names, two["reason"]) for one, two in moved if _fails_more(one, two)),
            *(_named(row, names, "its record cannot be read") for row in damaged),
        ),
        recovered=tuple(_named(two, names, one["reason"]) for one, two in moved if _fails_more(two, one)),
        unchanged=len(matched) - len(moved),
        untimed=sum(_same_place(pair) and not _alike(pair) for pair in moved),
        problems=(*before.problems, *after.problems),
    )


def _read(folder: Path, metric: str | None, *, empty: bool = False) -> _Side:
    root = folder_of_results(folder)
    if empty and not index.scan_records(root).stamps:
        # A path that a script left empty or misspelt would let every regression pass.
        strange = [each.name for each in root.iterdir() if not each.name.startswith(".")]
        if strange and not (root / "cells").is_dir():
            raise UserError(f"{folder} holds {strange[0]} and no record: name a results folder, or an empty one")
        return _Side(root, [], {}, ())
    board = load_board(folder, sort=metric)
    flat: list[dict[str, Any]] = index.read_rows(root).frame.to_dict("records")  # type: ignore[assignment]
    return _Side(root, rows_of(board.frame), {row["path"]: row for row in flat}, board.problems)


def _names(rows: Sequence[Row]) -> dict[tuple[str, ...], str]:
    """Return what each row is called, by its key: settings that all of a task share are left out."""
    keys = [_key(row, QUALITY) for row in rows]
    return {key: model_words(row) for key, row in zip(keys, told_apart(rows), strict=True)}


def _key(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(row[name] for name in names)


def _match(old: Sequence[Row], new: Sequence[Row]) -> tuple[list[Pair], list[Row], list[Row]]:
    """Return the rows that both have, and those that one alone has; what moved to other hardware is the same row."""
    pairs: list[Pair] = []
    left, right = list(old), list(new)
    for names in ((*QUALITY, *PLACE), QUALITY):
        theirs = {_key(row, names): row for row in sorted(right, key=lambda row: row["created"])}
        mine = {_key(row, names): row for row in sorted(left, key=lambda row: row["created"])}
        found = [(mine[key], theirs[key]) for key in mine if key in theirs]
        pairs += found
        taken = {id(row) for pair in found for row in pair}
        left, right = ([row for row in rows if id(row) not in taken] for rows in (left, right))
    return pairs, left, right


def _has_figures(pair: Pair) -> bool:
    return all(row["status"] == "ok" for row in pair)


def _same_place(pair: Pair) -> bool:
    return _has_figures(pair) and _key(pair[0], PLACE) == _key(pair[1], PLACE)


def _alike(pair: Pair) -> bool:
    return all(pair[0][name] == pair[1][name] for name in ("threads", "beside"))


def _changed(pair: Pair, sides: tuple[_Side, _Side], names: Mapping[tuple[str, ...], str]) -> Changed:
    old, new = pair
    metric = str(new["ranked_by"])
    difference, why = _difference(pair, sides, metric)
    same = _key(old, PLACE) == _key(new, PLACE)
    return Changed(
        task=new["task"],
        name=names[_key(new, QUALITY)],
        place=_place(new) if same else f"{_place(old)}, now {_place(new)}",
        metric=metric,
        old=old[metric],
        new=new[metric],
        difference=difference,
        why=why,
        seeds=(old["seeds"], new["seeds"]),
    )


def _difference(pair: Pair, sides: tuple[_Side, _Side], metric: str) -> tuple[Difference | None, str]:
    """Return new - old with its interval and p, not corrected yet; or why there is none."""
    values = tuple(row[metric] for row in reversed(pair))
    versions = [side.metric_versions(row) for side, row in zip(sides, pair, strict=True)]
    if pair[0]["ranked_by"] != metric or None in values:
        return None, f"no figure of {metric} on both sides"
    if versions[0] != versions[1]:
        told = ", now ".join(" and ".join(map(str, sorted(each))) for each in versions)
        return None, f"scored by other versions of the metrics: {told}"
    if metric not in MAIN_METRICS:
        return None, f"no resamples are kept of {metric}"
    found = [side.shelf.of(row["records"], metric) for side, row in zip(reversed(sides), reversed(pair), strict=True)]
    if any(each is None for each in found):
        return None, "no resamples on both sides"
    one, other = (each for each in found if each is not None)
    if one.shape != other.shape:
        return None, f"{len(other):,} resamples, now {len(one):,}: they do not pair"
    [told] = differences(metric, values, [one, other])
    return (None, "undefined on most resamples") if told.p is None else (replace(told, p=_p(told.p, one - other)), "")


def _p(p: float, apart: np.ndarray) -> float:
    """Return a p-value that is not cut off by the number of resamples.

    A thousand resamples show no p below 0.002, which Holm's correction over 26 rows would never find small. Where not
    one resample crosses 0, the tail is that of a normal distribution with their mean and spread.
    """
    from scipy.stats import norm

    defined = apart[np.isfinite(apart)]
    spread = float(defined.std())
    if p > 2 / (len(defined) + 1) or spread < RESOLUTION:
        return p
    return min(p, 2 * float(norm.sf(abs(float(defined.mean())) / spread)))


def _tested(changed: Sequence[Changed]) -> list[Changed]:
    """Correct the p-values for how many rows were tested."""
    corrected = holm([each.difference.p if each.difference else None for each in changed])
    return [
        replace(each, difference=replace(each.difference, p_holm=p)) if each.difference else each
        for each, p in zip(changed, corrected, strict=True)
    ]


def _clearest(each: Changed) -> tuple[int, float, str, str]:
    p = each.difference.p if each.difference and each.difference.p is not None else 2.0
    return ["worse", "better", ""].index(each.verdict), p, each.task, each.name


def _cost_moves(pairs: Sequence[Pair], names: Mapping[tuple[str, ...], str], tolerance: float) -> list[CostMove]:
    found: list[CostMove] = []
    for pair in pairs:
        old, new = pair
        costs = zip(COSTS, costs_of(old), costs_of(new), strict=True)
        for cost, before, after in costs:
            timed = _alike(pair) or cost == "memory_gb"
            if before and after and timed and _moved(cost, before, after, tolerance):
                found.append(CostMove(new["task"], names[_key(new, QUALITY)], _place(new), cost, before, after))
    return sorted(found, key=lambda each: -each.times)


def _moved(cost: str, old: float, new: float, tolerance: float) -> bool:
    return cost in LEAST and max(new / old, old / new) >= tolerance and abs(new - old) >= LEAST[cost]


def _fails_more(one: Row, two: Row) -> bool:
    """Return whether the second row failed where the first did not: as a whole, or in some seeds."""
    if (one["status"] == "ok") != (two["status"] == "ok"):
        return one["status"] == "ok"
    return two["status"] == "ok" and bool(two["reason"]) and not one["reason"]


def _named(row: Row, names: Mapping[tuple[str, ...], str], why: str) -> Named:
    value = row[row["ranked_by"]] if row["status"] == "ok" else None
    return Named(row["task"], names[_key(row, QUALITY)], _place(row), value, why or "")


def _place(row: Row) -> str:
    return row["hardware"] + (f" ({row['device']})" if row["device"] != "cpu" else "")
