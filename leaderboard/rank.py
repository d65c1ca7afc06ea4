"""Ranks, and what the evidence cannot tell apart: pure functions on arrays.

Resamples are paired: replicate i of every model on one split was drawn on the same test rows, so a difference of
replicates cancels what is common to both models (Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
chapter 13: percentile intervals).
"""

from __future__ import annotations

import numpy as np

LEVEL = 0.95
"""The confidence of every interval on the board."""

NO_INTERVAL = (float("nan"), float("nan"))


def ranks(values: np.ndarray, *, higher_is_better: bool) -> np.ndarray:
    """Return the rank of each value (n,), 1 for the best; equal values share the lower rank, NaN has none (NaN).

    >>> ranks(np.array([0.5, 0.7, 0.5, 0.1]), higher_is_better=True)
    array([2., 1., 2., 4.])
    """
    signed = -values if higher_is_better else values
    placed = np.searchsorted(np.sort(signed[~np.isnan(signed)]), signed, side="left") + 1.0
    return np.where(np.isnan(signed), np.nan, placed)


def interval(replicates: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of bootstrap replicates (resamples,).

    Replicates where the metric is undefined (NaN) are left out; where they are the majority there is no interval.
    """
    defined = replicates[np.isfinite(replicates)]
    if not len(replicates) or 2 * len(defined) < len(replicates):
        return NO_INTERVAL
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def difference_interval(best: np.ndarray, row: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of ``best - row`` over paired replicates, each (resamples,); none if they do not pair."""
    if best.shape != row.shape:
        return NO_INTERVAL
    return interval(best.astype(np.float64) - row, level)


def tied_with_best(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return whether each interval of ``best - row`` (n,) contains 0; a missing one (NaN) says no."""
    return (low <= 0) & (high >= 0)
