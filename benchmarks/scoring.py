"""From probabilities to scores: refuse what are no probabilities, choose thresholds, measure, resample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.core import Fold, Kind
from .metrics import MAIN_METRICS, METRICS, ROW_SUM_TOLERANCE, Average, Scores, rank, score
from .record import Evaluation, Part
from .thresholds import apply_thresholds, default_policy, fit_thresholds, policies_for

LOWEST = -1e9
"""The score of probabilities on which the primary metric is not defined: worse than any other."""


def average_of(metric: str) -> Average:
    """Return the averaging of F1 that a task ranked by `metric` tunes its thresholds for."""
    averages: dict[str, Average] = {"f1_macro": "macro", "f1_weighted": "weighted"}
    return averages.get(metric, "micro")


@dataclass(frozen=True)
class TaskScorer:
    """The task's primary metric, higher is better, its threshold chosen on the rows that it scores."""

    kind: Kind
    metric: str

    def __call__(self, targets: Any, probabilities: Any) -> float:
        """Score (n, labels) `probabilities` against `targets`."""
        thresholds = fit_thresholds(
            default_policy(self.kind), self.kind, targets, probabilities, average_of(self.metric)
        )
        predictions = apply_thresholds(thresholds, self.kind, probabilities)
        value = score(self.kind, targets, probabilities, predictions).values[self.metric]
        if value is None:
            return LOWEST
        return value if METRICS[self.metric].higher_is_better else -value


def refuse(kind: Kind, array: np.ndarray, rows: int, labels: int) -> str:
    """Return why `array` cannot be the probabilities of a fold, in words; "" if it can."""
    if array.shape != (rows, labels):
        return f"predict_proba answered shape {array.shape}, expected ({rows}, {labels})"
    if not np.isfinite(array).all():
        return (
            f"predict_proba answered NaN or infinity in {int((~np.isfinite(array)).any(axis=1).sum())} of {rows} rows"
        )
    if array.min() < 0 or array.max() > 1:
        return f"predict_proba answered values from {array.min():.4g} to {array.max():.4g}, outside [0, 1]"
    sums = array.sum(axis=1, dtype=np.float64)
    if kind == "multiclass" and np.abs(sums - 1).max() > ROW_SUM_TOLERANCE:
        worst = sums[np.abs(sums - 1).argmax()]
        return f"predict_proba answered rows that do not sum to 1 (one sums to {worst:.4g})"
    return ""


@dataclass(frozen=True)
class Scored:
    """Evaluations by fold and policy; of the test fold under the default policy, its parts and resamples.

    `temperature` calibrates the probabilities (`calibration.scale`); it was fitted on the validation fold.
    """

    policy: str
    folds: Mapping[Fold, Mapping[str, Evaluation]]
    parts: Mapping[str, Part]
    resamples: Mapping[str, np.ndarray]
    temperature: float


def evaluate(
    kind: Kind,
    labels: Sequence[str],
    primary: str,
    targets: Mapping[Fold, np.ndarray],
    probabilities: Mapping[Fold, np.ndarray],
    groups: np.ndarray,
    subsets: Mapping[str, np.ndarray],
) -> Scored:
    """Score the test fold under every policy, the others under the default one; what is fitted sees validation alone.

    Parameters
    ----------
    targets, probabilities
        By fold: (n, labels) uint8 or (n,) int64; (n, labels) float32.
    groups
        (n,) of the test fold: rows that are drawn together when the intervals are made.
    subsets
        (n,) bool of the test fold by name: parts that are scored apart as well.
    """
    from .bootstrap import bootstrap, interval, resample_weights
    from .calibration import fit_temperature

    default = default_policy(kind)
    folds: dict[Fold, dict[str, Evaluation]] = {fold: {} for fold in probabilities}
    resamples: Mapping[str, np.ndarray] = {}
    parts: dict[str, Part] = {}
    ranked = {fold: rank(kind, targets[fold], array) for fold, array in probabilities.items()}
    for policy in policies_for(kind):
        chosen = fit_thresholds(policy, kind, targets["validation"], probabilities["validation"], average_of(primary))
        for fold, array in probabilities.items():
            if fold != "test" and policy != default:
                continue  # the gap between folds is read under the policy that boards show
            predictions = apply_thresholds(chosen, kind, array)
            scores = score(kind, targets[fold], array, predictions, ranked[fold])
            if fold != "test":
                folds[fold][policy] = Evaluation(values=dict(scores.values))
                continue
            if policy == default:
                resamples = bootstrap(kind, targets[fold], array, predictions, resample_weights(groups))
                parts = {
                    name: _part(kind, labels, targets[fold][rows], array[rows], predictions[rows])
                    for name, rows in subsets.items()
                }
            bounds = {name: interval(resamples[name]) for name in MAIN_METRICS} if policy == default else {}
            folds[fold][policy] = _whole(scores, bounds, labels, chosen.values)
    temperature = fit_temperature(kind, targets["validation"], probabilities["validation"])
    return Scored(default, folds, parts, resamples, temperature)


def _whole(
    scores: Scores,
    intervals: dict[str, tuple[float, float] | None],
    labels: Sequence[str],
    thresholds: Sequence[float],
) -> Evaluation:
    return Evaluation(
        values=dict(scores.values),
        intervals=intervals,
        per_label={name: list(column) for name, column in scores.per_label.items()},
        confusion=[list(row) for row in scores.confusion],
        undefined=_named(scores, labels),
        thresholds=list(thresholds),
    )


def _part(
    kind: Kind, labels: Sequence[str], targets: np.ndarray, probabilities: np.ndarray, predictions: np.ndarray
) -> Part:
    scores = score(kind, targets, probabilities, predictions)
    return Part(rows=len(targets), values=dict(scores.values), undefined=_named(scores, labels))


def _named(scores: Scores, labels: Sequence[str]) -> dict[str, list[str]]:
    """Return the labels that each family of metrics leaves out, and all of them for a metric without a value."""
    named = {family: [labels[index] for index in indices] for family, indices in scores.undefined.items() if indices}
    named |= {name: list(labels) for name, value in scores.values.items() if value is None}
    return named
