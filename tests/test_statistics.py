"""The figures of a report, against pandas, Counter and sums written out."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoobench.datasets.audit import hot_targets
from zoobench.datasets.report import describe, words

NUMBERS = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=60)
HOT = st.lists(st.tuples(*[st.booleans()] * 9), min_size=1, max_size=40).map(lambda rows: np.array(rows, dtype=bool))
LABELS = tuple("abcdefghi")


@given(NUMBERS)
def test_summary_is_that_of_pandas(values: list[float]) -> None:
    found = describe.summary(np.array([*values, np.nan]))
    wanted = pd.Series(values).describe()
    names = {"25%": "q25", "50%": "median", "75%": "q75"}
    for name, value in wanted.items():
        shown = found[names.get(str(name), str(name))]
        assert (shown is None and math.isnan(value)) or shown == pytest.approx(value, rel=1e-9, abs=1e-6)


def test_summary_of_nothing_has_no_figures() -> None:
    found = describe.summary(np.array([np.nan]))
    assert found.pop("count") == 0
    assert set(found.values()) == {None}


@given(NUMBERS)
def test_box_whiskers_are_values_within_reach(values: list[float]) -> None:
    found, held = describe.box(np.array(values)), pd.Series(values)
    q1, q3 = held.quantile(0.25), held.quantile(0.75)
    inside = held[(held >= q1 - 1.5 * (q3 - q1)) & (held <= q3 + 1.5 * (q3 - q1))]
    assert found["outliers"] == len(held) - len(inside)
    assert found["lower"] == pytest.approx(min(inside.min(), q1))
    assert found["upper"] == pytest.approx(max(inside.max(), q3))


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=80), st.integers(1, 40))
def test_histogram_counts_every_number_in_its_bin(values: list[int], bins: int) -> None:
    found = describe.histogram(np.array(values), bins)
    edges, counts = found["edges"], found["counts"]
    assert sum(counts) == len(values)
    assert len(counts) == len(edges) - 1 <= bins
    assert found["clipped"] == sum(value > edges[-1] for value in values)
    for low, high, count in list(zip(edges, edges[1:], counts, strict=False))[:-1]:
        assert count == sum(low <= value < high for value in values)


def test_histogram_bins_of_steps_are_even() -> None:
    ages = np.repeat(np.arange(101) / 100, 3)
    assert set(describe.histogram(ages)["counts"][:-1]) == {9}


def test_histogram_gathers_a_long_tail_in_the_last_bin() -> None:
    found = describe.histogram(np.array([*range(1, 1000), 1_000_000]))
    assert found["edges"][-1] < 1100
    assert found["clipped"] == 1
    assert sum(found["counts"]) == 1000


def test_histograms_of_labels_share_their_edges() -> None:
    whole = describe.histogram(np.arange(300))
    part = describe.histogram(np.array([3, 299]), like=whole)
    assert part["edges"] == whole["edges"]
    assert (part["counts"][0], part["counts"][-1], sum(part["counts"])) == (1, 1, 2)


@given(HOT, st.integers(1, 6))
def test_combinations_are_those_of_a_counter(hot: np.ndarray, top: int) -> None:
    wanted = Counter(tuple(label for label, held in zip(LABELS, row, strict=True) if held) for row in hot)
    found = describe.combinations(hot, LABELS, top)
    assert found["distinct"] == len(wanted)
    assert [each["rows"] for each in found["top"]] == sorted(wanted.values(), reverse=True)[:top]
    assert all(wanted[tuple(each["labels"])] == each["rows"] for each in found["top"])
    assert sum(each["rows"] for each in found["top"]) + found["rest"]["rows"] == len(hot)
    assert len(found["top"]) + found["rest"]["combinations"] == len(wanted)


@given(HOT)
def test_co_occurrence_counts_pairs(hot: np.ndarray) -> None:
    found = describe.co_occurrence(hot, LABELS, top=5)
    assert len(found["labels"]) == 5
    column = {label: hot[:, at] for at, label in enumerate(LABELS)}
    for (at, one), (to, other) in combinations(enumerate(found["labels"]), 2):
        both = int((column[one] & column[other]).sum())
        assert found["rows"][at][to] == found["rows"][to][at] == both
        assert found["share"][at][to] == (both / column[one].sum() if column[one].any() else None)
    assert [found["rows"][at][at] for at in range(5)] == sorted(hot.sum(axis=0), reverse=True)[:5]


@given(HOT)
def test_labels_per_row(hot: np.ndarray) -> None:
    wanted = Counter(sum(map(bool, row)) for row in hot)
    found = describe.labels_per_row(hot)
    assert {int(name): count for name, count in found.items() if count} == dict(wanted)


def test_label_counts_by_fold() -> None:
    hot = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], dtype=bool)
    found = describe.label_counts(
        hot, np.array([0, 0, 2, -1]), {0: "train", 1: "validation", 2: "test", -1: "left out"}
    )
    assert found == {"train": [2, 1], "validation": [0, 0], "test": [0, 1], "left out": [1, 0]}


def test_classes_become_one_hot_rows() -> None:
    assert hot_targets(np.array([1, 0]), 3).tolist() == [[False, True, False], [True, False, False]]


def test_duplicates() -> None:
    found = describe.duplicates(np.array(["a", "b", "a", "c", "a", "b"], dtype=object))
    assert found == {"distinct": 3, "rows in a set of equals": 5, "largest set": 3}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200))
def test_group_sizes_cover_every_group_once(groups: list[int]) -> None:
    found, sizes = describe.group_sizes(np.array(groups)), Counter(Counter(groups).values())
    assert found["groups"] == len(set(groups)) == sum(found["sizes"].values())
    for name, count in found["sizes"].items():
        low, _, high = name.partition(" to ")
        assert count == sum(sizes[size] for size in range(int(low), int(high or low) + 1))


def test_tally_orders_numbers_by_value_and_words_by_rows() -> None:
    assert describe.tally(np.array([10.0, 2.0, 2.0, np.nan])) == {
        "values": ["", "2", "10"],
        "rows": [1, 2, 1],
        "rest": {"values": 0, "rows": 0},
    }
    found = describe.tally(np.array([*"abbccc"], dtype=object), top=2)
    assert found == {"values": ["c", "b"], "rows": [3, 2], "rest": {"values": 1, "rows": 1}}


def test_cross_is_that_of_pandas() -> None:
    rng = np.random.default_rng(0)
    values, hot = rng.choice([0.0, 1.0, np.nan], 200), rng.random((200, 3)) < 0.4
    for line, held in zip(describe.cross(hot, values, ["0", "1"]), hot.T, strict=True):
        assert line == [int(((values == value) & held).sum()) for value in (0.0, 1.0)]


def test_missing() -> None:
    assert describe.missing(np.array([1.0, np.nan])) == 1
    assert describe.missing(np.array(["x", "", " \n"], dtype=object)) == 2


def test_words_of_labels_against_a_counter() -> None:
    texts = ["The fever rose, fever fell.", "A x-ray shows the nodule", "nodule and fever; don't", "no 12 b2b"]
    hot = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool)
    fever, nodule = words.label_words(texts, hot, "en")
    assert fever["rows"] == nodule["rows"] == 2
    assert fever["frequent"][0] == ["fever", 3, 2]
    assert nodule["frequent"][0] == ["nodule", 2, 2]
    assert {word for word, _, _ in nodule["frequent"]} == {"nodule", "fever", "shows", "x-ray"}
    assert fever["distinctive"][0][0] == "fever"
    assert nodule["distinctive"][0][0] == "nodule"


def test_spanish_words_keep_their_letters_and_lose_their_articles() -> None:
    (found,) = words.label_words(["el niño con la corazón"], np.ones((1, 1), dtype=bool), "es")
    assert [word for word, _, _ in found["frequent"]] == ["corazón", "niño"]


def test_no_word_at_all() -> None:
    assert words.label_words(["1 2", "the"], np.ones((2, 1), dtype=bool), "en") == [
        {"rows": 2, "frequent": [], "distinctive": []}
    ]


def test_log_odds_are_those_of_the_paper() -> None:
    inside, outside = np.array([9, 1, 0]), np.array([2, 7, 4])
    found = words.log_odds(inside, outside)
    prior = inside + outside
    for at in range(3):
        one, other = inside[at] + prior[at], outside[at] + prior[at]
        ratio = math.log(one / (inside.sum() + prior.sum() - one)) - math.log(
            other / (outside.sum() + prior.sum() - other)
        )
        assert found[at] == pytest.approx(ratio / math.sqrt(1 / one + 1 / other))


def test_a_large_corpus_is_sampled_within_its_budget() -> None:
    texts = ["x" * 10] * 1000
    rows = words.sampled_rows(texts, budget=2000)
    assert len(rows) == 200
    assert (np.diff(rows) > 0).all()
    assert len(words.sampled_rows(texts, budget=10_000)) == 1000
