"""Batches that do not fit into memory: known in every framework of the zoo, and halved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_NAMES = {"MemoryError", "OutOfMemoryError", "ResourceExhaustedError"}
"""Python's and numpy's, torch's on a GPU, tensorflow's: known by name, so that no framework is imported to ask."""
_WORDS = ("not enough memory", "can't allocate memory", "out of memory")
"""What torch's allocator says on a CPU, in a plain RuntimeError."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory did not suffice, on a GPU or on the CPU.

    >>> out_of_memory(MemoryError()), out_of_memory(ValueError("out of memory"))
    (True, False)
    """
    if any(each.__name__ in _NAMES for each in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


@dataclass
class Halving:
    """Hands out batches, in halves from the first one on that does not fit.

    Attributes
    ----------
    what
        What is done to a batch, for the notes: "trained on", "answered".
    rows
        How many rows fit, as far as known.
    notes
        A sentence for each time that a batch did not fit.
    """

    what: str
    rows: int = sys.maxsize
    notes: list[str] = field(default_factory=list)

    def each(self, batches: Sequence[np.ndarray], act: Callable[[np.ndarray], Any]) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield row numbers and what `act` returns of them, in order; a batch of one that does not fit raises."""
        waiting = list(reversed(batches))
        while waiting:
            batch = waiting.pop()
            if len(batch) <= self.rows:
                try:
                    found = act(batch)
                except Exception as error:
                    if not out_of_memory(error) or len(batch) < 2:
                        raise
                    self.rows = len(batch) // 2
                    self.notes.append(
                        f"a batch of {len(batch)} did not fit into memory: {self.rows} at most are {self.what} at once"
                    )
                else:
                    yield batch, found
                    continue
            middle = -(-len(batch) // 2)
            waiting += [batch[middle:], batch[:middle]]
