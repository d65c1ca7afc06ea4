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

    Attributes
    ----------
    pixels
        (images, side, side) uint8: the whole store, of which these rows are a part; a memory map.
    rows
        (n,) int64 rows of it.
    tabular
        (n, k) float32 numbers beside each image, NaN where unknown.
    names
        What the k columns are.
    """

    pixels: np.ndarray
    rows: np.ndarray
    tabular: np.ndarray
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tabular.shape != (len(self.rows), len(self.names)):
            raise ValueError(f"tabular has shape {self.tabular.shape}, expected {(len(self.rows), len(self.names))}")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Images:
        rows = self.rows[index]
        if rows.ndim != 1:
            raise TypeError("images are indexed by a slice or an array, not by one number: take X[i : i + 1]")
        return Images(self.pixels, rows, self.tabular[index], self.names)

    @property
    def shape(self) -> tuple[int]:
        """Return (n,), as an array of texts would."""
        return (len(self),)

    def load(self) -> np.ndarray:
        """Return (n, side, side) uint8 pixels of these rows in memory: ask for a batch, ``X[:32].load()``."""
        order = np.argsort(self.rows, kind="stable")  # the file is read forwards
        batch = np.empty((len(self.rows), *self.pixels.shape[1:]), np.uint8)
        batch[order] = self.pixels[self.rows[order]]
        return batch
