"""When a training ends, and with which weights, for the loops of every framework."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Best:
    """The best epoch so far, its weights, and whether it is time to stop.

    Attributes
    ----------
    patience
        Epochs without a better score after which training stops; 0 never stops.
    copy, put
        Copy the network's weights; put a copy back.
    epoch
        The best epoch, from 0; -1 before the first.
    score, weights
        Its score, and the copy of its weights.
    """

    patience: int
    copy: Callable[[], Any]
    put: Callable[[Any], None]
    epoch: int = -1
    score: float = -math.inf
    weights: Any = field(default=None, repr=False)

    def stops(self, epoch: int, score: float) -> bool:
        """Take note of an epoch's score, higher is better; return whether `patience` epochs now brought no better."""
        if self.epoch < 0 or score > self.score:
            self.epoch, self.score, self.weights = epoch, score, self.copy()
        return epoch - self.epoch >= self.patience > 0

    def restore(self) -> None:
        """Put the best epoch's weights back; without any epoch the network stays."""
        if self.epoch >= 0:
            self.put(self.weights)


def require_finite(loss: float, epoch: int, step: int) -> None:
    """Stop a training whose loss is no number any more, `epoch` and `step` counted from 1: FloatingPointError."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"loss {loss} at epoch {epoch}, step {step}: try a lower learning_rate")
