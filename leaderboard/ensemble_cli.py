"""`zoobench ensemble`: stored cells of a task become an ensemble, which is a row of the board."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..datasets.support.errors import UserError, unknown_name
from .console import Names, Plugins, Results, load_plugins, print_rich, show_board, warn, working

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..benchmarks.ensemble import Made, Recipe
    from ..benchmarks.record import Record
    from ..benchmarks.store import Results as Folder
    from .ensemble_choice import Wish

HOWS = ("greedy", "mean", "both")
SHOWN = 12
"""Members that are listed, and rounds."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def ensemble(
    task: Annotated[str, typer.Argument(metavar="TASK[@PROTOCOL]", help="A task that has records, or your .toml.")],
    model: Annotated[Names, typer.Option(help="Only cells of this model (NAME, or NAME@PRESET); repeatable.")] = None,
    seed: Annotated[Optional[list[int]], typer.Option(help="Only cells of this seed; repeatable.")] = None,  # noqa: UP045
    cell: Annotated[
        Names, typer.Option(metavar="KEY", help="A single cell, by the beginning of its key; repeatable.")
    ] = None,
    trials: Annotated[
        bool,
        typer.Option(
            "--trials",
            help="Take the trials of tuned cells in their place (scored; their models are not kept: no `predict`).",
        ),
    ] = False,
    how: Annotated[str, typer.Option(help="greedy (chosen on validation), mean (all alike) or both.")] = "both",
    size: Annotated[int, typer.Option(help="Rounds of the greedy choice.")] = 50,
    name: Annotated[str, typer.Option(help="What the board calls it, beside how it is made.")] = "",
    hardware: Annotated[str, typer.Option(metavar="CLASS", help="Cells that ran there (default: here).")] = "",
    results: Results = None,
    plugin: Plugins = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make it again where it is recorded already.")] = False,
) -> None:
    """Make an ensemble of recorded cells: chosen on validation, scored on test, nothing fitted anew."""
    from ..benchmarks.ensemble import Recipe
    from ..benchmarks.options import default_results
    from ..benchmarks.store import Results as Folder
    from .ensemble_choice import Wish

    if how not in HOWS:
        raise unknown_name("way to make an ensemble", how, HOWS)
    if name and not _NAME.fullmatch(name):
        raise UserError(f"--name {name!r} must be lower-case words of letters and digits joined by '-'")
    for each in seed or ():
        if not 0 <= each < 2**32:
            raise UserError(f"--seed {each} must be 0 or more, and below 2^32")
    words = {"name": name} if name else {}
    recipes = [Recipe(each, size, words) for each in ("greedy", "mean") if how in (each, "both")]
    load_plugins(plugin)
    folder = Folder(Path(results or default_results()))
    wish = Wish(tuple(model or ()), tuple(seed or ()), tuple(cell or ()), hardware, trials)
    asked, made = _make(task, folder, wish, recipes, fresh)
    for each in made:
        print_rich(_report(each))
    _print_board(folder.root, asked)


def _make(task: str, folder: Folder, wish: Wish, recipes: Sequence[Recipe], fresh: bool) -> tuple[str, list[Made]]:
    """Return the task's name on the board, and the ensembles."""
    from ..benchmarks.ensemble import Pool, assemble
    from ..benchmarks.members import member_of
    from ..benchmarks.trial_members import missing, with_trials
    from ..datasets.own import task_of
    from ..datasets.prepare import prepare
    from .ensemble_choice import Offer

    base, _, protocol = (task, "", "") if task.endswith(".toml") else task.partition("@")
    found = task_of(base)
    card = found.card.under(protocol)
    asked = f"{card.name}@{protocol}" if protocol else card.name
    offer = Offer(folder, asked, wish)
    with working(f"preparing task {asked}"):
        prepared = prepare(found, protocol)
    choice = offer.on(prepared)
    short = [missing(each, folder) for each in choice.cells] if wish.trials else []
    for remark in (*choice.remarks, *filter(None, short)):
        warn(remark)
    pool = Pool(card, prepared, with_trials(choice.cells, folder) if wish.trials else map(member_of, choice.cells))
    folder.ensure_writable()
    folder.sweep()
    told = [each if each.words else replace(each, words=wish.words(choice.cells)) for each in recipes]
    return asked, [assemble(pool, folder, each, fresh=fresh) for each in told]


def _report(made: Made) -> RenderableType:
    """Return what an ensemble took, how its validation score grew, and what it scores on test."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    record = made.stored.record
    taken = sorted((share for share in record.members if share.weight), key=lambda share: (-share.weight, share.label))
    standing = "" if made.new else "; recorded already (--fresh makes it again)"
    head = f"{record.model}: {len(taken)} of {len(record.members)} cells{standing}"
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("weight", justify="right")
    table.add_column("member", overflow="fold")
    table.add_column("key")
    for share in taken[:SHOWN]:
        table.add_row(f"{share.weight:.3f}", Text(share.label), share.key[:8])
    more = [Text(f"        … and {len(taken) - SHOWN} more, in {made.stored.path}")] if len(taken) > SHOWN else []
    return Group(Text(head, style="bold"), table, *more, Text(_growth(record)), Text(_test(record)), "")


def _growth(record: Record) -> str:
    """Return the validation score after each round that bettered it."""
    from ..benchmarks.metrics import METRICS

    metric = METRICS[record.primary_metric]
    sign = 1 if metric.higher_is_better else -1
    better: list[tuple[int, float]] = []
    for entry in record.history:
        if not better or sign * entry["validation"] > sign * better[-1][1] + 1e-12:
            better.append((int(entry["step"]), entry["validation"]))
    if len(record.history) == 1:
        return f"validation {metric.title}: {better[0][1]:.4f}"
    shown = better if len(better) <= SHOWN else [*better[: SHOWN // 2], *better[-SHOWN // 2 :]]
    steps = [f"{value:.4f} ({step})" for step, value in shown]
    if len(shown) < len(better):
        steps.insert(SHOWN // 2, "…")
    return f"validation {metric.title} by round: {', '.join(steps)}, the best of {len(record.history)}"


def _test(record: Record) -> str:
    from ..benchmarks.metrics import METRICS

    found = record.test[record.policy]
    bounds = found.intervals.get(record.primary_metric)
    value = "undefined" if record.value is None else f"{record.value:.4f}"
    interval = f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else ""
    return f"test {METRICS[record.primary_metric].title}: {value}{interval}"


def _print_board(results: Path, task: str) -> None:
    from .frame import Board, load_board

    show_board(Board(load_board(results, task=task).frame, ()), "table")
