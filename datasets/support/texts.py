"""Texts that bring along what else is known of them: an array that stays one wherever arrays are taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Texts(np.ndarray):
    """An (n,) object array of strings with further columns, which every choice of rows takes along.

    Anything but a choice of rows (a new shape, a changed copy) gives plain texts without columns.

    Parameters
    ----------
    texts
        (n,) strings.
    columns
        (n,) arrays by name: a title, the types of two entities, … (see `Examples.columns`).
    """

    columns: Mapping[str, np.ndarray]

    def __new__(cls, texts: Any, columns: Mapping[str, np.ndarray]) -> Texts:
        """Return a view of `texts` that knows `columns`; ValueError where their lengths differ."""
        array = np.asarray(texts, dtype=object)
        if array.ndim != 1 or any(len(column) != len(array) for column in columns.values()):
            raise ValueError("texts are (n,), and so is every column of theirs")
        found = array.view(cls)
        found.columns = dict(columns)
        return found

    def __array_finalize__(self, obj: Any) -> None:
        self.columns = {}

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, Texts) and found.ndim == 1:
            found.columns = {name: column[key] for name, column in self.columns.items()}
        return found

    def copy(self, order: Any = "C") -> Texts:
        """Return a copy with copies of its columns."""
        return Texts(np.array(self, dtype=object, order=order), {name: c.copy() for name, c in self.columns.items()})


def columns(X: Any) -> Mapping[str, np.ndarray]:
    """Return the further columns of `X`, none where it has none (a plain array, a single text to predict)."""
    return X.columns if isinstance(X, Texts) else {}
