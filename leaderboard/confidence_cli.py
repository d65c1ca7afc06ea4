"""`zoobench confidence`: what a recorded model's probabilities are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..datasets.support.errors import unknown_name
from .console import Plugins, Results, preparing, print_rich, print_text, warn


def confidence(
    task: Annotated[str, typer.Argument(metavar="TASK[@PROTOCOL]", help="The task (a name, or your .toml).")],
    model: Annotated[
        str, typer.Argument(metavar="MODEL[@PRESET]", help="The model; its best recorded cell on the validation fold.")
    ],
    seed: Annotated[Optional[int], typer.Option(help="Only the cells of this seed.")] = None,  # noqa: UP045
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the page goes.")] = Path("zoobench-confidence"),
    results: Results = None,
    plugin: Plugins = None,
    style: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
) -> None:
    """Show how far a model's probabilities can be trusted: calibration, one temperature, and what a threshold keeps."""
    from .confidence_tables import FORMATS, as_csv, as_json, as_table

    if style not in FORMATS:
        raise unknown_name("format", style, FORMATS)
    from ..benchmarks.confidence import examine
    from ..benchmarks.options import default_results
    from ..benchmarks.predict import recorded_cell
    from .confidence_page import write
    from .pages import check_folder

    stored, found = recorded_cell(task, model, Path(results or default_results()), plugin or [], seed)
    check_folder(out)
    with preparing() as tell:
        examined = examine(stored, found, tell)
    page = write(examined, out)
    if style == "table":
        print_rich(as_table(examined))
    else:
        print_text(as_json(examined) if style == "json" else as_csv(examined))
    warn(f"page: {page}")
