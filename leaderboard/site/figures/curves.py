"""ROC and precision-recall curves of one label, exact, and thinned to what a screen tells apart."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache

import numpy as np


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
        x, y, thresholds = self.x, self.y, self.thresholds
        if not x.shape == y.shape == thresholds.shape or x.ndim != 1 or not x.size:
            raise ValueError("a curve has an x, a y and a threshold for each of its points")
        if (x[1:] < x[:-1]).any() or (thresholds[1:] > thresholds[:-1]).any():
            raise ValueError("along a curve x never falls, and the threshold never rises")
        if x[0] < 0 or x[-1] > 1 or y.min() < 0 or y.max() > 1:
            raise ValueError("a curve is made of rates from 0 to 1")

    def as_json(self) -> dict[str, list[int]]:
        """Return the points as lists of whole thousandths; an infinite threshold stands there as certainty, 1."""
        points = np.array([self.x, self.y, np.minimum(self.thresholds, 1)])
        return dict(zip(("x", "y", "t"), np.rint(1000 * points).astype(int).tolist(), strict=True))


@dataclass(frozen=True)
class Curves:
    """Both curves of a label: None where they are not defined (no row has the label; `roc` also where all have)."""

    roc: Curve | None
    precision_recall: Curve | None


def label_curves(truth: np.ndarray, scores: np.ndarray, most: int = sys.maxsize) -> Curves:
    """Return both curves from one sort, rows of equal score taken together.

    `roc` begins at (0, 0) and has its corners alone. `precision_recall` has a point for each score at which another
    true row is found: between two of them average precision takes the precision of the one on the right.

    Parameters
    ----------
    truth, scores
        (rows,) bool, and (rows,) float from 0 to 1.
    most
        A curve of more points keeps about as many, both ends among them: of `precision_recall` evenly along recall, of
        `roc` along its steps, which add up to 2, so that none that is left out is further than 2 / (`most` - 1) from
        one that stays.
    """
    order = np.argsort(-scores)
    ordered = scores[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(scores) - 1)
    true, thresholds = np.cumsum(truth[order])[last], ordered[last]
    chosen, positives, rows = last + 1, int(true[-1]), len(scores)
    if not positives:
        return Curves(None, None)
    found = np.flatnonzero(np.append(true[:1] > 0, true[1:] > true[:-1]))
    found = found[_even(true[found], most)]
    recall = Curve(true[found] / positives, true[found] / chosen[found], thresholds[found])
    if positives == rows:
        return Curves(None, recall)
    false, true = np.concatenate([[0], chosen - true]), np.concatenate([[0], true])
    kept = _corners(false, true)
    x, y = false[kept] / (rows - positives), true[kept] / positives
    even = _even(x + y, most)
    return Curves(Curve(x[even], y[even], np.append(np.inf, thresholds)[kept][even]), recall)


def _corners(false: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the places of the points that lie on no line between their neighbours, which whole counts tell exactly."""
    across, up = false[1:] - false[:-1], true[1:] - true[:-1]
    turns = np.flatnonzero(across[:-1] * up[1:] != across[1:] * up[:-1]) + 1
    return np.concatenate([[0], turns, [len(false) - 1]])


def _even(along: np.ndarray, most: int) -> np.ndarray | slice:
    """Return the places of at most `most` points, about evenly along rising numbers, both ends among them."""
    if len(along) <= most:
        return slice(None)
    wanted = along[0] + (along[-1] - along[0]) * _grid(most)
    kept = along.searchsorted(wanted)
    kept[-1] = len(along) - 1
    return kept[np.append(True, kept[1:] > kept[:-1])]


@cache
def _grid(points: int) -> np.ndarray:
    return np.linspace(0, 1, points)
