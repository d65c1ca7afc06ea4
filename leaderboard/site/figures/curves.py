"""ROC and precision-recall curves of one label, exact, and thinned to what a screen tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import thousandths


@dataclass(frozen=True)
class Curve:
    """A curve over falling thresholds.

    Attributes
    ----------
    x, y
        (points,) rates from 0 to 1: false and true positive rate, or recall and precision. `x` never falls.
    thresholds
        (points,): rows at or above it are counted as chosen. Infinite where none is.
    """

    x: np.ndarray
    y: np.ndarray
    thresholds: np.ndarray

    def __post_init__(self) -> None:
        if not self.x.shape == self.y.shape == self.thresholds.shape or self.x.ndim != 1 or not self.x.size:
            raise ValueError("a curve has an x, a y and a threshold for each of its points")
        if np.diff(self.x).min(initial=0) < 0 or np.diff(self.thresholds).max(initial=0) > 0:
            raise ValueError("along a curve x never falls, and the threshold never rises")
        if min(self.x.min(), self.y.min()) < 0 or max(self.x.max(), self.y.max()) > 1:
            raise ValueError("a curve is made of rates from 0 to 1")

    def thinned(self, most: int) -> Curve:
        """Return the curve with at most `most` of its points, both ends among them.

        They lie about evenly along its length, sides of its steps added up (at most 2 for a ROC curve), so that none
        of those left out is further than 2 / (`most` - 1) from one that stays.
        """
        if len(self.x) <= most:
            return self
        length = np.append(0.0, np.cumsum(np.abs(np.diff(self.x)) + np.abs(np.diff(self.y))))
        wanted = np.linspace(0, length[-1], most)
        kept = np.unique(np.append(np.searchsorted(length, wanted[:-1]), len(self.x) - 1))
        return Curve(self.x[kept], self.y[kept], self.thresholds[kept])

    def as_json(self) -> dict[str, Any]:
        """Return the points as lists of thousandths; an infinite threshold stands there as that of certainty, 1."""
        return {
            "x": thousandths(self.x),
            "y": thousandths(self.y),
            "t": thousandths(np.minimum(self.thresholds, 1.0)),
        }


@dataclass(frozen=True)
class Curves:
    """Both curves of a label: None where they are not defined (no row has the label; `roc` also where all have)."""

    roc: Curve | None
    precision_recall: Curve | None


def label_curves(truth: np.ndarray, scores: np.ndarray) -> Curves:
    """Return both curves from one sort, rows of equal score taken together.

    `roc` begins at (0, 0) and has its corners alone. `precision_recall` has a point for each score at which another
    true row is found: between two of them average precision takes the precision of the one on the right.

    Parameters
    ----------
    truth, scores
        (rows,) bool, and (rows,) float from 0 to 1.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    true = np.cumsum(truth[order])[last]
    chosen, thresholds = last + 1, ordered[last].astype(float)
    positives, rows = int(true[-1]), len(scores)
    if not positives:
        return Curves(None, None)
    found = np.diff(true, prepend=0) > 0
    recall = Curve(true[found] / positives, true[found] / chosen[found], thresholds[found])
    if positives == rows:
        return Curves(None, recall)
    roc = _corners(np.append(0, chosen - true), np.append(0, true), np.append(np.inf, thresholds))
    return Curves(Curve(roc[0] / (rows - positives), roc[1] / positives, roc[2]), recall)


def _corners(false: np.ndarray, true: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leave out points that lie on a straight line between their neighbours; whole counts make that exact."""
    across, up = np.diff(false), np.diff(true)
    turns = across[:-1] * up[1:] != across[1:] * up[:-1]
    kept = np.concatenate([[True], turns, [True]])
    return false[kept], true[kept], thresholds[kept]
