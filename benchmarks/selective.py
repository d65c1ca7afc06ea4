"""Selective prediction: how right the answers are that a model is surest of. Pure functions on arrays.

The confidence of an answer is the probability that the model gives to it. Of one class that is the largest
probability, as in the published healthcare guide. Of several labels an answer is one decision a label, and its
confidence is that of the least sure decision: the probability of a label that was chosen, 1 - that of one that was
not. This is relative to the thresholds and not to 0.5: where a label is chosen from 0.3 on, "yes" at 0.35 is held with
0.35, and `max(p, 1 - p)` would count the 0.65 for "no" as trust in "yes". And it is the minimum and not the product:
an upper bound on the probability that the whole row is right that assumes no independence, and that does not sink with
the number of labels, so that one threshold serves tasks of 4 labels and of 134.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import Kind, as_indicator, as_probabilities

THRESHOLDS = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95)
"""At which coverage and accuracy are told."""
USUAL_THRESHOLD = 0.75
"""Below it the published healthcare guide calls an answer of one class uncertain."""


@dataclass(frozen=True)
class Kept:
    """The rows whose confidence is at or above a threshold.

    Attributes
    ----------
    coverage
        Their share of all rows.
    exact
        The share of them whose whole answer is right: accuracy, or exact match; None where there is none.
    labels
        The share of their single decisions that are right: 1 - Hamming loss; None where there is none.
    """

    threshold: float
    coverage: float
    exact: float | None
    labels: float | None


def answer_confidence(kind: Kind, probabilities: Any, predictions: Any) -> np.ndarray:
    """Return the confidence of each answer, (rows,) float64 in [0, 1]; the module says what it is.

    Arrays and errors as in `metrics.score`; `probabilities` may be scaled, `predictions` are what was decided.
    """
    checked = as_probabilities(kind, probabilities)
    chosen = as_indicator(kind, predictions, checked.shape, "predictions")
    if kind == "multiclass":
        return checked[chosen]
    return np.where(chosen, checked, 1 - checked).min(axis=1)


def kept_at(thresholds: Sequence[float], confidence: np.ndarray, right: np.ndarray) -> tuple[Kept, ...]:
    """Say what is left at each threshold.

    Parameters
    ----------
    confidence
        (rows,).
    right
        (rows, labels) bool: which decisions are right; (rows, 1) where a row is one decision.
    """
    found = []
    for threshold in thresholds:
        rows = right[confidence >= threshold]
        exact = float(rows.all(axis=1).mean()) if len(rows) else None
        labels = float(rows.mean()) if len(rows) else None
        found.append(Kept(float(threshold), len(rows) / len(right), exact, labels))
    return tuple(found)


def risk_coverage(confidence: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage (n,) and selective risk (n,) of keeping the 1, 2, … n surest rows.

    Of rows of equal confidence any may come first: each counts their mean, so that the order of rows tells nothing.

    Parameters
    ----------
    confidence, wrong
        (n,) float, and (n,) bool or a loss.
    """
    if confidence.shape != wrong.shape or not confidence.size:
        raise ValueError(f"{confidence.shape} confidences do not go with {wrong.shape} losses")
    _, level, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    expected = np.repeat(np.bincount(level, weights=wrong) / sizes, sizes)
    kept = np.arange(1, len(wrong) + 1)
    return kept / len(wrong), np.cumsum(expected) / kept


def area_under_risk_coverage(confidence: np.ndarray, wrong: np.ndarray) -> float:
    """Return AURC, the mean selective risk over all coverages 1/n … 1: lower is better.

    Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks" (NeurIPS). A confidence that tells
    nothing scores the share of wrong rows.
    """
    return float(risk_coverage(confidence, wrong)[1].mean())
