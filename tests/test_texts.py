"""Texts with columns: what takes the columns along, and what refuses."""

from __future__ import annotations

import copy
import multiprocessing

import numpy as np
import pytest
from zoobench.datasets.support.texts import Texts, columns

TEXTS = Texts(["a", "b", "c"], {"year": np.array([1, 2, 3]), "title": np.array(["x", "y", "z"], object)})


def through_a_pipe(texts: Texts) -> Texts:
    """What reaches another process."""
    near, far = multiprocessing.Pipe()
    near.send(texts)
    return far.recv()


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, Texts.copy, through_a_pipe], ids=lambda way: way.__name__)
def test_a_copy_has_the_columns(way: object) -> None:
    found = way(TEXTS)  # type: ignore[operator]
    assert isinstance(found, Texts)
    assert list(found) == list(TEXTS)
    assert columns(found)["year"].tolist() == [1, 2, 3]
    columns(found)["year"][0] = 9
    found[0] = "other"
    assert columns(TEXTS)["year"][0] == 1
    assert TEXTS[0] == "a"


def test_texts_that_are_joined_have_the_columns() -> None:
    found = np.concatenate([TEXTS[1:], TEXTS[:1]])
    assert list(found) == ["b", "c", "a"]
    assert columns(found)["year"].tolist() == [2, 3, 1]
    with pytest.raises(ValueError, match=r"columns \['title', 'year'\] .* lack some"):
        np.concatenate([TEXTS, np.array(["d"], object)])
    with pytest.raises(ValueError, match="lack some"):
        np.concatenate([np.array(["d"], object), TEXTS])
    assert columns(np.concatenate([Texts(["a"], {}), np.array(["d"], object)])) == {}


def test_rows_that_are_taken_have_the_columns() -> None:
    for found in (TEXTS.take([2, 0]), np.take(TEXTS, [2, 0]), TEXTS[[2, 0]], TEXTS[[2, 0], ...]):
        assert list(found) == ["c", "a"]
        assert columns(found)["year"].tolist() == [3, 1]
    assert TEXTS.take(1) == "b"
    assert columns(np.sort(TEXTS)) == {}, "changed places are no choice of rows"
    moved = TEXTS.copy()
    moved[:] = list(moved[::-1])
    assert columns(moved) == {}
