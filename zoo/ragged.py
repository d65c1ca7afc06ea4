"""Rows of integers of differing length: held end to end, batched by length, padded to arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

POOL = 50
"""Batches that are sorted by length together: enough for 2 % of padding, few enough that epochs differ."""


@dataclass(frozen=True)
class Rows:
    """Rows of integers end to end: row i is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    values
        (total,) int32.
    offsets
        (n + 1,) int64, from 0 to ``total``; ValueError where they are not.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        ends = (self.offsets[0], self.offsets[-1]) if len(self.offsets) else None
        if ends != (0, len(self.values)) or (np.diff(self.offsets) < 0).any():
            raise ValueError("offsets of rows rise from 0 to the number of values")

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | np.ndarray]) -> Rows:
        """Lay rows end to end."""
        kept = [np.asarray(row, np.int32) for row in rows]
        offsets = np.zeros(len(kept) + 1, np.int64)
        np.cumsum([len(row) for row in kept], out=offsets[1:])
        return cls(np.concatenate(kept) if kept else np.zeros(0, np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @cached_property
    def lengths(self) -> np.ndarray:
        """(n,) int64 lengths of the rows."""
        return np.diff(self.offsets)

    def padded(self, rows: np.ndarray, length: int = 0, *, pad: int = 0, first: bool = False) -> np.ndarray:
        """Return (batch, length) int32 of some rows, padded at the end.

        Parameters
        ----------
        rows
            (batch,) numbers of rows.
        length
            0 is that of the longest; of a row that is longer its start is kept.
        first
            Pad at the start instead, and keep a longer row's end.
        """
        kept = np.asarray(self.lengths[rows])
        length = length or int(kept.max(initial=0))
        found = np.full((len(rows), length), pad, np.int32)
        for place, row in enumerate(rows):
            values = self[row]
            if first:
                values = values[max(0, len(values) - length) :]
                found[place, length - len(values) :] = values
            else:
                found[place, : len(values)] = values[:length]
        return found


def buckets(lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return shuffled batches of row numbers, `size` rows of like length each, longest first in a batch.

    `rng` deals the (n,) rows into pools of `POOL` batches, which are sorted apart, and shuffles the batches. Rows of
    equal `lengths` share a batch by chance: give what they are padded to, where that is rounded.
    """
    order = rng.permutation(len(lengths))
    found: list[np.ndarray] = []
    for first in range(0, len(order), size * POOL):
        pool = order[first : first + size * POOL]
        pool = pool[np.argsort(-lengths[pool], kind="stable")]
        found += [pool[at : at + size] for at in range(0, len(pool), size)]
    return [found[at] for at in rng.permutation(len(found))]


def cut(rows: np.ndarray, lengths: np.ndarray, size: int, tokens: int) -> list[np.ndarray]:
    """Cut row numbers, longest first, into parts of at most `size` rows and `tokens` tokens, padding included.

    A row that is longer than that is a part of its own.
    """
    found: list[np.ndarray] = []
    at = 0
    while at < len(rows):
        fit = max(1, min(size, tokens // max(1, int(lengths[rows[at]]))))
        found.append(rows[at : at + fit])
        at += fit
    return found
