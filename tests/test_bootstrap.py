"""The vectorised bootstrap against a loop that repeats rows and scores them one resample at a time."""

import numpy as np
import pytest
from zoobench.benchmarks import bootstrap as module
from zoobench.benchmarks.bootstrap import ResampleWeights, bootstrap, interval, resample_weights
from zoobench.benchmarks.metrics import MAIN_METRICS, score


def multilabel_data(seed, n=60, n_labels=4, decimals=8):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, n_labels)) < np.linspace(0.05, 0.5, n_labels)).astype(np.uint8)
    probabilities = np.round(0.3 * targets + 0.7 * rng.random((n, n_labels)), decimals)
    return targets, probabilities, (probabilities >= 0.5).astype(np.uint8)


def multiclass_data(seed, n=60, n_labels=3):
    rng = np.random.default_rng(seed)
    targets = rng.choice(n_labels, n, p=[0.6, 0.35, 0.05])
    weights = rng.random((n, n_labels)) + 0.5 * np.eye(n_labels)[targets]
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return targets, probabilities, probabilities.argmax(axis=1)


def looped(kind, data, weights):
    """Every resample the slow way: rows repeated as often as their cluster was drawn, then scored."""
    samples = {name: [] for name in MAIN_METRICS}
    for counts in weights.counts:
        rows = np.repeat(np.arange(len(weights.cluster)), counts[weights.cluster])
        values = score(kind, *(array[rows] for array in data)).values
        for name in MAIN_METRICS:
            samples[name].append(np.nan if values[name] is None else values[name])
    return {name: np.array(column) for name, column in samples.items()}


def assert_same(vectorised, expected):
    assert tuple(vectorised) == MAIN_METRICS
    for name, samples in vectorised.items():
        assert samples.dtype == np.float32
        np.testing.assert_allclose(samples, expected[name], atol=1e-6, rtol=0, err_msg=name)


@pytest.mark.parametrize("n_groups", [1, 7, 25, 60])
@pytest.mark.parametrize("decimals", [8, 1], ids=["distinct", "ties"])
def test_multilabel_equals_the_loop(n_groups, decimals):
    data = multilabel_data(n_groups, decimals=decimals)
    groups = np.random.default_rng(n_groups).integers(0, n_groups, 60)
    weights = resample_weights(groups, n_resamples=10)
    assert_same(bootstrap("multilabel", *data, weights), looped("multilabel", data, weights))


@pytest.mark.parametrize("n_groups", [7, 60])
def test_multiclass_equals_the_loop(n_groups):
    data = multiclass_data(n_groups)
    weights = resample_weights(np.random.default_rng(1).integers(0, n_groups, 60), n_resamples=10)
    assert_same(bootstrap("multiclass", *data, weights), looped("multiclass", data, weights))


@pytest.mark.parametrize("cells", [1, 1000, 2**25])
def test_rankings_longer_than_a_slice_and_resamples_in_blocks(cells, monkeypatch):
    monkeypatch.setattr(module, "SLICE", 2 * module.STEP)
    monkeypatch.setattr(module, "BLOCK_CELLS", cells)
    data = multilabel_data(11, n=200, decimals=2)
    weights = resample_weights(np.arange(200) // 2, n_resamples=12)
    assert_same(bootstrap("multilabel", *data, weights), looped("multilabel", data, weights))


def test_a_ranking_of_several_full_slices():
    data = multilabel_data(12, n=1500, n_labels=2)
    assert data[0].sum() > module.SLICE
    weights = resample_weights(np.arange(1500), n_resamples=3)
    assert_same(bootstrap("multilabel", *data, weights), looped("multilabel", data, weights))


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_weights_of_one_give_the_metric_itself(kind):
    data = multilabel_data(2) if kind == "multilabel" else multiclass_data(2)
    ones = ResampleWeights(np.ones((1, 60), dtype=int), np.arange(60))
    point = score(kind, *data).values
    for name, samples in bootstrap(kind, *data, ones).items():
        assert samples.shape == (1,)
        assert samples[0] == pytest.approx(point[name], abs=1e-6)


def test_undefined_labels_are_left_out_and_undefined_resamples_are_nan():
    targets, probabilities, predictions = multilabel_data(3, n=12)
    targets[:, 0] = 0
    targets[:, 1] = np.arange(12) == 0
    targets[:, 2:] = 0
    data = (targets, probabilities, predictions)
    weights = resample_weights(np.arange(12), n_resamples=60)
    samples = bootstrap("multilabel", *data, weights)
    without = weights.counts[:, 0] == 0
    assert 0 < without.sum() < 60
    for name in (
        "f1_micro",
        "f1_macro",
        "f1_weighted",
        "roc_auc_macro",
        "roc_auc_micro",
        "average_precision_macro",
    ):
        assert np.array_equal(np.isnan(samples[name]), without), name
    assert not np.isnan(samples["hamming_loss"]).any()
    assert_same(samples, looped("multilabel", data, weights))


def test_label_that_every_row_has_and_constant_scores():
    targets, probabilities, predictions = multilabel_data(4)
    targets[:, 1] = 1
    probabilities[:, 2] = 0.25
    data = (targets, probabilities, predictions)
    weights = resample_weights(np.arange(60) // 3, n_resamples=10)
    assert_same(bootstrap("multilabel", *data, weights), looped("multilabel", data, weights))


def test_one_row():
    weights = resample_weights(["only"], n_resamples=5)
    samples = bootstrap("multilabel", [[1, 0]], [[0.8, 0.3]], [[1, 0]], weights)
    assert samples["f1_micro"].tolist() == samples["roc_auc_micro"].tolist() == [1.0] * 5
    assert np.isnan(samples["roc_auc_macro"]).all()


def test_groups_are_drawn_whole_and_as_often_as_there_are_groups():
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    weights = resample_weights(groups, n_resamples=200)
    assert weights.cluster.tolist() == [1, 0, 1, 2, 0, 1]
    assert weights.counts.shape == (200, 3)
    assert (weights.counts.sum(axis=1) == 3).all()
    assert weights.counts.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.25)
    assert len(np.unique(weights.counts, axis=0)) == 10  # the ways to draw 3 of 3 with replacement


def test_clusters_widen_the_interval():
    targets, probabilities, predictions = multilabel_data(5, n=50)
    copies = [np.repeat(array, 8, axis=0) for array in (targets, probabilities, predictions)]
    by_row = bootstrap("multilabel", *copies, resample_weights(np.arange(400)))
    by_group = bootstrap("multilabel", *copies, resample_weights(np.repeat(np.arange(50), 8)))
    for name in ("f1_micro", "roc_auc_micro", "hamming_loss"):
        assert by_group[name].std() > 2 * by_row[name].std(), name


def test_same_groups_give_paired_resamples():
    groups = np.random.default_rng(0).integers(0, 30, 60)
    first, second = resample_weights(groups, 50), resample_weights(groups.copy(), 50)
    assert np.array_equal(first.counts, second.counts)
    assert np.array_equal(first.cluster, second.cluster)
    assert not np.array_equal(first.counts, resample_weights(groups, 50, seed=1).counts)
    data = multilabel_data(6)
    for name, samples in bootstrap("multilabel", *data, first).items():
        np.testing.assert_array_equal(samples, bootstrap("multilabel", *data, second)[name])


def test_order_of_rows_does_not_matter():
    groups = np.random.default_rng(0).integers(0, 30, 60)
    data, order = multilabel_data(7), np.random.default_rng(1).permutation(60)
    base = bootstrap("multilabel", *data, resample_weights(groups, 10))
    shuffled = bootstrap("multilabel", *(array[order] for array in data), resample_weights(groups[order], 10))
    for name, samples in base.items():
        np.testing.assert_allclose(shuffled[name], samples, atol=1e-6)


def test_interval_contains_the_point():
    data = multilabel_data(8, n=400)
    point = score("multilabel", *data).values
    for name, samples in bootstrap("multilabel", *data, resample_weights(np.arange(400))).items():
        low, high = interval(samples) or (np.nan, np.nan)
        assert low < point[name] < high, name


def test_interval_by_hand():
    samples = np.append(np.arange(101, dtype=np.float32), np.nan)
    assert interval(samples) == pytest.approx((2.5, 97.5))
    assert interval(samples, level=0.9) == pytest.approx((5.0, 95.0))
    assert interval(np.full(4, np.nan, dtype=np.float32)) is None


def test_bad_input_is_refused():
    data = multilabel_data(9)
    with pytest.raises(ValueError, match="drawn for 10 rows"):
        bootstrap("multilabel", *data, resample_weights(np.arange(10)))
    with pytest.raises(ValueError, match="targets must have shape"):
        bootstrap("multilabel", data[0][:5], *data[1:], resample_weights(np.arange(60)))
    with pytest.raises(ValueError, match="not empty"):
        resample_weights([])
    with pytest.raises(ValueError, match="clusters 0 to 1"):
        ResampleWeights(np.ones((3, 2)), np.array([0, 2]))
    with pytest.raises(ValueError, match="one row or more"):
        ResampleWeights(np.ones((3, 2)), np.array([], dtype=int))
