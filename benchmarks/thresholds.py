"""Policies that turn probabilities into labels, fitted on validation rows alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from .metrics import Average, Counts, Kind, as_indicator, as_probabilities, average_rates, label_rates

DEFAULT_THRESHOLD = 0.5
GRID = np.arange(10, 90, 5) / 100
LEAST_PRECISION, LEAST_PRECISION_DYNAMIC = 0.30, 0.40
WEAK_F1, LOWERED_BY = 0.30, 0.05
MAX_CANDIDATES = 200  # neighbours are then 0.5 % of the true cells apart, far less than the noise of one fold

FitPolicy = Callable[[np.ndarray, np.ndarray, Average], np.ndarray]
"""From truth and probabilities, both (rows, labels), and the average to one threshold per label (labels,)."""


def _candidates(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """List thresholds worth trying: halfway between the score of a true cell and the next lower score.

    No other threshold can have a better F1, since lowering it past a false cell only adds a false positive.
    Reduced to `MAX_CANDIDATES` quantiles, and 0.5 is always among them.
    """
    levels = np.unique(np.append(scores, 0.0))
    at = np.searchsorted(levels, np.unique(scores[truth]))
    useful = (levels[at] + levels[np.maximum(at - 1, 0)]) / 2
    if len(useful) > MAX_CANDIDATES:
        useful = np.quantile(useful, np.linspace(0, 1, MAX_CANDIDATES), method="nearest")
    return np.unique(np.append(useful, DEFAULT_THRESHOLD))


def counts_at(thresholds: np.ndarray, truth: np.ndarray, scores: np.ndarray) -> Counts:
    """Count (thresholds, labels) as if every score at or above a threshold were predicted."""

    def at_or_above(values: np.ndarray) -> np.ndarray:
        return len(values) - np.searchsorted(np.sort(values), thresholds)

    columns = list(zip(truth.T, scores.T, strict=True))
    tp = np.column_stack([at_or_above(column[true]) for true, column in columns])
    predicted = np.column_stack([at_or_above(column) for _, column in columns])
    return Counts(tp, predicted - tp, truth.sum(axis=0) - tp)


def _best_threshold(truth: np.ndarray, scores: np.ndarray, average: Average) -> float:
    """Find the candidate with the best averaged F1, of ties the one nearest 0.5; 0.5 if no cell is true."""
    candidates = _candidates(truth, scores)
    f1 = average_rates(counts_at(candidates, truth, scores), average)["f1"]
    if np.isnan(f1).all():
        return DEFAULT_THRESHOLD
    best = candidates[f1 >= f1.max() - 1e-12]
    return float(best[np.abs(best - DEFAULT_THRESHOLD).argmin()])


def _fit_fixed(truth: np.ndarray, probabilities: np.ndarray, average: Average) -> np.ndarray:
    return np.full(truth.shape[1], DEFAULT_THRESHOLD)


def _fit_global(truth: np.ndarray, probabilities: np.ndarray, average: Average) -> np.ndarray:
    return np.full(truth.shape[1], _best_threshold(truth, probabilities, average))


def _columns(truth: np.ndarray, probabilities: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the labels one by one, each as (rows, 1) truth and (rows, 1) scores."""
    labels = truth.shape[1]
    return list(zip(np.hsplit(truth, labels), np.hsplit(probabilities, labels), strict=True))


def _fit_per_label(truth: np.ndarray, probabilities: np.ndarray, average: Average) -> np.ndarray:
    return np.array([_best_threshold(*column, average) for column in _columns(truth, probabilities)])


def _most_informed(truth: np.ndarray, scores: np.ndarray) -> float:
    """Find the score where Youden's J is largest, of ties the highest; 0.5 where none does better than chance."""
    candidates = np.unique(scores)[::-1]
    counts = counts_at(candidates, truth, scores)
    positives = int(truth.sum())
    # J times positives times negatives: whole numbers, in which ties and chance are exact.
    j = (counts.tp * (len(truth) - positives) - counts.fp * positives)[:, 0]
    best = j.argmax()
    return float(candidates[best]) if j[best] > 0 else DEFAULT_THRESHOLD


def _fit_youden(truth: np.ndarray, probabilities: np.ndarray, average: Average) -> np.ndarray:
    return np.array([_most_informed(*column) for column in _columns(truth, probabilities)])


def _best_precise(truth: np.ndarray, scores: np.ndarray, least: float) -> tuple[float, float]:
    """Find the threshold of `GRID` with the best F1, of ties the lowest, among those that are `least` precise.

    Returns it with its F1; (0.5, 0) where none is.
    """
    counts = counts_at(GRID, truth, scores)
    rates = {name: rate[:, 0] for name, rate in label_rates(counts).items()}
    hits = (counts.tp[:, 0] > 0) & (rates["precision"] >= least)
    f1 = np.where(hits, rates["f1"], 0.0)
    return (float(GRID[f1.argmax()]), float(f1.max())) if hits.any() else (DEFAULT_THRESHOLD, 0.0)


def _fit_precision_constrained(truth: np.ndarray, probabilities: np.ndarray, average: Average) -> np.ndarray:
    return np.array([_best_precise(*column, LEAST_PRECISION)[0] for column in _columns(truth, probabilities)])


def _dynamic(truth: np.ndarray, scores: np.ndarray) -> float:
    if not truth.any():
        return DEFAULT_THRESHOLD
    threshold, f1 = _best_precise(truth, scores, LEAST_PRECISION_DYNAMIC)
    return round(threshold - LOWERED_BY, 2) if f1 < WEAK_F1 else threshold


def _fit_dynamic(truth: np.ndarray, probabilities: np.ndarray, average: Average) -> np.ndarray:
    return np.array([_dynamic(*column) for column in _columns(truth, probabilities)])


def _fit_argmax(truth: np.ndarray, probabilities: np.ndarray, average: Average) -> np.ndarray:
    return np.empty(0)


POLICIES: Mapping[str, FitPolicy] = MappingProxyType(
    {
        "fixed-0.5": _fit_fixed,
        "global": _fit_global,
        "per-label": _fit_per_label,
        "youden": _fit_youden,
        "precision-constrained": _fit_precision_constrained,
        "dynamic": _fit_dynamic,
        "argmax": _fit_argmax,
    }
)
"""How each policy finds its thresholds; a further policy is one function and one entry here."""


def default_policy(kind: Kind) -> str:
    """Return the policy that boards show: one threshold chosen on validation, or the most probable class."""
    return "global" if kind == "multilabel" else "argmax"


def policies_for(kind: Kind) -> tuple[str, ...]:
    """Name the policies that a kind of task can use."""
    return ("argmax",) if kind == "multiclass" else tuple(name for name in POLICIES if name != "argmax")


@dataclass(frozen=True)
class Thresholds:
    """A fitted policy: one threshold per label, or none at all for `argmax`."""

    policy: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"unknown threshold policy {self.policy!r}: one of {', '.join(POLICIES)}")
        if (self.policy == "argmax") != (not self.values):
            raise ValueError(f"policy {self.policy} cannot have {len(self.values)} thresholds")
        if not all(0 <= value <= 1 for value in self.values):
            raise ValueError(f"thresholds must lie within [0, 1], got {self.values}")


def fit_thresholds(
    policy: str, kind: Kind, targets_val: Any, probabilities_val: Any, average: Average = "macro"
) -> Thresholds:
    """Fit a policy on validation targets and probabilities, shaped as in `metrics.score`.

    `average` is the F1 that `global` maximises, over the labels present in validation. `per-label` maximises
    each label's own F1 (Lipton et al. 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure"); a
    label without a positive validation row keeps 0.5, under every policy. ValueError for a policy that does not
    fit the kind, or arrays that do not match.

    The other three are those of the published chest X-ray system, each label by itself. `youden`: the score with
    the largest sensitivity + specificity - 1 (Youden 1950, "Index for rating diagnostic tests"), 0.5 where no row
    lacks the label either, or nothing beats chance. `precision-constrained`: the best F1 of 0.10, 0.15, … 0.85
    among those with a precision of 0.30 or more, 0.5 where there is none. `dynamic`: the same with 0.40, and where
    that F1 is below 0.30 (as where there is none) the threshold less 0.05.
    """
    if policy not in (allowed := policies_for(kind)):
        raise ValueError(f"policy {policy!r} does not fit {kind} tasks: one of {', '.join(allowed)}")
    probabilities = as_probabilities(kind, probabilities_val)
    truth = as_indicator(kind, targets_val, probabilities.shape, "validation targets")
    return Thresholds(policy, tuple(POLICIES[policy](truth, probabilities, average).tolist()))


def apply_thresholds(thresholds: Thresholds, kind: Kind, probabilities: Any) -> np.ndarray:
    """Turn probabilities (rows, labels) into predictions.

    Multi-label: uint8 (rows, labels), 1 at or above the threshold. Multi-class: the most probable class
    (rows,), the first of ties. ValueError where the policy or the labels do not match.
    """
    if thresholds.policy not in policies_for(kind):
        raise ValueError(f"policy {thresholds.policy!r} does not fit {kind} tasks")
    values = as_probabilities(kind, probabilities)
    if kind == "multiclass":
        return values.argmax(axis=1)
    if values.shape[1] != len(thresholds.values):
        raise ValueError(f"{len(thresholds.values)} thresholds cannot serve {values.shape[1]} labels")
    return (values >= np.asarray(thresholds.values)).astype(np.uint8)
