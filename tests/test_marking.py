"""Marked entities: every span whole, markers that nest, and the text given back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoobench.datasets.marking import holds_marker, mark

MARKER = re.compile(r"\[E([12])\] | \[/E([12])\]")


def unmarked(marked: str) -> tuple[str, dict[str, list[tuple[int, int]]]]:
    """Return the text without markers and the spans between those of each entity; fails unless they nest."""
    spans: dict[str, list[tuple[int, int]]] = {"1": [], "2": []}
    open_, at, behind, pieces = [], 0, 0, []
    for found in MARKER.finditer(marked):
        pieces.append(marked[behind : found.start()])
        at, behind = at + len(pieces[-1]), found.end()
        if found[1]:
            open_.append((found[1], at))
        else:
            entity, start = open_.pop()
            assert entity == found[2]
            spans[entity].append((start, at))
    assert not open_
    return "".join((*pieces, marked[behind:])), spans


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([(0, 2)], [(3, 5)], "[E1] ab [/E1] [E2] cd [/E2] ef"),
        ([(3, 5), (0, 2)], [(6, 8)], "[E1] ab [/E1] [E1] cd [/E1] [E2] ef [/E2]"),
        ([(0, 2)], [(0, 2)], "[E1] [E2] ab [/E2] [/E1] cd ef"),
        ([(3, 5)], [(0, 8)], "[E2] ab [E1] cd [/E1] ef [/E2]"),
        ([(0, 2)], [(0, 5)], "[E2] [E1] ab [/E1] cd [/E2] ef"),
        ([(0, 5)], [(3, 5)], "[E1] ab [E2] cd [/E2] [/E1] ef"),
        ([(0, 4)], [(3, 8)], "[E1] ab [E2] c [/E2] [/E1][E2] d ef [/E2]"),
        ([(0, 4), (3, 5)], [(6, 8)], "[E1] ab cd [/E1] [E2] ef [/E2]"),
        ([(0, 1), (1, 2)], [(6, 8)], "[E1] a [/E1][E1] b [/E1] cd [E2] ef [/E2]"),
    ],
)
def test_marks_nest_like_brackets(first: list[tuple[int, int]], second: list[tuple[int, int]], expected: str) -> None:
    assert mark("ab cd ef", first, second) == expected


SPANS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1])), min_size=1
)


@given(SPANS, SPANS)
def test_any_spans_are_marked_whole_and_can_be_taken_off(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    text = "".join(chr(945 + place) for place in range(42))
    found, spans = unmarked(mark(text, first, second))
    assert found == text
    for number, wanted in (("1", first), ("2", second)):
        covered = [place for start, end in spans[number] for place in range(start, end)]
        assert len(covered) == len(set(covered))
        assert set(covered) == {place for start, end in wanted for place in range(start, end)}


@pytest.mark.parametrize(("text", "held"), [("a [E1] b", True), ("[/E2]", True), ("[E3] E1 [1]", False)])
def test_markers_that_a_text_holds_already_are_found(text: str, held: bool) -> None:
    assert holds_marker(text) == held
