"""How long a cell will take, by the records of cells like it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence

from .cell import Cell
from .record import Record


def expected_seconds(cell: Cell, records: Iterable[Record]) -> float | None:
    """Return the seconds of wall time that a cell is likely to take; None where no record tells.

    What the newest finished record of the same task, model and fraction took, of its very configuration where there is
    one. A tuned cell takes its trials and a fit: as long each as in a record of its tuning, else as the model alone.

    Parameters
    ----------
    records
        Of any cells, on hardware that the cell may run on.
    """
    like = [record for record in records if record.status == "ok" and _like(cell, record)]
    alone = _newest(cell, [record for record in like if record.mode == "default"])
    if not cell.tuning:
        return _whole(alone) if alone else None
    trials, limit = int(cell.tuning["trials"] or 1), float(cell.tuning["seconds"] or math.inf)
    tuned = _newest(cell, [record for record in like if record.tuning])
    if tuned and tuned.tuning:
        each = tuned.tuning.seconds / max(1, tuned.tuning.finished + tuned.tuning.pruned + tuned.tuning.failed)
        times = tuned.timings
        return min(limit, each * trials) + times.warmup + times.features + times.fit + times.predict
    return min(limit, _whole(alone) * trials) + _whole(alone) if alone else None


def _whole(record: Record) -> float:
    """Return the seconds that the whole cell takes; `wall` of one that went on from a checkpoint tells its last run."""
    times = record.timings
    return max(times.wall, times.warmup + times.total + times.predict)


def _like(cell: Cell, record: Record) -> bool:
    place = (cell.task, cell.protocol, cell.model, cell.fraction)
    return place == (record.task, record.protocol, record.model, record.fraction)


def _newest(cell: Cell, records: Sequence[Record]) -> Record | None:
    return max(records, key=lambda record: (record.config == cell.config, record.created), default=None)


def spread(seconds: Iterable[float], jobs: int) -> float:
    """Return how long cells take, `jobs` side by side, each begun in its order as soon as there is room."""
    ends = [0.0] * jobs
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)
