"""Which tokens of a long text are kept where it marks two entities, and how tasks of pairs mark and name them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MARKERS = ("[E1]", "[/E1]", "[E2]", "[/E2]")
"""What `zoobench.datasets.marking` writes around every mention of the first and of the second entity."""
PAIR_COLUMNS = ("type_1", "type_2")
"""Columns of the tasks of pairs: what the two entities are (Gene, Disease, …)."""
ABSENT = -1
"""The number of a marker that a vocabulary lacks."""


def window(ids: np.ndarray, room: int, markers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return at most `room` of (n,) `ids` in their order, those that matter to the pair that they mark.

    Kept are, before all others, the opening markers of the two mentions that stand closest together; then the words
    and markers of mentions, those nearest to these two first; then what stands nearest to any mention. A text
    without a mention keeps its head.

    Parameters
    ----------
    markers
        The numbers of `MARKERS` in their order, `ABSENT` for one that there is not; none at all is () as well.
    """
    if len(ids) <= room:
        return ids
    known = np.asarray(markers)
    marks = np.isin(ids, known[known != ABSENT])
    if not marks.any():
        return ids[:room]
    opening, closing = np.isin(ids, known[::2]), np.isin(ids, known[1::2])
    inside = marks | (np.cumsum(opening) > np.cumsum(closing))
    pair = _closest(np.flatnonzero(ids == known[0]), np.flatnonzero(ids == known[2]))
    rank = _distance(len(ids), np.flatnonzero(inside)) + 2
    if len(pair):
        rank[inside] = 1 + _distance(len(ids), pair)[inside] / len(ids)
        rank[pair] = 0
    return ids[np.sort(np.argsort(rank, kind="stable")[:room])]


def _closest(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the places of the opening markers that stand closest together, one of each entity that is there."""
    if not len(first) or not len(second):
        return np.concatenate([first, second])[:1]
    gaps = np.abs(first[:, None] - second[None, :])
    row, column = np.unravel_index(gaps.argmin(), gaps.shape)
    return np.sort([first[row], second[column]])


def _distance(length: int, marked: np.ndarray) -> np.ndarray:
    """(length,) float: how far each place is from the nearest of the sorted places `marked`."""
    place = np.arange(length)
    right = np.searchsorted(marked, place).clip(0, len(marked) - 1)
    left = (right - 1).clip(0)
    return np.minimum(np.abs(place - marked[left]), np.abs(place - marked[right])).astype(float)
