"""System 2's balancing of its training fold: mirror copies, replicas, and fewer of what is frequent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..datasets.support.thinning import KEPT_ALONE, NO_FINDING

PUBLISHED_ROWS = 32829
"""Images in the training fold of nih-chest-xray14@published, which the published floors belong to."""
_KEPT = {finding.casefold(): share for finding, share in KEPT_ALONE.items() if finding != NO_FINDING}
MIRRORED_BELOW, FLOOR = 3000, 1500
KEPT_EMPTY, THINNED, KEPT_THINNED = 0.25, "atelectasis", 0.50
BALANCES = ("none", "published")


class Balanced(NamedTuple):
    """Which rows of a training fold are trained on.

    Attributes
    ----------
    rows, mirrored
        (m,) row numbers, and (m,) bool whether the copy is mirrored.
    grown
        (k,) row numbers before the last thinning: what the published weights of the labels follow.
    """

    rows: np.ndarray
    mirrored: np.ndarray
    grown: np.ndarray


def unbalanced(rows: int) -> Balanced:
    """Return every row once."""
    return Balanced(np.arange(rows), np.zeros(rows, bool), np.arange(rows))


def balanced(targets: np.ndarray, labels: Sequence[str], seed: int, thinned: bool = False) -> Balanced:
    """Return the rows of a training fold balanced as published.

    In this order: of the rows without a label 10 % are kept, of those with infiltration alone 15 %, with effusion or
    atelectasis alone 50 % (the original did so before it made its folds); rows that hold a label of fewer than 3,000
    rows, and no other, are copied once, mirrored; rows with a label of fewer than 1,500 (copies counted) are replicated
    until there are as many, rarest label first; 25 % of the rows without a label are kept, and 50 % of those with
    atelectasis. The floors are those of `PUBLISHED_ROWS` rows, and as many times lower as there are fewer rows after
    the first step.

    The original's words leave open whether labels alone are meant. So read, its fold makes 194 steps of 160 where the
    original had "180 on average" (246 with copies of every row of a rare label, and thinning of atelectasis alone),
    and the counts are those that its weights follow (`class_weights.log_weights`).

    Parameters
    ----------
    targets
        (n, labels) 0/1.
    thinned
        Whether the first step is done: the task's protocol "published" did it, before it made the folds.
    """
    rng = np.random.default_rng([seed, len(targets)])
    if thinned:
        return _balanced(targets, labels, rng)
    first = np.flatnonzero(_thinned(targets, _alone(targets, labels), rng))
    found = _balanced(targets[first], labels, rng)
    return Balanced(first[found.rows], found.mirrored, first[found.grown])


def _balanced(targets: np.ndarray, labels: Sequence[str], rng: np.random.Generator) -> Balanced:
    scale = len(targets) / PUBLISHED_ROWS
    counts = targets.sum(axis=0, dtype=np.int64)
    alone = targets.sum(axis=1, dtype=np.int64) == 1
    copied = np.flatnonzero(targets[:, counts < MIRRORED_BELOW * scale].any(axis=1) & alone)
    rows = np.concatenate([np.arange(len(targets)), copied])
    mirrored = np.arange(len(rows)) >= len(targets)
    for label in np.argsort(counts, kind="stable"):
        held = np.flatnonzero(targets[rows, label])
        missing = round(FLOOR * scale) - len(held)
        if len(held) and missing > 0:
            more = np.resize(rng.permutation(held), missing)  # each as often as any other, but for one
            rows, mirrored = np.concatenate([rows, rows[more]]), np.concatenate([mirrored, mirrored[more]])
    drawn: list[tuple[Any, float]] = [(~targets[rows].any(axis=1), KEPT_EMPTY)]
    drawn += [(targets[rows, at] == 1, KEPT_THINNED) for at, label in enumerate(labels) if label.casefold() == THINNED]
    kept = _thinned(targets[rows], drawn, rng)
    return Balanced(rows[kept], mirrored[kept], rows)


Drawn = Sequence[tuple[Any, float]]
"""Which rows are drawn from, (n,) bool, and the share that is kept of them."""


def _alone(targets: np.ndarray, labels: Sequence[str]) -> Drawn:
    single = targets.sum(axis=1, dtype=np.int64) == 1
    drawn: list[tuple[Any, float]] = [(~targets.any(axis=1), KEPT_ALONE[NO_FINDING])]
    named = [(at, _KEPT[label.casefold()]) for at, label in enumerate(labels) if label.casefold() in _KEPT]
    return [*drawn, *((single & (targets[:, at] == 1), share) for at, share in named)]


def _thinned(targets: np.ndarray, drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
    """Return (n,) bool: which rows stay."""
    kept = np.ones(len(targets), bool)
    for which, share in drawn:
        rows = rng.permutation(np.flatnonzero(which))
        kept[rows[round(share * len(rows)) :]] = False
    return kept
