"""`zoobench board --across`: models ranked over tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .across import LEVEL, RESAMPLES, Across, rank_across
from .console import print_text, warn
from .critical_difference import ALPHA, check_picture, critical_difference, friedman_words, write_picture
from .frame import Board
from .sheets import Page, Sheet, show_page
from .tables import Column

FEW = 6
"""Tasks below which Nemenyi's test and an interval over tasks say little (Demšar 2006 asks for more than ten)."""


def show_across(loaded: Board, tasks: list[str], style: str, picture: Path | None) -> None:
    """Print a board's lines ranked over tasks, all but a task's lesser protocols where none is named, and draw them.

    Raises
    ------
    UserError, UnavailableError
        If there is too little to rank or to draw, or the picture cannot be written.
    """
    if picture is not None:
        check_picture(picture)
    for problem in loaded.problems:
        warn(problem)
    found = rank_across(loaded.frame, tasks)
    if picture is not None:
        write_picture(picture, found, notes(found))
    if style == "csv":
        print_text(found.frame().to_csv(index=False, lineterminator="\n"))
    elif style == "json":
        print_text(json.dumps(_rows(found), indent=1, ensure_ascii=False))
    else:
        show_page(page(found), style)
    if picture is not None:
        warn(f"wrote {picture}")


def _rows(found: Across) -> list[dict[str, Any]]:
    frame = found.frame()
    return frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[return-value]


def page(found: Across) -> Page:
    """Return the table of mean ranks, and what each further model lacks."""
    bounds = zip(found.mean_rank, found.low, found.high, strict=True)
    columns = [
        Column("model", "Model", found.names, right=False),
        Column("mean_rank", "Mean rank", [f"{mean:.2f} [{low:.2f}, {high:.2f}]" for mean, low, high in bounds]),
        Column("win_rate", "Win rate", [f"{rate:.2f}" for rate in found.win_rate]),
        Column("tasks", "Tasks", [str(len(found.tasks))] * len(found.names)),
    ]
    columns += [Column(f"rank {n}", f"T{n}", [f"{rank:g}" for rank in ranks]) for n, ranks in enumerate(found.ranks, 1)]
    sheets = [Sheet("", columns)]
    if found.lacking:
        lacking = [", ".join(tasks) for tasks in found.lacking.values()]
        names = Column("model", "Not ranked", list(found.lacking), right=False)
        sheets.append(Sheet("", [names, Column("lacks", "Has no figure on", lacking, right=False)]))
    return Page(f"{len(found.names)} models over {len(found.tasks)} tasks", [], sheets, notes(found))


def notes(found: Across) -> list[str]:
    """Say what the figures are, and what the tests say."""
    from ..benchmarks.metrics import METRICS
    from .cards import leak_notes

    lines = [
        f"T{number}: {task}, ranked by {METRICS[metric].title}"
        for number, (task, metric) in enumerate(zip(found.tasks, found.metrics, strict=True), 1)
    ]
    lines.append("Mean rank: 1 is best; equal values share the mean of their ranks. Win rate: ties count half.")
    lines.append(
        f"[low, high]: {LEVEL:.0%} percentile interval of the mean rank over {RESAMPLES:,} resamples of the tasks, "
        "each drawn whole with its ranks: what other tasks of this kind would change."
    )
    if found.friedman_p is not None:
        alike = found.friedman_p >= ALPHA
        lines.append(
            f"Friedman's test, that all are alike: p {friedman_words(found.friedman_p)}"
            + (": these tasks do not show that any differ." if alike else ".")
            + f" Nemenyi's critical difference of mean ranks at {ALPHA}: "
            f"{critical_difference(len(found.names), len(found.tasks)):.2f}."
        )
    if len(found.tasks) < FEW:
        lines.append(f"{len(found.tasks)} tasks are few: intervals and tests over tasks ask for ten or more.")
    return [*lines, *found.left_out, *leak_notes(found.tasks)]
