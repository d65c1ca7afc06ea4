"""Rows of images and the numbers beside them, as the training loop takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.images import Images
from .balancing import Balanced, unbalanced

if TYPE_CHECKING:
    from torch import Tensor


class Scale:
    """The numbers beside images, made fit for a network by what the training fold holds.

    A number that is not known, or not finite, becomes the training fold's mean; a column that leaves [0, 1] there is
    brought to it by that fold's bounds. Ages of the tasks of this package are years / 100 already.

    Attributes
    ----------
    fill, low, span
        (columns,) float32.
    """

    def __init__(self, fill: np.ndarray, low: np.ndarray, span: np.ndarray) -> None:
        self.fill, self.low, self.span = fill, low, span

    @classmethod
    def of(cls, tabular: np.ndarray) -> Scale:
        """Return the scale of a training fold's (n, columns)."""
        known = np.isfinite(tabular)
        some = known.any(axis=0)
        counts = np.maximum(known.sum(axis=0), 1)
        fill = np.where(some, np.where(known, tabular, 0).sum(axis=0, dtype=np.float64) / counts, 0.5)
        low = np.where(some, np.where(known, tabular, np.inf).min(axis=0, initial=np.inf), 0.0)
        high = np.where(some, np.where(known, tabular, -np.inf).max(axis=0, initial=-np.inf), 1.0)
        within = (low >= 0) & (high <= 1)
        span = np.where(within | (high <= low), 1.0, high - low)
        return cls(*(part.astype(np.float32) for part in (fill, np.where(within, 0.0, low), span)))

    def apply(self, tabular: np.ndarray) -> np.ndarray:
        """Return (n, columns) float32, all finite."""
        return (np.where(np.isfinite(tabular), tabular, self.fill) - self.low) / self.span


class ImageData:
    """Images with their numbers and targets: the data side of `training.Trainer`.

    Nothing is decoded: a batch is read from the memory map as bytes, and transformed on the device.

    Parameters
    ----------
    tabular
        (n, columns) float32, finite.
    targets
        (n, labels) or (n,); None where there are none.
    shown
        Which of the n rows are trained on, how often, and which copies are mirrored; None is each once.
    """

    counts: Tensor | None = None

    def __init__(
        self,
        images: Images,
        tabular: np.ndarray,
        targets: np.ndarray | None = None,
        shown: Balanced | None = None,
        seed: int = 0,
    ) -> None:
        import torch

        self._images, self._seed = images, seed
        shown = unbalanced(len(images)) if shown is None else shown
        self._rows, self._mirrored = shown.rows, shown.mirrored
        self._tabular = torch.from_numpy(tabular.astype(np.float32)[self._rows])
        kept = None if targets is None else targets.astype(np.float32 if targets.ndim == 2 else np.int64)
        self.targets = torch.zeros(0) if kept is None else torch.from_numpy(kept[self._rows])

    def plan(self, epoch: int, size: int) -> list[np.ndarray]:
        """Return shuffled batches of `size` rows or one less: a last batch of few would disturb batch normalisation."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))
        return np.array_split(order, -(-len(order) // size))

    def parts(self, rows: np.ndarray, size: int) -> Sequence[np.ndarray]:
        """Cut rows by their number."""
        return [rows[at : at + size] for at in range(0, len(rows), size)]

    def all(self, size: int) -> Sequence[np.ndarray]:
        """Return batches of all rows in their order."""
        return self.parts(np.arange(len(self._rows)), size)

    def load(self, rows: np.ndarray) -> Mapping[str, Tensor]:
        """Return (n, side, side) uint8 ``pixels`` and (n, columns) float32 ``tabular`` of `rows`."""
        import torch

        pixels = self._images[self._rows[rows]].load()
        turned = self._mirrored[rows]
        if turned.any():
            pixels[turned] = pixels[turned, :, ::-1]
        return {"pixels": torch.from_numpy(pixels), "tabular": self._tabular[rows]}
