"""Images as tasks keep them and models get them: a memory-mapped array of bytes, read a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

PIXELS, DIGESTS = "pixels.npy", "digests.npy"


@dataclass(frozen=True)
class PixelStore:
    """A folder of decoded images (see ``pixels.py`` for how it is made).

    It holds ``pixels.npy``, (images, side, side) uint8 in grey, and ``digests.npy``, (images, 16) uint8: a
    digest of each image's pixels. Images lie there in an order that tells nothing of the corpus.
    """

    folder: Path

    @cached_property
    def pixels(self) -> np.ndarray:
        """Return the (images, side, side) uint8 memory map."""
        return np.load(self.folder / PIXELS, mmap_mode="r", allow_pickle=False)

    def contents(self, rows: np.ndarray) -> np.ndarray:
        """Return (n,) hexadecimal digests of the images in `rows`: equal where all pixels are."""
        digests = np.load(self.folder / DIGESTS, allow_pickle=False)
        return np.array([digest.tobytes().hex() for digest in digests[rows]], dtype=object)


@dataclass(frozen=True)
class Images:
    """The inputs of an image task, (n,) rows; indexing by a slice or an array of integers gives fewer rows.

    The store holds the images of all folds, so it is no public attribute: a mean over it would have seen the test
    fold. ``X[:32].load()`` gives the pixels of rows.

    Attributes
    ----------
    tabular
        (n, k) float32 numbers beside each image, NaN where unknown.
    names
        What the k columns are.
    """

    _store: np.ndarray
    _rows: np.ndarray
    tabular: np.ndarray
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tabular.shape != (len(self._rows), len(self.names)):
            raise ValueError(f"tabular has shape {self.tabular.shape}, expected {(len(self._rows), len(self.names))}")

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pass the store to another process by the name of its file: numpy would send every image."""
        name = getattr(self._store, "filename", None)
        return _opened, (self._store if name is None else str(name), self._rows, self.tabular, self.names)

    def __getitem__(self, index: Any) -> Images:
        rows = self._rows[index]
        if rows.ndim != 1:
            raise TypeError("images are indexed by a slice or an array, not by one number: take X[i : i + 1]")
        return Images(self._store, rows, self.tabular[index], self.names)

    @property
    def shape(self) -> tuple[int]:
        """Return (n,), as an array of texts would."""
        return (len(self),)

    @property
    def side(self) -> int:
        """Return the height and width of each image in pixels."""
        return int(self._store.shape[1])

    def load(self) -> np.ndarray:
        """Return (n, side, side) uint8 pixels of these rows in memory: ask for a batch, ``X[:32].load()``."""
        order = np.argsort(self._rows, kind="stable")  # the file is read forwards
        batch = np.empty((len(self._rows), *self._store.shape[1:]), np.uint8)
        batch[order] = self._store[self._rows[order]]
        return batch


def _opened(store: np.ndarray | str, *rest: Any) -> Images:
    return Images(np.load(store, mmap_mode="r", allow_pickle=False) if isinstance(store, str) else store, *rest)
