"""Texts that bring along what else is known of them: an array that stays one wherever arrays are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np


class Texts(np.ndarray):
    """An (n,) object array of strings with further columns, which every choice of rows takes along.

    Choices are indexing, ``take``, copies, pickles and ``np.concatenate`` of texts with the same columns. Anything
    else (a new shape, a changed copy) gives plain texts without columns. NumPy's ``shuffle`` moves texts past this
    class and leaves the columns where they are: take ``texts[rng.permutation(len(texts))]``.

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

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Join the columns of texts that are concatenated; ValueError where they differ."""
        if func is np.concatenate:
            return _joined(*args, **kwargs)
        return super().__array_function__(func, types, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, Texts) and found.ndim == 1:
            found.columns = {name: column[key] for name, column in self.columns.items()}
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Texts, (self.view(np.ndarray), self.columns)

    def __copy__(self) -> Texts:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any] | None) -> Texts:
        return Texts(*(deepcopy(part, memo) for part in self.__reduce__()[1]))

    def take(self, indices: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the texts of (k,) row numbers with their columns."""
        taken = self.view(np.ndarray).take(indices, *args, **kwargs)
        if not isinstance(taken, np.ndarray) or taken.ndim != 1:
            return taken
        return Texts(taken, {name: column.take(indices, *args, **kwargs) for name, column in self.columns.items()})

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set texts in place; the columns, whose rows stay where they are, are given up."""
        super().__setitem__(key, value)
        self.columns = {}

    def sort(self, *args: Any, **kwargs: Any) -> None:
        """Sort the texts in place; their columns, whose rows stay where they are, are given up."""
        super().sort(*args, **kwargs)
        self.columns = {}

    def copy(self, order: Any = "C") -> Texts:
        """Return a copy with copies of its columns."""
        return Texts(np.array(self, dtype=object, order=order), {name: c.copy() for name, c in self.columns.items()})


def columns(X: Any) -> Mapping[str, np.ndarray]:
    """Return the further columns of `X`, none where it has none (a plain array, a single text to predict)."""
    return X.columns if isinstance(X, Texts) else {}


def _joined(parts: Sequence[Any], axis: int | None = 0, **more: Any) -> Texts:
    names = [set(columns(part)) for part in parts]
    if any(each != names[0] for each in names):
        raise ValueError(f"texts with columns {sorted(set().union(*names))} and texts that lack some do not join")
    plain = np.concatenate([np.asarray(part) for part in parts], axis, **more)
    return Texts(plain, {name: np.concatenate([part.columns[name] for part in parts]) for name in sorted(names[0])})
