"""The ranking metrics against scikit-learn, whose definitions they follow."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from zoobench.benchmarks import ranking


@pytest.mark.parametrize("seed", range(5))
def test_rankings_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((400, 7)) < 0.3
    scores = np.round(rng.random((400, 7)) + 0.3 * truth, 1 if seed % 2 else 6)  # with many ties, and with few
    truth[3], truth[4] = False, True
    for column, values in zip(truth.T, scores.T, strict=True):
        expected = metrics.roc_auc_score(column, values), metrics.average_precision_score(column, values)
        assert ranking.roc_auc_and_average_precision(column, values) == pytest.approx(expected, abs=1e-12)
    expected = metrics.label_ranking_average_precision_score(truth, scores)
    assert ranking.label_ranking_average_precision(truth, scores) == pytest.approx(expected, abs=1e-12)
    one_at_a_time = np.mean(
        [ranking.label_ranking_average_precision(t[None], s[None]) for t, s in zip(truth, scores, strict=True)]
    )
    assert one_at_a_time == pytest.approx(expected, abs=1e-12)
