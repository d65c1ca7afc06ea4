"""System 2's balancing of its training fold: mirror copies, replicas, and fewer of what is frequent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PUBLISHED_ROWS = 32829
"""Images in the training fold of nih-chest-xray14@published, which the published floors belong to."""
MIRRORED_BELOW, FLOOR = 3000, 1500
KEPT_EMPTY, THINNED, KEPT_THINNED = 0.25, "atelectasis", 0.50
BALANCES = ("none", "published")


class Balanced(NamedTuple):
    """Which rows of a training fold are trained on: (m,) row numbers, and (m,) bool whether the copy is mirrored."""

    rows: np.ndarray
    mirrored: np.ndarray


def unbalanced(rows: int) -> Balanced:
    """Return every row once."""
    return Balanced(np.arange(rows), np.zeros(rows, bool))


def balanced(targets: np.ndarray, labels: Sequence[str], seed: int) -> Balanced:
    """Return the rows of a training fold balanced as published.

    In this order: rows that hold a label of fewer than 3,000 rows, and no other, are copied once, mirrored; rows with
    a label of fewer than 1,500 (copies counted) are replicated until there are as many, rarest label first; 25 % of
    the rows without a label are kept, and 50 % of those with atelectasis. The floors are those of `PUBLISHED_ROWS`
    rows, and as many times lower as there are fewer rows.

    The original's words leave open whether labels alone are meant. So read, its fold makes 194 steps of 160 where the
    original had "180 on average" (246 with copies of every row of a rare label, and thinning of atelectasis alone),
    and the counts are those that its weights follow (`class_weights.log_weights`).

    Parameters
    ----------
    targets
        (n, labels) 0/1.
    """
    rng = np.random.default_rng([seed, len(targets)])
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
    kept = _thinned(targets[rows], labels, rng)
    return Balanced(rows[kept], mirrored[kept])


def _thinned(targets: np.ndarray, labels: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Return (n,) bool: which rows stay."""
    kept = np.ones(len(targets), bool)
    drawn = [(~targets.any(axis=1), KEPT_EMPTY)]
    drawn += [(targets[:, at] == 1, KEPT_THINNED) for at, label in enumerate(labels) if label.casefold() == THINNED]
    for which, share in drawn:
        rows = rng.permutation(np.flatnonzero(which))
        kept[rows[round(share * len(rows)) :]] = False
    return kept
