"""Paired comparison against published implementations, plain loops and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix
from zoobench.benchmarks import paired
from zoobench.benchmarks.bootstrap import ResampleWeights, bootstrap, resample_weights
from zoobench.benchmarks.metrics import MAIN_METRICS, METRICS, score
from zoobench.benchmarks.reread import Answers, measure, side_by_side

from .test_bootstrap import multiclass_data, multilabel_data


def answers(kind: str, seed: int) -> tuple[np.ndarray, list[Answers]]:
    """Targets, and the answers of three models to the same 60 rows."""
    make = multilabel_data if kind == "multilabel" else multiclass_data
    targets, *first = make(5)
    others = [make(seed + number)[1:] for number in range(2)]
    return targets, [Answers(*each) for each in (first, *others)]


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_every_metric_is_that_of_rows_repeated(kind: str) -> None:
    targets, (found, *_) = answers(kind, 5)
    weights = resample_weights(np.arange(60) // 3, n_resamples=12)
    samples = bootstrap(kind, targets, found.probabilities, found.predictions, weights, tuple(METRICS))
    assert tuple(samples) == tuple(METRICS)
    for number, counts in enumerate(weights.counts):
        rows = np.repeat(np.arange(60), counts[weights.cluster])
        values = score(kind, targets[rows], found.probabilities[rows], found.predictions[rows]).values
        for name, value in values.items():
            assert samples[name][number] == pytest.approx(value, abs=1e-6), name


def test_only_what_is_asked_for_is_resampled() -> None:
    targets, (found, *_) = answers("multilabel", 5)
    weights = resample_weights(np.arange(60), n_resamples=5)
    whole = bootstrap("multilabel", targets, found.probabilities, found.predictions, weights, tuple(METRICS))
    for name in ("brier", "f1_macro", "average_precision_micro", "expected_calibration_error"):
        part = bootstrap("multilabel", targets, found.probabilities, found.predictions, weights, (name,))
        assert list(part) == [name]
        np.testing.assert_array_equal(part[name], whole[name])
    with pytest.raises(ValueError, match="unknown metrics"):
        bootstrap("multilabel", targets, found.probabilities, found.predictions, weights, ("f2",))
    assert tuple(bootstrap("multilabel", targets, found.probabilities, found.predictions, weights)) == MAIN_METRICS


def by_loop(kind: str, targets: np.ndarray, found: Answers, weights: ResampleWeights) -> list[dict[str, float]]:
    """Every resample the slow way: rows repeated as often as their cluster was drawn, then scored."""
    draws = [np.repeat(np.arange(len(targets)), counts[weights.cluster]) for counts in weights.counts]
    return [dict(score(kind, targets[d], found.probabilities[d], found.predictions[d]).values) for d in draws]


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_a_difference_is_that_of_a_plain_loop(kind: str) -> None:
    targets, found = answers(kind, 40)
    weights = resample_weights(np.arange(60) // 2, n_resamples=60)
    names = paired.metric_names(kind)
    measured = [measure(kind, targets, each, weights, names) for each in found]
    loops = [by_loop(kind, targets, each, weights) for each in found]
    for metric in names:
        values, samples = [m.values[metric] for m in measured], [m.resamples[metric] for m in measured]
        for each in paired.differences(metric, values, samples):
            one, other = ([draw[metric] for draw in loops[place]] for place in each.pair)
            apart = np.subtract(one, other).round(9)
            assert each.difference == pytest.approx(values[each.pair[0]] - values[each.pair[1]])
            assert (each.low, each.high) == pytest.approx(np.quantile(apart, [0.025, 0.975]), abs=1e-6)
            rarer = min((apart <= 0).sum(), (apart >= 0).sum())
            assert each.p == pytest.approx(min(1, 2 * (rarer + 1) / 61)), metric


def test_an_interval_is_that_of_scipy() -> None:
    """scipy draws its own resamples: the bounds agree to a hundredth of the interval's width and a half."""
    targets, (one, other, _) = answers("multilabel", 70)
    right = [(targets == each.predictions).all(axis=1).astype(float) for each in (one, other)]
    expected = stats.bootstrap(
        right,
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    weights = resample_weights(np.arange(60), n_resamples=20_000)
    measured = [measure("multilabel", targets, each, weights, ("exact_match",)) for each in (one, other)]
    values, samples = [m.values["exact_match"] for m in measured], [m.resamples["exact_match"] for m in measured]
    (each,) = paired.differences("exact_match", values, samples)
    assert (each.low, each.high) == pytest.approx(tuple(expected), abs=1 / 60 + 1e-9)  # one row of sixty


def test_the_p_value_begins_to_reject_where_the_interval_leaves_zero() -> None:
    samples = np.random.default_rng(1).normal(0.3, 0.2, 999)
    for level in (0.5, 0.8, 0.9, 0.99):
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
        assert (paired.two_sided_p(samples) < 1 - level) == (not low <= 0 <= high)
    assert paired.two_sided_p(np.full(999, 0.1)) == 2 / 1000
    assert paired.two_sided_p(np.zeros(999)) == 1
    assert paired.two_sided_p(np.array([-1.0, 1.0, 1.0, 1.0])) == 2 * 2 / 5


def test_holm_is_that_of_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 6, 190):
        values: list[float | None] = [*(rng.random(size) ** 4).round(3).tolist()]
        values.insert(size // 2, None)
        found = paired.holm(values)
        known = [value for value in values if value is not None]
        assert [value is None for value in found] == [value is None for value in values]
        expected = multitest.multipletests(known, method="holm")[1]
        assert [value for value in found if value is not None] == pytest.approx(expected.tolist())


@pytest.mark.parametrize("rows", [1, 2, 7, 60, 700])
@pytest.mark.parametrize("skill", [0.1, 0.5, 0.8])
def test_mcnemar_is_that_of_statsmodels(rows: int, skill: float) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    one, other = np.random.default_rng(rows).random((2, rows)) < np.array([[0.5], [skill]])
    (found,) = paired.disagreements([one, other])
    table = confusion_matrix(one, other, labels=[False, True])
    assert found.only == (table[1, 0], table[0, 1])
    assert found.p == pytest.approx(min(1, tables.mcnemar(table, exact=True).pvalue))
    if sum(found.only):
        assert found.p == pytest.approx(stats.binomtest(found.only[0], sum(found.only)).pvalue)


def test_seeds_count_a_row_once() -> None:
    right = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 0, 0]], dtype=bool)
    assert paired.right_in_most(right).tolist() == [True, True, False, False]
    assert paired.right_in_most(right[:2]).tolist() == [True, False, False, False]
    seeds = [{"f1_macro": np.array([0.2, np.nan], np.float32)}, {"f1_macro": np.array([0.4, 0.5], np.float32)}]
    pooled = paired.replicates_mean(seeds)["f1_macro"]
    assert pooled[0] == pytest.approx(0.3)
    assert np.isnan(pooled[1])


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_a_model_against_itself_ties(kind: str) -> None:
    targets, (found, *_) = answers(kind, 5)
    weights = resample_weights(np.arange(60) // 2, n_resamples=50)
    one = measure(kind, targets, found, weights, paired.metric_names(kind))
    for name in paired.metric_names(kind):
        (each,) = paired.differences(name, [one.values[name]] * 2, [one.resamples[name]] * 2)
        assert (each.difference, each.low, each.high, each.p, each.better) == (0, 0, 0, 1, None)
    (rows,) = paired.disagreements([one.right, one.right])
    assert (rows.only, rows.p, rows.better) == ((0, 0), 1, None)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_swapping_two_flips_the_sign_and_nothing_else(kind: str) -> None:
    targets, found = answers(kind, 40)
    weights = resample_weights(np.arange(60), n_resamples=200)
    names = paired.metric_names(kind)
    one, other, _ = (measure(kind, targets, each, weights, names) for each in found)
    for name in names:
        (ab,) = paired.differences(
            name, [one.values[name], other.values[name]], [one.resamples[name], other.resamples[name]]
        )
        (ba,) = paired.differences(
            name, [other.values[name], one.values[name]], [other.resamples[name], one.resamples[name]]
        )
        assert (ab.difference, ab.low, ab.high, ab.p) == pytest.approx(
            (-ba.difference, -ba.high, -ba.low, ba.p), abs=1e-12
        )
        assert (ab.better is None) == (ba.better is None)
        assert ab.better is None or ab.better == 1 - ba.better
    (ab,), (ba,) = paired.disagreements([one.right, other.right]), paired.disagreements([other.right, one.right])
    assert (ab.only, ab.p) == (ba.only[::-1], ba.p)


def test_neither_the_order_of_rows_nor_of_models_matters() -> None:
    targets, found = answers("multilabel", 40)
    groups, names = np.arange(60) // 2, paired.metric_names("multilabel")
    order = np.random.default_rng(0).permutation(60)
    moved = [Answers(each.probabilities[order], each.predictions[order]) for each in found]
    one = [measure("multilabel", targets, each, resample_weights(groups, 60), names) for each in found]
    two = [measure("multilabel", targets[order], each, resample_weights(groups[order], 60), names) for each in moved]
    turned = [2, 0, 1]
    for name in names:
        here, there = (
            paired.differences(name, [m.values[name] for m in ms], [m.resamples[name] for m in ms]) for ms in (one, two)
        )
        for a, b in zip(here, there, strict=True):
            assert (a.difference, a.low, a.high) == pytest.approx((b.difference, b.low, b.high), abs=1e-6)
            assert a.p == b.p
        again = [one[place] for place in turned]
        by_pair = {
            frozenset(turned[place] for place in each.pair): each
            for each in paired.differences(name, [m.values[name] for m in again], [m.resamples[name] for m in again])
        }
        for a in here:
            b = by_pair[frozenset(a.pair)]
            assert (a.p, a.p_holm) == (b.p, b.p_holm)
            assert abs(a.difference) == pytest.approx(abs(b.difference))


def test_the_better_one_is_the_one_with_less_of_a_loss() -> None:
    low, high = np.full(100, 0.1, np.float32), np.full(100, 0.3, np.float32)
    assert paired.differences("f1_macro", [0.1, 0.3], [low, high])[0].better == 1
    assert paired.differences("log_loss", [0.1, 0.3], [low, high])[0].better == 0
    noise = np.random.default_rng(0).normal(0, 1e-8, 100)
    (level,) = paired.differences("f1_macro", [0.1, 0.1], [low, (low + noise).astype(np.float32)])
    assert (level.p, level.better) == (1, None)  # what float32 cannot tell is no difference


def test_a_metric_that_most_resamples_leave_undefined_says_nothing() -> None:
    samples = np.full(10, np.nan, np.float32)
    samples[:5] = 0.5
    (each,) = paired.differences("roc_auc_macro", [0.5, None], [samples, samples])
    assert (each.difference, each.low, each.high, each.p, each.p_holm, each.better) == (None,) * 6


def test_multi_class_shows_no_metric_twice() -> None:
    targets, (found, *_) = answers("multiclass", 5)
    values = score("multiclass", targets, found.probabilities, found.predictions).values
    left_out = set(paired.metric_names("multilabel")) - set(paired.metric_names("multiclass"))
    assert left_out
    for name in left_out:
        assert abs(values[name] - (name == "hamming_loss")) == pytest.approx(values["accuracy"]), name


def test_jobs_keep_their_order_and_their_faults() -> None:
    targets, found = answers("multilabel", 40)
    weights = resample_weights(np.arange(60), n_resamples=20)
    done: list[int] = []
    jobs = [lambda each=each: measure("multilabel", targets, each, weights, ("f1_macro",)) for each in found]
    together = side_by_side(jobs, lambda: done.append(1))
    assert [each.values for each in together] == [job().values for job in jobs]
    assert len(done) == 3

    def broken() -> object:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        side_by_side([jobs[0], broken, jobs[1]], lambda: None)  # type: ignore[list-item]
