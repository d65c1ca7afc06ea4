"""Rows of token ids with their targets, as the training loop takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .ragged import Rows, buckets, cut
from .tokens import padded

if TYPE_CHECKING:
    from torch import Tensor


class TextData:
    """Rows of token ids with their targets: the data side of `training.Trainer`.

    Parameters
    ----------
    rows, owners
        See `tokens.Layout.rows`.
    pad
        The id of padding.
    tokens
        How many to compute at once.
    targets
        Of the texts, (texts, labels) or (texts,); None where there are none.
    redraw
        Epoch -> rows and owners, where an epoch has rows of its own (augmentation).

    Attributes
    ----------
    counts
        See `training.Data`: the windows of a text count as one text together.
    read, computed
        Tokens loaded so far, without and with padding.
    """

    def __init__(
        self,
        rows: Rows,
        owners: np.ndarray,
        pad: int,
        tokens: int,
        targets: np.ndarray | None = None,
        seed: int = 0,
        redraw: Callable[[int], tuple[Rows, np.ndarray]] | None = None,
    ) -> None:
        import torch

        self._pad, self._tokens, self._seed, self._redraw = pad, tokens, seed, redraw
        self.read = self.computed = 0
        kept = None if targets is None else targets.astype(np.float32 if targets.ndim == 2 else np.int64)
        self._by_text = None if kept is None else torch.from_numpy(kept)
        self._take(rows, owners)

    def _take(self, rows: Rows, owners: np.ndarray) -> None:
        import torch

        self.rows, self.owners = rows, owners
        self.targets = torch.zeros(0) if self._by_text is None else self._by_text[owners]
        windows = np.bincount(owners)[owners]
        self.counts = torch.from_numpy((1 / windows).astype(np.float32)) if (windows > 1).any() else None

    def plan(self, epoch: int, size: int) -> list[np.ndarray]:
        """Return shuffled batches of like length; an augmented epoch draws its rows first."""
        if self._redraw is not None:
            self._take(*self._redraw(epoch))
        return buckets(self.rows.lengths, size, np.random.default_rng([self._seed, epoch]))

    def parts(self, rows: np.ndarray, size: int) -> list[np.ndarray]:
        """Cut rows, longest first, by their number and their tokens."""
        return cut(rows, self.rows.lengths, size, self._tokens)

    def all(self) -> list[np.ndarray]:
        """Return batches of all rows, longest first: what does not fit into memory is found out at once."""
        return self.parts(np.argsort(-self.rows.lengths, kind="stable"), len(self.rows))

    def each(self) -> list[np.ndarray]:
        """Return batches of one row."""
        return [*np.arange(len(self.rows))[:, None]]

    def load(self, rows: np.ndarray) -> Mapping[str, Tensor]:
        """Return the padded ids of `rows`, and their mask where one is needed."""
        found = padded(self.rows, rows, self._pad)
        self.read += int(self.rows.lengths[rows].sum())
        self.computed += found["input_ids"].numel()
        return found
