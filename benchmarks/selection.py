"""Which members an ensemble takes, and how often: pure functions on arrays, which see validation rows alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.core import Kind
from .metrics import Average
from .scoring import LOWEST, TaskScorer, average_of

SIZE = 50
"""Rounds of `greedy`, as auto-sklearn and AutoGluon have it; a further member weighs 2 % at most by then."""
THRESHOLDS = 512
"""Of the grid on which a round looks for the best one. A power of two: a probability falls into its bin exactly."""
_BINS = THRESHOLDS + 1  # the last is that of a probability of 1
EPSILON = 1e-12
"""Scores nearer than this are equal: sums of floats do not decide between members."""
WORTH = 1e-4
"""What further rounds must bring: less is the noise of float32, on which a member that says nothing is piled up."""
_BLOCK = 2**15
"""Cells that are counted at a time, so that what is in hand (three arrays) stays in a core's cache."""

Scorer = Callable[[np.ndarray], float]
"""From mean probabilities (labels, rows) to a score, higher is better; `LOWEST` where it is not defined."""


@dataclass(frozen=True)
class Selection:
    """What was taken.

    Attributes
    ----------
    counts
        (members,): how often each was taken; its weight is its share of them.
    scores
        Of the ensemble after each round, higher is better. `counts` are those of the best round, of equal ones
        the first.
    """

    counts: tuple[int, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scores or min(self.counts) < 0 or not any(self.counts):
            raise ValueError("a selection has rounds, and takes one member or more")

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each member (members,); they sum to 1."""
        return tuple(count / sum(self.counts) for count in self.counts)


def greedy(
    members: np.ndarray, scorer: Scorer, size: int = SIZE, advance: Callable[[], object] | None = None
) -> Selection:
    """Take, `size` times, the member with which the mean of all taken scores best; keep the best of these ensembles.

    Of those within `WORTH` of the best the smallest is kept.

    Forward selection with replacement: Caruana et al. 2004, "Ensemble selection from libraries of models" (ICML),
    without its bagging of the library. Of equal members the first is taken, so whoever wants an answer that does not
    depend on their order sorts them first.

    Parameters
    ----------
    members
        (members, labels, rows) float32 validation probabilities.
    advance
        Called after each round.
    """
    total, mean = np.zeros_like(members[0]), np.empty_like(members[0])
    taken: list[int] = []
    scores: list[float] = []
    for number in range(1, size + 1):
        best, best_score = 0, -np.inf
        for index, member in enumerate(members):
            np.add(total, member, out=mean)
            np.multiply(mean, np.float32(1 / number), out=mean)
            score = scorer(mean)
            if score > best_score + EPSILON:
                best, best_score = index, score
        total += members[best]
        taken.append(best)
        scores.append(best_score)
        if advance is not None:
            advance()
    kept = next(number for number, score in enumerate(scores, start=1) if score >= max(scores) - WORTH)
    return Selection(tuple(np.bincount(taken[:kept], minlength=len(members)).tolist()), tuple(scores))


def uniform(members: np.ndarray, scorer: Scorer) -> Selection:
    """Take every member once; `members` as in `greedy`."""
    return Selection((1,) * len(members), (scorer(members.mean(axis=0, dtype=np.float64).astype(np.float32)),))


def blend(members: Iterable[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """Return the mean of arrays of one shape, each taken as often as `counts` says, as float32."""
    total: Any = 0.0
    for member, count in zip(members, counts, strict=True):
        total = total + count * member.astype(np.float64)
    return (total / sum(counts)).astype(np.float32)


def scorer_for(kind: Kind, metric: str, targets: np.ndarray) -> Scorer:
    """Return what scores an ensemble in a round: `TaskScorer`, made quick for the usual metrics.

    F1 of a multi-label task is that of the best threshold on the rows it scores, as for `TaskScorer`, but of a grid
    of `THRESHOLDS`; F1 and accuracy of a multi-class task and macro ROC AUC are the same to the last digits. Any other
    metric is `TaskScorer`'s own, some tens of milliseconds for 5,000 x 24.

    Parameters
    ----------
    targets
        Of the validation fold: (rows, labels) uint8, or (rows,) int64.
    """
    if metric.startswith("f1_"):
        return _GlobalF1(targets, average_of(metric)) if kind == "multilabel" else _ClassF1(targets, average_of(metric))
    if kind == "multiclass" and metric in ("accuracy", "exact_match"):
        return lambda mean: float((mean.argmax(axis=0) == targets).mean())
    if metric == "roc_auc_macro":
        return _MacroAuc(targets)
    whole = TaskScorer(kind, metric)
    return lambda mean: whole(targets, mean.T)


def _f1(hits: np.ndarray, predicted: np.ndarray, support: np.ndarray, average: Average) -> np.ndarray:
    """Average F1 over the labels that have a positive row, (...,), from counts (labels, ...)."""
    if average == "micro":
        hits, predicted, support = (count.sum(axis=0, keepdims=True) for count in (hits, predicted, support))
    present = support > 0
    if not present.any():
        return np.full(hits.shape[1:], LOWEST)
    support = support[present]
    each = 2 * hits[present] / (predicted[present] + support.reshape(-1, *[1] * (hits.ndim - 1)))
    weights = support / support.sum() if average == "weighted" else np.full(len(support), 1 / len(support))
    return np.tensordot(weights, each, axes=1)


class _GlobalF1:
    """F1 at the best of `THRESHOLDS` thresholds that are the same for every label (multi-label).

    Cells are counted by label, truth and bin; how many stand at or above each threshold are then running totals.
    """

    def __init__(self, targets: np.ndarray, average: Average) -> None:
        truth = np.ascontiguousarray(targets.T, dtype=bool)
        labels, rows = truth.shape
        step = max(1, _BLOCK // rows)
        self._blocks = [slice(first, min(first + step, labels)) for first in range(0, labels, step)]
        within = np.concatenate([np.arange(block.stop - block.start) for block in self._blocks])
        # Highest bin first, so that a running total counts from the top.
        self._place = ((2 * within[:, None] + truth + 1) * _BINS - 1).astype(np.int32)
        self._support = truth.sum(axis=1)
        self._average: Average = average
        self._counts = np.empty((labels, 2, _BINS), dtype=np.int64)
        self._scaled = np.empty((step, rows), dtype=np.float32)
        self._cell = np.empty((step, rows), dtype=np.int32)

    def __call__(self, mean: np.ndarray) -> float:
        for block in self._blocks:
            size = block.stop - block.start
            scaled, cell = self._scaled[:size], self._cell[:size]
            np.multiply(mean[block], np.float32(THRESHOLDS), out=scaled)
            np.copyto(cell, scaled, casting="unsafe")
            np.subtract(self._place[block], cell, out=cell)
            self._counts[block] = np.bincount(cell.ravel(), minlength=size * 2 * _BINS).reshape(size, 2, _BINS)
        totals = self._counts.cumsum(axis=-1)
        hits = totals[:, 1]
        return float(_f1(hits, totals[:, 0] + hits, self._support, self._average).max())


class _ClassF1:
    """F1 of the most probable class (multi-class)."""

    def __init__(self, targets: np.ndarray, average: Average) -> None:
        self._targets = targets
        self._average: Average = average

    def __call__(self, mean: np.ndarray) -> float:
        chosen, labels = mean.argmax(axis=0), len(mean)
        right = chosen[chosen == self._targets]
        hits, predicted, support = (np.bincount(each, minlength=labels) for each in (right, chosen, self._targets))
        return float(_f1(hits, predicted, support, self._average))


class _MacroAuc:
    """ROC AUC averaged over the labels that have both kinds of rows: the share of pairs in the right order."""

    def __init__(self, targets: np.ndarray) -> None:
        held = targets.T.astype(bool) if targets.ndim == 2 else np.arange(targets.max() + 1)[:, None] == targets
        self._split = [
            (label, np.flatnonzero(true), np.flatnonzero(~true))
            for label, true in enumerate(held)
            if true.any() and not true.all()
        ]

    def __call__(self, mean: np.ndarray) -> float:
        areas = [self._area(mean[label], positive, negative) for label, positive, negative in self._split]
        return float(np.mean(areas)) if areas else LOWEST

    @staticmethod
    def _area(scores: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
        below, asked = np.sort(scores[negative]), np.sort(scores[positive])
        left = np.searchsorted(below, asked)
        placed = 2 * int(left.sum())
        equal = below[np.minimum(left, len(below) - 1)] == asked  # few, mostly: they need a second look
        if equal.any():
            placed += int((np.searchsorted(below, asked[equal], "right") - left[equal]).sum())
        return placed / (2 * len(positive) * len(negative))
