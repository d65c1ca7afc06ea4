"""Every metric against a second computation, written here in plain numpy from its textbook definition."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoobench.benchmarks.metrics import METRICS, Scores, score

F1_FAMILY = ("f1", "precision", "recall")


def pair_auc(truth, scores):
    """Share of (positive, negative) pairs in the right order, a tie counting half."""
    positive, negative = scores[truth], scores[~truth]
    if not len(positive) or not len(negative):
        return None
    return np.mean([(p > n) + (p == n) / 2 for p in positive for n in negative])


def step_average_precision(truth, scores):
    if not truth.any():
        return None
    area = previous = 0.0
    for threshold in sorted(set(scores), reverse=True):
        kept = scores >= threshold
        recall = (truth & kept).sum() / truth.sum()
        area += (recall - previous) * (truth & kept).sum() / kept.sum()
        previous = recall
    return area


def ranking_precision(truth, scores):
    rows = []
    for true, row in zip(truth, scores, strict=True):
        shares = [np.mean(true[row >= row[label]]) for label in np.flatnonzero(true)]
        rows.append(np.mean(shares) if shares else 1.0)
    return np.mean(rows)


def calibration_error(confidence, happened):
    total = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        inside |= (b == 0) & (confidence == 0)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - happened[inside].mean())
    return total


def label_tables(truth, predicted):
    """(tn, fp, fn, tp) per label."""
    columns = zip(truth.T, predicted.T, strict=True)
    return [tuple(int(((t == a) & (p == b)).sum()) for a in (0, 1) for b in (0, 1)) for t, p in columns]


def rates(tn, fp, fn, tp):
    """F1, precision, recall, specificity; None where undefined."""
    if tp + fn == 0:
        f1 = precision = recall = None
    else:
        precision = tp / (tp + fp) if tp + fp else 0.0
        recall = tp / (tp + fn)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "f1": f1,
        "precision": precision,
        "recall": recall,
        "specificity": tn / (tn + fp) if tn + fp else None,
    }


def mean_defined(values, weights=None):
    weights = [1] * len(values) if weights is None else weights
    kept = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    return sum(v * w for v, w in kept) / sum(w for _, w in kept) if kept else None


def reference_per_label(truth, probabilities, predicted):
    tables = label_tables(truth, predicted)
    by_label = [rates(*table) for table in tables]
    per_label = {name: [r[name] for r in by_label] for name in (*F1_FAMILY, "specificity")}
    columns = list(zip(truth.T, probabilities.T, strict=True))
    per_label["roc_auc"] = [pair_auc(*column) for column in columns]
    per_label["average_precision"] = [step_average_precision(*column) for column in columns]
    per_label["support"] = [fn + tp for _, _, fn, tp in tables]
    return per_label, tables


def reference_values(kind, truth, probabilities, predicted):
    """Every scalar metric and per-label family from boolean (rows, labels) truth and predictions."""
    per_label, tables = reference_per_label(truth, probabilities, predicted)
    pooled = rates(*np.sum(tables, axis=0).tolist())
    values = {}
    for name in F1_FAMILY:
        values[f"{name}_micro"] = pooled[name]
        values[f"{name}_macro"] = mean_defined(per_label[name])
        values[f"{name}_weighted"] = mean_defined(per_label[name], per_label["support"])
    for name in ("specificity", "roc_auc", "average_precision"):
        values[f"{name}_macro"] = mean_defined(per_label[name])
    values["roc_auc_micro"] = pair_auc(truth.ravel(), probabilities.ravel())
    values["average_precision_micro"] = step_average_precision(truth.ravel(), probabilities.ravel())
    values["label_ranking_average_precision"] = ranking_precision(truth, probabilities)
    values["exact_match"] = np.mean([t == p for t, p in zip(truth.tolist(), predicted.tolist(), strict=True)])
    values["label_cardinality_true"] = truth.sum() / len(truth)
    values["label_cardinality_predicted"] = predicted.sum() / len(truth)
    own = multilabel_values if kind == "multilabel" else multiclass_values
    return values | own(truth, probabilities, predicted, per_label), per_label, tables


def multilabel_values(truth, probabilities, predicted, per_label):
    cells = list(zip(truth.ravel(), probabilities.ravel(), strict=True))
    both = [
        None if r is None or s is None else (r + s) / 2
        for r, s in zip(per_label["recall"], per_label["specificity"], strict=True)
    ]
    right = np.mean(truth.ravel() == predicted.ravel())
    return {
        "hamming_loss": 1 - right,
        "accuracy": right,
        "balanced_accuracy": mean_defined(both),
        "brier": np.mean([(p - t) ** 2 for t, p in cells]),
        "log_loss": np.mean([-math.log(max(p if t else 1 - p, 2**-23)) for t, p in cells]),
        "expected_calibration_error": calibration_error(probabilities.ravel(), truth.ravel()),
    }


def multiclass_values(truth, probabilities, predicted, per_label):
    classes = truth.argmax(axis=1)
    right = np.mean(classes == predicted.argmax(axis=1))
    top = probabilities.argmax(axis=1)
    return {
        "hamming_loss": 1 - right,
        "accuracy": right,
        "balanced_accuracy": mean_defined(per_label["recall"]),
        "brier": np.mean([((p - t) ** 2).sum() for t, p in zip(truth, probabilities, strict=True)]),
        "log_loss": np.mean([-math.log(max(p[c], 2**-23)) for c, p in zip(classes, probabilities, strict=True)]),
        "expected_calibration_error": calibration_error(probabilities.max(axis=1), top == classes),
    }


def check_against_reference(kind, targets, probabilities, predictions):
    scores = score(kind, targets, probabilities, predictions)
    n_labels = probabilities.shape[1]
    truth, predicted = (
        values.astype(bool) if kind == "multilabel" else np.eye(n_labels, dtype=bool)[values]
        for values in (targets, predictions)
    )
    values, per_label, tables = reference_values(kind, truth, probabilities.astype(float), predicted)
    assert set(scores.values) == set(METRICS) == set(values)
    for name, expected in values.items():
        assert scores.values[name] == pytest.approx(expected, abs=1e-9), name
    assert set(scores.per_label) == set(per_label)
    for name, expected in per_label.items():
        assert list(scores.per_label[name]) == pytest.approx(expected, abs=1e-9), name
        assert scores.undefined[name] == tuple(i for i, v in enumerate(expected) if v is None)
    if kind == "multilabel":
        assert list(scores.confusion) == tables
    json.dumps([scores.values, scores.per_label, scores.confusion, scores.undefined], allow_nan=False)
    return scores


def random_multilabel(seed, n=40, n_labels=4, decimals=8):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, n_labels)) < 0.35).astype(np.uint8)
    probabilities = np.round(np.clip(0.25 * targets + 0.7 * rng.random((n, n_labels)), 0, 1), decimals)
    return targets, probabilities, (probabilities >= 0.5).astype(np.uint8)


def random_multiclass(seed, n=40, n_labels=4):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, n_labels, n)
    weights = rng.random((n, n_labels)) + 0.5 * np.eye(n_labels)[targets]
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return targets, probabilities, probabilities.argmax(axis=1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [8, 1], ids=["distinct", "ties"])
def test_multilabel_agrees_with_the_definitions(seed, decimals):
    check_against_reference("multilabel", *random_multilabel(seed, decimals=decimals))


@pytest.mark.parametrize("seed", range(3))
def test_multiclass_agrees_with_the_definitions(seed):
    check_against_reference("multiclass", *random_multiclass(seed))


def test_hand_worked_multilabel():
    targets = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], dtype=np.uint8)
    predictions = np.array([[1, 1], [0, 1], [1, 0], [0, 0]], dtype=np.uint8)
    probabilities = np.array([[0.9, 0.6], [0.4, 0.8], [0.7, 0.1], [0.2, 0.1]])
    scores = check_against_reference("multilabel", targets, probabilities, predictions)
    assert scores.confusion == ((1, 1, 1, 1), (2, 1, 0, 1))
    assert scores.per_label["f1"] == pytest.approx((1 / 2, 2 / 3))
    assert scores.per_label["roc_auc"] == pytest.approx((3 / 4, 1.0))
    assert scores.per_label["average_precision"] == pytest.approx(((1 + 2 / 3) / 2, 1.0))
    expected = {
        "f1_micro": 4 / 7,
        "f1_macro": 7 / 12,
        "f1_weighted": (2 * 1 / 2 + 2 / 3) / 3,
        "precision_micro": 2 / 4,
        "recall_micro": 2 / 3,
        "hamming_loss": 3 / 8,
        "accuracy": 5 / 8,
        "exact_match": 1 / 4,
        "balanced_accuracy": (1 / 2 + (1 + 2 / 3) / 2) / 2,
        "label_cardinality_true": 3 / 4,
        "label_cardinality_predicted": 1.0,
        "label_ranking_average_precision": 1.0,
        "brier": (0.01 + 0.36 + 0.36 + 0.04 + 0.49 + 0.01 + 0.04 + 0.01) / 8,
    }
    assert {name: scores.values[name] for name in expected} == pytest.approx(expected)


def test_hand_worked_multiclass():
    targets, predictions = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    probabilities = np.array([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]])
    scores = check_against_reference("multiclass", targets, probabilities, predictions)
    assert scores.confusion == ((1, 1, 0), (0, 1, 0), (0, 1, 0))
    expected = {
        "accuracy": 1 / 2,
        "exact_match": 1 / 2,
        "f1_micro": 1 / 2,
        "hamming_loss": 1 / 2,
        "f1_macro": (2 / 3 + 1 / 2 + 0) / 3,
        "f1_weighted": (2 * 2 / 3 + 1 / 2 + 0) / 4,
        "balanced_accuracy": (1 / 2 + 1 + 0) / 3,
        "label_ranking_average_precision": (1 + 1 / 2 + 1 + 1 / 2) / 4,
        "log_loss": -math.log(0.6 * 0.3 * 0.8 * 0.3) / 4,
        "expected_calibration_error": (abs(1.2 - 1) + 0.2 + 0.5) / 4,
    }
    assert {name: scores.values[name] for name in expected} == pytest.approx(expected)


def test_label_without_positives_is_undefined_and_left_out():
    targets, probabilities, predictions = random_multilabel(5)
    targets[:, 1], predictions[:, 1] = 0, 1
    scores = check_against_reference("multilabel", targets, probabilities, predictions)
    for family in (*F1_FAMILY, "roc_auc", "average_precision"):
        assert scores.undefined[family] == (1,)
        assert scores.per_label[family][1] is None
    assert scores.undefined["specificity"] == ()
    others = [f1 for f1 in scores.per_label["f1"] if f1 is not None]
    assert len(others) == 3
    assert scores.values["f1_macro"] == pytest.approx(np.mean(others))


def test_label_that_every_row_has():
    targets, probabilities, predictions = random_multilabel(6)
    targets[:, 2] = 1
    scores = check_against_reference("multilabel", targets, probabilities, predictions)
    assert scores.undefined["specificity"] == scores.undefined["roc_auc"] == (2,)
    assert scores.undefined["f1"] == ()
    assert scores.per_label["average_precision"][2] == pytest.approx(1.0)


def test_nothing_predicted_is_zero_where_positives_exist():
    targets, probabilities, predictions = random_multilabel(7)
    scores = check_against_reference("multilabel", targets, probabilities, np.zeros_like(predictions))
    assert scores.per_label["f1"] == scores.per_label["precision"] == (0.0,) * 4
    assert scores.values["f1_micro"] == scores.values["precision_weighted"] == 0.0


def test_no_positive_anywhere():
    targets = np.zeros((5, 2), dtype=np.uint8)
    scores = check_against_reference("multilabel", targets, np.full((5, 2), 0.2), targets)
    absent = {name for name, value in scores.values.items() if value is None}
    families = {f"{name}_{average}" for name in F1_FAMILY for average in ("micro", "macro", "weighted")}
    ranking = {f"{name}_{average}" for name in ("roc_auc", "average_precision") for average in ("micro", "macro")}
    assert absent == families | ranking | {"balanced_accuracy"}
    assert scores.values["exact_match"] == 1.0


@pytest.mark.parametrize("row", [[[1, 0, 1]], [[0, 0, 0]], [[1, 1, 1]]])
def test_one_row(row):
    targets = np.array(row, dtype=np.uint8)
    probabilities = np.array([[0.9, 0.5, 0.5]])
    check_against_reference("multilabel", targets, probabilities, (probabilities >= 0.5).astype(np.uint8))


def test_one_row_of_multiclass_and_one_label_of_multilabel():
    probabilities = np.array([[0.2, 0.5, 0.3]])
    scores = check_against_reference("multiclass", np.array([2]), probabilities, np.array([1]))
    assert scores.undefined["f1"] == (0, 1)
    assert scores.values["accuracy"] == 0.0
    targets = np.array([[1], [0], [1]], dtype=np.uint8)
    check_against_reference("multilabel", targets, np.array([[0.7], [0.2], [0.4]]), targets)


def test_constant_probabilities_rank_nothing():
    targets, probabilities, predictions = random_multilabel(8)
    scores = check_against_reference("multilabel", targets, np.full_like(probabilities, 0.5), predictions)
    assert scores.values["roc_auc_macro"] == scores.values["roc_auc_micro"] == pytest.approx(0.5)
    assert scores.per_label["average_precision"] == pytest.approx(tuple(targets.mean(axis=0)))


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_perfect_prediction(kind):
    targets = random_multilabel(9)[0] if kind == "multilabel" else random_multiclass(9)[0]
    probabilities = targets.astype(float) if kind == "multilabel" else np.eye(4)[targets]
    scores = check_against_reference(kind, targets, probabilities, targets)
    for metric in METRICS.values():
        if metric.higher_is_better is not None:
            best = 1.0 if metric.higher_is_better else 0.0
            assert scores.values[metric.name] == pytest.approx(best, abs=1e-9), metric.name


def test_calibration_bins_hold_their_upper_edge():
    scores = score("multilabel", [[1, 0, 0]], [[0.2, 0.19, 0.0]], [[0, 0, 0]])
    assert scores.values["expected_calibration_error"] == pytest.approx((1 - 0.2 - 0.19) / 3)


def test_sure_and_wrong_costs_a_finite_log_loss():
    scores = score("multilabel", [[1, 0]], [[0.0, 1.0]], [[0, 1]])
    assert scores.values["log_loss"] == pytest.approx(23 * math.log(2))


@pytest.mark.parametrize("seed", [1, 2])
def test_only_thresholded_metrics_follow_the_predictions(seed):
    targets, probabilities, predictions = random_multilabel(seed)
    before = score("multilabel", targets, probabilities, predictions).values
    after = score("multilabel", targets, probabilities, 1 - predictions).values
    changed = {name for name in METRICS if before[name] != after[name]}
    assert changed <= {name for name, metric in METRICS.items() if metric.thresholded}
    assert {"f1_micro", "specificity_macro", "hamming_loss", "label_cardinality_predicted"} <= changed


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25), st.sampled_from([1, 8]))
def test_order_of_rows_and_labels_does_not_matter(seed, n, decimals):
    targets, probabilities, predictions = random_multilabel(seed, n=n, n_labels=3, decimals=decimals)
    rng = np.random.default_rng(seed)
    rows, labels = rng.permutation(n), rng.permutation(3)
    base = score("multilabel", targets, probabilities, predictions)
    shuffled = score("multilabel", *(a[rows][:, labels] for a in (targets, probabilities, predictions)))
    assert shuffled.values == pytest.approx(base.values, abs=1e-9)
    for name, column in base.per_label.items():
        assert list(shuffled.per_label[name]) == pytest.approx([column[i] for i in labels], abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25))
def test_order_of_classes_does_not_matter(seed, n):
    targets, probabilities, predictions = random_multiclass(seed, n=n, n_labels=3)
    labels = np.random.default_rng(seed).permutation(3)
    moved = np.argsort(labels)
    base = score("multiclass", targets, probabilities, predictions)
    shuffled = score("multiclass", moved[targets], probabilities[:, labels], moved[predictions])
    assert shuffled.values == pytest.approx(base.values, abs=1e-9)
    assert list(shuffled.per_label["f1"]) == pytest.approx([base.per_label["f1"][i] for i in labels])
    assert np.array_equal(np.array(shuffled.confusion), np.array(base.confusion)[labels][:, labels])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25), st.sampled_from(["multilabel", "multiclass"]))
def test_values_stay_in_range(seed, n, kind):
    data = random_multilabel(seed, n=n) if kind == "multilabel" else random_multiclass(seed, n=n)
    scores = score(kind, *data)
    upper = {
        "log_loss": 16.0,
        "brier": 2.0,
        "label_cardinality_true": 4.0,
        "label_cardinality_predicted": 4.0,
    }
    for name, value in scores.values.items():
        assert value is None or -1e-12 <= value <= upper.get(name, 1.0) + 1e-12, name
    assert np.sum(scores.confusion) == (4 * n if kind == "multilabel" else n)


@pytest.mark.parametrize(
    ("kind", "targets", "probabilities", "predictions", "message"),
    [
        ("multilabel", [[1, 0]], [[0.1, 0.2, 0.3]], [[1, 0, 0]], "targets must have shape"),
        ("multilabel", [[1, 0]], [[0.1, 0.2]], [[1]], "predictions must have shape"),
        ("multilabel", np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)), "not empty"),
        ("multilabel", [1, 0], [0.1, 0.2], [1, 0], "probabilities must be"),
        ("multilabel", [[2, 0]], [[0.1, 0.2]], [[1, 0]], "0 and 1 only"),
        ("multilabel", [[1, 0]], [[0.1, np.nan]], [[1, 0]], "finite and within"),
        ("multilabel", [[1, 0]], [[0.1, 1.2]], [[1, 0]], "finite and within"),
        ("multiclass", [0], [[0.5, 0.2]], [0], "sum to 1"),
        ("multiclass", [2], [[0.5, 0.5]], [0], "targets must hold class numbers"),
        ("multiclass", [0], [[0.5, 0.5]], [-1], "predictions must hold class numbers"),
        ("multiclass", [[1, 0]], [[0.5, 0.5]], [0], "targets must have shape"),
    ],
)
def test_bad_input_is_refused(kind, targets, probabilities, predictions, message):
    with pytest.raises(ValueError, match=message):
        score(kind, targets, probabilities, predictions)


def test_incomplete_scores_are_refused():
    with pytest.raises(ValueError, match="every metric"):
        Scores(values={"f1_micro": 0.5}, per_label={}, confusion=(), undefined={})
