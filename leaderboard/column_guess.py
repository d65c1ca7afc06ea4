"""What the columns of an unknown table seem to hold: a guess for its owner to correct."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..datasets.core import FOLDS, Kind
from ..datasets.own.examples import SPLIT_WORDS
from ..datasets.tables import Table, spelling

SEPARATORS = ("|", ";", ",")
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")
_IDS = {"id", "uid", "uuid", "guid", "key", "nr", "no", "number", "index", "pmid", "accession"}
_SPLITS = {"split", "fold", "set", "subset", "partition"}
_GROUPS = {
    *("patient", "subject", "person", "user", "author", "speaker", "customer", "client"),
    *("document", "doc", "study", "session", "case"),
}
_LABELS = {
    *("label", "labels", "class", "classes", "category", "categories", "target", "targets", "outcome", "y"),
    *("tag", "tags", "topic", "topics", "genre", "genres", "sentiment", "intent", "queue"),
    *("finding", "findings", "diagnosis", "diagnoses", "condition"),
}
_LABEL_WORDS = 5
_NUMBERS, _CLASSES = 20, 100
"""Different numbers, or words, from which on a column that is not called a label is something else."""
_TEXT_LENGTH = 20
"""Characters on average that a text has at least: shorter cells are names."""


@dataclass(frozen=True)
class Column:
    """A column and what is to be seen of it."""

    name: str
    cells: np.ndarray

    @cached_property
    def words_of_name(self) -> set[str]:
        """The words of its name: "patient_id" and "PatientID" are of a patient."""
        return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", self.name)}

    @cached_property
    def filled(self) -> list[str]:
        """Its cells that say something, as text; lists are left out."""
        return [spelling(cell) for cell in self.cells if isinstance(cell, str | int) and spelling(cell)]

    @cached_property
    def lists(self) -> list[list[Any]]:
        """Its cells that are lists."""
        return [cell for cell in self.cells if isinstance(cell, list)]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each text stands in it."""
        return Counter(self.filled)

    @property
    def empty(self) -> int:
        """How many cells say nothing."""
        return len(self.cells) - len(self.filled) - len(self.lists)

    @property
    def unique(self) -> bool:
        """Whether every cell is filled, and no two are equal."""
        return not self.empty and len(self.counts) == len(self.cells)

    @cached_property
    def words(self) -> float:
        """Words in a filled cell, on average."""
        return sum(len(cell.split()) for cell in self.filled) / max(1, len(self.filled))

    @cached_property
    def length(self) -> float:
        """Characters in a filled cell, on average."""
        return sum(map(len, self.filled)) / max(1, len(self.filled))

    @property
    def numbers(self) -> bool:
        """Whether all its different texts are numbers."""
        return bool(self.counts) and all(re.fullmatch(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?", text) for text in self.counts)

    @property
    def flags(self) -> bool:
        """Whether it is filled with 0 and 1 alone."""
        return not self.empty and not self.lists and set(self.counts) == {"0", "1"}

    @property
    def images(self) -> bool:
        """Whether it names image files."""
        return bool(self.filled) and all(text.lower().endswith(_IMAGES) for text in self.filled)


@dataclass(frozen=True)
class Labels:
    """Columns that seem to hold the labels, and how."""

    columns: tuple[str, ...]
    kind: Kind
    names: tuple[str, ...]
    separator: str = ""
    empty: int = 0


@dataclass(frozen=True)
class Guess:
    """What each column seems to be for; an empty string or tuple where none seems to.

    Attributes
    ----------
    words
        Words of the text column in a cell, on average.
    texts
        Other columns that hold texts.
    candidates
        Other columns that could hold the labels.
    cut
        Whether the split column names no validation fold.
    """

    text: str
    words: float
    image: str
    labels: Labels
    id: str
    group: str
    split: str
    cut: bool
    texts: tuple[str, ...]
    candidates: tuple[Labels, ...]
    numeric: tuple[str, ...]


def guess(table: Table) -> Guess | None:
    """Return what the columns of `table` seem to be; None where nothing looks like an input, or like labels."""
    left = [Column(name, cells) for name, cells in table.columns.items()]
    split = _take(left, [c for c in left if c.words_of_name & _SPLITS and _says_folds(c)])
    image = _take(left, [c for c in left if c.images])
    key = _take(left, sorted(filter(_is_id, left), key=lambda c: not c.words_of_name & _IDS))
    group = _take(left, [c for c in left if c.words_of_name & _GROUPS and _is_group(c)])
    texts = sorted((c for c in left if not c.numbers and c.filled and not c.lists), key=lambda c: -c.length)
    text = None if image else _take(left, [c for c in texts if c.length >= _TEXT_LENGTH and not _is_label_column(c)])
    candidates = _label_guesses(left)
    if not candidates or not (text or image):
        return None
    labels, *others = candidates
    rest = [c for c in left if c.name not in labels.columns]
    return Guess(
        text=text.name if text else "",
        words=text.words if text else 0,
        image=image.name if image else "",
        labels=labels,
        id=key.name if key else "",
        group=group.name if group else "",
        split=split.name if split else "",
        cut=split is not None and not _folds(split) >= {"validation"},
        texts=tuple(c.name for c in rest if not c.numbers and c.words > _LABEL_WORDS),
        candidates=tuple(others),
        numeric=tuple(c.name for c in rest if c.numbers),
    )


def _take(left: list[Column], found: Sequence[Column]) -> Column | None:
    """Take the first of the columns found, if any, from those that are left."""
    if not found:
        return None
    left.remove(found[0])
    return found[0]


def _says_folds(column: Column) -> bool:
    return not column.empty and {text.lower() for text in column.counts} <= set(SPLIT_WORDS)


def _folds(column: Column) -> set[str]:
    from ..datasets.own.examples import fold_of

    return {FOLDS[fold_of(text)] for text in column.counts}


def _is_id(column: Column) -> bool:
    named = bool(column.words_of_name & _IDS)
    return column.unique and column.words <= 1 and (named or (not column.numbers and column.length <= 40))


def _is_group(column: Column) -> bool:
    return not column.empty and not column.lists and len(column.counts) < len(column.cells) and column.words < 4


def _is_label_column(column: Column) -> bool:
    return bool(column.words_of_name & _LABELS) and _as_labels(column) is not None


def _label_guesses(left: Sequence[Column]) -> list[Labels]:
    """Return what could be the labels, the likeliest first."""
    flags = [column for column in left if column.flags]
    several = len(flags) > 1
    singles = [(column, found) for column in left if not (several and column.flags) and (found := _as_labels(column))]
    # By name; then columns of 0 and 1; then cells with several labels; then the fewest classes.
    ranked = [
        ((0 if c.words_of_name & _LABELS else 2 if f.kind == "multilabel" else 3, len(f.names)), f) for c, f in singles
    ]
    if several:
        names = tuple(column.name for column in flags)
        ranked.append(((1, 0), Labels(names, "multilabel", names)))
    return [found for _, found in sorted(ranked, key=lambda pair: pair[0])]


def _as_labels(column: Column) -> Labels | None:
    """Return how a column could be read as labels; None if it could not."""
    most = len(column.cells) / len(FOLDS)
    if column.lists:
        names = {str(part) for cell in column.lists for part in cell}
        return _labels(column, "multilabel", names) if 0 < len(names) <= most else None
    for separator in SEPARATORS:
        parts = {part.strip() for cell in column.counts for part in cell.split(separator)} - {""}
        several = sum(n for cell, n in column.counts.items() if separator in cell.strip(separator))
        short = max((len(part.split()) for part in parts), default=0) <= _LABEL_WORDS
        # What parts labels makes few words out of many cells; what parts numbers or sentences does not.
        if several * 20 >= len(column.filled) > 0 and short and 1 < len(parts) <= most and not column.numbers:
            return _labels(column, "multilabel", parts, separator)
    limit = most if _named(column) else min(most, _NUMBERS if column.numbers else _CLASSES)
    few = 2 <= len(column.counts) <= limit
    return _labels(column, "multiclass", set(column.counts)) if few and column.words <= _LABEL_WORDS else None


def _named(column: Column) -> bool:
    return bool(column.words_of_name & _LABELS)


def _labels(column: Column, kind: Kind, names: set[str], separator: str = "") -> Labels:
    return Labels((column.name,), kind, tuple(sorted(names)), separator, column.empty)
