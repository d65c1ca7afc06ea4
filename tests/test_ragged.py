"""Rows of differing length: laid end to end, padded on either side, batched; what is kept of a text about a pair."""

from __future__ import annotations

import numpy as np
import pytest
from zoobench.datasets.marking import mark
from zoobench.zoo.entity_window import ABSENT, MARKERS, window
from zoobench.zoo.ragged import Rows, buckets, cut


def test_rows_are_what_was_laid_end_to_end() -> None:
    parts = [[5, 6, 7], [], np.array([8], np.int64)]
    rows = Rows.of(parts)
    assert [list(row) for row in rows] == [[5, 6, 7], [], [8]]
    assert (rows.values.dtype, rows.offsets.dtype) == (np.int32, np.int64)
    assert rows.lengths.tolist() == [3, 0, 1]
    assert len(Rows.of([])) == 0
    for offsets in ([], [0, 2], [1, 4], [0, 3, 2, 4]):
        with pytest.raises(ValueError, match="offsets of rows rise"):
            Rows(rows.values, np.array(offsets, np.int64))


def test_rows_are_padded_behind_or_in_front() -> None:
    rows = Rows.of([[5, 6, 7], [8], []])
    assert rows.padded(np.array([1, 0, 2]), pad=9).tolist() == [[8, 9, 9], [5, 6, 7], [9, 9, 9]]
    assert rows.padded(np.array([1, 0]), 4, first=True).tolist() == [[0, 0, 0, 8], [0, 5, 6, 7]]
    assert rows.padded(np.array([0, 1]), 2).tolist() == [[5, 6], [8, 0]]
    assert rows.padded(np.array([0, 1]), 2, first=True).tolist() == [[6, 7], [0, 8]]
    assert rows.padded(np.array([], int)).shape == (0, 0)


def padding_share(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    computed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / computed


def test_buckets_hold_every_row_once_and_little_padding() -> None:
    lengths = np.random.default_rng(5).integers(5, 256, 2000)
    plain = [np.arange(at, at + 16) for at in range(0, 2000, 16)]
    batches = buckets(lengths, 16, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(2000))
    assert max(map(len, batches)) == 16
    assert padding_share(lengths, batches) < 0.05
    assert padding_share(lengths, plain) > 0.4
    one, two, three = (np.concatenate(buckets(lengths, 16, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)
    assert all(np.all(np.diff(lengths[batch]) <= 0) for batch in batches)


def test_parts_hold_no_more_tokens_than_asked_for() -> None:
    lengths = np.array([300, 60, 60, 50, 9, 9, 9, 1, 0])
    parts = cut(np.arange(9), lengths, 3, 128)
    assert [part.tolist() for part in parts] == [[0], [1, 2], [3, 4], [5, 6, 7], [8]]


def test_the_markers_are_those_that_tasks_write() -> None:
    assert mark("a b", [(0, 1)], [(2, 3)]).split() == [MARKERS[0], "a", *MARKERS[1:3], "b", MARKERS[3]]


MARKS = (1001, 1002, 1003, 1004)


def test_a_window_holds_the_words_of_both_entities() -> None:
    """Eight mentions elsewhere have 16 markers: more than the room, in which the pair's own words must stand."""
    elsewhere = [part for word in range(8) for part in (1001, 600 + word, 1002, *range(10 * word, 10 * word + 10))]
    text = np.array([*elsewhere, 1001, 501, 502, 1002, 99, 1003, 503, 504, 1004, *range(100, 140)])
    kept = window(text, 16, MARKS)
    assert len(kept) == 16
    assert {501, 502, 503, 504} <= set(kept.tolist())
    assert (window(text, 400, MARKS) == text).all()


def test_a_window_where_markers_are_unknown() -> None:
    text = np.arange(50)
    assert window(text, 5, ()).tolist() == [0, 1, 2, 3, 4]
    assert window(text, 5, [ABSENT] * 4).tolist() == [0, 1, 2, 3, 4]
    one = np.array([*range(30), 1003, 77, 1004, *range(30, 60)])
    assert window(one, 5, [ABSENT, ABSENT, 1003, 1004]).tolist() == [29, 1003, 77, 1004, 30]
