"""What a stored cell's confidence is worth on the test fold, before and after its temperature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..datasets.core import Task
from .calibration import Reliability, fit_temperature, label_errors, reliability, scale
from .metrics import Kind, as_indicator, rank
from .record import Record
from .rows import Rows, read_rows
from .selective import (
    THRESHOLDS,
    Kept,
    answer_confidence,
    area_under_risk_coverage,
    kept_at,
    risk_coverage,
)
from .store import Stored
from .thresholds import Thresholds, apply_thresholds

FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "expected_calibration_error": "Expected calibration error",
        "label_calibration_error": "Calibration error by label, mean",
        "maximum_calibration_error": "Maximum calibration error",
        "brier": "Brier score",
        "log_loss": "Log loss",
        "area_under_risk_coverage": "Area under risk-coverage",
    }
)
"""The figures of a `Reading` and their titles; of all of them lower is better."""


@dataclass(frozen=True)
class Reading:
    """Probabilities held against the truth.

    Attributes
    ----------
    figures
        By the names of `FIGURES`; those that `metrics` has too are computed by it.
    reliability
        The bins behind the expected and the maximum calibration error.
    label_errors
        (labels,): the calibration error of each label by itself.
    kept
        What is left at each of `selective.THRESHOLDS`.
    coverage, risk
        (n,): share of rows kept, and share of these that are wrong as a whole.
    """

    figures: Mapping[str, float]
    reliability: Reliability
    label_errors: np.ndarray
    kept: tuple[Kept, ...]
    coverage: np.ndarray
    risk: np.ndarray

    def __post_init__(self) -> None:
        if set(self.figures) != set(FIGURES) or self.coverage.shape != self.risk.shape:
            raise ValueError(f"a reading has the figures {sorted(FIGURES)} and a risk for each coverage")


@dataclass(frozen=True)
class Confidence:
    """A cell's test fold as its probabilities are stored (`before`) and divided by its temperature (`after`).

    Attributes
    ----------
    fitted_now
        Whether the record is older than temperatures, so that it was fitted now, on the stored validation fold.
    positives
        (labels,): rows of the test fold that have the label.
    """

    record: Record
    temperature: float
    fitted_now: bool
    positives: np.ndarray
    before: Reading
    after: Reading


def examine(stored: Stored, task: Task, on_prepare: Callable[[str], None]) -> Confidence:
    """Hold the stored probabilities of a cell against the test fold; arguments and errors are those of `read_rows`."""
    record, rows = stored.record, read_rows(stored, task, on_prepare)
    temperature, test = _temperature(record, rows["validation"]), rows["test"]
    decided = Thresholds(record.policy, tuple(record.test[record.policy].thresholds))
    predicted = apply_thresholds(decided, record.kind, test.probabilities)
    readings = [
        read(record.kind, test.targets, scale(record.kind, test.probabilities, each), predicted)
        for each in (1.0, temperature)
    ]
    positives = as_indicator(record.kind, test.targets, test.probabilities.shape, "targets").sum(axis=0)
    return Confidence(record, temperature, record.temperature is None, positives, *readings)


def temperature_of(stored: Stored, task: Task, on_prepare: Callable[[str], None]) -> float:
    """Return the temperature of a record; of one that is older than temperatures, fitted on its validation fold."""
    if stored.record.temperature is not None:
        return stored.record.temperature
    return _temperature(stored.record, read_rows(stored, task, on_prepare)["validation"])


def _temperature(record: Record, validation: Rows) -> float:
    if record.temperature is not None:
        return record.temperature
    return fit_temperature(record.kind, validation.targets, validation.probabilities)


def read(kind: Kind, targets: np.ndarray, probabilities: np.ndarray, predictions: np.ndarray) -> Reading:
    """Return every figure of probabilities and of what was decided by them, shaped as in `metrics.score`."""
    bins, errors = reliability(kind, targets, probabilities), label_errors(kind, targets, probabilities)
    truth = as_indicator(kind, targets, probabilities.shape, "targets")
    right = as_indicator(kind, predictions, probabilities.shape, "predictions") == truth
    right = right.all(axis=1, keepdims=True) if kind == "multiclass" else right
    confidence, wrong = answer_confidence(kind, probabilities, predictions), ~right.all(axis=1)
    ranked = rank(kind, targets, probabilities).values
    figures = {
        "expected_calibration_error": ranked["expected_calibration_error"],
        "label_calibration_error": float(errors.mean()),
        "maximum_calibration_error": bins.maximum_error,
        "brier": ranked["brier"],
        "log_loss": ranked["log_loss"],
        "area_under_risk_coverage": area_under_risk_coverage(confidence, wrong),
    }
    kept = kept_at(THRESHOLDS, confidence, right)
    return Reading(figures, bins, errors, kept, *risk_coverage(confidence, wrong))
