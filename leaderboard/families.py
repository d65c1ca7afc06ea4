"""Families of models, and what stands for each on a board that shall be no wall.

A family is read from a model's card, not listed anew: what it reads, and which kinds of settings it has. A field of the
card would change the hash of every model's code, and no record would be current.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..datasets.support.errors import unknown_name
from ..zoo.core import ModelCard
from .cards import card_of_model
from .tables import Row, rows_of

if TYPE_CHECKING:
    import pandas as pd

FLOOR, BAGS, FROZEN, WORDS, TUNED, IMAGES, NUMBERS, TOGETHER = (
    *("floor", "bags of words", "frozen encoder", "networks on words", "fine-tuned transformers"),
    *("networks on images", "numbers beside the image", "ensembles"),
)
WAYS = ("family", "framework")
"""What a board may be thinned by."""

Item = TypeVar("Item")


def family_of(card: ModelCard) -> str:
    """Return the family of a model; its framework where it is like none of the zoo's."""
    settings = set(card.default)
    if card.modality == "any":
        return FLOOR
    if card.modality == "image":
        return NUMBERS if card.framework == "scikit-learn" else IMAGES
    if "encoder" in settings:
        return TUNED if "frozen_layers" in settings else FROZEN
    if "vectorizer" in settings:
        return BAGS
    return WORDS if card.framework == "keras" else card.framework


def family_of_row(row: Row) -> str:
    """Return the family of a row of the board; the framework of its records where its model is not at hand."""
    if row["mode"] == "ensemble":
        return TOGETHER
    card = card_of_model(row["model"])
    return str(row["framework"]) if card is None else family_of(card)


def best_of_each(items: Iterable[Item], kind: Callable[[Item], Hashable]) -> list[Item]:
    """Return the first of each kind, in order: of rows as a board ranks them, the best."""
    firsts: dict[Hashable, Item] = {}
    for item in items:
        firsts.setdefault(kind(item), item)
    return list(firsts.values())


def check_way(way: str) -> None:
    """Refuse a way to thin a board that there is not (UserError)."""
    if way not in WAYS:
        raise unknown_name("way to thin a board", way, WAYS)


def best_per(frame: pd.DataFrame, way: str) -> pd.DataFrame:
    """Return a board with the best row of each family (or framework) in each of its tables.

    What did not finish stands for its family only where nothing of that did; weights that saw the test rows stand for
    none that has others.

    Raises
    ------
    UserError
        If `way` is none of `WAYS`.
    """
    check_way(way)
    rows = rows_of(frame)
    kept = {id(row) for row in best_rows(rows, way)}
    return frame.iloc[[place for place, row in enumerate(rows) if id(row) in kept]].reset_index(drop=True)


def best_rows(rows: Sequence[Row], way: str) -> list[Row]:
    """Return the rows that `best_per` keeps, in their order."""

    def kind(row: Row) -> tuple[str, ...]:
        return (row["task"], row["fingerprint"], row["split"], (family_of_row if way == "family" else _framework)(row))

    ordered = sorted(rows, key=lambda row: (row["rank"] is None, bool(row["overlap"])))
    kept = {id(row) for row in best_of_each(ordered, kind)}
    return [row for row in rows if id(row) in kept]


def _framework(row: Row) -> str:
    return TOGETHER if row["mode"] == "ensemble" else str(row["framework"])


def thinned(whole: int, kept: int, way: str) -> str:
    """Say what a thinned board of `kept` rows leaves out of `whole`."""
    return f"The best of each {way}: {kept} of {whole} rows; `zoobench board` shows all."
