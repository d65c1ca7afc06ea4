"""`zoobench board --curves`: what more training rows bring and cost, as a table and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .console import print_text, warn

Fractions = Annotated[
    Optional[str],  # noqa: UP045 - typer reads annotations at run time on every supported Python
    typer.Option(metavar="A,B,...", help="Fit on these parts of the training rows, such as 0.1,0.25,0.5,1."),
]
Picture = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        metavar="FILE",
        help="Draw quality against cost of one --task (.svg), --curves (.html), or --across (.html, .svg, .png).",
    ),
]


def show_curves(
    results: Path, task: str | None, scored: tuple[str | None, str | None], style: str, picture: Path | None
) -> None:
    """Print the learning curves of a results folder, its problems on stderr, and draw them into `picture`.

    Parameters
    ----------
    scored
        The metric, and the threshold policy, that were asked for.
    """
    from rich.console import Console

    from .curves import load_curves
    from .curves_page import check_picture, write_curves
    from .curves_tables import render_curves

    if picture is not None:
        check_picture(picture)
    found = load_curves(results, task, *scored)
    for problem in found.problems:
        warn(problem)
    console = Console()
    print_text(render_curves(found, style, console.width if console.is_terminal else None))
    if picture is not None:
        write_curves(picture, found)
        warn(f"drawn into {picture}")
