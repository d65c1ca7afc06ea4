"""How sure a model is, label by label, and of what it is wrongly sure: the published overfitting table's other half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

HIGH, LOW = 0.8, 0.2
"""Above the one a model is sure that a label is there, below the other that it is not: as in the published report."""


@dataclass(frozen=True)
class Sureness:
    """Of one label.

    Attributes
    ----------
    positives, negatives
        Rows that have the label, and that have it not.
    sure_positives, sure_negatives
        How many of these the model is rightly sure of: above `HIGH`, and below `LOW`.
    missed, invented
        Confident errors: positives below `LOW`, and negatives above `HIGH`.
    """

    positives: int
    negatives: int
    sure_positives: int
    sure_negatives: int
    missed: int
    invented: int

    def __post_init__(self) -> None:
        if self.sure_positives + self.missed > self.positives or self.sure_negatives + self.invented > self.negatives:
            raise ValueError("a row is surely right, surely wrong, or neither")

    def as_json(self) -> list[int]:
        """Return the counts in the order of the attributes."""
        return [
            *(self.positives, self.negatives, self.sure_positives, self.sure_negatives),
            *(self.missed, self.invented),
        ]


def label_sureness(truth: np.ndarray, probabilities: np.ndarray) -> list[Sureness]:
    """Return how sure a model is of each label.

    Parameters
    ----------
    truth, probabilities
        (rows, labels) bool, and (rows, labels) float from 0 to 1.
    """
    high, low = probabilities > HIGH, probabilities < LOW
    masks = (truth, ~truth, truth & high, ~truth & low, truth & low, ~truth & high)
    return [Sureness(*map(int, counts)) for counts in zip(*(mask.sum(axis=0) for mask in masks), strict=True)]


GAPS = ("f1_weighted", "f1_macro", "hamming_loss", "average_precision_macro")
"""What the published report compares between training and validation."""


@dataclass(frozen=True)
class Overfitting:
    """How much worse validation is than training.

    Attributes
    ----------
    score
        100 times the mean of (training - validation) over `GAPS`, of Hamming loss (validation - training): percentage
        points that a model loses between the rows it was fitted on and those it was not. 0 or less: it loses nothing.
        None where the training fold was not scored.
    left_out
        Those of `GAPS` that are not defined on one of the two folds, and no part of the mean.
    """

    score: float | None
    left_out: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return both."""
        return {"score": self.score, "left_out": list(self.left_out)}


def overfitting(train: Mapping[str, float | None], validation: Mapping[str, float | None]) -> Overfitting:
    """Return the overfitting score of a record's own values (by metric) on both folds; empty ones: not scored."""
    lost: list[float] = []
    left_out: list[str] = []
    for name in GAPS:
        one, other = train.get(name), validation.get(name)
        if one is None or other is None:
            left_out.append(name)
        else:
            lost.append(other - one if name == "hamming_loss" else one - other)
    return Overfitting(100 * _mean(lost) if lost else None, tuple(left_out))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
