"""What came out: the board of stored records, its ranks, and its tables. Shows results without any framework."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def board(
    task: str | None = None,
    *,
    results: str | Path | None = None,
    sort: str | None = None,
    policy: str | None = None,
) -> pd.DataFrame:
    """Return the tidy frame behind `zoobench board`: one row per configuration, its seeds pooled.

    Parameters
    ----------
    task
        The name of one task, as ``name`` or ``name@protocol``; all tasks without it.
    results
        The results folder; without it what ``ZOOBENCH_RESULTS`` says, or ``zoobench-results``.
    sort
        The metric to rank by; each task's primary metric without it.
    policy
        The threshold policy whose decisions are scored, on tasks of a kind that has it; each record's own without it.

    Returns
    -------
    The columns are described in ``leaderboard/README.md``. A record that cannot be read raises a
    ``UserWarning`` that names it and is left out.

    Raises
    ------
    UserError
        If the folder is missing or empty, or nothing answers to `task`, `sort` or `policy`.
    """
    from ..benchmarks.options import default_results
    from .frame import load_board

    loaded = load_board(Path(default_results() if results is None else results), task=task, sort=sort, policy=policy)
    for problem in loaded.problems:
        warnings.warn(problem, stacklevel=2)
    return loaded.frame


__all__ = ["board"]
