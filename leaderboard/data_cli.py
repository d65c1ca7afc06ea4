"""`zoobench data`: which data there are, their preparation, their audit, their report, and what is true of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..datasets.support.errors import UserError
from .console import Plugins, load_plugins, warn

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..datasets.audit import Audit
    from ..datasets.core import Task

data_app = typer.Typer(help="List, prepare, audit and report data.", no_args_is_help=True)

Subject = Annotated[
    str, typer.Argument(metavar="TASK[@PROTOCOL]", help="A task of `zoobench data list`, or a .toml of your own.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@data_app.command("list")
def list_tasks(as_json: AsJson = False, plugin: Plugins = None) -> None:
    """List the tasks: how large they are, and where their data is."""
    from ..datasets.core import TASKS
    from .data_tables import listing, listing_view

    load_plugins(plugin)
    found = [listing(task) for task in TASKS.entries().values()]
    _show([each.as_json() for each in found], listing_view(found), as_json)


@data_app.command()
def prepare(
    subject: Subject,
    resplit: Annotated[bool, typer.Option("--resplit", help="Deal the folds of your own table anew.")] = False,
    as_json: AsJson = False,
    plugin: Plugins = None,
) -> None:
    """Read a task, fix its folds, and lay it out in the cache: what a run would do first."""
    from ..datasets import own
    from ..datasets.prepare import prepare as prepare_task
    from .data_tables import prepared_mapping, prepared_view

    if resplit:
        own.resplit(subject)
    task, protocol = _subject(subject, plugin)
    warn(f"preparing {_name(task, protocol)} …")
    prepared = prepare_task(task, protocol)
    _show(prepared_mapping(prepared), prepared_view(prepared), as_json)


@data_app.command()
def truth(
    subjects: Annotated[
        list[str], typer.Argument(metavar="TASK[@PROTOCOL] ...", help="Tasks, or a .toml of your own.")
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="Where they go (default: beside the folds that zoobench ships)."),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Write ids and targets of the validation and test rows, so that results are verified where the data are not.

    One small masked file a task, without texts and pixels, to be committed. Refused where a task's card knows the
    published data, and these are others; of a card that knows none it is said. Look at the licence before you share.
    """
    from ..datasets import folds
    from ..datasets.truth import truth_of, write_truth

    for subject in subjects:
        task, protocol = _subject(subject, plugin)
        warn(f"preparing {_name(task, protocol)} …")
        found = truth_of(task, protocol)
        path = write_truth(found, out or folds.SPLITS)
        rows = ", ".join(f"{found.rows[fold]:,} {fold}" for fold in found.ids)
        told = f"{rows} rows of {found.name}, data {found.fingerprint[:12]}…, {path.stat().st_size:,} bytes"
        typer.echo(f"wrote {path}: {told}; licence of the data: {task.card.licence}")
        if not task.card.protocols[protocol].fingerprint:
            warn(f"{found.name}: its card does not say which data are the published ones; these are the file's own")


@data_app.command()
def audit(
    subject: Subject,
    all_protocols: Annotated[bool, typer.Option("--all-protocols", help="Audit each protocol of the task.")] = False,
    as_json: AsJson = False,
    plugin: Plugins = None,
) -> None:
    """Look for what two folds share, and compare their labels; exit status 1 on a leak that is not by design."""
    from .data_tables import audit_view

    if all_protocols and (named := _split(subject)[1]):
        raise UserError(f"{subject} names one protocol: leave out @{named}, or --all-protocols")
    task, protocol = _subject(subject, plugin)
    audits = []
    for each in task.card.protocols if all_protocols else [protocol]:
        warn(f"auditing {_name(task, each)} …")
        audits.append(_audit(task, each))
        if not as_json:
            _print([*([""] if len(audits) > 1 else []), *audit_view(audits[-1])])
    if as_json:
        values = [found.as_json() for found in audits]
        _echo_json(values if all_protocols else values[0])
    if not all(found.ok for found in audits):
        raise typer.Exit(1)


@data_app.command()
def report(
    subject: Subject,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write into; made if it is not there.")],
    plugin: Plugins = None,
) -> None:
    """Write a task's data card: a page (HTML), and the same as Markdown and JSON."""
    from ..datasets.report import write_report

    task, protocol = _subject(subject, plugin)
    warn(f"describing {_name(task, protocol)} …")
    for path in write_report(task, protocol, out):
        typer.echo(f"wrote {path}")


def _subject(subject: str, plugin: Sequence[Path] | None) -> tuple[Task, str]:
    """Return the task and the protocol that a command's word names, with the raw files on this machine."""
    from ..datasets.own import task_of
    from ..datasets.prepare import check_requirements

    load_plugins(plugin)
    base, protocol = _split(subject)
    task = task_of(base)
    task.card.under(protocol)
    check_requirements(task)
    task.sources()
    return task, protocol


def _split(subject: str) -> tuple[str, str]:
    """Return the name or path, and the protocol; a folder's name may hold an @."""
    if subject.endswith(".toml") or "@" not in subject:
        return subject, ""
    base, _, protocol = subject.rpartition("@")
    return base, protocol


def _audit(task: Task, protocol: str) -> Audit:
    from ..datasets.audit import audit as audit_folds
    from ..datasets.prepare import deal

    examples = task.read(protocol)
    try:
        examples.check_against(task.card.under(protocol))
    except ValueError as error:
        raise UserError(str(error)) from error
    return audit_folds(task, protocol, examples, deal(task, protocol, examples))


def _name(task: Task, protocol: str) -> str:
    return f"{task.card.name}@{protocol}" if protocol else task.card.name


def _show(values: Any, parts: Iterable[RenderableType], as_json: bool) -> None:
    if as_json:
        _echo_json(values)
    else:
        _print(parts)


def _echo_json(values: Any) -> None:
    typer.echo(json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False))


def _print(parts: Iterable[RenderableType]) -> None:
    from rich.console import Console

    console = Console()
    for part in parts:
        # A line stays a line, to be searched and copied; a table fits the terminal.
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))
