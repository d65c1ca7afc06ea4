"""What stored cells answered beside what is true of their rows, where a task's targets are on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..benchmarks.metrics import METRIC_VERSION
from ..benchmarks.rows import Rows, beside, read_answers
from ..benchmarks.store import PROBABILITIES, Stored
from ..datasets.prepare import find_prepared
from ..datasets.support.errors import UserError
from ..datasets.truth import Truth, find_shipped

if TYPE_CHECKING:
    from ..benchmarks.record import Record
    from ..datasets.core import Fold

Absent = Literal["not-prepared", "no-probabilities"]
"""Why nothing is known of a cell's rows: its task's targets are not here, or the probabilities are not, or damaged."""


class TruthsHere:
    """The targets of the tasks that are prepared on this machine, or that zoobench ships, each read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], Truth | None] = {}

    def of(self, record: Record) -> Truth | None:
        """Return the targets that a record was scored on; None where those of its task, as it was, are not here."""
        place = (record.task_name, record.data_fingerprint, record.split_sha256)
        if place not in self._known:
            prepared = find_prepared(*place)
            self._known[place] = find_shipped(*place) if prepared is None else Truth.of(prepared)
        return self._known[place]

    def rows(self, stored: Stored) -> Mapping[Fold, Rows] | Absent:
        """Return the validation and test rows of a cell that is ``ok``, or why there are none."""
        record = stored.record
        if PROBABILITIES not in record.files or record.metric_version != METRIC_VERSION:
            return "no-probabilities"
        truth = self.of(record)
        if truth is None:
            return "not-prepared"
        try:
            return beside(stored, read_answers(stored), truth)
        except UserError:  # damaged, or of other rows: `results verify` says which
            return "no-probabilities"
