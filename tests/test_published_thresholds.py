"""The three policies of the published chest X-ray system, by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, roc_curve
from zoobench.benchmarks.thresholds import apply_thresholds, fit_thresholds

GRID = [0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85]


def fit(policy, truth, scores):
    """Thresholds of one label, from plain lists."""
    (value,) = fit_thresholds(policy, "multilabel", np.array(truth)[:, None], np.array(scores)[:, None]).values
    return value


def test_youden_by_hand():
    # Sensitivity and false positive rate from the top score: (1/2, 0), (1/2, 1/3), (1, 1/3), (1, 2/3), (1, 1).
    assert fit("youden", [1, 0, 1, 0, 0], [0.9, 0.8, 0.4, 0.3, 0.1]) == 0.4
    # J is 1/2 at 0.9 and again at 0.4: of ties the highest, which predicts least.
    assert fit("youden", [1, 0, 1, 0], [0.9, 0.8, 0.4, 0.1]) == 0.9


@pytest.mark.parametrize(
    ("truth", "scores"),
    [([0, 0, 0], [0.9, 0.2, 0.1]), ([1, 1, 1], [0.9, 0.2, 0.1]), ([1, 0, 1], [0.3, 0.3, 0.3]), ([1, 0], [0.1, 0.9])],
    ids=["absent", "in every row", "constant", "reversed"],
)
def test_youden_keeps_one_half_where_nothing_can_be_told(truth, scores):
    assert fit("youden", truth, scores) == 0.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), decimals=st.sampled_from([1, 2, 8]))
def test_youden_is_the_best_point_of_the_roc_curve(seed, decimals):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(40) < 12)
    scores = np.round(0.3 * truth + 0.7 * rng.random(40), decimals)
    false_rate, true_rate, thresholds = roc_curve(truth, scores)
    j = true_rate - false_rate
    found = fit("youden", truth, scores)
    chosen = scores >= found
    assert chosen[truth].mean() - chosen[~truth].mean() == pytest.approx(j.max())
    assert found == thresholds[np.flatnonzero(j > j.max() - 1e-12)[0]]


# Ten rows at 0.9 (5 true), ten at 0.6 (3 true), ten at 0.2 (1 true): 9 positives.
LEVELS = np.repeat([0.9, 0.6, 0.2], 10)
HELD = np.concatenate([np.arange(10) < count for count in (5, 3, 1)])


def test_precision_constrained_by_hand():
    # At 0.2 precision is 9/30 and F1 18/39; at 0.6 8/20 and 16/29, the best; at 0.85 5/10 and 10/19.
    assert fit("precision-constrained", HELD, LEVELS) == 0.25
    # With another four true at 0.2 all have F1 26/43 there: 13/30 is precise enough, and the lowest of ties is 0.10.
    more = HELD | (np.arange(30) >= 26)
    assert fit("precision-constrained", more, LEVELS) == 0.10


def test_a_precision_of_exactly_the_least_is_enough():
    # 3 of 10 from 0.5 downwards, and nothing above: F1 6/13 everywhere.
    truth, scores = np.arange(10) < 3, np.full(10, 0.5)
    assert fit("precision-constrained", truth, scores) == 0.10
    # 2 of 5 is 0.40: F1 4/7.
    assert fit("dynamic", np.arange(5) < 2, np.full(5, 0.5)) == 0.10


def test_the_constraint_rejects_a_better_f1():
    # One of two true at 0.8 (precision 1/2, F1 2/12), the other nine in 38 at 0.3 (10/40, F1 20/50, not precise).
    truth = np.concatenate([[True, False], np.arange(38) < 9])
    scores = np.concatenate([[0.8, 0.8], np.full(38, 0.3)])
    assert fit("per-label", truth, scores) == pytest.approx(0.15)
    assert fit("precision-constrained", truth, scores) == 0.35
    # The same threshold by `dynamic`; its F1 of 1/6 is below 0.30, so that it is lowered.
    assert fit("dynamic", truth, scores) == 0.30


def test_no_threshold_is_precise_enough():
    truth, scores = np.arange(10) < 2, np.full(10, 0.6)
    assert fit("precision-constrained", truth, scores) == 0.5
    assert fit("dynamic", truth, scores) == 0.45
    # Between the two constraints: 3/10.
    assert fit("precision-constrained", np.arange(10) < 3, scores) == 0.10
    assert fit("dynamic", np.arange(10) < 3, scores) == 0.45


def test_nothing_reaches_the_grid():
    truth, scores = [1, 1, 0], [0.09, 0.08, 0.01]
    assert [fit(policy, truth, scores) for policy in ("precision-constrained", "dynamic")] == [0.5, 0.45]


def test_dynamic_lowers_only_a_weak_f1():
    assert fit("dynamic", HELD, LEVELS) == 0.25
    # One hit in one prediction of six positives: F1 2/7, weak, at 0.10 and up; the five others lie below the grid.
    truth, scores = np.arange(20) < 6, np.concatenate([[0.9], np.full(19, 0.05)])
    assert fit("precision-constrained", truth, scores) == 0.10
    assert fit("dynamic", truth, scores) == 0.05
    # One hit of five positives: F1 1/3, and left alone.
    assert fit("dynamic", np.arange(20) < 5, scores) == 0.10


def test_labels_are_fitted_one_by_one():
    truth = np.column_stack([HELD, np.zeros(30, bool), HELD])
    probabilities = np.column_stack([LEVELS, LEVELS, LEVELS / 2])
    fitted = fit_thresholds("dynamic", "multilabel", truth, probabilities)
    assert fitted.values == (0.25, 0.5, 0.15)
    assert apply_thresholds(fitted, "multilabel", probabilities).sum(axis=0).tolist() == [20, 20, 20]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_precision_constrained_is_the_plain_search(seed):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(40) < 10)
    scores = np.round(0.3 * truth + 0.7 * rng.random(40), 2)
    best, value = 0.5, 0.0
    for threshold in GRID:
        chosen = scores >= threshold
        if chosen.any() and precision_score(truth, chosen) >= 0.30 and f1_score(truth, chosen) > value + 1e-12:
            best, value = threshold, f1_score(truth, chosen)
    assert fit("precision-constrained", truth, scores) == best
