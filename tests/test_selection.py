"""Greedy selection against a plain loop with scikit-learn's metrics, and against cases worked by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk
from zoobench.benchmarks.scoring import LOWEST, TaskScorer
from zoobench.benchmarks.selection import THRESHOLDS, Selection, blend, greedy, scorer_for, uniform

# P(class 1) of three rows, worked by hand. Alone A and B have 2 of 3 right, C none; A and B together 2 (row 0 is lost),
# A twice and B once all three: (0.9 + 0.9 + 0) / 3 = 0.6, (0.45 + 0.45 + 0.7) / 3 = 0.53, (0.2 + 0.2 + 0.3) / 3 = 0.23.
BY_HAND = np.array([[0.9, 0.45, 0.2], [0.0, 0.7, 0.3], [0.4, 0.4, 0.6]], dtype=np.float32)
HELD = np.array([1, 1, 0])

Score = Callable[[np.ndarray, np.ndarray], float]


def two_classes(chances: np.ndarray) -> np.ndarray:
    """Return (members, 2, rows) of the chances (members, rows) of class 1."""
    return np.stack([1 - chances, chances], axis=1)


def loop(members: np.ndarray, targets: np.ndarray, score: Score, size: int) -> Selection:
    """Forward selection with replacement as the paper words it, in lists and float64."""
    taken: list[int] = []
    scores: list[float] = []
    for _ in range(size):
        tried = [
            score(targets, np.mean([members[each].astype(float) for each in (*taken, index)], axis=0).T)
            for index in range(len(members))
        ]
        best = next(index for index, each in enumerate(tried) if each >= max(tried) - 1e-9)
        taken.append(best)
        scores.append(tried[best])
    kept = next(number for number, each in enumerate(scores, start=1) if each >= max(scores) - 1e-9)
    return Selection(tuple(taken[:kept].count(index) for index in range(len(members))), tuple(scores))


def best_f1(average: str) -> Score:
    """F1 of scikit-learn at the best of the grid's thresholds; of those in one gap between scores, one is tried."""

    def score(targets: np.ndarray, found: np.ndarray) -> float:
        present = np.flatnonzero(targets.any(axis=0)) if average != "micro" else None
        bins = np.unique(np.floor(found * THRESHOLDS)) / THRESHOLDS
        return max(
            sk.f1_score(targets, found >= bin_, average=average, labels=present, zero_division=0) for bin_ in bins
        )

    return score


def by_class(metric: Callable[..., float], **options: object) -> Score:
    return lambda targets, found: float(metric(targets, found.argmax(axis=1), **options))


CASES: dict[tuple[str, str], Score] = {
    ("multilabel", "f1_macro"): best_f1("macro"),
    ("multilabel", "f1_micro"): best_f1("micro"),
    ("multilabel", "f1_weighted"): best_f1("weighted"),
    ("multilabel", "roc_auc_macro"): lambda targets, found: float(
        sk.roc_auc_score(targets[:, :-1], found[:, :-1], average="macro")  # the last label has no positive row
    ),
    ("multilabel", "brier"): lambda targets, found: -float(((found - targets) ** 2).mean()),
    ("multiclass", "f1_macro"): by_class(sk.f1_score, average="macro", labels=[0, 1, 2], zero_division=0),
    ("multiclass", "f1_weighted"): by_class(sk.f1_score, average="weighted", zero_division=0),
    ("multiclass", "accuracy"): by_class(sk.accuracy_score),
    ("multiclass", "roc_auc_macro"): lambda targets, found: float(
        np.mean([sk.roc_auc_score(targets == label, found[:, label]) for label in range(3)])
    ),
    ("multiclass", "log_loss"): lambda targets, found: (
        -float(sk.log_loss(targets, found / found.sum(axis=1, keepdims=True), labels=[0, 1, 2, 3]))
    ),
}


def case(kind: str, seed: int, members: int = 4, rows: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Members of some skill (members, 4, rows), and targets that leave the last label without a positive row."""
    rng = np.random.default_rng(seed)
    if kind == "multilabel":
        targets = (rng.random((rows, 4)) < (0.5, 0.3, 0.4, 0.0)).astype(np.uint8)
        signal = targets.T
    else:
        targets = rng.permutation(np.arange(rows) % 3)
        signal = (targets == np.arange(4)[:, None]).astype(np.uint8)
    logits = signal + rng.normal(scale=1.2, size=(members, 4, rows)) - 0.5
    found = 1 / (1 + np.exp(-logits))
    return (found / found.sum(axis=1, keepdims=True) if kind == "multiclass" else found).astype(np.float32), targets


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_greedy_is_the_plain_loop_with_the_metric_of_scikit_learn(kind: str, metric: str) -> None:
    members, targets = case(kind, 1, rows=15)
    wanted = loop(members, targets, CASES[kind, metric], size=5)
    found = greedy(members, scorer_for(kind, metric, targets), size=5)  # type: ignore[arg-type]
    assert max(found.counts) < sum(found.counts), "a case in which one member were enough would show nothing"
    assert found.counts == wanted.counts
    assert found.scores == pytest.approx(wanted.scores, abs=1e-6)


def test_the_case_worked_by_hand() -> None:
    members = two_classes(BY_HAND)
    found = greedy(members, scorer_for("multiclass", "accuracy", HELD), size=6)
    assert found.scores == pytest.approx([2 / 3, 2 / 3, 1, 1, 1, 1])
    assert found.counts == (2, 1, 0)
    assert found.weights == pytest.approx([2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(blend(members, found.counts)[1], [0.6, 1.6 / 3, 0.7 / 3], rtol=1e-6)


def test_the_first_of_equal_members_is_taken_and_further_rounds_that_gain_nothing_are_not_kept() -> None:
    members, targets = case("multilabel", 3)
    twins = np.stack([members[0], members[0], members[0]])
    found = greedy(twins, scorer_for("multilabel", "f1_macro", targets), size=9)
    assert found.counts == (1, 0, 0)
    assert len(found.scores) == 9


def test_the_first_round_takes_the_best_member_and_no_ensemble_is_worse_than_it() -> None:
    members, targets = case("multilabel", 4, members=8, rows=60)
    scorer = scorer_for("multilabel", "f1_micro", targets)
    found = greedy(members, scorer)
    assert found.scores[0] == max(scorer(member) for member in members)
    assert scorer(blend(members, found.counts)) == pytest.approx(max(found.scores), abs=1e-6)
    assert max(found.scores) > found.scores[0]


@pytest.mark.parametrize("metric", ["f1_macro", "f1_micro", "f1_weighted", "roc_auc_macro"])
def test_the_quick_score_is_that_of_the_fit_but_for_the_grid(metric: str) -> None:
    members, targets = case("multilabel", 5, rows=400)
    quick, whole = scorer_for("multilabel", metric, targets), TaskScorer("multilabel", metric)
    for member in members:
        exact = whole(targets, member.T)
        assert quick(member) == pytest.approx(exact, abs=0.005 if metric.startswith("f1") else 1e-12)


def test_a_certain_probability_counts_in_the_highest_bin() -> None:
    targets = np.array([[1], [0], [1]], dtype=np.uint8)
    scorer = scorer_for("multilabel", "f1_macro", targets)
    assert scorer(np.array([[1.0, 0.0, 1.0]], dtype=np.float32)) == 1
    assert scorer(np.array([[0.0, 0.0, 0.0]], dtype=np.float32)) == pytest.approx(0.8)  # all are predicted
    assert scorer_for("multilabel", "f1_macro", targets * 0)(np.zeros((1, 3), np.float32)) == LOWEST


def test_the_mean_is_that_of_numpy() -> None:
    members, targets = case("multilabel", 6, members=7)
    found = uniform(members, scorer_for("multilabel", "f1_macro", targets))
    assert found.weights == pytest.approx([1 / 7] * 7)
    np.testing.assert_allclose(blend(members, found.counts), members.mean(axis=0, dtype=float), rtol=1e-6)
    np.testing.assert_array_equal(blend(members[:1], (3,)), members[0])


def test_a_selection_takes_something() -> None:
    for counts, scores in (((0, 0), (0.5,)), ((1, -1, 1), (0.5,)), ((1,), ())):
        with pytest.raises(ValueError, match="takes one member or more"):
            Selection(counts, scores)
