"""`zoobench diff`: what moved between two results folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..datasets.support.errors import unknown_name
from .console import print_text, warn

FORMATS = ("table", "md", "json")


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A results folder; it may be empty.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another, such as the same one later.")],
    fail_on_regression: Annotated[
        bool,
        typer.Option("--fail-on-regression", help="Exit with 1 where quality fell beyond chance or a row fails now."),
    ] = False,
    metric: Annotated[
        Optional[str],  # noqa: UP045 - typer reads annotations at run time on every supported Python
        typer.Option(help="What quality means (default: each task's own metric)."),
    ] = None,
    tolerance: Annotated[float, typer.Option(metavar="X", help="Name costs from this factor on.")] = 1.5,
    format: Annotated[str, typer.Option(help="table, md (the body of a pull request) or json.")] = "table",
) -> None:
    """Say what moved beyond chance between two results folders, and what costs more or less, is new, gone or fails.

    Quality is compared on the same test rows by paired resamples, costs on the same class of hardware.
    """
    from .diff import compare_folders
    from .diff_tables import as_json, as_page
    from .sheets import show_page

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    found = compare_folders(old, new, metric, tolerance)
    for problem in found.problems:
        warn(problem)
    if format == "json":
        print_text(json.dumps(as_json(found, str(old), str(new)), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show_page(as_page(found, str(old), str(new), tolerance), format)
    if fail_on_regression and found.regressions:
        raise typer.Exit(1)
