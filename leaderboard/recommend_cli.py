"""`zoobench recommend`: what to take for a task within a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from .console import Results, print_text, warn

Limit = Optional[float]  # noqa: UP045 - typer reads annotations at run time on every supported Python
HERE = "here"


def recommend(
    task: Annotated[str, typer.Option(help="The task (a name, or your .toml).")],
    max_latency_ms: Annotated[Limit, typer.Option(metavar="X", help="Of one example, median.")] = None,
    max_memory_gb: Annotated[Limit, typer.Option(metavar="X", help="Peak, training included.")] = None,
    max_train_s: Annotated[Limit, typer.Option(metavar="X", help="Features, tuning and fit.")] = None,
    max_params: Annotated[Limit, typer.Option(metavar="X", help="Parameters of the model.")] = None,
    hardware: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="CLASS", help="Hardware class, or `here` (default: where most models were measured)."),
    ] = None,
    metric: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What good means (default: the task's own metric)."),
    ] = None,
    results: Results = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON; leaderboard/README.md has its fields.")] = False,
) -> None:
    """Say which models to take within a budget: those that the evidence cannot tell from the best, the cheapest first.

    Exit status 1 where nothing is within the budget; then the limit that is nearest to be relaxed is named.
    """
    from ..benchmarks.hardware import choose_device, measure
    from ..benchmarks.options import default_results
    from ..datasets.own import name_of
    from .recommend import Budget, choose
    from .recommend_data import ask
    from .recommend_tables import Answer, as_page
    from .recommend_tables import as_json as plain
    from .sheets import show_page

    budget = Budget(max_latency_ms, max_memory_gb, max_train_s, max_params)
    here = measure(choose_device("auto")) if hardware == HERE else None
    asked = here.class_id if here else hardware
    question = ask(Path(results or default_results()), name_of(task), metric, asked, here)
    for problem in question.problems:
        warn(problem)
    answer = Answer(question, budget, choose(question.candidates, question.pairs, budget))
    if as_json:
        print_text(json.dumps(plain(answer), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show_page(as_page(answer), "table")
    if answer.choice.best is None:
        raise typer.Exit(1)
