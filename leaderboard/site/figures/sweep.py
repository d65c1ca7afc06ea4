"""What each threshold would do: F1 and Hamming loss of several labels, coverage and accuracy of one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....benchmarks.metrics import average_rates
from ....benchmarks.selective import answer_confidence, kept_at
from ....benchmarks.thresholds import counts_at
from . import thousandths

THRESHOLDS = np.arange(1, 100) / 100
"""One for all labels: in the published system from 0.1 to 0.9."""


@dataclass(frozen=True)
class Sweep:
    """Two figures at each threshold.

    Attributes
    ----------
    thresholds
        (thresholds,), rising.
    first, second
        (thresholds,), NaN where not defined. Multi-label: F1 weighted and Hamming loss where every label is chosen from
        the threshold on. Multi-class: the share of rows whose answer is that sure, and the share of them that is right.
    """

    thresholds: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def __post_init__(self) -> None:
        if not self.thresholds.shape == self.first.shape == self.second.shape:
            raise ValueError("a sweep has two figures for each threshold")

    def as_json(self) -> dict[str, Any]:
        """Return three lists of thousandths."""
        return {name: thousandths(getattr(self, name)) for name in ("thresholds", "first", "second")}


def label_sweep(truth: np.ndarray, probabilities: np.ndarray) -> Sweep:
    """Return F1 weighted and Hamming loss of a multi-label task at each of `THRESHOLDS`."""
    counts = counts_at(THRESHOLDS, truth, probabilities)
    wrong = (counts.fp + counts.fn).sum(axis=1) / truth.size
    return Sweep(THRESHOLDS, average_rates(counts, "weighted")["f1"], wrong)


def confidence_sweep(truth: np.ndarray, probabilities: np.ndarray) -> Sweep:
    """Return coverage and accuracy of a multi-class task, of answers of each of `THRESHOLDS` or more."""
    answers = probabilities.argmax(axis=1)
    right = np.take_along_axis(truth, answers[:, None], axis=1)
    kept = kept_at(THRESHOLDS.tolist(), answer_confidence("multiclass", probabilities, answers), right)
    accuracy = [np.nan if each.exact is None else each.exact for each in kept]
    return Sweep(THRESHOLDS, np.array([each.coverage for each in kept]), np.array(accuracy))
