"""What a page is, and what all pages are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..across import ENTRANT
from ..sheet_notes import told_apart
from ..tables import Row, model_words, rows_of
from .names import file_name
from .wording import Say

if TYPE_CHECKING:
    import pandas as pd

    from ...zoo.core import ModelCard
    from ..elsewhere import Elsewhere
    from ..frame import Board
    from ..known_rows import TruthsHere
    from ..resampled import Shelf

TRY = "try.html"
"""A page of each language that `zoobench serve` makes beside those of a site."""


@dataclass(frozen=True)
class Page:
    """A page, in no language yet.

    Attributes
    ----------
    path
        Below the folder of a language, with ``/``: ``tasks/openi-reports.html``. Made with `names.file_name`.
    template
        A file of ``templates``, which extends ``base.html.jinja``.
    title
        Names are plain strings, words are `Say`.
    section
        The item of the navigation that the page belongs to: ``overview``, ``compare``, ``method`` or none.
    values
        What the template asks for by name.
    data
        JSON values for the page's scripts, `Say` allowed anywhere: ``zoobench.data`` in JavaScript.
    scripts
        Files of ``assets`` that this page needs beside those of every page; ``charts.js``, which loads the bundle of
        plotly when a chart comes into sight, comes with `figures`.
    figures
        Plotly figures by name, as JSON values with `Say` allowed: drawn where the template calls ``figure(name, …)``.
    charts
        Whether a script of the page draws charts of its own, so that ``charts.js`` is needed without `figures`.
    """

    path: str
    template: str
    title: Say | str
    section: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    charts: bool = False


@dataclass(frozen=True)
class Table:
    """The rows of one task on one data and split, best first: only these compare.

    Attributes
    ----------
    task
        ``name`` or ``name@protocol``.
    rows
        Rows of the board (``leaderboard/README.md``), None for what is missing, with settings that tell none apart
        left out of ``settings``. Further: ``id``, which names a row for good; ``name``, as it is called, ``place``, its
        machine; ``full``, the name with the machine where several ran it; ``entrant``, model, preset, mode and all
        settings, which are the same on every task.
    version
        What tells it from other data or folds of the same task, the newest having "".
    """

    task: str
    rows: tuple[Row, ...]
    version: str = ""

    @property
    def path(self) -> str:
        """Where its page stands below the folder of a language."""
        return f"tasks/{file_name(self.task)}{f'.{self.version}' if self.version else ''}.html"

    @property
    def title(self) -> str:
        """The task, and of an older table its data and folds."""
        return f"{self.task} ({self.version})" if self.version else self.task

    @cached_property
    def done(self) -> tuple[Row, ...]:
        """The rows that have figures."""
        return tuple(row for row in self.rows if row["status"] == "ok")

    @cached_property
    def hardware(self) -> tuple[str, ...]:
        """The hardware classes (and devices) of its rows, the one with most rows first."""
        places = [row["place"] for row in self.rows]
        return tuple(sorted(set(places), key=lambda place: (-places.count(place), place)))


@dataclass(frozen=True, eq=False)
class Site:
    """What the pages tell of: a results folder, read once.

    Attributes
    ----------
    results
        The folder, as an absolute path; never shown on a page.
    tables
        By task; of each task the newest first.
    created, version
        When (ISO 8601, UTC), and by which zoobench.
    records
        How many records could be read.
    cards
        A folder of data cards (``zoobench data report``), or None.
    """

    results: Path
    board: Board
    tables: tuple[Table, ...]
    created: str
    version: str
    records: int
    cards: Path | None = None

    @cached_property
    def newest(self) -> tuple[Table, ...]:
        """One table a task: that of the newest data and folds."""
        return tuple(table for table in self.tables if not table.version)

    @cached_property
    def models(self) -> dict[str, list[tuple[Table, Row]]]:
        """The rows of each model, whatever its preset, mode and settings, with their tables, by name in order."""
        found: dict[str, list[tuple[Table, Row]]] = {}
        for table in self.tables:
            for row in table.rows:
                found.setdefault(row["model"], []).append((table, row))
        return dict(sorted(found.items()))

    @cached_property
    def _flat(self) -> pd.DataFrame:
        from .. import index

        return index.read_rows(self.results).frame

    @cached_property
    def shelf(self) -> Shelf:
        """The resamples of the rows, which what is made of one table reads once."""
        from ..resampled import Shelf

        return Shelf(self.results, self._flat[["path", "attempt", "resamples", "status"]].to_dict("records"))  # type: ignore[arg-type]

    @cached_property
    def thinned(self) -> frozenset[str]:
        """The tasks with records of models that were fitted on a part of the training rows."""
        return frozenset(self._flat["task"][self._flat["fraction"] < 1])

    @cached_property
    def elsewhere(self) -> Elsewhere:
        """What is known of costs across classes of hardware."""
        from ..elsewhere import look_elsewhere

        return look_elsewhere(self.results, [row for table in self.tables for row in table.rows])

    @cached_property
    def cards_of_models(self) -> Mapping[str, ModelCard]:
        """The cards of the models that are registered here, which those of an ensemble or a plug-in are not."""
        from ..cards import model_cards

        return model_cards()

    @cached_property
    def truths(self) -> TruthsHere:
        """The targets of the tasks that are prepared on this machine, or that zoobench ships."""
        from ..known_rows import TruthsHere

        return TruthsHere()

    def share(self) -> None:
        """Read what many pages need: processes that are forked after that read it no more."""
        _ = self.shelf, self.thinned, self.elsewhere, self.models, self.cards_of_models


def model_path(model: str) -> str:
    """Return where the page of a model stands below the folder of a language, if it has one."""
    return f"models/{file_name(model)}.html"


class PageModule(Protocol):
    """A module that makes pages, named in `build.MODULES`."""

    @staticmethod
    def paths(site: Site) -> Iterable[str]:
        """Return the paths of all pages that `pages` will yield: links are drawn to these alone."""
        ...

    @staticmethod
    def pages(site: Site, wanted: Collection[str]) -> Iterator[Page]:
        """Yield those of the pages whose paths are `wanted`; each is written in every language before the next."""
        ...


def read_site(results: Path, created: str, version: str, cards: Path | None = None) -> Site:
    """Read a results folder; raises as `zoobench.leaderboard.board` does."""
    from ..frame import load_board

    board = load_board(results)
    whole = rows_of(board.frame)
    rows = told_apart([{**row, "id": _id(row), "entrant": tuple(row[each] for each in ENTRANT)} for row in whole])
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["task"], row["fingerprint"], row["split"]), []).append(row)
    tables: list[Table] = []
    for task in sorted({key[0] for key in found}):
        mine = {key: of for key, of in found.items() if key[0] == task}
        order = sorted(mine, key=lambda key: max(row["created"] for row in mine[key]), reverse=True)
        versions = ["", *(f"{key[1][:8]}-{key[2][:8]}" for key in order[1:])]
        tables += [Table(task, _named(mine[key]), version) for key, version in zip(order, versions, strict=True)]
    count = sum(row["records"].count(";") + 1 for row in rows) + sum(row["superseded"] or 0 for row in rows)
    root = results.expanduser().absolute()
    return Site(root, board, tuple(tables), created, version, count, cards)


def _named(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows with what they are called; where several machines ran one, the machine is part of it."""
    named = [{**row, "name": model_words(row), "place": _place(row)} for row in rows]
    names = [row["name"] for row in named]
    return tuple(
        {**row, "full": f"{row['name']}, {row['place']}" if names.count(row["name"]) > 1 else row["name"]}
        for row in named
    )


def _id(row: Row) -> str:
    """Return what names a row for good, whatever is added beside it: addresses of pages hold it."""
    told = [row[name] for name in ("model", "preset", "mode", "settings", "hardware", "device")]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]


def _place(row: Row) -> str:
    return row["hardware"] + (f" ({row['device']})" if row["device"] != "cpu" else "")
