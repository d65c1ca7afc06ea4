"""How it is measured: cells, the processes they run in, scores and records.

>>> from zoobench.benchmarks import run
>>> run("quick")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Unpack

    from .options import RunOptions


def run(suite: str = "quick", **options: Unpack[RunOptions]) -> pd.DataFrame:
    """Run a suite; the same as ``zoobench run``, with the same names (see `options.RunOptions`).

    Returns
    -------
    One row a cell of the run, also those that were recorded before: task, model, preset, seed, status, reason,
    the primary metric with its value, fit seconds, latency, memory and the record's key.

    Raises
    ------
    UserError
        For bad input: one line that says what was wrong, where, and what to do. One task among several that cannot
        be read is a warning, and has no rows.
    KeyboardInterrupt
        If the run was stopped; what is done is kept, and the same call goes on from there.
    """
    import warnings

    import pandas as pd

    from .runner import run_suite

    finished = run_suite(suite, options)
    for line in finished.refused:
        warnings.warn(line, stacklevel=2)
    if finished.interrupted:
        raise KeyboardInterrupt("stopped; the same call goes on where it stopped")
    return pd.DataFrame([record.summary() for record in finished.records])
