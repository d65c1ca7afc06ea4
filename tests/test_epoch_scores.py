"""What the history of an image network says of each epoch, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from zoobench.zoo.epoch_scores import GRID, epoch_scores


def test_scores_are_those_at_the_best_of_the_published_thresholds() -> None:
    assert (GRID[0], GRID[-1], len(GRID)) == (0.10, 0.85, 16)
    rng = np.random.default_rng(0)
    targets, found = rng.integers(0, 2, (30, 3)), rng.random((30, 3)).astype(np.float32)
    columns = []
    for held, answers in zip(targets.T, found.T, strict=True):
        scores = [f1_score(held, answers >= cut) for cut in GRID]
        columns.append((held, answers >= GRID[int(np.argmax(scores))]))
    wanted = {
        "f1_macro": np.mean([f1_score(*pair) for pair in columns]),
        "precision_macro": np.mean([precision_score(*pair) for pair in columns]),
        "recall_macro": np.mean([recall_score(*pair) for pair in columns]),
        "roc_auc_macro": roc_auc_score(targets, found, average="macro"),
    }
    assert epoch_scores(targets, found) == pytest.approx(wanted)


def test_a_label_without_rows_counts_nothing_and_has_no_auc() -> None:
    targets, found = np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.2], [0.1, 0.2]])
    assert epoch_scores(targets, found) == {
        "f1_macro": 0.5,
        "precision_macro": 0.5,
        "recall_macro": 0.5,
        "roc_auc_macro": 1.0,
    }
    assert "roc_auc_macro" not in epoch_scores(targets[:, 1:], found[:, 1:])


def test_of_classes_the_most_probable_is_the_answer() -> None:
    rng = np.random.default_rng(1)
    targets, found = rng.integers(0, 4, 50), rng.dirichlet(np.ones(4), 50)
    scores = epoch_scores(targets, found)
    answers = found.argmax(axis=1)
    assert scores["f1_macro"] == pytest.approx(f1_score(targets, answers, average="macro"))
    assert scores["recall_macro"] == pytest.approx(recall_score(targets, answers, average="macro"))
    assert scores["roc_auc_macro"] == pytest.approx(roc_auc_score(targets, found, multi_class="ovr"))
