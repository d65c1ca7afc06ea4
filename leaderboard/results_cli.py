"""`zoobench results`: stored records verified, merged and exported."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..datasets.support.errors import UserError, unknown_name
from .console import Names, Plugins, load_plugins, print_text, warn
from .words import one_line

if TYPE_CHECKING:
    from ..benchmarks.merge import Taken
    from ..benchmarks.verify import Verified

results_app = typer.Typer(help="Verify, merge and export stored records.", no_args_is_help=True)

Task = Annotated[Names, typer.Option(help="Only records of this task (a name, or your .toml); repeatable.")]
AsText = Annotated[str, typer.Option(help="table or json.")]
UNTOLD = (
    "taken as they are: scores of the training fold (its probabilities are not stored), times, memory, hardware, "
    "software, framework, parameters, notes, history, fit keys of tuned records, and, but for their hashes, what files "
    "other than probabilities, resamples and trials hold"
)


@results_app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The results folder; it is only read.")],
    task: Task = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit with 0 also where no data and no targets of a task are here.")
    ] = False,
    plugin: Plugins = None,
    format: AsText = "table",
) -> None:
    """Score every record again from its probabilities and the folds, and refuse what does not come out the same.

    Where the data of a task are not on this machine, by the ids and targets that zoobench ships. A study that holds
    links is refused as well. Exit status 1 where anything is refused, 2 where a task has neither here.
    """
    from ..benchmarks.store import Results
    from ..benchmarks.verify import chosen_paths, verify_records, verify_studies
    from ..datasets.support.progress import tracked
    from .frame import folder_of_results

    _check_style(format)
    load_plugins(plugin)
    results = Results(folder_of_results(folder))
    tasks = _tasks(task, results.root)
    paths = chosen_paths(results, tasks)
    looked = list(tracked(verify_records(results, paths), len(paths), "verifying records"))
    studies = list(verify_studies(results, tasks))
    counts = Counter(each.outcome for each in looked)
    if format == "json":
        print_text(json.dumps(_as_json(results.root, looked, studies, counts), indent=1, ensure_ascii=False))
    else:
        for line in (*_refused(looked), *_refused(studies, " study"), *_lines(looked, counts)):
            typer.echo(one_line(line))
    if counts["refused"] or studies:
        raise typer.Exit(1)
    if counts["missing"] and not allow_missing:
        raise typer.Exit(2)


@results_app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR ...", help="Results folders.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Merge all into this folder, made if it is not there (default: the first)."),
    ] = None,
    format: AsText = "table",
) -> None:
    """Bring the records of several folders into one; of the same cell the newer finished record is kept.

    A finished record beats a failed one. The other folders are only read; the same command goes on where it stopped.
    Exit status 1 where a record was refused, or is in the hands of a run.
    """
    from ..benchmarks.merge import check_folders
    from ..benchmarks.merge import merge as merge_folders
    from ..benchmarks.store import Results
    from ..datasets.support.progress import tracked

    _check_style(format)
    if len(folders) < (2 if out is None else 1):
        raise UserError(f"merge takes two folders or more: {folders[0]} and another, or --out DIR")
    target = Results(folders[0] if out is None else out)
    sources = [Results(each) for each in (folders[1:] if out is None else folders)]
    check_folders(target, sources)
    todo = sum(1 for source in sources for _ in (*source.record_paths(), *source.root.glob("studies/*/*/*")))
    taken = list(tracked(merge_folders(target, sources), todo, "merging records"))
    counts = Counter(each.came for each in taken)
    if format == "json":
        told = [{"path": str(each.path), "came": each.came, "why": each.why} for each in taken]
        print_text(json.dumps({"into": str(target.root), "counts": counts, "taken": told}, indent=1))
    else:
        for line in _told(taken):
            typer.echo(one_line(line))
        words = ", ".join(f"{counts[word]} {word}" for word in _CAME if counts[word])
        typer.echo(f"{target.root}: {words}")
    if counts["refused"] or counts["busy"]:
        raise typer.Exit(1)


@results_app.command()
def export(
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="[DIR]", help="The results folder (default: ZOOBENCH_RESULTS, or ./zoobench-results)."),
    ] = None,
    format: Annotated[str, typer.Option(help="parquet or csv.")] = "parquet",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Where it goes (default: standard output, zoobench-records.parquet)."),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="A row a figure: every fold, part, policy, label and metric.")
    ] = False,
    task: Task = None,
) -> None:
    """Write every record as a row: identity, costs, hardware, and test scores with their intervals."""
    from ..benchmarks.options import default_results
    from ..benchmarks.store import Results
    from .export import FORMATS
    from .export import export as write_export
    from .frame import folder_of_results

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if out is not None and out.suffix in {".csv", ".parquet"} and out.suffix != f".{format}":
        raise UserError(f"--out {out} is no {format}: add --format {out.suffix[1:]}, or name another file")
    root = folder_of_results(folder or Path(default_results()))
    path = out or (Path(f"zoobench-{'figures' if long else 'records'}.parquet") if format == "parquet" else None)
    if path is not None and path.is_dir():
        raise UserError(f"--out {path} is a folder: name a file in it")
    if next(Results(root).record_paths(), None) is None:
        raise UserError(f"results folder {root} has no record: `zoobench run --results {root}` makes some")
    count, problems = write_export(root, _tasks(task, root), format, path, _echo, long=long)
    for problem in problems:
        warn(problem)
    if path is not None:
        warn(f"{_records(count)} in {path}")


def _echo(text: str) -> None:
    typer.echo(text, nl=False)


def _check_style(style: str) -> None:
    if style not in {"table", "json"}:
        raise unknown_name("format", style, ("table", "json"))


def _tasks(names: Sequence[str] | None, root: Path) -> list[str]:
    """Return the tasks that were named, as their records have them; UserError for one that has none here."""
    from ..datasets import own

    known = sorted(path.name for path in (root / "cells").glob("*") if path.is_dir())
    tasks = [own.registered(name) for name in names or ()]
    for name in tasks:
        if name not in known:
            raise unknown_name(f"task with records in {root}", name, known)
    return tasks


def _refused(looked: Sequence[Verified], what: str = "") -> list[str]:
    """Return a line for each record, or study, that is refused."""
    lines = []
    for each in looked:
        for finding in each.findings[:1]:
            more = f" (and {len(each.findings) - 1} more: --format json)" if len(each.findings) > 1 else ""
            lines.append(f"refused:{what} {each.task} {each.model} {each.key}: {finding}{more}")
    return lines


def _lines(looked: Sequence[Verified], counts: Counter[str]) -> list[str]:
    """Return a line for each task that is not here, one for each remark, and the sum."""
    lines = []
    for (name, reason), count in Counter((each.task, each.reason) for each in looked if each.reason).items():
        lines.append(f"not verified: {_records(count)} of {name}: {reason}")
    remarks = Counter(remark for each in looked for remark in each.remarks)
    lines += [f"note: {remark} ({_records(count)})" for remark, count in sorted(remarks.items())]
    lines.append(f"{_records(len(looked))}: {_words(counts)}; {UNTOLD}")
    return lines


def _records(count: int) -> str:
    return f"{count} record{'' if count == 1 else 's'}"


def _words(counts: Counter[str]) -> str:
    words = {"verified": "verified", "refused": "refused", "missing": "not verified"}
    return ", ".join(f"{counts[outcome]} {word}" for outcome, word in words.items())


def _as_json(
    root: Path, looked: Sequence[Verified], studies: Sequence[Verified], counts: Counter[str]
) -> dict[str, Any]:
    sums = {name: counts[name] for name in ("verified", "refused", "missing")}
    records, refused = ([_told_of(each) for each in both] for both in (looked, studies))
    return {"folder": str(root), **sums, "unverifiable": UNTOLD, "records": records, "studies": refused}


def _told_of(each: Verified) -> dict[str, Any]:
    return {
        **{"path": str(each.path), "task": each.task, "model": each.model, "key": each.key},
        **{"outcome": each.outcome, "reason": each.reason, "remarks": list(each.remarks)},
        "findings": [vars(finding) for finding in each.findings],
    }


_CAME = ("added", "replaced", "completed", "kept", "refused", "busy")


def _told(taken: Sequence[Taken]) -> list[str]:
    """Return a line for whatever is not simply added or the same."""
    plain = {("added", ""), ("kept", "the same"), ("kept", ""), ("completed", "")}
    return [f"{each.came}: {each.path}: {each.why}" for each in taken if (each.came, each.why) not in plain]
