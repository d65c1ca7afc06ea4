"""Folds, on small data made here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoobench.datasets import folds
from zoobench.datasets.folds import (
    evened,
    grouped_iterative_split,
    read_split,
    shared_groups,
    split_sha256,
    write_split,
)
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.files import sha256_file


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_split_is_whole_deterministic_and_parts_no_group(rows, groups, labels, seed):
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, labels)) < 0.3).astype(np.uint8)
    group = rng.integers(0, groups, rows) * 7 - 3
    dealt = grouped_iterative_split(targets, group, seed=seed)
    assert (dealt.shape, dealt.dtype) == ((rows,), np.int64)
    assert set(dealt.tolist()) <= {0, 1, 2}
    assert shared_groups(dealt, group) == 0
    np.testing.assert_array_equal(dealt, grouped_iterative_split(targets, group, seed=seed))


def test_split_without_groups_is_as_even_as_iterative_stratification():
    from iterstrat.ml_stratifiers import IterativeStratification

    rng = np.random.default_rng(5)
    targets = (rng.random((2000, 8)) < np.linspace(0.02, 0.4, 8)).astype(np.uint8)

    def deviation(dealt):
        inside = np.stack([targets[dealt == fold].sum(axis=0) for fold in range(3)])
        return np.abs(inside / targets.sum(axis=0) - np.array(folds.SHARES)[:, None]).max()

    ours = grouped_iterative_split(targets, np.arange(2000))
    theirs = IterativeStratification(targets.astype(bool), np.array(folds.SHARES), np.random.RandomState(0))
    assert deviation(ours) <= deviation(theirs) + 0.005
    assert deviation(ours) < 0.02


def test_uneven_groups_keep_the_shares_of_rows_and_classes():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(300), rng.zipf(1.7, 300).clip(max=60))
    targets = rng.choice(4, len(groups), p=[0.5, 0.3, 0.15, 0.05])
    dealt = grouped_iterative_split(targets, groups)
    np.testing.assert_allclose(np.bincount(dealt) / len(groups), folds.SHARES, atol=0.01)
    inside = np.stack([np.bincount(targets[dealt == fold], minlength=4) for fold in range(3)])
    np.testing.assert_allclose(inside / np.bincount(targets), np.tile(np.array(folds.SHARES)[:, None], 4), atol=0.03)


def test_seed_changes_the_deal_and_shares_are_checked():
    targets, groups = np.random.default_rng(0).integers(0, 2, (300, 3)), np.arange(300) // 3
    first, second = (grouped_iterative_split(targets, groups, seed=seed) for seed in (0, 1))
    assert (first != second).any()
    with pytest.raises(ValueError, match="sum to 1"):
        grouped_iterative_split(targets, groups, shares=(0.7, 0.2, 0.2))


def test_shared_groups_counts_groups_and_not_rows():
    assert shared_groups(np.array([0, 0, 1, 2, 2, 1]), np.array([5, 5, 5, 9, 9, 7])) == 1
    assert shared_groups(np.array([0, 1, 0, 2]), np.array([1, 1, 2, 2])) == 2


def test_fold_file_is_canonical_and_verified(tmp_path):
    path, ids = tmp_path / "t.csv", np.array(["b", 'a,"x"', "c"], dtype=object)
    digest = write_split(path, ids, np.array([2, 0, 1]))
    assert path.read_bytes() == b'id,fold\n"a,""x""",train\nb,test\nc,validation\n'
    assert digest == sha256_file(path) == split_sha256(ids[::-1], np.array([1, 0, 2]))
    assert read_split(path, digest, ids[[2, 0, 1]]).tolist() == [1, 2, 0]

    assert read_split(path, digest, np.array([*ids[:2], "d"], dtype=object)).tolist() == [2, 0, -1]
    assert split_sha256(np.array([*ids, "d"]), np.array([2, 0, 1, -1])) == digest, "what is left out is not written"
    path.write_text(path.read_text().replace("b,test", "b,train"))
    with pytest.raises(UserError, match=r"t\.csv was changed"):
        read_split(path, digest, ids)
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        read_split(tmp_path / "none.csv", digest, ids)


@pytest.mark.parametrize("seed", [3, 7, 8])
def test_few_and_large_groups_are_evened_out(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(80), rng.integers(2, 14, 80))
    targets = (rng.random((len(groups), 4)) < rng.random((80, 4))[groups] * 0.6).astype(np.uint8)
    first = grouped_iterative_split(targets, groups)
    dealt = evened(targets, groups, first)
    assert shared_groups(dealt, groups) == 0
    np.testing.assert_array_equal(dealt, evened(targets, groups, first), "the same each time")

    def missed(folds):
        of_labels = np.stack([targets[folds == fold].sum(axis=0) for fold in range(3)]) / targets.sum(axis=0)
        of_rows = np.bincount(folds) / len(folds)
        wanted = np.array([0.7, 0.1, 0.2])
        return np.abs(of_rows - wanted).max(), np.abs(of_labels - wanted[:, None]).max()

    (rows, labels), (rows_before, labels_before) = missed(dealt), missed(first)
    assert rows <= min(0.02, rows_before / 2)
    assert labels <= min(0.03, labels_before / 2)


def test_command_refuses_an_unknown_task(capsys):
    assert folds.main(["openi-report"]) == 2
    assert "did you mean 'openi-reports'?" in capsys.readouterr().err
    assert folds.main([]) == 2
