"""`zoobench compare`: models against each other on the test rows that they share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..datasets.support.errors import UserError
from .console import Names, Plugins, Results, check_format, load_plugins, print_text, warn, working

if TYPE_CHECKING:
    from ..benchmarks.comparison import Comparison

ALL = "all"


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="A B ...",
            help="NAME, NAME@PRESET, NAME:tuned, NAME:ensemble, NAME:KEY=VALUE, or 6 digits or more of a record's key.",
        ),
    ],
    task: Annotated[str, typer.Option(help="The task (a name, or your .toml).")],
    results: Results = None,
    policy: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Decide by another threshold policy: fixed-0.5, global, per-label, youden, ... ."),
    ] = None,
    metric: Annotated[Names, typer.Option(help="Only this metric; repeatable; `all` for every one.")] = None,
    resamples: Annotated[int, typer.Option(help="Of the test fold, drawn alike for all.")] = 1000,
    plugin: Plugins = None,
    format: Annotated[str, typer.Option(help="table, md, csv or json.")] = "table",
) -> None:
    """Compare every pair of models on the same test rows: differences, intervals and p-values."""
    from ..benchmarks.options import default_results
    from .comparisons import as_frame, as_json, as_page
    from .sheets import show_page

    check_format(format)
    load_plugins(plugin)
    folder = Path(results or default_results())
    brief = format in {"table", "md"} and len(models) > 2
    found, problems = compared(folder, task, models, (metric or ([] if brief else [ALL]), policy, resamples))
    for problem in problems:
        warn(problem)
    if format == "csv":
        print_text(as_frame(found).to_csv(index=False, lineterminator="\n"))
    elif format == "json":
        print_text(as_json(found))
    else:
        show_page(as_page(found), format)


def compared(
    results: Path, task: str, words: Sequence[str], options: tuple[Sequence[str], str | None, int]
) -> tuple[Comparison, list[str]]:
    """Return what `zoobench compare` shows, and a line per unreadable record.

    Parameters
    ----------
    options
        Metrics (none: the primary one and that of rows fully right), a threshold policy (None: the records' own), and
        the number of resamples.

    Raises
    ------
    UserError, UnavailableError
        If nothing answers to a name, the entrants do not compare, or the task's targets cannot be had.
    """
    from ..benchmarks.comparison import LEAST_RESAMPLES, MOST_RESAMPLES, agreed_policy, compare_entrants
    from ..benchmarks.rows import truth_as
    from ..datasets import own
    from ..zoo.core import split_name
    from .comparisons import exact
    from .entrants import choose
    from .frame import check_metric, folder_of_results

    metrics, policy, resamples = options
    for name in set(metrics) - {ALL}:
        check_metric(name)
    if not LEAST_RESAMPLES <= resamples <= MOST_RESAMPLES:
        raise UserError(f"--resamples {resamples} must be from {LEAST_RESAMPLES:,} to {MOST_RESAMPLES:,}")
    if len(words) < 2:
        raise UserError(f"compare takes two models or more, such as `zoobench compare {words[0]} OTHER --task {task}`")
    root = folder_of_results(results)
    base, protocol = split_name(own.registered(task))
    entry = own.task_of(base)
    entry.card.under(protocol)
    entrants, problems = choose(root, f"{base}@{protocol}" if protocol else base, words)
    policy = agreed_policy(entrants, policy)
    record = entrants[0].record
    with working(f"preparing task {task}"):
        test = truth_as(entry, record).test
    chosen = () if ALL in metrics else metrics or (record.primary_metric, exact(record.kind))
    return compare_entrants(entrants, test, chosen, policy, resamples), problems
