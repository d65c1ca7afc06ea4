"""Names that are too long for their column are cut where they tell least apart."""

from __future__ import annotations

import pytest
from zoobench.leaderboard.words import cut_name


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("tfidf-logreg", 12, "tfidf-logreg"),
        ("densenet121-fpn-tabular@no-fpn", 26, "densenet121-fpn-t..@no-fpn"),
        ("densenet121-fpn-tabular@no-fpn", 30, "densenet121-fpn-tabular@no-fpn"),
        ("tfidf-complement-nb, tuned", 20, "tfidf-compl.., tuned"),
        ("tfidf-complement-nb", 10, "tfidf-co.."),
        ("bert@a-preset-with-a-long-name", 16, "bert@a-preset-.."),
    ],
)
def test_what_tells_rows_apart_is_kept(name: str, width: int, shown: str) -> None:
    assert cut_name(name, width) == shown
    assert len(shown) <= width
