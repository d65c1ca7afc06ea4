"""The labels of a user's table: every row's, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..core import FOLDS
from ..support.errors import UserError, unknown_name
from ..tables import DELIMITERS, Table, short, spelling
from .settings import Settings

MOST_LABELS = 5_000
"""Different labels from which on a column is taken for a column of something else."""

_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def read_labels(settings: Settings, table: Table) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the labels' names and the targets: (n, labels) uint8 for multi-label, (n,) int64 for multi-class.

    Raises
    ------
    UserError
        If a row has a label outside the list, or none where it needs one, or a label has fewer rows than there
        are folds.
    """
    if isinstance(settings.labels, str):
        names, held, codes = _from_column(settings, table, settings.labels)
    else:
        names, codes = settings.labels, np.arange(len(table))
        held = np.column_stack([_flags(table, name) for name in names])
    for name, count in zip(names, (np.bincount(codes) @ held).tolist(), strict=True):
        if count < len(FOLDS):
            raise UserError(
                f"{table.path.name}, label {name!r}: it has {count} rows, fewer than the {len(FOLDS)} folds: add rows, "
                f"or take it out{_hint(settings, name)}"
            )
    if settings.kind == "multilabel":
        return names, held[codes]
    _check_one_each(settings, table, held)
    return names, held.argmax(axis=1)[codes]


def _hint(settings: Settings, name: str) -> str:
    parts = [mark for mark in DELIMITERS if mark in name]
    return f"; does it hold several labels? then set kind and separator = {parts[0]!r}" if parts else ""


def _flags(table: Table, column: str) -> np.ndarray:
    """Return the (n,) uint8 of a column of 0 and 1."""
    cells = table.columns[column]
    found = np.fromiter((_FLAGS.get(_spelt(cell), 2) for cell in cells), np.uint8, len(cells))
    if (found > 1).any():
        row = int(found.argmax())
        cell = cells[row]
        what = "is empty" if cell is None or cell == "" else f"{short(cell)} is neither 0 nor 1"
        raise table.fault(row, column, f"{what}: write 1 where the label holds, 0 where it does not")
    return found


def _spelt(cell: Any) -> str:
    return spelling(cell).lower() if isinstance(cell, str | int) else str(cell)


def _check_one_each(settings: Settings, table: Table, held: np.ndarray) -> None:
    """Refuse rows of a multi-class task that say other than one class; `held` is (rows, labels) of 0 and 1."""
    counts = held.sum(axis=1)
    if (counts != 1).any():
        row = int((counts != 1).argmax())
        raise UserError(
            f"{table.path.name}, row {row + 1}, columns {', '.join(settings.label_columns)}: {counts[row]} of them "
            'are 1: a multiclass row has one label; or set kind = "multilabel"'
        )


def _from_column(settings: Settings, table: Table, column: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Return names, the (cells, labels) uint8 of each different cell that names labels, and each row's cell."""
    codes, rows, cells = _numbered(table.columns[column])
    # Each different cell is looked at once, in the order of its first row: the first fault is the one that is named.
    sets = [_parts(settings, table, column, row, cell) for row, cell in zip(rows, cells, strict=True)]
    names = settings.label_names or _in_order({name for each in sets for name in each})
    if len(names) > MOST_LABELS:
        raise UserError(
            f"{table.path.name}, column {column!r}: it holds {len(names):,} different labels: is it the right column?"
        )
    if len(names) < (2 if settings.kind == "multiclass" else 1):
        told = f"no label but {names[0]!r}" if names else "no label"
        raise UserError(f"{table.path.name}, column {column!r}: it holds {told}: there is nothing to tell apart")
    place = {name: index for index, name in enumerate(names)}
    held = np.zeros((len(sets), len(names)), np.uint8)
    for index, each in enumerate(sets):
        for name in each:
            if name not in place:
                raise table.fault(rows[index], column, str(unknown_name("label", name, names)))
            held[index, place[name]] = 1
    return names, held, codes


def _numbered(cells: np.ndarray) -> tuple[np.ndarray, list[int], list[Any]]:
    """Return the (n,) number of each cell among the different ones, and those with their first rows."""
    from pandas import factorize

    # A list has no hash, and True the same one as 1.
    keys = [cell if type(cell) is str else (type(cell), repr(cell)) for cell in cells]
    codes, _ = factorize(np.fromiter(keys, dtype=object, count=len(keys)))
    rows = np.unique(codes, return_index=True)[1].tolist()
    return codes, rows, [cells[row] for row in rows]


def _parts(settings: Settings, table: Table, column: str, row: int, cell: Any) -> tuple[str, ...]:
    """Return the labels that a cell names."""
    many = settings.kind == "multilabel"
    if isinstance(cell, list) and not many:
        raise table.fault(row, column, f'{short(cell)} is a list: set kind = "multilabel"')
    if many and isinstance(cell, str) and cell.strip() and not settings.separator:
        advice = 'set separator = "|", or whatever parts the labels of a cell'
        raise table.fault(row, column, f"{short(cell)} may be several labels: {advice}")
    parts: list[Any] = cell if isinstance(cell, list) else [cell]
    if settings.separator and isinstance(cell, str):
        parts = cell.split(settings.separator)
    for part in parts:
        if not isinstance(part, str | int | None):
            raise table.fault(row, column, f"{short(part)} is no label: a label is a word or a whole number")
    named = tuple(spelling(part) for part in parts if part is not None and spelling(part))
    # An empty list says that no label holds; an empty cell may as well say that nobody looked.
    if not named and not (many and (settings.empty_is_no_label or cell == [])):
        way = "set empty_is_no_label = true if it means that no label holds" if many else "label the row or delete it"
        raise table.fault(row, column, f"is empty: {way}")
    return named


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return labels sorted: whole numbers by value, then words."""
    return tuple(sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))
