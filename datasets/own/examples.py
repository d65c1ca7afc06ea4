"""From a user's table to examples: inputs, targets, ids and groups, each cell checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core import FOLDS, Examples
from ..near import near_identical_groups
from ..support.errors import UserError, unknown_name
from ..tables import Table, read_table, short
from .labels import read_labels
from .settings import Settings

if TYPE_CHECKING:
    from ..images import PixelStore

_WORDS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
SPLIT_WORDS = tuple(_WORDS)


@dataclass(frozen=True)
class Rows:
    """A user's table as examples without folds, and what messages about them need."""

    examples: Examples
    labels: tuple[str, ...]
    table: Table


def read_rows(settings: Settings, folder: Path) -> Rows:
    """Return the examples of a user's table.

    Parameters
    ----------
    folder
        That of the TOML.

    Raises
    ------
    UserError
        Naming file, row and column of what cannot be used.
    """
    table = read_table(folder / settings.path, settings.columns, settings.delimiter)
    labels, targets = read_labels(settings, table)
    store, inputs = _images(settings, table) if settings.image else (None, _texts(settings, table))
    examples = Examples(
        ids=_ids(settings, table),
        inputs=inputs,
        targets=targets,
        groups=_groups(settings, table, store, inputs),
        columns={name: _numbers(table, name) for name in settings.numeric},
        pixels=store,
    )
    return Rows(examples, labels, table)


def image_files(table: Table, column: str) -> list[Path]:
    """Return the (n,) paths that a column names, from the folder of the table."""
    return [table.path.parent / name for name in table.strings(column, "give each row the path of its image")]


def _images(settings: Settings, table: Table) -> tuple[PixelStore, np.ndarray]:
    from ..pixels import ImageFile, keep_images

    files = [ImageFile(path) for path in image_files(table, settings.image)]
    return keep_images(
        files, settings.size, lambda index: f"{table.path.name}, row {index + 1}, column {settings.image!r}"
    )


def _texts(settings: Settings, table: Table) -> np.ndarray:
    """Return (n,) texts: what the text columns hold, one to a line, empty cells left out."""
    for name in settings.text:
        _check_texts(table, name)
    parts = [table.columns[name] for name in settings.text]
    filled = [[cell if cell and cell.strip() else "" for cell in part] for part in parts]
    texts = filled[0] if len(filled) == 1 else ["\n".join(filter(None, row)) for row in zip(*filled, strict=True)]
    if not all(texts):
        raise table.fault(texts.index(""), " and ".join(settings.text), "is empty: fill it in or delete the row")
    return np.array(texts, dtype=object)


def _check_texts(table: Table, column: str) -> None:
    cells = table.columns[column]
    for row, cell in enumerate(cells):
        if type(cell) is not str and cell is not None:
            raise table.fault(row, column, f"{short(cell)} is no text: put it in quotes, or name another column")
    filled = [cell for cell in cells if cell]
    if filled and all(map(_is_number, filled)):
        raise UserError(f"{table.path.name}, column {column!r}: it holds numbers alone: is it the column of texts?")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(table: Table, column: str) -> np.ndarray:
    """Return the (n,) float64 of a column, NaN where a cell is empty."""
    cells = table.columns[column]
    found = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell is None or cell == "":
            continue
        try:
            found[row] = float(cell)
        except (ValueError, TypeError, OverflowError):
            raise table.fault(row, column, f"{short(cell)} is no number: correct it, or leave it empty") from None
        if math.isinf(found[row]):
            raise table.fault(row, column, f"{short(cell)} is not finite: correct it, or leave it empty")
    return found


def _ids(settings: Settings, table: Table) -> np.ndarray:
    """Return (n,) ids: the column's, or the rows' numbers."""
    if not settings.id:
        return np.array([str(row + 1) for row in range(len(table))], dtype=object)
    ids = table.strings(settings.id, "give each row an id of its own")
    first: dict[str, int] = {}
    for row, key in enumerate(ids):
        if (before := first.setdefault(key, row)) != row:
            raise table.fault(row, settings.id, f"id {short(key)} stands in row {before + 1} already: ids are unique")
    return ids


def _groups(settings: Settings, table: Table, store: PixelStore | None, inputs: np.ndarray) -> np.ndarray:
    """Return (n,) int64 groups: the column's, or those of identical images or near-identical texts."""
    from pandas import factorize

    if settings.group:
        return factorize(table.strings(settings.group, "say what the row belongs to"))[0]
    groups = near_identical_groups(inputs) if store is None else factorize(store.contents(inputs))[0]
    if not settings.split:
        return groups
    # The user's folds stand as they are: twins across them are for the audit to count, not a group that is parted.
    return np.unique(np.column_stack([groups, dealt_by(settings, table)]), axis=0, return_inverse=True)[1].ravel()


def fold_of(word: str) -> int:
    """Return the index into ``FOLDS`` that a word of a split column means; -1 if it means none."""
    return _WORDS.get(word.lower(), -1)


def dealt_by(settings: Settings, table: Table) -> np.ndarray:
    """Return the (n,) int64 folds that the split column says."""
    words = table.strings(settings.split, f"say {', '.join(FOLDS)}")
    dealt = np.fromiter(map(fold_of, words), np.int64, len(words))
    if (dealt < 0).any():
        row = int((dealt < 0).argmax())
        raise table.fault(row, settings.split, str(unknown_name("fold", words[row], SPLIT_WORDS)))
    return dealt
