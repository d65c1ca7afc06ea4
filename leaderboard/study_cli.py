"""`zoobench study`: what tuning found, trial by trial, and the page of its plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..datasets.support.errors import UserError, unknown_name
from .console import Results, print_rich, warn

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..benchmarks.study_report import StudyReport

FORMATS = ("table", "json")

Trials = Annotated[
    int | None, typer.Option(help="Tune each cell as well: trials of an Optuna study on the validation fold.")
]
TuneTime = Annotated[float | None, typer.Option(metavar="SECONDS", help="Begin no trial of a study after so long.")]
Storage = Annotated[
    str | None, typer.Option(metavar="URL", help="Database of the studies, for several machines (default: a file).")
]
Pruner = Annotated[str, typer.Option(help="Ends trials early: median, hyperband or none.")]


def study(
    task: Annotated[str, typer.Argument(help="The task (a name, or your .toml).")],
    model: Annotated[str, typer.Argument(help="The model (NAME or NAME@PRESET).")],
    results: Results = None,
    storage: Storage = None,
    top: Annotated[int, typer.Option(help="Trials to show, best first.")] = 10,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.html", help="Where the page of plots goes (default: TASK.MODEL.study.html)."),
    ] = None,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Show the best trials of a study, and write Optuna's plots of it as one page."""
    from ..benchmarks.options import default_results
    from ..benchmarks.study_report import read_studies
    from ..datasets.own import name_of

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if top < 1:
        raise UserError(f"--top {top} must be 1 or more")
    folder = Path(results or default_results())
    reports = read_studies(folder, name_of(task), model, storage)
    if format == "json":
        typer.echo(json.dumps([_mapping(report, top) for report in reports], indent=1, ensure_ascii=False))
        return
    for report in reports:
        print_rich(_view(report, top))
    page = out or Path(f"{name_of(task)}.{model}.study.html")
    write_study_page(page, reports)
    warn(f"plots: {page}")


def _mapping(report: StudyReport, top: int) -> dict[str, Any]:
    return {
        "study": report.name,
        "storage": report.storage,
        "metric": report.metric,
        "fold": "validation",
        "importances": dict(report.importances),
        "trials": [dict(row) for row in report.trials[:top]],
    }


def _view(report: StudyReport, top: int) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from ..datasets.support.progress import in_words

    states = [row["state"] for row in report.trials]
    counts = ", ".join(f"{states.count(state)} {word}" for state, word in _WORDS.items() if state in states)
    seconds = sum(row["seconds"] or 0 for row in report.trials)
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    table.add_column(f"{report.metric} (validation)", justify="right")
    table.add_column("s", justify="right")
    for name in report.settings:
        table.add_column(name, justify="right", overflow="fold")
    for row in report.trials[:top]:
        shown = _WORDS[row["state"]] if row["value"] is None or row["state"] != "complete" else f"{row['value']:.4f}"
        cells = (_plain(row.get(name, "")) for name in report.settings)
        table.add_row(str(row["trial"]), shown, _plain(row["seconds"]), *map(escape, cells))
    parts: list[RenderableType] = [Text(f"{report.name}: {counts}, {in_words(seconds)} in all"), table]
    if len(report.trials) > top:
        parts.append(Text(f"{len(report.trials) - top} more: --top {len(report.trials)}"))
    if report.importances:
        told = ", ".join(f"{name} {share:.0%}" for name, share in report.importances.items())
        parts.append(Text(f"share of the variance that each setting explains (fANOVA): {told}"))
    failures = dict.fromkeys(f"trial {row['trial']}: {row['reason']}" for row in report.trials if row["reason"])
    parts += [Text(line) for line in list(failures)[:3]]
    parts.append(Text(f"to look around in it: optuna-dashboard {report.storage}"))
    return Group(*parts, "")


_WORDS = {"complete": "finished", "pruned": "pruned", "fail": "failed", "running": "running", "waiting": "waiting"}


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None or value == "" else str(value)


def write_study_page(path: Path, reports: list[StudyReport]) -> None:
    """Write the plots of studies as one page that needs no network.

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    from ..datasets.report.blocks import Section
    from .pages import as_plot, write_page

    sections = [
        Section(f"study-{number}", report.name, f"{len(report.trials)} trials; values are of the validation fold.", [
            as_plot(f"study-{number}-{place}", title, _CAPTIONS[title], figure)
            for place, (title, figure) in enumerate(report.figures().items())
        ])
        for number, report in enumerate(reports)
    ]  # fmt: skip
    title = " and ".join(dict.fromkeys(report.name.rpartition("/")[0] for report in reports))
    write_page(path, f"Study: {title}", sections, brand="study")


_CAPTIONS = {
    "Value by trial": "Each point a trial; the line is the best so far.",
    "What mattered": "Share of the variance of the trials' values that a setting explains (fANOVA).",
    "Value by setting": "Each setting by itself; darker points are later trials.",
    "Settings together": "Each line a trial, darker the better.",
}
