"""The bootstrap resamples that stand beside records, believed only where they are those that the record names."""

from __future__ import annotations

import io
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from ..benchmarks.paired import replicates_mean
from ..benchmarks.store import RESAMPLES
from .index import UNREADABLE


class Drawn(NamedTuple):
    """Where the files of a record lie, and the SHA-256 that it says its resamples have."""

    folder: Path
    sha256: str


def read_replicates(drawn: Drawn, metrics: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the resamples (resamples,) of a record by metric: of those named, or of all.

    Raises
    ------
    one of `index.UNREADABLE`
        If there are none, they are damaged, or they are not the record's: another's would tell of another model.
    """
    content = (drawn.folder / RESAMPLES).read_bytes()
    if sha256(content).hexdigest() != drawn.sha256:
        raise ValueError(f"{drawn.folder / RESAMPLES} does not hold what its record says")
    wanted = None if metrics is None else list(metrics)
    # Threads would cost more than files of 50 kB take, and a site's processes have the cores already.
    table = pq.ParquetFile(io.BytesIO(content)).read(columns=wanted, use_threads=False)
    return {name: table[name].to_numpy() for name in (wanted or table.column_names)}


def mean_replicates(records: Sequence[Drawn]) -> dict[str, np.ndarray] | None:
    """Return the resamples (resamples,) by metric, averaged over the seeds of a row, a record each.

    Returns
    -------
    None where a seed has none, or where they do not pair.
    """
    try:
        found = [read_replicates(each) for each in records]
        shared = [name for name in found[0] if all(name in each for each in found)]
        if len({len(values) for each in found for values in each.values()}) != 1:
            return None
        return replicates_mean([{name: each[name] for name in shared} for each in found])
    except UNREADABLE:
        return None
