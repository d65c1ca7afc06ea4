"""Threshold policies: by hand, against brute force, and their edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoobench.benchmarks.metrics import score
from zoobench.benchmarks.thresholds import (
    MAX_CANDIDATES,
    POLICIES,
    Thresholds,
    apply_thresholds,
    fit_thresholds,
    policies_for,
)


def f1_of(targets, predictions):
    """F1 of one label, or of pooled cells, by its definition; None without positives."""
    hits = int(((targets == 1) & (predictions == 1)).sum())
    positives, predicted = int(targets.sum()), int(predictions.sum())
    return 2 * hits / (positives + predicted) if positives else None


def averaged_f1(targets, predictions, average):
    if average == "micro":
        return f1_of(targets, predictions)
    by_label = [f1_of(t, p) for t, p in zip(targets.T, predictions.T, strict=True)]
    weights = targets.sum(axis=0) if average == "weighted" else (targets.sum(axis=0) > 0).astype(int)
    return sum(f * w for f, w in zip(by_label, weights, strict=True) if f is not None) / weights.sum()


def every_threshold(probabilities):
    """One threshold for every way of cutting the scores in two, the empty ways included."""
    levels = np.unique(np.append(probabilities, [0.0, 1.0]))
    return [*levels, *((levels[1:] + levels[:-1]) / 2), 0.5]


def random_data(seed, n=30, n_labels=3, decimals=2):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, n_labels)) < 0.3).astype(np.uint8)
    return targets, np.round(0.3 * targets + 0.7 * rng.random((n, n_labels)), decimals)


def test_policies_of_each_kind():
    assert policies_for("multilabel") == (
        *("fixed-0.5", "global", "per-label"),
        *("youden", "precision-constrained", "dynamic"),
    )
    assert policies_for("multiclass") == ("argmax",)
    assert set(POLICIES) == {*policies_for("multilabel"), *policies_for("multiclass")}


def test_fixed():
    targets, probabilities = random_data(0)
    fitted = fit_thresholds("fixed-0.5", "multilabel", targets, probabilities)
    assert fitted == Thresholds("fixed-0.5", (0.5, 0.5, 0.5))


def test_hand_worked_per_label():
    targets = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=np.uint8)
    probabilities = np.array([[0.3, 0.9], [0.25, 0.8], [0.15, 0.2], [0.1, 0.7]])
    fitted = fit_thresholds("per-label", "multilabel", targets, probabilities)
    assert fitted.values == pytest.approx(((0.15 + 0.25) / 2, 0.5))
    assert apply_thresholds(fitted, "multilabel", probabilities).tolist() == [[1, 1], [1, 1], [0, 0], [0, 1]]


def test_hand_worked_global():
    targets = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=np.uint8)
    probabilities = np.array([[0.3, 0.1], [0.25, 0.4], [0.15, 0.2], [0.1, 0.45]])
    for average in ("micro", "macro", "weighted"):
        fitted = fit_thresholds("global", "multilabel", targets, probabilities, average)
        assert fitted.values == pytest.approx(((0.2 + 0.25) / 2,) * 2)


def test_averages_choose_differently():
    common, rare = [1, 1, 1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]
    targets = np.array([common, rare], dtype=np.uint8).T
    probabilities = np.array([[0.2] * 8, [0.9] + [0.3] * 7]).T
    # at 0.1 all is predicted: F1 8/12 and 2/9, micro 10/21; at 0.5 the rare label alone: 0 and 1, micro 2/6
    chosen = {
        average: fit_thresholds("global", "multilabel", targets, probabilities, average).values
        for average in ("micro", "macro", "weighted")
    }
    assert chosen == {"micro": (0.1, 0.1), "macro": (0.5, 0.5), "weighted": (0.1, 0.1)}


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), decimals=st.sampled_from([1, 2, 8]))
def test_global_is_as_good_as_brute_force(average, seed, decimals):
    targets, probabilities = random_data(seed, decimals=decimals)
    targets[0] = 1
    fitted = fit_thresholds("global", "multilabel", targets, probabilities, average)
    assert len(set(fitted.values)) == 1
    reached = averaged_f1(targets, apply_thresholds(fitted, "multilabel", probabilities), average)
    tried = [averaged_f1(targets, probabilities >= t, average) for t in every_threshold(probabilities)]
    assert reached == pytest.approx(max(tried))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), decimals=st.sampled_from([1, 2, 8]))
def test_per_label_is_as_good_as_brute_force(seed, decimals):
    targets, probabilities = random_data(seed, decimals=decimals)
    targets[0] = 1
    fitted = fit_thresholds("per-label", "multilabel", targets, probabilities)
    predictions = apply_thresholds(fitted, "multilabel", probabilities)
    for label, scores in enumerate(probabilities.T):
        best = max(f1_of(targets[:, label], scores >= t) for t in every_threshold(scores))
        assert f1_of(targets[:, label], predictions[:, label]) == pytest.approx(best)


def test_ties_go_to_the_threshold_nearest_one_half():
    targets = np.array([[1], [0]], dtype=np.uint8)
    assert fit_thresholds("per-label", "multilabel", targets, [[0.99], [0.2]]).values == (0.5,)
    targets, scores = np.array([[1], [0], [0], [1]], dtype=np.uint8), [[0.4], [0.3], [0.3], [0.2]]
    # 0.1 (two of four predicted are right) and 0.35 (one of two is found) both have F1 2/3
    assert fit_thresholds("per-label", "multilabel", targets, scores).values == pytest.approx((0.35,))


def test_label_absent_from_validation_keeps_one_half_and_does_not_sway_the_others():
    targets, probabilities = random_data(3)
    targets[:, 1] = 0
    probabilities[:, 1] = 0.9
    values = fit_thresholds("per-label", "multilabel", targets, probabilities).values
    assert values[1] == 0.5
    others = fit_thresholds("global", "multilabel", targets[:, [0, 2]], probabilities[:, [0, 2]])
    fitted = fit_thresholds("global", "multilabel", targets, probabilities)
    assert fitted.values == (others.values[0],) * 3


@pytest.mark.parametrize("policy", policies_for("multilabel"))
def test_no_positive_in_validation(policy):
    fitted = fit_thresholds(policy, "multilabel", np.zeros((4, 2)), np.full((4, 2), 0.7))
    assert fitted.values == (0.5, 0.5)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_probabilities(level):
    targets = np.array([[1], [0], [1]], dtype=np.uint8)
    fitted = fit_thresholds("per-label", "multilabel", targets, np.full((3, 1), level))
    assert apply_thresholds(fitted, "multilabel", np.full((3, 1), level)).tolist() == [[1], [1], [1]]


def test_many_scores_are_reduced_to_quantiles_and_stay_near_the_best():
    targets, probabilities = random_data(4, n=4000, n_labels=2, decimals=12)
    assert len(np.unique(probabilities[targets == 1])) > 5 * MAX_CANDIDATES
    fitted = fit_thresholds("global", "multilabel", targets, probabilities, "micro")
    reached = averaged_f1(targets, apply_thresholds(fitted, "multilabel", probabilities), "micro")
    best = max(averaged_f1(targets, probabilities >= t, "micro") for t in np.linspace(0, 1, 1001))
    assert reached >= best - 0.003


def test_fitting_agrees_with_the_metric():
    targets, probabilities = random_data(5)
    f1 = {}
    for policy in policies_for("multilabel"):
        fitted = fit_thresholds(policy, "multilabel", targets, probabilities)
        predictions = apply_thresholds(fitted, "multilabel", probabilities)
        f1[policy] = score("multilabel", targets, probabilities, predictions).values["f1_macro"]
    assert f1["fixed-0.5"] <= f1["global"] <= f1["per-label"]


def test_float32_scores_are_cut_where_they_were_fitted():
    low, high = np.float32(0.3), np.nextafter(np.float32(0.3), np.float32(1))
    targets, probabilities = np.array([[0], [1]]), np.array([[low], [high]], dtype=np.float32)
    fitted = fit_thresholds("per-label", "multilabel", targets, probabilities)
    assert apply_thresholds(fitted, "multilabel", probabilities).tolist() == [[0], [1]]


def test_at_the_threshold_is_predicted():
    predictions = apply_thresholds(Thresholds("fixed-0.5", (0.5,)), "multilabel", [[0.5], [0.499]])
    assert predictions.tolist() == [[1], [0]]
    assert predictions.dtype == np.uint8


def test_argmax():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    fitted = fit_thresholds("argmax", "multiclass", np.array([1, 0]), probabilities)
    assert fitted == Thresholds("argmax", ())
    assert apply_thresholds(fitted, "multiclass", probabilities).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("policy", "values", "message"),
    [
        ("best", (0.5,), "unknown threshold policy"),
        ("argmax", (0.5,), "cannot have 1"),
        ("global", (), "cannot have 0"),
        ("global", (1.5,), "within"),
        ("global", (float("nan"),), "within"),
    ],
)
def test_impossible_thresholds_are_refused(policy, values, message):
    with pytest.raises(ValueError, match=message):
        Thresholds(policy, values)


def test_bad_input_is_refused():
    targets, probabilities = random_data(6)
    with pytest.raises(ValueError, match="does not fit multilabel"):
        fit_thresholds("argmax", "multilabel", targets, probabilities)
    with pytest.raises(ValueError, match="validation targets must have shape"):
        fit_thresholds("global", "multilabel", targets[:5], probabilities)
    with pytest.raises(ValueError, match="cannot serve 3 labels"):
        apply_thresholds(Thresholds("global", (0.5, 0.5)), "multilabel", probabilities)
    with pytest.raises(ValueError, match="does not fit multiclass"):
        apply_thresholds(Thresholds("global", (0.5, 0.5)), "multiclass", [[0.5, 0.5]])
