"""The rows that stored cells answered beside what is true of them, where a task's targets are on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..benchmarks.metrics import METRIC_VERSION
from ..benchmarks.rows import Rows, beside, read_answers
from ..benchmarks.store import PROBABILITIES, Stored
from ..datasets.support.errors import UserError

if TYPE_CHECKING:
    from ..datasets.core import Fold


class KnownRows:
    """What cells answered; nothing is prepared or downloaded for it, and a task's targets are read once."""

    def __init__(self) -> None:
        from .site.evidence import TruthsHere

        self._truths = TruthsHere()

    def of(self, stored: Stored) -> Mapping[Fold, Rows] | None:
        """Return the validation and test rows of a cell that is ``ok``; None without targets or probabilities."""
        record = stored.record
        if PROBABILITIES not in record.files or record.metric_version != METRIC_VERSION:
            return None
        truths = self._truths.of(record)
        try:
            return None if truths is None else beside(stored, read_answers(stored), truths)
        except UserError:  # damaged, or of other rows: `results verify` says which
            return None
