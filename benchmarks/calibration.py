"""Whether probabilities mean what they say, and one temperature that mends them: pure functions on arrays.

A temperature divides every logit (Guo et al. 2017, "On Calibration of Modern Neural Networks", ICML). It is a policy of
probabilities, not of decisions: the order of a label's probabilities stays, so thresholds that move through the same
map decide as before, and so does the most probable class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import CALIBRATION_BINS, Kind, as_indicator, as_probabilities, calibration_bins, claims

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
"""Between these a temperature is looked for: a fold that a model has wholly right would ask for 0."""
EPSILON = float(np.finfo(np.float32).eps)
"""Of 0 and 1, whose logits are infinite: stored as float32, no probability is surer than this of anything."""


@dataclass(frozen=True)
class Reliability:
    """Confidence against frequency in equal-width bins (low, high] over [0, 1]; each array is (bins,).

    Attributes
    ----------
    counts
        How many claims (rows of a multi-class task, cells of a multi-label one) fall into each bin.
    confidence, frequency
        Their mean confidence and the share that came true; NaN in an empty bin.
    """

    counts: np.ndarray
    confidence: np.ndarray
    frequency: np.ndarray

    def __post_init__(self) -> None:
        if not self.counts.sum() or not self.counts.shape == self.confidence.shape == self.frequency.shape:
            raise ValueError("a reliability needs one claim or more, and a confidence and a frequency for each bin")

    @property
    def gaps(self) -> np.ndarray:
        """|confidence - frequency|, (bins,), NaN in an empty bin."""
        return np.abs(self.confidence - self.frequency)

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean gap, weighted by how many claims a bin holds."""
        held = self.counts > 0
        return float((self.gaps[held] * self.counts[held]).sum() / self.counts.sum())

    @property
    def maximum_error(self) -> float:
        """Maximum calibration error: the widest gap of a bin that holds any claim, however few."""
        return float(np.nanmax(self.gaps))


def reliability(kind: Kind, targets: Any, probabilities: Any) -> Reliability:
    """Bin what probabilities claim; arrays are shaped as in `metrics.score`, and so are the errors.

    Multi-class: one claim a row, that its most probable class is the true one. Multi-label: one a cell, that the row
    has the label, all labels pooled (`label_errors` looks at each by itself).
    """
    truth, checked = _checked(kind, targets, probabilities)
    return _reliability(*claims(kind, truth, checked))


def label_errors(kind: Kind, targets: Any, probabilities: Any) -> np.ndarray:
    """Return the expected calibration error of each label by itself, (labels,), one against the rest.

    Their mean is the classwise error of Kull et al. 2019 ("Beyond temperature scaling", NeurIPS). Pooling may hide that
    one label is too sure and another too unsure; this does not.
    """
    truth, checked = _checked(kind, targets, probabilities)
    return np.array([_reliability(*column).expected_error for column in zip(checked.T, truth.T, strict=True)])


def _checked(kind: Kind, targets: Any, probabilities: Any) -> tuple[np.ndarray, np.ndarray]:
    checked = as_probabilities(kind, probabilities)
    return as_indicator(kind, targets, checked.shape, "targets"), checked


def _reliability(confidence: np.ndarray, happened: np.ndarray) -> Reliability:
    bins = calibration_bins(confidence)
    counts, claimed, true = (
        np.bincount(bins, weights=weights, minlength=CALIBRATION_BINS) for weights in (None, confidence, happened)
    )
    held = counts > 0
    claimed, true = (np.where(held, each / np.maximum(counts, 1), np.nan) for each in (claimed, true))
    return Reliability(counts, claimed, true)


def scale(kind: Kind, probabilities: Any, temperature: float) -> np.ndarray:
    """Return probabilities (rows, labels), float64, with their logits divided by `temperature`.

    Multi-label: each cell's log odds, mapped back by the logistic function. Multi-class: the log probabilities, mapped
    back by softmax. 1 changes nothing; above 1 a model becomes less sure, below 1 surer. Probabilities are kept
    `EPSILON` away from 0 and 1 (multi-class: from 0), so that the sure ones yield as well. ValueError where the
    probabilities are none, or the temperature is not more than 0 and finite.
    """
    from scipy.special import expit, softmax

    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature {temperature} must be more than 0, and finite")
    checked = as_probabilities(kind, probabilities)
    if temperature == 1:
        return checked
    logits = _logits(kind, checked) / temperature
    return expit(logits) if kind == "multilabel" else softmax(logits, axis=1)


def fit_temperature(kind: Kind, targets: Any, probabilities: Any) -> float:
    """Return the temperature under which validation probabilities have the least negative log likelihood.

    One for all labels. The loss is the mean over cells (multi-label, binary cross-entropy) or rows (multi-class); as a
    function of 1 / T it is convex, so that the bounded search finds its one minimum. Between `LOWEST_TEMPERATURE` and
    `HIGHEST_TEMPERATURE`, and 1 where no other is better. Arrays and errors as in `metrics.score`.
    """
    from scipy.optimize import minimize_scalar

    loss = _loss(kind, *_checked(kind, targets, probabilities))
    bounds = (np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE))
    options = {"xatol": 1e-6}
    found = minimize_scalar(lambda log: loss(np.exp(log)), bounds=bounds, method="bounded", options=options)
    best = float(np.exp(found.x))
    return best if loss(best) < loss(1.0) else 1.0


def _logits(kind: Kind, probabilities: np.ndarray) -> np.ndarray:
    if kind == "multiclass":
        return np.log(np.maximum(probabilities, EPSILON))
    inside = np.clip(probabilities, EPSILON, 1 - EPSILON)
    return np.log(inside) - np.log1p(-inside)


def _loss(kind: Kind, truth: np.ndarray, probabilities: np.ndarray) -> Callable[[float], float]:
    """Return the negative log likelihood as a function of the temperature."""
    from scipy.special import logsumexp

    logits = _logits(kind, probabilities)
    if kind == "multilabel":
        away = np.where(truth, -logits, logits)
        return lambda temperature: float(np.logaddexp(0, away / temperature).mean())
    given = logits[truth]
    return lambda temperature: float(np.mean(np.asarray(logsumexp(logits / temperature, axis=1)) - given / temperature))
