"""The folds of a user's table: dealt once, and stored beside the TOML from then on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core import FOLDS
from ..fetch import sha256_of
from ..folds import evened, grouped_iterative_split, read_split, shared_groups, split_sha256, write_split
from ..support.errors import UserError
from ..support.files import read_json, write_json
from ..tables import short
from .examples import Rows, dealt_by
from .settings import Settings


class FoldStore:
    """Two files beside a TOML: ``<stem>.folds.csv``, and ``<stem>.folds.json``, which says what it was made for.

    The second holds the SHA-256 of the table and of the first, and the keys of the TOML that deal rows. While the
    first is replaced, the second holds under ``before`` what it said until then (null for nothing): what is in force
    goes by the first, so that a crash at any point leaves the old pair or the new one.
    """

    def __init__(self, toml: Path, settings: Settings) -> None:
        self._settings, self._table = settings, toml.parent / settings.path
        command = f"zoobench run --task {toml.name} --resplit"
        self._again = f"`{command}` deals the rows anew, which makes other folds and another board"
        self.csv, self._json = (toml.with_name(f"{toml.stem}.folds{suffix}") for suffix in (".csv", ".json"))

    def exists(self) -> bool:
        """Return whether folds were made, after a check that they were made for this table and these keys.

        Raises
        ------
        UserError
            If the table, the keys or the folds have changed since.
        """
        return bool(self._note())

    def load(self, rows: Rows) -> np.ndarray:
        """Return the (n,) int64 folds that were made for `rows`."""
        ids, groups = rows.examples.ids, rows.examples.groups
        dealt = read_split(self.csv, self._note()["folds"], ids)
        if (dealt < 0).any():
            raise UserError(f"{self.csv.name} does not know all ids of {self._table.name}: {self._again}")
        if shared_groups(dealt, groups) and "group" not in self._settings.leaks:
            raise UserError(f"{self.csv.name} parts what the TOML now says belongs together: {self._again}")
        if self._settings.split:
            _check_twins(self._settings, rows, dealt)
        return dealt

    def write(self, rows: Rows) -> None:
        """Deal `rows` and store their folds; what was stored before stands until the new folds are whole."""
        ids, dealt = rows.examples.ids, deal(self._settings, rows)
        note = {"table": _hash(self._table), "folds": split_sha256(ids, dealt), "keys": _keys(self._settings)}
        try:
            before = self._in_force()
        except (OSError, ValueError, KeyError, TypeError):
            before = None
        try:
            write_json(self._json, note | {"before": before})
            write_split(self.csv, ids, dealt)
            write_json(self._json, note)
        except OSError as error:
            raise UserError(f"{self.csv} cannot be written ({error.strerror}): folds stand beside the TOML") from error

    def _in_force(self) -> Mapping[str, Any] | None:
        """Return what the stored folds were made for; None if there are none."""
        if not self._json.exists():
            return None
        note = read_json(self._json)
        return note["before"] if "before" in note and not self._holds(note["folds"]) else note

    def _holds(self, folds: str) -> bool:
        return self.csv.is_file() and _hash(self.csv) == folds

    def _note(self) -> Mapping[str, Any]:
        try:
            note = self._in_force()
            if note is None:
                return {}
            folds, table, keys = (note[key] for key in ("folds", "table", "keys"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self._json} cannot be read back: restore it, or {self._again}") from error
        if table != _hash(self._table):
            raise UserError(f"{self._table.name} changed after its folds were made: restore it, or {self._again}")
        if changed := [key for key, value in _keys(self._settings).items() if keys.get(key) != value]:
            raise UserError(f"{changed[0]} changed in the TOML after the folds were made: restore it, or {self._again}")
        if not self._holds(folds):
            raise UserError(f"{self.csv.name} is gone or was changed: restore it, or {self._again}")
        return note


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error


def _keys(settings: Settings) -> dict[str, Any]:
    shares = [round(share, 9) for share in settings.shares]
    return {"id": settings.id, "split": settings.split, "validation": settings.validation, "shares": shares}


def deal(settings: Settings, rows: Rows) -> np.ndarray:
    """Return (n,) int64 folds: those of the split column, or made here, the same each time.

    Raises
    ------
    UserError
        If a fold is empty or all its rows have the same labels, a label has no training row, or a group or an
        input stands in two folds and the TOML does not say why.
    """
    dealt = _column_folds(settings, rows) if settings.split else _made_folds(settings, rows)
    name, targets = rows.table.path.name, rows.examples.targets
    mend = f"correct column {settings.split!r}" if settings.split else "add rows"
    for number, fold in enumerate(FOLDS):
        held = targets[dealt == number]
        if not len(held):
            cut = "set validation = 0.1 to cut it from the training rows, or " if settings.split and number == 1 else ""
            raise UserError(f"{name}: its {len(targets)} rows leave the {fold} fold empty: {cut}{mend}")
        if len(np.unique(held, axis=0)) == 1:
            raise UserError(
                f"{name}: all {len(held)} rows of the {fold} fold have the same labels, so there is nothing to "
                f"{'score' if number else 'learn'}: {mend}"
            )
    train = targets[dealt == 0]
    counts = train.sum(axis=0) if train.ndim == 2 else np.bincount(train, minlength=len(rows.labels))
    if not counts.all():
        raise UserError(f"{name}, label {rows.labels[int(counts.argmin())]!r}: no row of the train fold has it: {mend}")
    return dealt


def _made_folds(settings: Settings, rows: Rows) -> np.ndarray:
    """Deal whole groups by shares, if every label lies in as many groups as there are folds."""
    targets, groups = rows.examples.targets, rows.examples.groups
    for index, name in enumerate(rows.labels):
        found = len(np.unique(groups[targets == index if targets.ndim == 1 else targets[:, index] > 0]))
        if found < len(FOLDS):
            tie = f"values of column {settings.group!r}" if settings.group else "groups of near-identical inputs"
            raise UserError(
                f"{rows.table.path.name}, label {name!r}: its rows lie in {found} {tie}, which no fold may part, fewer "
                f"than the {len(FOLDS)} folds: add rows, or take it out"
            )
    return evened(targets, groups, grouped_iterative_split(targets, groups, settings.shares), settings.shares)


def _column_folds(settings: Settings, rows: Rows) -> np.ndarray:
    examples, name = rows.examples, rows.table.path.name
    dealt = dealt_by(settings, rows.table)
    if settings.validation:
        if (dealt == 1).any():
            raise UserError(f"{name}, column {settings.split!r}: it names a validation fold: drop validation")
        train = np.flatnonzero(dealt == 0)
        shares = (1 - settings.validation, settings.validation)
        dealt[train] = grouped_iterative_split(examples.targets[train], examples.groups[train], shares)
    if "group" not in settings.leaks and (parted := shared_groups(dealt, examples.groups)):
        one, other = _parted_rows(examples.groups, dealt)
        value = short(rows.table.columns[settings.group][one])
        raise UserError(
            f"{name}, column {settings.split!r}: {parted} values of column {settings.group!r} stand in two folds, the "
            f'first, {value}, in rows {one + 1} and {other + 1}: correct it, or set leaks = {{group = "why"}}'
        )
    _check_twins(settings, rows, dealt)
    return dealt


def _check_twins(settings: Settings, rows: Rows, dealt: np.ndarray) -> None:
    """Refuse folds of a split column that share equal inputs, unless the TOML says why."""
    from pandas import factorize

    if "exact" in settings.leaks:
        return
    inputs = factorize(rows.examples.contents())[0]
    if parted := shared_groups(dealt, inputs):
        one, other = _parted_rows(inputs, dealt)
        what = "images" if settings.image else "texts"
        raise UserError(
            f"{rows.table.path.name}, column {settings.split!r}: {parted} {what} stand in two folds, the first in rows "
            f'{one + 1} and {other + 1}: correct it, or set leaks = {{exact = "why"}}'
        )


def _parted_rows(groups: np.ndarray, dealt: np.ndarray) -> tuple[int, int]:
    """Return two rows of one group in two folds: those of the group that starts first."""
    first = np.full(int(groups.max()) + 1, -1)
    for row, group in enumerate(groups):
        if first[group] < 0:
            first[group] = row
        elif dealt[first[group]] != dealt[row]:
            return int(first[group]), row
    raise ValueError("no group stands in two folds")
