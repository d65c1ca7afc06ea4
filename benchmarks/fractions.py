"""Nested subsets of the training fold: what a learning curve is measured on.

All fractions of one seed are beginnings of one order of the groups, so each smaller subset stands in the larger.
The order is a tree of halves, each half dealt so that it holds its share of every label
(`datasets.folds.grouped_iterative_split`); first of all stands a row of every label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..datasets.core import Kind
from ..datasets.folds import grouped_iterative_split
from ..datasets.support.errors import UserError
from ..datasets.support.files import sha256_json

WHOLE = (1.0,)
_HALVES = (0.5, 0.5)


def subset_seed(split_sha256: str, seed: int) -> int:
    """Return the seed of the subsets of a split, in [0, 2^31): the same for all models, so that curves compare."""
    return int(sha256_json([split_sha256, seed])[:8], 16) % 2**31


def nested_subset(targets: np.ndarray, groups: np.ndarray, fraction: float, seed: int, kind: Kind) -> np.ndarray:
    """Return the rows of a fraction of the training fold, whole groups, each label in its share.

    Parameters
    ----------
    targets
        (n, labels) of 0 and 1 (multi-label) or (n,) class numbers (multi-class).
    groups
        (n,) int; rows with the same number stay together.
    fraction
        More than 0, and at most 1. The subset misses ``fraction * n`` rows by half a group at most.
    seed
        Same seed, same subsets: of two fractions the smaller is contained in the larger.

    Returns
    -------
    (k,) int64 sorted row numbers. A label that any row holds is held by one of these, unless so few are asked for
    that they cannot hold all.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction {fraction} must be more than 0 and at most 1")
    if fraction == 1:
        return np.arange(len(targets))
    held = _indicator(targets, kind)
    wanted = round(fraction * len(targets))
    sizes = np.bincount(groups_of := np.unique(groups, return_inverse=True)[1])
    first = _one_of_each(held, groups_of, sizes, np.random.default_rng(seed))
    taken = np.zeros(len(sizes), dtype=bool)
    for group in first:
        if 2 * wanted < sizes[group]:
            return np.flatnonzero(taken[groups_of])
        taken[group] = True
        wanted -= int(sizes[group])
    rest = np.flatnonzero(~taken[groups_of])
    chosen = [rest[part] for part in _beginning(held[rest], groups_of[rest], max(0, wanted), seed)]
    return np.sort(np.concatenate([np.flatnonzero(taken[groups_of]), *chosen])).astype(np.int64)


def _indicator(targets: np.ndarray, kind: Kind) -> np.ndarray:
    """Return (n, labels) int64 of 0 and 1."""
    if kind == "multilabel":
        return targets.astype(np.int64)
    return np.eye(int(targets.max(initial=0)) + 1, dtype=np.int64)[targets]


def _one_of_each(held: np.ndarray, groups: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Return groups that hold every label between them, the rarest label's first, small ones rather than large."""
    found: list[int] = []
    covered = np.zeros(held.shape[1], dtype=bool)
    counts = held.sum(axis=0)
    for label in np.argsort(counts, kind="stable"):
        if covered[label] or not counts[label]:
            continue
        holders = np.unique(groups[held[:, label] > 0])
        smallest = holders[sizes[holders] == sizes[holders].min()]
        group = int(rng.choice(smallest))
        found.append(group)
        covered |= held[groups == group].any(axis=0)
    return found


def _beginning(held: np.ndarray, groups: np.ndarray, wanted: int, seed: int) -> Iterable[np.ndarray]:
    """Yield, in parts, the rows of the first groups of the order that hold about `wanted` rows.

    One path down the tree of halves: the first half is taken whole and the second entered, or the first entered.
    """
    rows = np.arange(len(held))
    depth = 0
    while wanted > 0 and len(rows):
        if (groups[rows] == groups[rows[0]]).all():
            if 2 * wanted >= len(rows):
                yield rows
            return
        half = _first_half(held[rows], groups[rows], seed + depth)
        size = int(half.sum())
        if wanted >= size:
            yield rows[half]
            wanted, rows = wanted - size, rows[~half]
        else:
            rows = rows[half]
        depth += 1


def _first_half(held: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return (n,) bool: the rows of one half of two groups or more, its odd rows of a label included."""
    # The second fold gets what comes first where both want as much: of a label with one row left, that row.
    half = grouped_iterative_split(held, groups, _HALVES, seed) == 1
    return half if 0 < half.sum() < len(half) else groups == groups[0]


def check_subset(rows: np.ndarray, targets: np.ndarray, kind: Kind, what: str, labels: Sequence[str]) -> None:
    """Refuse a subset that no model could learn the task from.

    Parameters
    ----------
    rows, targets
        What `nested_subset` returned, and was given.
    what
        The fraction and the task in words.

    Raises
    ------
    UserError
        If it has fewer than two rows, or no row of a label that the training fold holds.
    """
    held = _indicator(targets, kind)
    lost = np.flatnonzero(held.any(axis=0) & ~held[rows].any(axis=0))
    if len(rows) >= 2 and not len(lost):
        return
    named = ", ".join(labels[int(label)] for label in lost[:3]) + (", …" if len(lost) > 3 else "")
    without = f", with none of {named}" if len(lost) else ""
    counted = f"{len(rows)} of {len(targets)} training rows"
    raise UserError(f"{what} is {counted}{without}: too few to learn from, name a larger fraction")


def parse_fractions(value: Any) -> tuple[float, ...]:
    """Return the distinct fractions that ``--fractions`` names, ascending; the whole where it is None.

    Parameters
    ----------
    value
        Numbers joined by commas, or a number, or a sequence of them.

    Raises
    ------
    UserError
        If there is none, or one that is not a number in (0, 1].
    """
    if value is None:
        return WHOLE
    parts = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int | float) else list(value)
    found = {_number(part, "--fractions " + (value if isinstance(value, str) else str(part))) for part in parts}
    if not found:
        raise UserError("--fractions names none: give numbers such as 0.1,0.25,0.5,1")
    return tuple(sorted(found))


def _number(part: Any, given: str) -> float:
    try:
        number = float(part)
    except (TypeError, ValueError):
        word = str(part).strip()
        what = f"{word!r} is no number" if word else "a number is missing"
        raise UserError(f"{given}: {what}; give numbers such as 0.1,0.25,0.5,1") from None
    if not 0 < number <= 1:
        raise UserError(f"{given}: {number:g} is not a part of the training rows, more than 0 and at most 1")
    return number
