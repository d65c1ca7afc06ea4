"""The first page: every configuration on every task, ranks over tasks, what is new, and what is missing."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...benchmarks.metrics import METRICS
from ...datasets.support.errors import UserError
from ..across import Across, Entrant, entrant_names, rank_across
from ..across_cli import FEW
from ..cards import card_of_task
from ..tables import Row
from .core import Page, Site, Table
from .wording import Say, say

_PATH = "index.html"
SHADES = 6
_NEWS, _DRAWN = 20, 40


@dataclass(frozen=True)
class Cell:
    """What a configuration has on a task: a figure, or in words why there is none."""

    row: Row | None
    shade: int = 0

    @property
    def state(self) -> str:
        """Of what has no figure: its status, or ``missing`` where nothing was run."""
        return "missing" if self.row is None else "" if self.row["value"] is not None else _status(self.row)


@dataclass(frozen=True)
class Line:
    """A configuration with a cell for each task."""

    name: str
    model: str
    cells: tuple[Cell, ...]
    measured: int


@dataclass(frozen=True)
class Ranking:
    """Ranks over the tasks of one modality, or why there are none."""

    modality: str
    tasks: tuple[str, ...]
    found: Across | None
    why: Say | None = None
    few: bool = False


def paths(site: Site) -> Iterable[str]:
    """Return the one path."""
    del site
    return (_PATH,)


def pages(site: Site, wanted: Collection[str]) -> Iterator[Page]:
    """Yield the page, if it is wanted."""
    if _PATH not in wanted:
        return
    lines = heat_map(site.newest)
    rankings = rank_tasks(site)
    yield Page(
        path=_PATH,
        template="overview.html.jinja",
        title=say("overview.title"),
        section="overview",
        values={
            "tables": site.newest,
            "older": [table for table in site.tables if table.version],
            "lines": lines,
            "rankings": rankings,
            "news": news(site),
            "coverage": [_coverage(table, lines, place) for place, table in enumerate(site.newest)],
            "titles": {table.task: card.title for table in site.newest if (card := card_of_task(table.task))},
            "metrics": METRICS,
        },
        figures={f"ranks-{each.modality}": _figure(each.found) for each in rankings if each.found},
    )


def _status(row: Row) -> str:
    return str(row["status"]) if row["status"] != "ok" else "undefined"


def heat_map(tables: Sequence[Table]) -> list[Line]:
    """Return a line for each configuration: what is measured on most tasks stands first, then by its shades."""
    by_task = [_newest_rows(table) for table in tables]
    shades = [_shades(rows) for rows in by_task]
    names, _ = entrant_names(sorted({entrant for rows in by_task for entrant in rows}))
    lines = []
    for entrant, name in names.items():
        cells = [Cell(rows.get(entrant), shade.get(entrant, 0)) for rows, shade in zip(by_task, shades, strict=True)]
        measured = sum(not cell.state for cell in cells)
        lines.append(Line(name, entrant[0], tuple(cells), measured))
    return sorted(lines, key=lambda line: (-line.measured, -sum(cell.shade for cell in line.cells), line.name))


def _newest_rows(table: Table) -> dict[Entrant, Row]:
    """Return the newest row of each configuration that has a figure, whichever machine ran it; else the newest."""
    order = sorted(table.rows, key=lambda row: (row["value"] is not None, row["created"]))
    return {row["entrant"]: row for row in order}


def _shades(rows: dict[Entrant, Row]) -> dict[Entrant, int]:
    """Return 0 for the worst figure of a task to 5 for the best, by their place between the two."""
    known = {entrant: row for entrant, row in rows.items() if row["value"] is not None}
    if not known:
        return {}
    values = np.array([row["value"] for row in known.values()], dtype=float)
    metric = METRICS[next(iter(known.values()))["ranked_by"]]
    signed = values if metric.higher_is_better else -values
    width = float(np.ptp(signed))
    places = (signed - signed.min()) / width if width else np.ones(len(signed))
    return dict(zip(known, np.minimum((places * SHADES).astype(int), SHADES - 1).tolist(), strict=True))


def rank_tasks(site: Site) -> list[Ranking]:
    """Rank over the tasks of each modality: models of texts and of images share no task."""
    kinds: dict[str, list[str]] = {}
    bases: set[str] = set()
    for table in site.newest:  # by name, so that the honest protocol of a task comes first
        base = table.task.partition("@")[0]
        if base in bases or not table.done:
            continue  # the same data would count twice; where nothing finished there is nothing to rank
        bases.add(base)
        card = card_of_task(table.task)
        kinds.setdefault(card.modality if card else "other", []).append(table.task)
    return [
        _ranking(site, modality, tasks) for modality, tasks in sorted(kinds.items(), key=lambda each: -len(each[1]))
    ]


def _ranking(site: Site, modality: str, tasks: Sequence[str]) -> Ranking:
    if len(tasks) < 2:
        return Ranking(modality, tuple(tasks), None, say("ranks.one_task", tasks=tasks[0]))
    try:
        found = rank_across(site.board.frame, tasks)
    except UserError:
        return Ranking(modality, tuple(tasks), None, say("ranks.few_models", count=len(tasks)))
    return Ranking(modality, tuple(tasks), found, few=len(tasks) < FEW)


def _figure(found: Across) -> dict[str, Any]:
    """Return mean ranks with their intervals, best on top; the table beside it holds all of them."""
    count = min(len(found.names), _DRAWN)
    names = [html.escape(name, quote=False) for name in found.names[:count]]  # plotly reads a little HTML
    mean, low, high = (each[:count] for each in (found.mean_rank, found.low, found.high))
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": np.round(mean, 3).tolist(),
        "y": list(range(count)),
        "customdata": np.round(np.stack([low, high, found.win_rate[:count]], axis=1), 3).tolist(),
        "text": names,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": np.round(high - mean, 3).tolist(),
            "arrayminus": np.round(mean - low, 3).tolist(),
            "thickness": 1.6,
            "width": 4,
            "color": "#0072b2",
        },
        "marker": {"size": 9, "color": "#0072b2"},
        "hovertemplate": say("ranks.hover"),
    }
    ticks = {"tickmode": "array", "tickvals": list(range(count)), "ticktext": names}
    return {
        "data": [trace],
        "layout": {
            "height": 90 + 26 * count,
            "xaxis": {"title": {"text": say("ranks.mean_rank")}, "rangemode": "normal"},
            "yaxis": {**ticks, "range": [count - 0.5, -0.5], "zeroline": False},
            "hovermode": "closest",
        },
    }


def news(site: Site) -> list[tuple[Table, Row]]:
    """Return the newest rows of all tables, the newest first."""
    rows = [(table, row) for table in site.tables for row in table.rows]
    return sorted(rows, key=lambda each: each[1]["created"], reverse=True)[:_NEWS]


def _coverage(table: Table, lines: Sequence[Line], place: int) -> dict[str, Any]:
    """Return how many configurations a task has, by what became of them, and its best."""
    states = [line.cells[place].state for line in lines]
    done = [row for row in table.rows if row["value"] is not None]
    return {
        "table": table,
        "measured": states.count(""),
        "failed": sum(state not in {"", "missing"} for state in states),
        "missing": states.count("missing"),
        "best": done[0] if done else None,
        "newest": max(row["created"] for row in table.rows),
    }
