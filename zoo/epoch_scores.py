"""How well a network answers after an epoch: what its history says, and the published choice of a checkpoint."""

from __future__ import annotations

import numpy as np

GRID = np.arange(10, 86, 5) / 100
"""The published thresholds."""


def epoch_scores(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return macro F1, precision and recall, and the macro ROC AUC.

    The F1 of a label is the best among the published thresholds, 0 for a label without rows; precision and recall are
    those of the same thresholds. Of classes that exclude one another, the most probable one is the answer. The AUC is
    the mean over labels that some rows have and others have not; it is left out where there is none.

    Parameters
    ----------
    targets
        (n, labels) 0/1, or (n,) class numbers.
    probabilities
        (n, labels).
    """
    classes = probabilities.shape[1]
    if targets.ndim == 1:
        targets = np.eye(classes, dtype=np.uint8)[targets]
        answered = np.eye(classes, dtype=bool)[probabilities.argmax(axis=1)][:, :, None]
    else:
        answered = probabilities[:, :, None] >= GRID
    hit = (answered & (targets[:, :, None] == 1)).sum(axis=0)
    found, held = answered.sum(axis=0), targets.sum(axis=0, dtype=np.int64)[:, None]
    f1 = 2 * hit / np.maximum(found + held, 1)
    best = f1.argmax(axis=1)[:, None]
    parts = {"f1": f1, "precision": hit / np.maximum(found, 1), "recall": hit / np.maximum(held, 1)}
    means = {f"{name}_macro": float(np.take_along_axis(part, best, axis=1).mean()) for name, part in parts.items()}
    told = np.flatnonzero((held[:, 0] > 0) & (held[:, 0] < len(targets)))
    return means | ({"roc_auc_macro": _auc(targets[:, told], probabilities[:, told])} if len(told) else {})


def _auc(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(np.mean([roc_auc_score(*columns) for columns in zip(targets.T, probabilities.T, strict=True)]))
