"""Marking: where two entities stand in a text, written into the text itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

Span = tuple[int, int]
"""Start and end of a piece of text: offsets in characters, the end outside."""

_MARKS = (("[E1] ", " [/E1]"), ("[E2] ", " [/E2]"))
_MARKER = re.compile(r"\[/?E[12]\]")


def holds_marker(text: str) -> bool:
    """Return whether `text` holds a marker already, which could not be told from one of `mark`."""
    return _MARKER.search(text) is not None


def mark(text: str, first: Iterable[Span], second: Iterable[Span]) -> str:
    """Return `text` with the `first` spans in ``[E1] … [/E1]`` and the `second` in ``[E2] … [/E2]``.

    Deleting the markers with the one space inside each gives `text` back. The markers nest like brackets:
    spans of one entity that overlap become one; a span inside a span of the other entity is marked inside it; one
    and the same span is marked ``[E1] [E2] … [/E2] [/E1]``; of two that cross, the later one is cut where the
    earlier one ends, and both of its pieces are marked.
    """
    spans = _joined(first), _joined(second)
    edges = []
    for number, (opening, closing) in enumerate(_MARKS):
        for start, end in _cut(spans[number], spans[1 - number]):
            # At one place: closing before opening, inner closing first, outer opening first.
            edges.append((start, 1, -end, number, opening))
            edges.append((end, 0, -start, -number, closing))
    pieces, at = [], 0
    for place, _, _, _, marker in sorted(edges):
        pieces += text[at:place], marker
        at = place
    return "".join((*pieces, text[at:]))


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _cut(spans: Iterable[Span], others: Sequence[Span]) -> Iterator[Span]:
    """Yield `spans`, each cut at the end of the other span that it starts in and outlasts."""
    for start, end in spans:
        cuts = [stop for begin, stop in others if begin < start < stop < end]
        yield from zip([start, *cuts], [*cuts, end], strict=True)
