"""The bootstrap resamples that stand beside records, found by the rows of a board and held against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from . import rank
from .replicates import Drawn, mean_replicates

TIED, APART, UNKNOWN = 1, 0, -1
"""What resamples say of a pair: the interval of the difference holds 0; it does not; there are none that pair."""

KEPT = 256
"""Rows whose resamples a shelf holds, some 80 kB each: more than any table has, which is read once for all pages."""


class Shelf:
    """The resamples of the rows of a board, found by the paths of their records."""

    def __init__(self, root: Path, rows: Iterable[Mapping[str, object]]) -> None:
        self._drawn = {
            str(row["path"]): Drawn((root / str(row["path"])).parent / str(row["attempt"]), str(row["resamples"]))
            for row in rows
            if row["status"] == "ok"
        }
        self._read = lru_cache(KEPT)(self._mean)

    def of(self, records: str, metric: str) -> np.ndarray | None:
        """Return the resamples (resamples,) of a row's metric; `records` as the board's column has it."""
        return (self.all_of(records) or {}).get(metric)

    def all_of(self, records: str) -> dict[str, np.ndarray] | None:
        """Return the resamples (resamples,) of a row by metric, means over its seeds; None where there are none."""
        return self._read(records)

    def _mean(self, records: str) -> dict[str, np.ndarray] | None:
        found = [self._drawn[path] for path in records.split(";") if path in self._drawn]
        return mean_replicates(found) if found else None


def tied_pairs(samples: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return what paired resamples say of every pair of rows, (rows, rows) int8 of `TIED`, `APART`, `UNKNOWN`.

    Tied is what `rank.tied_with_best` calls so, and a row with itself. `samples` has the resamples (resamples,) of each
    row, None where there are none.
    """
    found = np.full((len(samples), len(samples)), UNKNOWN, dtype=np.int8)
    np.fill_diagonal(found, TIED)
    for places in _alike(samples):
        together = np.array([samples[place] for place in places])
        for number, place in enumerate(places):
            found[place, places[:number]] = found[places[:number], place] = _quick(together[:number] - together[number])
    for place, other in np.argwhere(np.tril(found == UNKNOWN)).tolist():
        found[place, other] = found[other, place] = _pair(samples[other], samples[place])
    return found


def _alike(samples: Sequence[np.ndarray | None]) -> list[list[int]]:
    """Return the places of the rows whose resamples are as many and all defined, together: signs tell most of these."""
    found: dict[int, list[int]] = {}
    for place, each in enumerate(samples):
        if each is not None and each.size > 1 and np.isfinite(each).all():
            found.setdefault(each.size, []).append(place)
    return list(found.values())


def _quick(apart: np.ndarray) -> np.ndarray:
    """Return which differences (rows, resamples) tie, by counting their signs; `UNKNOWN` where that is too close.

    Between the two resamples around a bound the sign of the bound is a matter of interpolation: 200 rows are 20,000
    pairs, and to sort the resamples of each takes a hundred times as long.
    """
    below = int((1 - rank.LEVEL) / 2 * (apart.shape[1] - 1))
    counts = np.stack([(apart <= 0).sum(axis=1), (apart >= 0).sum(axis=1)])
    held, missed = (counts >= below + 3).all(axis=0), (counts <= below).any(axis=0)
    return np.where(held, TIED, np.where(missed, APART, UNKNOWN))


def _pair(one: np.ndarray | None, other: np.ndarray | None) -> int:
    if one is None or other is None:
        return UNKNOWN
    low, high = rank.difference_interval(one, other)
    return UNKNOWN if np.isnan(low) else int(low <= 0 <= high)
