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
    """

    def __init__(self, total: int, report: Report | None) -> None:
        self.step, self.total, self._report, self._told = 0, total, report, time.monotonic()

    def advance(self) -> None:
        """Count a step."""
        self.step += 1
        if time.monotonic() - self._told > REPORT_SECONDS:
            self.tell({})

    def tell(self, values: Mapping[str, float]) -> None:
        """Report the step, with what was measured after it."""
        if self._report is not None:
            self._report(self.step, max(self.step, self.total), **values)
            self._told = time.monotonic()
