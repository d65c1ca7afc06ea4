"""`zoobench site build`: all pages in all languages into a new folder, which then takes the old one's place."""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ...benchmarks.hardware import cores
from ...datasets.support.errors import UserError
from ...datasets.support.files import read_json, write_json
from ...datasets.support.progress import progress
from ...zoo.processes import spread
from ..console import preparing
from ..pages import check_folder
from . import compare_page, method_page, model_page, overview, task_page
from .core import TRY, Page, PageModule, Site, read_site
from .place import put, workshop
from .render import ASSETS, Writer
from .wording import languages as known_languages
from .wording import words_of

Made = TypeVar("Made")
MODULES: tuple[PageModule, ...] = (overview, task_page, model_page, compare_page, method_page)
"""What makes pages, in the order of the work."""

MANIFEST = "site.json"
"""Names the files of a site, so that a later build knows them for its own."""
_BUNDLE = "plotly.min.js"
WORTHWHILE, MOST = 24, 8
"""Jobs from which on several processes make the pages, and how many of them at most."""

Job = tuple[str, ...]
"""Paths of pages that one process makes after another."""


@dataclass(frozen=True)
class Built:
    """What was built: where, how many pages in all languages, and what of the results could not be read."""

    out: Path
    pages: int
    problems: tuple[str, ...]


def build_site(
    results: Path,
    out: Path,
    languages: Sequence[str] = ("en", "es"),
    cards: Path | None = None,
    *,
    served: bool = False,
) -> Built:
    """Build the site of a results folder into `out`, whole or not at all.

    Parameters
    ----------
    out
        A folder that is new, empty, or holds a site and nothing else.
    languages
        The first stands at the root, the others in folders of their names.
    cards
        A folder of data cards, as ``zoobench data report`` writes them; tasks link to theirs.

    served
        Whether pages link to the Try-it page, which `zoobench serve --site` has beside them.

    Raises
    ------
    UserError
        If the results or a language are not there, or `out` holds other files or cannot be written.
    """
    tongues = _checked(languages)
    out = out.expanduser().resolve()  # a link stays, and what it leads to is replaced
    check_folder(out)
    _check_own(out)
    if cards is not None and not cards.is_dir():
        raise UserError(f"folder of data cards {cards} does not exist: `zoobench data report TASK --out {cards}`")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with preparing():
        site = read_site(results, now, importlib.metadata.version("zoobench"), cards)
    try:
        with workshop(out) as folder:
            fresh = folder / "site"
            fresh.mkdir()
            count = _write(site, fresh, tongues, (TRY,) if served else ())
            put(fresh, out)
    except OSError as error:
        raise UserError(
            f"site {out} cannot be written ({error.strerror or error}): choose another with --out"
        ) from error
    return Built(out, count, site.board.problems)


def _checked(languages: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(languages))
    if not chosen:
        raise UserError(f"--languages names none: choose of {', '.join(known_languages())}")
    for language in chosen:
        words_of(language)
    return chosen


def _check_own(out: Path) -> None:
    """Refuse a folder with files that no site wrote: the build would remove them."""
    if not out.is_dir():
        return
    try:
        mine = {MANIFEST, *read_json(out / MANIFEST)["files"]}
    except (OSError, ValueError, LookupError, TypeError):
        mine = set()
    files = (path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir() or path.is_symlink())
    foreign = list(itertools.islice((name for name in files if name not in mine), 2))  # it may be a whole disk
    if foreign:
        more = " and more" if len(foreign) > 1 else ""
        raise UserError(f"folder {out} holds {foreign[0]}{more}, which no site wrote: choose another with --out")


def _write(site: Site, fresh: Path, languages: tuple[str, ...], beside: tuple[str, ...]) -> int:
    """Write all files of the site, which may link to pages `beside` them, and return how many pages."""
    known = [path for module in MODULES for path in module.paths(site)]
    if len({path.casefold() for path in known}) != len(known):
        raise ValueError("two pages have one path")
    writer = Writer(site, languages, [*known, *beside])
    files = _write_assets(site, fresh)
    site.share()

    def make(job: Job) -> list[str] | OSError:
        made: list[str] = []
        try:
            for module in MODULES:
                for page in module.pages(site, job):
                    made += [_write_page(writer, page, language, fresh) for language in languages]
        except OSError as error:  # of another process an error's number arrives as a value alone
            return error
        return made

    with progress("building the site", len(known) * len(languages)) as advance:
        for made in _done(_jobs(known), make):
            if isinstance(made, OSError):
                raise made
            files += made
            advance(len(made))
    write_json(fresh / MANIFEST, {"zoobench": site.version, "created": site.created, "files": sorted(files)})
    return len(known) * len(languages)


def _write_page(writer: Writer, page: Page, language: str, fresh: Path) -> str:
    place = writer.place(page.path, language)
    target = fresh / PurePosixPath(place)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(writer.html(page, language), encoding="utf-8")
    return place


def _jobs(paths: Sequence[str]) -> list[Job]:
    """Part pages into jobs by their file names: a table's page and its comparisons read the same resamples."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(PurePosixPath(path).name, []).append(path)
    return [tuple(each) for each in found.values()]


def _done(jobs: Sequence[Job], make: Callable[[Job], Made]) -> Iterator[Made]:
    """Yield what `make` makes of each job, by several processes where the jobs are many."""
    left = dict(enumerate(jobs))
    try:
        for place, made in spread(jobs, make, min(cores(), MOST) if len(jobs) >= WORTHWHILE else 1):
            del left[place]
            yield made
    except MemoryError:  # one of them was killed: this one alone needs less
        yield from map(make, left.values())


def _write_assets(site: Site, fresh: Path) -> list[str]:
    from plotly.offline import get_plotlyjs

    folder = fresh / "assets"
    folder.mkdir()
    (folder / _BUNDLE).write_text(get_plotlyjs(), encoding="utf-8")
    for asset in sorted(ASSETS.iterdir()):
        if asset.suffix in {".css", ".js", ".svg"}:
            shutil.copyfile(asset, folder / asset.name)
    for table in site.tables:
        if site.cards is not None and (place := task_page.card_file(site, table)):
            (fresh / place).parent.mkdir(exist_ok=True)
            shutil.copyfile(site.cards / f"{table.task}.html", fresh / place)
    return sorted(path.relative_to(fresh).as_posix() for path in fresh.rglob("*") if path.is_file())
