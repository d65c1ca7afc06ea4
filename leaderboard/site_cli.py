"""`zoobench site`: the leaderboard as pages that open from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .console import Results, warn, working

site_app = typer.Typer(
    help="The leaderboard as a site of plain pages, and as tables of Markdown files.", no_args_is_help=True
)


@site_app.command()
def build(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the site goes; an earlier one there is replaced.")],
    results: Results = None,
    languages: Annotated[
        str, typer.Option(metavar="A,B", help="The first stands at the root, the others in folders of their names.")
    ] = "en,es",
    cards: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads annotations at run time on every supported Python
        typer.Option(metavar="DIR", help="Data cards (`zoobench data report TASK --out DIR`) for tasks to link to."),
    ] = None,
    served: Annotated[
        bool, typer.Option("--served", help="Link to the Try-it page that `zoobench serve --site DIR` adds.")
    ] = False,
) -> None:
    """Build the site of a results folder: it opens from disk, and asks nothing of any network."""
    from ..benchmarks.options import default_results
    from .site.build import build_site

    chosen = [each.strip() for each in languages.split(",") if each.strip()]
    built = build_site(Path(results or default_results()), out, chosen, cards, served=served)
    for problem in built.problems:
        warn(problem)
    typer.echo(f"{built.pages} pages: open {built.out / 'index.html'}")


@site_app.command()
def tables(
    files: Annotated[list[Path], typer.Argument(metavar="FILE ...", help="Markdown files with marked boards.")],
    results: Results = None,
) -> None:
    """Write what is marked in Markdown files anew, from <!-- KIND: NAME --> to <!-- end KIND -->, and its pictures.

    board: a task, a suite (its tasks) or `all`; `best-per=family` thins it. tasks: all: the best of each family of each
    task, what to take, and `pictures=FOLDER` of quality against cost. reproduction: all, leaks: all: the published
    numbers beside ours, and what three leaks are worth.
    """
    from ..benchmarks.options import default_results
    from .marked_tables import write_tables

    with working("reading records") as tell:
        changed = write_tables(files, Path(results or default_results()), tell)
    for path in changed:
        if path not in files:
            typer.echo(f"{path}: drawn anew")
    for path in files:
        typer.echo(f"{path}: {'written anew' if path in changed else 'as it was'}")
