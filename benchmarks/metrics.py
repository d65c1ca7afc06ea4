"""Every figure that scores a set of predictions, as pure functions on arrays.

A label on which a metric has no meaning (F1 without a positive row, ROC AUC with one class only) is named as
undefined and left out of macro and weighted averages: counting it as 0 would punish a model for the split.
Definitions are scikit-learn's, with the differences stated where they are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from .ranking import label_ranking_precisions, roc_auc_and_average_precision

METRIC_VERSION = 1
"""Raised whenever a definition below changes, so that stored probabilities are scored again."""

Kind = Literal["multilabel", "multiclass"]
Average = Literal["micro", "macro", "weighted"]

CALIBRATION_BINS = 15  # Guo et al. 2017, "On Calibration of Modern Neural Networks" (ICML)
ROW_SUM_TOLERANCE = 1e-3  # a half-precision softmax misses 1 by up to about this


@dataclass(frozen=True)
class Metric:
    """A scalar score.

    higher_is_better: None for a mere description, which has no good direction.
    thresholded: whether label predictions are needed, and not probabilities alone.
    """

    name: str
    title: str
    higher_is_better: bool | None
    thresholded: bool


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("f1_micro", "F1 micro", True, True),
            Metric("f1_macro", "F1 macro", True, True),
            Metric("f1_weighted", "F1 weighted", True, True),
            Metric("precision_micro", "Precision micro", True, True),
            Metric("precision_macro", "Precision macro", True, True),
            Metric("precision_weighted", "Precision weighted", True, True),
            Metric("recall_micro", "Recall micro", True, True),
            Metric("recall_macro", "Recall macro", True, True),
            Metric("recall_weighted", "Recall weighted", True, True),
            Metric("specificity_macro", "Specificity macro", True, True),
            Metric("roc_auc_macro", "ROC AUC macro", True, False),
            Metric("roc_auc_micro", "ROC AUC micro", True, False),
            Metric("average_precision_macro", "Average precision macro", True, False),
            Metric("average_precision_micro", "Average precision micro", True, False),
            Metric("hamming_loss", "Hamming loss", False, True),
            Metric("exact_match", "Exact match", True, True),
            Metric("label_ranking_average_precision", "Label ranking average precision", True, False),
            Metric("brier", "Brier score", False, False),
            Metric("log_loss", "Log loss", False, False),
            Metric("expected_calibration_error", "Expected calibration error", False, False),
            Metric("accuracy", "Accuracy", True, True),
            Metric("balanced_accuracy", "Balanced accuracy", True, True),
            Metric("label_cardinality_true", "Labels per row, true", None, False),
            Metric("label_cardinality_predicted", "Labels per row, predicted", None, True),
        )
    }
)

MAIN_METRICS = (
    "f1_micro",
    "f1_macro",
    "f1_weighted",
    "roc_auc_macro",
    "roc_auc_micro",
    "average_precision_macro",
    "hamming_loss",
    "exact_match",
    "accuracy",
    "balanced_accuracy",
)
"""The metrics that get bootstrap intervals."""


@dataclass(frozen=True)
class Scores:
    """What `score` returns: plain Python numbers only, ready for JSON.

    values: one entry per name in `METRICS`; None where the metric is defined on no label at all.
    per_label: f1, precision, recall, specificity, roc_auc, average_precision and support, each with one entry
        per label (one-vs-rest for multi-class), None where undefined.
    confusion: (tn, fp, fn, tp) per label (multi-label); labels x labels, rows the truth (multi-class).
    undefined: for each family of `per_label`, the indices of the labels on which it is undefined. (Balanced
        accuracy leaves out those of recall, and for multi-label those of specificity too.)
    """

    values: Mapping[str, float | None]
    per_label: Mapping[str, tuple[float | None, ...]]
    confusion: tuple[tuple[int, ...], ...]
    undefined: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        if set(self.values) != set(METRICS):
            raise ValueError(f"scores must hold every metric: {sorted(METRICS)}, got {sorted(self.values)}")


@dataclass(frozen=True)
class Counts:
    """Confusion counts, each (..., labels): any leading axes (thresholds, resamples) are kept."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray) -> Counts:
        """Count over the rows of two boolean (rows, labels) arrays."""
        hits = (truth & predicted).sum(axis=0)
        return cls(hits, predicted.sum(axis=0) - hits, truth.sum(axis=0) - hits)

    @property
    def support(self) -> np.ndarray:
        """Positive rows (..., labels)."""
        return self.tp + self.fn

    def pooled(self) -> Counts:
        """Take all labels together as one: (..., 1)."""
        return Counts(*(count.sum(axis=-1, keepdims=True) for count in (self.tp, self.fp, self.fn)))


def as_probabilities(kind: Kind, probabilities: Any) -> np.ndarray:
    """Check probabilities and return them as float64 (rows, labels); ValueError says what is wrong."""
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"probabilities must be (rows, labels) and not empty, got shape {values.shape}")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ValueError("probabilities must be finite and within [0, 1]")
    if kind == "multiclass" and np.abs(values.sum(axis=1) - 1).max() > ROW_SUM_TOLERANCE:
        raise ValueError("multi-class probabilities must sum to 1 in every row")
    return values


def as_indicator(kind: Kind, labels: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return boolean (rows, labels), of the given shape, of which labels a row has.

    labels: (rows, labels) of 0 and 1 (multi-label) or class numbers (rows,) (multi-class); a ValueError that
    begins with `name` where they do not fit.
    """
    values = np.asarray(labels)
    expected = shape if kind == "multilabel" else shape[:1]
    if values.shape != expected:
        raise ValueError(f"{name} must have shape {expected} to match the probabilities, got {values.shape}")
    if kind == "multilabel":
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} must hold 0 and 1 only")
        return values.astype(bool)
    classes = np.arange(shape[1])
    if not np.isin(values, classes).all():
        raise ValueError(f"{name} must hold class numbers from 0 to {shape[1] - 1}")
    return values[:, None] == classes


def _ratio(numerator: np.ndarray, denominator: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """Divide counts: NaN where undefined, 0 where the denominator is 0 (`zero_division=0`)."""
    return np.where(defined, numerator / np.maximum(denominator, 1), np.nan)


def defined_mean(values: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
    """Average the entries that are not NaN over the last axis; NaN where none is left."""
    defined = ~np.isnan(values)
    weights = np.where(defined, weights, 0.0)
    total = weights.sum(axis=-1)
    summed = (np.where(defined, values, 0.0) * weights).sum(axis=-1)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan)


def label_rates(counts: Counts) -> dict[str, np.ndarray]:
    """Compute F1, precision and recall (..., labels), NaN on labels without a positive row."""
    tp, fp, support = counts.tp, counts.fp, counts.support
    present = support > 0
    return {
        "f1": _ratio(2 * tp, tp + fp + support, present),
        "precision": _ratio(tp, tp + fp, present),
        "recall": _ratio(tp, support, present),
    }


def average_rates(counts: Counts, average: Average) -> dict[str, np.ndarray]:
    """Average F1, precision and recall over the labels on which they are defined, (...,).

    Micro pools every cell, those of labels without positives included.
    """
    if average == "micro":
        counts = counts.pooled()
    weights = counts.support if average == "weighted" else 1.0
    return {name: defined_mean(rate, weights) for name, rate in label_rates(counts).items()}


def specificity(counts: Counts, n_rows: int | np.ndarray) -> np.ndarray:
    """Compute specificity (..., labels) of counts over `n_rows` rows, NaN on labels without a negative row."""
    negatives = n_rows - counts.support
    return _ratio(negatives - counts.fp, negatives, negatives > 0)


def balanced_accuracy(kind: Kind, counts: Counts, n_rows: int | np.ndarray) -> np.ndarray:
    """Average over the defined labels, (...,): recall (multi-class), or the mean of recall and specificity."""
    recall = label_rates(counts)["recall"]
    return defined_mean(recall if kind == "multiclass" else (recall + specificity(counts, n_rows)) / 2)


def row_means(kind: Kind, truth: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Compute, row by row (rows,), the metrics of probabilities that are the mean of what rows have.

    brier: the squared error; multi-label: per cell, in [0, 1]; multi-class: summed over the classes of a row, in
        [0, 2] (Brier 1950).
    log_loss: -ln(probability given to what happened), averaged over the cells of a row (multi-label). Clipped at
        float32's epsilon, because probabilities are stored as float32 and cannot be surer than that.
    """
    squares = (probabilities - truth) ** 2
    given = np.where(truth, probabilities, 1 - probabilities) if kind == "multilabel" else probabilities[truth][:, None]
    return {
        "brier": squares.mean(axis=1) if kind == "multilabel" else squares.sum(axis=1),
        "log_loss": -np.log(np.maximum(given, np.finfo(np.float32).eps)).mean(axis=1),
        "label_ranking_average_precision": label_ranking_precisions(truth, probabilities),
    }


def claims(kind: Kind, truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what probabilities claim, (claims,) confidences, and whether each came true, (claims,) bool.

    Multi-label: one for each (row, label) cell, confidence = probability of the label. Multi-class: one a row,
    confidence = its largest probability, true where that class (the first of ties) is the row's.
    """
    if kind == "multilabel":
        return probabilities.ravel(), truth.ravel()
    top = probabilities.argmax(axis=1)[:, None]
    return np.take_along_axis(probabilities, top, axis=1)[:, 0], np.take_along_axis(truth, top, axis=1)[:, 0]


def calibration_bins(confidence: np.ndarray) -> np.ndarray:
    """Return which of `CALIBRATION_BINS` equal-width bins (low, high] each confidence is in, from 0."""
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    return np.digitize(confidence, edges, right=True)


def calibration_gaps(kind: Kind, truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bin of each claim, and confidence - what happened, both (claims,) in the order of the rows.

    The expected calibration error is the sum over bins of |sum of gaps|, by claim (Guo et al. 2017).
    """
    confidence, happened = claims(kind, truth, probabilities)
    return calibration_bins(confidence), confidence - happened


def _expected_calibration_error(kind: Kind, truth: np.ndarray, probabilities: np.ndarray) -> float:
    bins, gaps = calibration_gaps(kind, truth, probabilities)
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(gaps))


def _decision_values(kind: Kind, truth: np.ndarray, predicted: np.ndarray, counts: Counts) -> dict[str, float]:
    exact = float((truth == predicted).all(axis=1).mean())
    accuracy = exact if kind == "multiclass" else float((truth == predicted).mean())
    values = {
        f"{name}_{average}": float(value)
        for average in ("micro", "macro", "weighted")
        for name, value in average_rates(counts, average).items()
    }
    return values | {
        "specificity_macro": float(defined_mean(specificity(counts, len(truth)))),
        "hamming_loss": 1 - accuracy,
        "exact_match": exact,
        "accuracy": accuracy,
        "balanced_accuracy": float(balanced_accuracy(kind, counts, len(truth))),
        "label_cardinality_true": float(truth.sum(axis=1).mean()),
        "label_cardinality_predicted": float(predicted.sum(axis=1).mean()),
    }


@dataclass(frozen=True)
class Ranking:
    """What follows from probabilities alone, whatever the thresholds: scalar `values`, and `per_label` (labels,)."""

    values: Mapping[str, float]
    per_label: Mapping[str, np.ndarray]


def rank(kind: Kind, targets: Any, probabilities: Any) -> Ranking:
    """Compute the metrics that need no predictions; shapes and errors as in `score`."""
    checked = as_probabilities(kind, probabilities)
    truth = as_indicator(kind, targets, checked.shape, "targets")
    columns = zip(truth.T, checked.T, strict=True)
    both = np.array([roc_auc_and_average_precision(*column) for column in columns])
    per_label = {"roc_auc": both[:, 0], "average_precision": both[:, 1]}
    roc_auc, average_precision = roc_auc_and_average_precision(truth.ravel(), checked.ravel())
    macro = {f"{name}_macro": float(defined_mean(values)) for name, values in per_label.items()}
    values = macro | {
        "roc_auc_micro": roc_auc,
        "average_precision_micro": average_precision,
        **{name: float(each.mean()) for name, each in row_means(kind, truth, checked).items()},
        "expected_calibration_error": _expected_calibration_error(kind, truth, checked),
    }
    return Ranking(values, per_label)


def _confusion(kind: Kind, truth: np.ndarray, predicted: np.ndarray, counts: Counts) -> tuple[tuple[int, ...], ...]:
    if kind == "multiclass":
        table = truth.astype(np.int64).T @ predicted.astype(np.int64)
    else:
        tn = len(truth) - counts.support - counts.fp
        table = np.column_stack((tn, counts.fp, counts.fn, counts.tp))
    return tuple(tuple(row) for row in table.tolist())


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def score(kind: Kind, targets: Any, probabilities: Any, predictions: Any, ranked: Ranking | None = None) -> Scores:
    """Compute every metric of one set of predictions.

    Multi-label: targets and predictions (rows, labels) of 0 and 1, probabilities (rows, labels). Multi-class:
    targets and predictions (rows,) of class numbers, probabilities (rows, labels) whose rows sum to 1; labels
    are then scored one-vs-rest. `ranked` is what `rank` gave for the same targets and probabilities, where several
    policies share them. ValueError where shapes or values do not fit, or there is no row.
    """
    checked = as_probabilities(kind, probabilities)
    truth = as_indicator(kind, targets, checked.shape, "targets")
    predicted = as_indicator(kind, predictions, checked.shape, "predictions")
    ranked = ranked or rank(kind, targets, probabilities)
    counts = Counts.of(truth, predicted)
    labels = label_rates(counts) | {
        "specificity": specificity(counts, len(truth)),
        **ranked.per_label,
        "support": counts.support.astype(float),
    }
    values = _decision_values(kind, truth, predicted, counts) | dict(ranked.values)
    return Scores(
        values={name: _or_none(values[name]) for name in METRICS},
        per_label={name: tuple(_or_none(v) for v in column) for name, column in labels.items()},
        confusion=_confusion(kind, truth, predicted, counts),
        undefined={name: tuple(np.flatnonzero(np.isnan(column)).tolist()) for name, column in labels.items()},
    )
