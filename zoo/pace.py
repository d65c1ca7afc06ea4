"""How far a training has come, told at a pace that a person reads."""

from __future__ import annotations

import time
from collections.abc import Mapping

from .core import Report

REPORT_SECONDS = 1.0


class Pace:
    """Counts the steps of a training and reports them, at most once a second but for an epoch's values.

    Attributes
    ----------
    step, total
        Steps taken, and expected: batches that are halved make more.
    told
        Each step that values were told of, with them.
    """

    def __init__(self, total: int, report: Report | None) -> None:
        self.step, self.total, self._report, self._last = 0, total, report, time.monotonic()
        self.told: list[tuple[int, dict[str, float]]] = []

    def advance(self) -> None:
        """Count a step."""
        self.step += 1
        if time.monotonic() - self._last > REPORT_SECONDS:
            self.tell({})

    def tell(self, values: Mapping[str, float]) -> None:
        """Report the step, with what was measured after it."""
        if values:
            self.told.append((self.step, dict(values)))
        self._say(self.step, values)

    def tell_again(self) -> None:
        """Report all values once more, to whoever did not hear them: a training goes on from a checkpoint."""
        for step, values in self.told:
            self._say(step, values)

    def _say(self, step: int, values: Mapping[str, float]) -> None:
        if self._report is not None:
            self._report(step, max(step, self.total), **values)
            self._last = time.monotonic()
