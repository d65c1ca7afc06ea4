"""Calibration and selective prediction: by hand, against loops and scikit-learn, and for their invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from zoobench.benchmarks.calibration import (
    EPSILON,
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    fit_temperature,
    label_errors,
    reliability,
    scale,
)
from zoobench.benchmarks.confidence import read
from zoobench.benchmarks.metrics import score
from zoobench.benchmarks.selective import (
    THRESHOLDS,
    answer_confidence,
    area_under_risk_coverage,
    kept_at,
    risk_coverage,
)
from zoobench.benchmarks.thresholds import Thresholds, apply_thresholds

KINDS = ["multilabel", "multiclass"]


def made_up(kind, rows=4000, labels=4, sharper=1.0, seed=0):
    """Targets drawn from probabilities, and those probabilities with their logits times `sharper`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, labels))
    if kind == "multilabel":
        true = 1 / (1 + np.exp(-logits))
        return (rng.random(true.shape) < true).astype(np.uint8), 1 / (1 + np.exp(-sharper * logits))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (rng.random((rows, 1)) > true.cumsum(axis=1)).sum(axis=1)
    told = np.exp(sharper * logits)
    return targets, told / told.sum(axis=1, keepdims=True)


def nll(kind, targets, probabilities):
    """The negative log likelihood, cell by cell or row by row."""
    if kind == "multiclass":
        return -np.mean([np.log(row[target]) for row, target in zip(probabilities, targets, strict=True)])
    cells = zip(targets.ravel(), probabilities.ravel(), strict=True)
    return -np.mean([np.log(p) if true else np.log(1 - p) for true, p in cells])


def test_reliability_by_hand() -> None:
    # Four rows of one label: 0.9 true, 0.9 false, 0.8 true (bins 13, 13 and 12 of 15), 0.1 false (bin 2).
    found = reliability("multilabel", [[1], [0], [1], [0]], [[0.9], [0.9], [0.8], [0.1]])
    assert {at: count for at, count in enumerate(found.counts) if count} == {1: 1, 11: 1, 13: 2}
    assert found.expected_error == pytest.approx((2 * 0.4 + 0.2 + 0.1) / 4)
    assert found.maximum_error == pytest.approx(0.4)
    classes = reliability("multiclass", [0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.3, 0.7]])
    assert classes.expected_error == pytest.approx((2 * abs(0.9 - 0.5) + 0.3) / 3)


@pytest.mark.parametrize("kind", KINDS)
def test_reliability_is_that_of_a_loop_of_scikit_learn_and_of_the_board(kind: str) -> None:
    targets, probabilities = made_up(kind, rows=500, sharper=2)
    if kind == "multilabel":
        confidence, happened, predictions = probabilities.ravel(), targets.ravel() == 1, targets
    else:
        confidence, happened, predictions = probabilities.max(1), probabilities.argmax(1) == targets, targets
    gaps = []
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            gaps.append((inside.sum(), abs(confidence[inside].mean() - happened[inside].mean())))
    found = reliability(kind, targets, probabilities)
    assert found.expected_error == pytest.approx(sum(count * gap for count, gap in gaps) / len(confidence))
    assert found.maximum_error == pytest.approx(max(gap for _, gap in gaps))
    board = score(kind, targets, probabilities, predictions).values["expected_calibration_error"]
    assert found.expected_error == pytest.approx(board, abs=1e-12)
    frequency, mean = calibration_curve(happened, confidence, n_bins=15)
    held = found.counts > 0
    np.testing.assert_allclose(found.frequency[held], frequency)
    np.testing.assert_allclose(found.confidence[held], mean)


@pytest.mark.parametrize("kind", KINDS)
def test_label_errors_are_those_of_each_label_alone(kind: str) -> None:
    targets, probabilities = made_up(kind, rows=300, sharper=2)
    truth = targets if kind == "multilabel" else np.eye(4, dtype=np.uint8)[targets]
    alone = [
        score("multilabel", truth[:, [at]], probabilities[:, [at]], truth[:, [at]]).values["expected_calibration_error"]
        for at in range(4)
    ]
    np.testing.assert_allclose(label_errors(kind, targets, probabilities), alone)


def test_pooling_hides_what_label_errors_show() -> None:
    truth = np.tile([[1, 0], [0, 1]], (50, 1))
    probabilities = np.tile([[0.3, 0.7]], (100, 1))  # each is right half the time
    truth[::10] = [0, 1]
    pooled, each = reliability("multilabel", truth, probabilities), label_errors("multilabel", truth, probabilities)
    np.testing.assert_allclose(each, np.abs(truth.mean(axis=0) - [0.3, 0.7]))
    assert pooled.expected_error == pytest.approx(each.mean())
    both = np.column_stack([np.full(100, 0.5), np.full(100, 0.5)])
    opposed = np.column_stack([np.ones(100, int), np.zeros(100, int)])
    assert reliability("multilabel", opposed, both).expected_error == pytest.approx(0)
    assert label_errors("multilabel", opposed, both).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sharper", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(kind: str, sharper: float) -> None:
    targets, probabilities = made_up(kind, rows=20_000, sharper=sharper)
    assert fit_temperature(kind, targets, probabilities) == pytest.approx(sharper, rel=0.04)


def test_the_temperature_is_that_of_a_logistic_regression_on_the_logits() -> None:
    targets, probabilities = made_up("multilabel", rows=800, sharper=2.5, seed=3)
    logits = np.log(probabilities / (1 - probabilities)).ravel()[:, None]
    fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000).fit(logits, targets.ravel())
    assert fit_temperature("multilabel", targets, probabilities) == pytest.approx(1 / fitted.coef_[0, 0], rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 40),
    sharper=st.sampled_from([0.05, 1.0, 9.0, 60.0]),
)
def test_the_fold_that_it_was_fitted_on_is_never_worse_off(kind: str, seed: int, rows: int, sharper: float) -> None:
    targets, probabilities = made_up(kind, rows=rows, labels=3, sharper=sharper, seed=seed)
    probabilities = probabilities.astype(np.float32)  # as stored: some are 0 or 1 exactly
    temperature = fit_temperature(kind, targets, probabilities)
    assert LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE
    scaled = scale(kind, probabilities, temperature)
    predictions = apply_thresholds(Thresholds("argmax", ()), kind, probabilities) if kind == "multiclass" else targets
    before, after = (score(kind, targets, each, predictions).values["log_loss"] for each in (probabilities, scaled))
    assert after <= before + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_no_temperature_beside_the_one_found_is_better(kind: str) -> None:
    targets, probabilities = made_up(kind, rows=300, sharper=2)
    best = fit_temperature(kind, targets, probabilities)
    least = nll(kind, targets, scale(kind, probabilities, best))
    grid = best * np.array([0.5, 0.9, 0.99, 1.01, 1.1, 2])
    assert all(nll(kind, targets, scale(kind, probabilities, each)) > least for each in grid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [LOWEST_TEMPERATURE, 0.7, 4.0, HIGHEST_TEMPERATURE])
def test_scaling_keeps_order_decisions_and_sums(kind: str, temperature: float) -> None:
    _, probabilities = made_up(kind, rows=400, sharper=1.5)
    probabilities = probabilities.astype(np.float32)
    scaled = scale(kind, probabilities, temperature)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    if kind == "multiclass":
        np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))
        np.testing.assert_allclose(scaled.sum(axis=1), 1)
        return
    thresholds = np.array([0.2, 0.35, 0.5, 0.8])
    assert (np.diff(scaled.ravel()[np.argsort(probabilities.ravel())]) >= 0).all()
    moved = scale(kind, thresholds[None], temperature)
    np.testing.assert_array_equal(scaled >= moved, probabilities >= thresholds)


@pytest.mark.parametrize("kind", KINDS)
def test_a_temperature_of_one_changes_nothing(kind: str) -> None:
    _, probabilities = made_up(kind, rows=50)
    np.testing.assert_array_equal(scale(kind, probabilities, 1.0), probabilities)
    np.testing.assert_allclose(scale(kind, probabilities, 1 + 1e-12), probabilities, atol=2 * EPSILON)


def test_scaling_by_hand() -> None:
    np.testing.assert_allclose(scale("multilabel", [[0.8, 0.5]], 2.0), [[2 / 3, 0.5]])  # odds of 4 become 2
    np.testing.assert_allclose(
        scale("multiclass", [[0.64, 0.32, 0.04]], 2.0), [np.array([4, 8**0.5, 1]) / (5 + 8**0.5)]
    )
    for wrong in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="must be more than 0, and finite"):
            scale("multilabel", [[0.5]], wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_and_ones_are_no_trouble(kind: str) -> None:
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    right = np.array([0, 1, 2, 0, 1, 2]) if kind == "multiclass" else probabilities.astype(np.uint8)
    one_wrong = right.copy()
    one_wrong[0] = 1 if kind == "multiclass" else [1, 1, 0]
    for targets in (right, one_wrong):
        temperature = fit_temperature(kind, targets, probabilities)
        scaled = scale(kind, probabilities, temperature)
        assert np.isfinite(scaled).all()
        assert np.isfinite([*read(kind, targets, scaled, right).figures.values()]).all()
    assert fit_temperature(kind, right, probabilities) == pytest.approx(LOWEST_TEMPERATURE, rel=1e-4)
    assert temperature > 2, "sure and wrong once in six: less sure"
    flat = np.full((6, 3), 1 / 3 if kind == "multiclass" else 0.5)
    assert fit_temperature(kind, right, flat) == 1, "what no temperature moves stays as it is"


def test_confidence_is_that_of_the_answer() -> None:
    classes = answer_confidence("multiclass", [[0.2, 0.7, 0.1], [0.5, 0.5, 0.0]], [1, 0])
    assert classes.tolist() == [0.7, 0.5]
    rows = [[0.35, 0.1], [0.35, 0.1], [0.9, 0.95]]
    # The same probabilities: "yes" at 0.35 is held with 0.35, "no" with 0.65.
    found = answer_confidence("multilabel", rows, [[1, 0], [0, 0], [1, 1]])
    assert found.tolist() == pytest.approx([0.35, 0.65, 0.9])


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_falls_as_the_threshold_rises(kind: str) -> None:
    targets, probabilities = made_up(kind, rows=200)
    predictions = (probabilities >= 0.4).astype(int) if kind == "multilabel" else probabilities.argmax(axis=1)
    found = read(kind, targets, probabilities, predictions)
    assert [each.threshold for each in found.kept] == list(THRESHOLDS)
    covered = [each.coverage for each in found.kept]
    assert covered == sorted(covered, reverse=True)
    assert len(set(covered)) > 3
    confidence = answer_confidence(kind, probabilities, predictions)
    for each in found.kept:
        rows = confidence >= each.threshold
        assert each.coverage == rows.mean()
        if not rows.any():
            assert (each.exact, each.labels) == (None, None)
            continue
        scored = score(kind, targets[rows], probabilities[rows], predictions[rows]).values
        assert each.exact == pytest.approx(scored["exact_match"])
        assert each.labels == pytest.approx(scored["accuracy"])
    whole = kept_at((0.0, 1.1), confidence, np.ones((200, 1), bool))
    assert [(each.coverage, each.exact) for each in whole] == [(1, 1), (0, None)]


def test_area_under_risk_coverage_by_hand_and_by_a_loop() -> None:
    # Surest first: right, wrong, right. Risks 0, 1/2, 1/3.
    assert area_under_risk_coverage(np.array([0.5, 0.9, 0.7]), np.array([0, 0, 1])) == pytest.approx(
        (1 / 2 + 1 / 3) / 3
    )
    rng = np.random.default_rng(1)
    confidence, wrong = rng.random(300), rng.random(300) < 0.3
    order = sorted(range(300), key=lambda row: -confidence[row])
    risks = [sum(wrong[row] for row in order[:kept]) / kept for kept in range(1, 301)]
    coverage, risk = risk_coverage(confidence, wrong)
    np.testing.assert_allclose(risk, risks)
    np.testing.assert_allclose(coverage, np.arange(1, 301) / 300)
    assert area_under_risk_coverage(confidence, wrong) == pytest.approx(np.mean(risks))


def test_rows_of_equal_confidence_come_in_no_order() -> None:
    rng = np.random.default_rng(2)
    confidence, wrong = rng.integers(0, 4, 60) / 4, rng.random(60) < 0.4
    areas = {
        round(area_under_risk_coverage(confidence[rows], wrong[rows]), 12) for rows in map(rng.permutation, [60] * 5)
    }
    assert len(areas) == 1
    assert area_under_risk_coverage(np.full(60, 0.5), wrong) == pytest.approx(wrong.mean())
    exact = np.mean([area_under_risk_coverage(confidence + rng.random(60) / 100, wrong) for _ in range(4000)])
    assert areas.pop() == pytest.approx(exact, abs=2e-3), "the mean over their orders"


def test_a_temperature_leaves_the_order_of_multilabel_answers() -> None:
    targets, probabilities = made_up("multilabel", rows=300, sharper=2)
    predictions = (probabilities >= 0.3).astype(np.uint8)
    before, after = (
        read("multilabel", targets, scale("multilabel", probabilities, t), predictions) for t in (1.0, 3.0)
    )
    np.testing.assert_allclose(before.risk, after.risk)
    assert before.figures["area_under_risk_coverage"] == pytest.approx(after.figures["area_under_risk_coverage"])
    assert before.kept != after.kept
