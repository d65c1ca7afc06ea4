"""The search for near-identical texts against the cosines of all pairs, on texts made here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoobench.datasets.near import near_identical, near_identical_groups

# Few words, so that texts meet in many ways: equal, equal but for order, half equal, without a word, empty.
WORDS = ["lung", "Lung", "heart", "clear", "no", "a", "!", ""]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join), max_size=30)
LETTERS = st.lists(st.text(alphabet="abc ", max_size=12), max_size=25)
THRESHOLDS = st.sampled_from([0.3, 0.5, 0.7, 0.9, 0.999, 1.0])


def all_pairs(texts: list[str], threshold: float) -> np.ndarray:
    """Return (n, n) bool: which texts are near-identical, by the cosines of all pairs; equal ones always are."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    near = np.array([[one == other for other in texts] for one in texts], dtype=bool).reshape(len(texts), len(texts))
    try:
        vectors = TfidfVectorizer().fit_transform(texts)
    except ValueError:  # no text holds a word
        return near
    return near | (np.asarray(cosine_similarity(vectors)) >= threshold - 1e-9)


def found_pairs(texts: list[str], threshold: float) -> np.ndarray:
    found = near_identical(texts, threshold)
    joined = found.member[:, None] == found.member
    for one, other in found.links:
        pair = np.outer(found.member == one, found.member == other)
        joined |= pair | pair.T
    return joined


def components(near: np.ndarray) -> list[int]:
    """Return the groups of a symmetric relation, numbered as they first appear."""
    for _ in near:
        near = near | (near.astype(int) @ near.astype(int) > 0)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(int(row.argmax()), len(numbers)) for row in near]


@settings(max_examples=120, deadline=None)
@given(TEXTS | LETTERS, THRESHOLDS)
def test_pairs_and_groups_are_those_of_brute_force(texts: list[str], threshold: float) -> None:
    expected = all_pairs(texts, threshold)
    np.testing.assert_array_equal(found_pairs(texts, threshold), expected)
    groups = near_identical_groups(texts, threshold)
    assert groups.tolist() == components(expected)
    assert groups.dtype == np.int64


@settings(max_examples=60, deadline=None)
@given(TEXTS, THRESHOLDS, st.randoms(use_true_random=False))
def test_beside_tells_who_has_a_near_one_among_the_rows(texts: list[str], threshold: float, random) -> None:
    held = np.array([random.random() < 0.4 for _ in texts], dtype=bool)
    expected = all_pairs(texts, threshold)[:, held].any(axis=1) if texts else held
    np.testing.assert_array_equal(near_identical(texts, threshold).beside(held), expected)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_long_texts_with_few_changes_meet_as_by_brute_force(threshold: float) -> None:
    rng = np.random.default_rng(4)
    words = np.array([f"word{number}" for number in range(300)])
    weights = 1 / np.arange(1, 301)
    bases = [rng.choice(words, rng.integers(5, 60), p=weights / weights.sum()) for _ in range(60)]
    texts = []
    for base in bases * 5:
        changed = base.copy()
        places = rng.integers(0, len(base), rng.integers(0, 6))
        changed[places] = rng.choice(words, len(places))
        texts.append(" ".join(changed))
    expected = all_pairs(texts, threshold)
    assert 2 * len(texts) < expected.sum() < len(texts) ** 2 / 4
    np.testing.assert_array_equal(found_pairs(texts, threshold), expected)


def test_links_are_distinct_pairs_of_distinct_members() -> None:
    texts = ["clear lungs and heart today", "clear lungs and heart now", "Lungs and heart clear today!"] * 3
    found = near_identical(texts, 0.5)
    assert found.member.tolist() == [0, 1, 0] * 3
    assert np.sort(found.links, axis=1).tolist() == [[0, 1]]


def test_groups_follow_cosine_and_chains() -> None:
    base = [f"word{number}" for number in range(40)]
    texts = [
        " ".join(base),
        "something else entirely",
        " ".join([*base[1:], "new0"]),
        " ".join([*base[2:], "new0", "new1"]),
        "Something ELSE, entirely!",
    ]
    assert near_identical_groups(texts).tolist() == [0, 1, 0, 0, 1]
    assert near_identical_groups(texts, threshold=0.999).tolist() == [0, 1, 2, 3, 1]


def test_a_chain_joins_a_group_but_not_its_ends() -> None:
    base = [f"word{number}" for number in range(20)]
    texts = [" ".join([*base[step:], *(f"new{number}" for number in range(step))]) for step in range(7)]
    found = near_identical(texts, 0.8)
    assert set(found.groups().tolist()) == {0}
    first = np.arange(7) == 0
    assert found.beside(first).tolist() == all_pairs(texts, 0.8)[0].tolist()
    assert not found.beside(first)[6]


def test_texts_without_words_are_near_their_equals_alone() -> None:
    assert near_identical_groups(["", "!", "", "a b"]).tolist() == [0, 1, 0, 2]
    assert near_identical_groups(["", "lung", "", "lung ."]).tolist() == [0, 1, 0, 1]
    assert near_identical(["", "!", ""]).beside(np.array([True, False, False])).tolist() == [True, False, True]
    empty = near_identical([])
    assert (empty.groups().shape, empty.groups().dtype, empty.links.shape) == ((0,), np.int64, (0, 2))
    assert empty.beside(np.zeros(0, bool)).shape == (0,)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.1])
def test_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        near_identical_groups(["a"], threshold)
