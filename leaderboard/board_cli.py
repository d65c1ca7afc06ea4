"""`zoobench board` of tasks: whole or thinned, and quality against cost as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..datasets.support.errors import UserError
from .console import show_board, warn

BestPer = Annotated[
    Optional[str],  # noqa: UP045 - typer reads annotations at run time on every supported Python
    typer.Option(metavar="WAY", help="Only the best row of each `family` or `framework`."),
]


def show_thinned(
    results: Path,
    tasks: Sequence[str],
    scored: tuple[str | None, str | None],
    style: str,
    best_per: str | None,
    picture: Path | None,
) -> None:
    """Print the boards of tasks, of all without any, and draw one of them into `picture`.

    Parameters
    ----------
    scored
        The metric, and the threshold policy, that were asked for.

    Raises
    ------
    UserError, UnavailableError
        As `frame.load_board` and `families.best_per` do; if there is a picture of more tasks than one, or of none, or
        it cannot be drawn.
    """
    from . import families, pareto
    from .frame import Board, load_board
    from .recommend_data import ask

    if picture is not None:
        if len(tasks) != 1 or scored[1] is not None:
            raise UserError("--picture draws one --task under its own policy, --curves, or --across: give one of them")
        pareto.check_svg(picture)
    if best_per is not None:
        families.check_way(best_per)
    for task in tasks or [None]:
        loaded = load_board(results, task=task, sort=scored[0], policy=scored[1])
        frame = loaded.frame if best_per is None else families.best_per(loaded.frame, best_per)
        show_board(Board(frame, loaded.problems), style)
        if best_per is not None:
            warn(families.thinned(len(loaded.frame), len(frame), best_per))
    if picture is not None:
        shown = pareto.pareto_of(ask(results, tasks[0], scored[0]))
        if shown is None:
            raise UserError(f"{tasks[0]} has nothing to draw: no finished record that saw no test row before")
        drawn = pareto.write_pareto(picture, shown)
        warn(f"wrote {picture}" if drawn else f"{picture} shows that already")
