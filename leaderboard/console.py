"""What the commands share: options that many take, and how they speak."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..datasets.support.errors import unknown_name

if TYPE_CHECKING:
    from .frame import Board

Results = Annotated[
    str | None,
    typer.Option("--results", metavar="DIR", help="Results folder (default: ZOOBENCH_RESULTS, or ./zoobench-results)."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Python file that adds models or tasks; repeatable."),
]
Names = Optional[list[str]]  # noqa: UP045 - typer reads annotations at run time on every supported Python


def load_plugins(paths: Sequence[Path] | None) -> None:
    """Register what plug-in files hold."""
    from ..benchmarks.options import load_plugin

    for path in paths or []:
        load_plugin(path)


def print_list(as_json: bool, values: Any, table: Any) -> None:
    """Print values as JSON, or the table that `table` makes."""
    if as_json:
        typer.echo(json.dumps(values, indent=1, ensure_ascii=False))
    else:
        print_rich(table())


def print_rich(renderable: Any) -> None:
    """Print a table or a card."""
    from rich.console import Console

    Console().print(renderable, highlight=False)


def print_text(text: str) -> None:
    """Print text as it is, ending in one line break."""
    typer.echo(text, nl=not text.endswith("\n"))


def check_format(style: str) -> None:
    """Refuse a format that no table is written in."""
    from .tables import FORMATS

    if style not in FORMATS:
        raise unknown_name("format", style, FORMATS)


def show_board(loaded: Board, style: str) -> None:
    """Print a board, its problems on stderr."""
    from . import tables

    for problem in loaded.problems:
        warn(problem)
    tables.show(loaded.frame, style)


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr what is being done as long as that lasts; yield what to call with what is done next."""
    from rich.console import Console

    from ..benchmarks.progress import is_live

    console = Console(stderr=True)
    with console.status(what) if is_live(console) else contextlib.nullcontext() as status:
        yield lambda now: status.update(now) if status else None


@contextlib.contextmanager
def preparing() -> Iterator[Callable[[str], None]]:
    """Yield what to call with a task's name before it is prepared: it is shown on stderr while that lasts."""
    with working("reading records") as tell:
        yield lambda name: tell(f"preparing task {name}")


def warn(line: str) -> None:
    """Say one line on stderr."""
    typer.echo(f"zoobench: {line}", err=True)
