"""The figures of a model's page: against scikit-learn on random predictions with ties, by hand, and their limits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from zoobench.leaderboard.site.figures import thousandths
from zoobench.leaderboard.site.figures.curves import Curve, label_curves
from zoobench.leaderboard.site.figures.sure import GAPS, Sureness, label_sureness, overfitting
from zoobench.leaderboard.site.figures.sweep import THRESHOLDS, confidence_sweep, label_sweep
from zoobench.leaderboard.site.model_parts import STEPS, told_history


def made_up(seed: int, rows: int = 300, labels: int = 5, levels: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Truth (rows, labels) and probabilities of few levels, so that many are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, labels)) < rng.uniform(0.05, 0.6, labels)
    scores = np.round(np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 1) * levels) / levels
    return truth, scores.astype(np.float32).astype(float)


@pytest.mark.parametrize("levels", [4, 40, 10**6])
@pytest.mark.parametrize("seed", range(3))
def test_the_roc_curve_is_scikit_learns(seed: int, levels: int) -> None:
    truth, scores = made_up(seed, levels=levels)
    for label in range(truth.shape[1]):
        found = label_curves(truth[:, label], scores[:, label]).roc
        x, y, thresholds = sk.roc_curve(truth[:, label], scores[:, label], drop_intermediate=False)
        assert found is not None
        assert sk.auc(found.x, found.y) == pytest.approx(sk.roc_auc_score(truth[:, label], scores[:, label]), abs=1e-12)
        theirs = dict(zip(thresholds.tolist(), zip(x, y, strict=True), strict=True))
        for point in zip(found.x, found.y, found.thresholds, strict=True):
            assert theirs[point[2]] == pytest.approx(point[:2])


@pytest.mark.parametrize("levels", [4, 40, 10**6])
@pytest.mark.parametrize("seed", range(3))
def test_precision_and_recall_are_scikit_learns(seed: int, levels: int) -> None:
    truth, scores = made_up(seed, levels=levels)
    for label in range(truth.shape[1]):
        found = label_curves(truth[:, label], scores[:, label]).precision_recall
        assert found is not None
        area = float((np.diff(found.x, prepend=0) * found.y).sum())
        assert area == pytest.approx(sk.average_precision_score(truth[:, label], scores[:, label]), abs=1e-12)
        precision, recall, thresholds = sk.precision_recall_curve(truth[:, label], scores[:, label])
        theirs = dict(zip(thresholds.tolist(), zip(recall[:-1], precision[:-1], strict=True), strict=True))
        for x, y, threshold in zip(found.x, found.y, found.thresholds, strict=True):
            assert theirs[threshold] == pytest.approx((x, y))
        assert found.x[-1] == 1


def test_curves_that_are_not_defined_are_none() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    nobody = label_curves(np.zeros(4, dtype=bool), scores)
    everybody = label_curves(np.ones(4, dtype=bool), scores)
    assert (nobody.roc, nobody.precision_recall, everybody.roc) == (None, None, None)
    assert everybody.precision_recall is not None
    assert everybody.precision_recall.y.tolist() == [1, 1, 1]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(30, 3000), most=st.integers(2, 120))
def test_a_thinned_curve_keeps_its_ends_and_its_shape(seed: int, rows: int, most: int) -> None:
    truth, scores = made_up(seed, rows, labels=1, levels=10**6)
    whole = label_curves(truth[:, 0], scores[:, 0]).roc
    if whole is None:
        return
    thinned = label_curves(truth[:, 0], scores[:, 0], most)
    thin, recall = thinned.roc, thinned.precision_recall
    assert thin is not None
    assert recall is not None
    assert max(len(thin.x), len(recall.x)) <= max(most, 2)
    assert recall.x[-1] == 1
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (0, 0, 1, 1)
    points = {*zip(whole.x.tolist(), whole.y.tolist(), strict=True)}
    assert {*zip(thin.x.tolist(), thin.y.tolist(), strict=True)} <= points
    # Along the sides of its steps a whole curve is 2 long.
    length = thin.x + thin.y
    nearest = np.abs((whole.x + whole.y)[:, None] - length[None, :]).min(axis=1)
    assert nearest.max() <= 2 / (most - 1) + 1e-9


def test_what_a_curve_refuses() -> None:
    line = np.array([0.0, 0.5, 1.0])
    with pytest.raises(ValueError, match="never falls"):
        Curve(line[::-1], line, np.array([0.9, 0.5, 0.1]))
    with pytest.raises(ValueError, match="never rises"):
        Curve(line, line, np.array([0.1, 0.5, 0.9]))
    with pytest.raises(ValueError, match="from 0 to 1"):
        Curve(2 * line, line, np.array([0.9, 0.5, 0.1]))
    with pytest.raises(ValueError, match="for each of its points"):
        Curve(line, line, line[:2])


def test_curves_are_written_as_thousandths() -> None:
    found = label_curves(np.array([True, False, True]), np.array([0.91, 0.5, 0.1])).roc
    assert found is not None
    told = json.loads(json.dumps(found.as_json()))
    assert told == {"x": [0, 0, 1000, 1000], "y": [0, 500, 500, 1000], "t": [1000, 910, 500, 100]}
    assert thousandths(np.array([np.nan, 0.25])) == [None, 250]


@pytest.mark.parametrize("seed", range(3))
def test_the_sweep_of_labels_is_scikit_learns(seed: int) -> None:
    truth, scores = made_up(seed, rows=120)
    found = label_sweep(truth, scores)
    assert found.thresholds is THRESHOLDS
    assert len(THRESHOLDS) == 99
    for threshold, f1, loss in zip(found.thresholds, found.first, found.second, strict=True):
        chosen = scores >= threshold
        assert f1 == pytest.approx(sk.f1_score(truth, chosen, average="weighted", zero_division=0))
        assert loss == pytest.approx(sk.hamming_loss(truth, chosen))


def test_the_sweep_of_classes_counts_the_rows_that_are_sure_enough() -> None:
    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet(np.ones(4), 200)
    classes = rng.integers(4, size=200)
    truth = np.eye(4, dtype=bool)[classes]
    found = confidence_sweep(truth, probabilities)
    for threshold, coverage, accuracy in zip(found.thresholds, found.first, found.second, strict=True):
        sure = probabilities.max(axis=1) >= threshold
        assert coverage == pytest.approx(sure.mean())
        if sure.any():
            answers = probabilities.argmax(axis=1)
            assert accuracy == pytest.approx(sk.accuracy_score(classes[sure], answers[sure]))
        else:
            assert np.isnan(accuracy)
    assert found.as_json()["second"][-1] is None or found.first[-1] > 0


def test_how_sure_a_model_is_counted_by_hand() -> None:
    truth = np.array([[1, 1, 1, 0, 0, 0, 0]], dtype=bool).T
    probabilities = np.array([[0.9, 0.8, 0.1, 0.81, 0.2, 0.19, 0.5]]).T
    (found,) = label_sureness(truth, probabilities)
    assert found == Sureness(3, 4, sure_positives=1, sure_negatives=1, missed=1, invented=1)
    assert found.as_json() == [3, 4, 1, 1, 1, 1]
    with pytest.raises(ValueError, match="surely right, surely wrong, or neither"):
        Sureness(1, 4, 1, 1, 1, 1)


# Table 7 of the published report (SYSTEMS.md, system 1).
PUBLISHED = {
    "f1_weighted": (0.9591, 0.9388),
    "f1_macro": (0.9623, 0.9428),
    "hamming_loss": (0.0272, 0.0407),
    "average_precision_macro": (0.9911, 0.9713),
}


def test_the_overfitting_score_of_the_published_table() -> None:
    train, validation = ({name: pair[side] for name, pair in PUBLISHED.items()} for side in (0, 1))
    found = overfitting(train, validation)
    assert found.score == pytest.approx(100 * (0.0203 + 0.0195 + 0.0135 + 0.0198) / 4)
    assert found.left_out == ()
    assert overfitting(train, train).score == 0
    backwards = overfitting(validation, train).score
    assert backwards == pytest.approx(-found.score)


def test_what_is_not_defined_is_left_out_and_named() -> None:
    train, validation = ({name: pair[side] for name, pair in PUBLISHED.items()} for side in (0, 1))
    part = overfitting({**train, "f1_macro": None}, validation)
    assert part.left_out == ("f1_macro",)
    assert part.score == pytest.approx(100 * (0.0203 + 0.0135 + 0.0198) / 3)
    nothing = overfitting({}, validation)
    assert (nothing.score, nothing.left_out) == (None, GAPS)


def test_a_long_history_is_thinned_and_says_nothing_twice() -> None:
    entries = [
        {"step": float(step), "loss": 1 / step, "score": step / 1000, "f1_macro": step / 1000}
        for step in range(1, 1001)
    ]
    found = told_history(entries)
    assert len(found["steps"]) <= STEPS + 1
    assert (found["steps"][0], found["steps"][-1]) == (1, 1000)
    assert set(found["series"]) == {"loss", "f1_macro"}
    holes = told_history([{"step": 1.0, "loss": 1.0}, {"step": 2.0, "val": 0.5}])
    assert holes == {"steps": [1, 2], "series": {"loss": [1.0, None], "val": [None, 0.5]}}
    assert told_history([]) == {}
