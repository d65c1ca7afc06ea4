"""ROC AUC, average precision and label ranking average precision, by scikit-learn's definitions.

Written here and not called from scikit-learn: it checks its input anew for each label, which took 2 s a cell where
these take 20 ms (24 labels, three folds), and importing it would cost every run seconds. The tests hold both equal.
"""

from __future__ import annotations

import numpy as np

_PAIRS = 2**22  # pairs of labels compared at a time: 32 MiB of float64


def roc_auc_and_average_precision(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Return both from one sort, rows of equal score taken together.

    ROC AUC is the share of (true, false) pairs of rows in the right order, ties counting half: NaN without a pair.
    Average precision is the mean over the true rows of the precision at their score: NaN without a true row.

    Parameters
    ----------
    truth, scores
        (n,) bool and (n,) float.
    """
    order = np.argsort(-scores)
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    true = np.cumsum(truth[order])[last]
    found, total = np.diff(true, prepend=0), true[-1]
    false = last + 1 - true
    pairs = total * false[-1]
    # Each group of equal scores: its false rows stand below all true ones before it, and beside half of its own.
    below = (np.diff(false, prepend=0) * (true - found / 2)).sum()
    auc = float(below / pairs) if pairs else np.nan
    return auc, float((found * true / (last + 1)).sum() / total) if total else np.nan


def label_ranking_average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean over rows of `label_ranking_precisions`."""
    return float(label_ranking_precisions(truth, scores).mean())


def label_ranking_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return of each row (n,): of the labels ranked at or above a true one, how many are true.

    A row with no true label, or with true ones alone, counts 1.

    Parameters
    ----------
    truth, scores
        (n, labels) bool and (n, labels) float.
    """
    rows, labels = truth.shape
    step = max(1, _PAIRS // labels**2)
    found = np.empty(rows)
    for first in range(0, rows, step):
        true, score = truth[first : first + step], scores[first : first + step]
        at_or_above = score[:, None, :] >= score[:, :, None]
        rank, rank_among_true = at_or_above.sum(2), (at_or_above & true[:, None, :]).sum(2)
        count = true.sum(axis=1)
        precision = np.where(true, rank_among_true / rank, 0.0).sum(axis=1) / np.maximum(count, 1)
        found[first : first + step] = np.where(count > 0, precision, 1.0)
    return found
