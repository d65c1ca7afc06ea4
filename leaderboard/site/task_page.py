"""A task's page: its table, what quality costs, learning curves, and what is known of its data."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...benchmarks.metrics import METRICS
from ...datasets.support.errors import UserError
from ..cards import card_of_task, leak_notes
from ..tables import Row
from .compare_page import path_of as compare_path
from .core import Page, Site, Table
from .names import file_name
from .recommend_form import form
from .task_columns import cells, columns_of
from .wording import say

if TYPE_CHECKING:
    from ..curves import Curve

COSTS = ("latency_p50_ms", "fit_s", "memory_gb", "parameters")
"""What quality can be drawn against."""
_WIDTH, _EDGE = 120, 5  # pixels of a drawn interval, and of its ends
_DIGITS = 6  # significant ones of figures that charts are drawn from


@dataclass(frozen=True)
class Drawn:
    """An interval as a small picture: its path, where the score lies in it, and that of the best, a guide.

    `at` is None of a score that lies beyond the scale.
    """

    line: str
    at: float | None
    guide: float


def paths(site: Site) -> Iterable[str]:
    """Return the path of every table's page."""
    return [table.path for table in site.tables]


def pages(site: Site, wanted: Collection[str]) -> Iterator[Page]:
    """Yield the page of each table that is wanted."""
    for table in site.tables:
        if table.path in wanted:
            yield _page(site, table, _curves(site, table))


def _page(site: Site, table: Table, curves: Sequence[Curve]) -> Page:
    columns = columns_of(table)
    drawn = intervals(table.done)
    first = table.rows[0]
    card = card_of_task(table.task)
    figures = _curve_figures(curves) if curves else {}
    return Page(
        path=table.path,
        template="task.html.jinja",
        title=table.title,
        values={
            "table": table,
            "card": card,
            "card_file": card_file(site, table),
            "protocol": card.protocols.get(table.task.partition("@")[2]) if card else None,
            "metric": METRICS[first["ranked_by"]],
            "columns": columns,
            "lines": [(row, drawn.get(row["id"]), cells(row, columns)) for row in table.done],
            "unfinished": [row for row in table.rows if row["reason"]],
            "leaks": leak_notes([table.task]),
            "overlaps": [row["full"] for row in table.done if row["overlap"]],
            "curves": curve_rows(curves),
            "others": [each for each in site.tables if each.task == table.task and each is not table],
            "compare_path": compare_path(table),
        },
        data={
            "metric": METRICS[first["ranked_by"]].title,
            "costs": COSTS,
            **_points(table),
            "recommend": form(site, table),
        },
        scripts=("task.js", "recommend.js", "recommend_form.js"),
        figures=figures,
        charts=True,
    )


def card_file(site: Site, table: Table) -> str:
    """Return the file name of a task's data card among those that the site was given; "" where there is none."""
    name = f"{table.task}.html"
    held = site.cards is not None and "/" not in name and (site.cards / name).is_file()
    return f"cards/{file_name(table.task)}.html" if held else ""


def intervals(rows: Sequence[Row]) -> dict[str, Drawn]:
    """Return the drawn interval of each row (best first) that has one.

    The scale is that of the better half of them, so that a floor of dummies leaves the others apart; what lies beyond
    it is an arrow at its end.
    """
    held = [row for row in rows if row["low"] is not None and row["value"] is not None]
    if not held:
        return {}
    half = held[: max(2, (len(held) + 1) // 2)]
    low = min(min(row["low"], row["value"]) for row in half)
    high = max(max(row["high"], row["value"]) for row in half)

    def place(value: float) -> float:
        return round(_EDGE + (_WIDTH - 2 * _EDGE) * (value - low) / ((high - low) or 1.0), 1)

    guide = place(held[0]["value"])
    return {row["id"]: _drawn(place(row["low"]), place(row["value"]), place(row["high"]), guide) for row in held}


def _drawn(low: float, at: float, high: float, guide: float) -> Drawn:
    if at < _EDGE:
        return Drawn("M9 3L4 7L9 11", None, guide)
    if at > _WIDTH - _EDGE:
        return Drawn(f"M{_WIDTH - 9} 3L{_WIDTH - 4} 7L{_WIDTH - 9} 11", None, guide)
    return Drawn(f"M{max(low, 0):g} 7H{min(high, _WIDTH):g}", at, guide)


def _points(table: Table) -> dict[str, Any]:
    """Return what the chart of quality against cost is drawn from: a list a row, names apart."""
    names = ("value", "low", "high", *COSTS)
    rows = [row for row in table.done if row["value"] is not None]
    groups = sorted({row["framework"] for row in rows})
    return {
        "places": list(table.hardware),
        "frameworks": groups,
        "fields": ["id", "name", "place", "framework", *names],
        "rows": [
            [
                row["id"],
                row["name"],
                table.hardware.index(row["place"]),
                groups.index(row["framework"]),
                *(_short(row[name]) for name in names),
            ]
            for row in rows
        ],
        "higher": bool(METRICS[table.rows[0]["ranked_by"]].higher_is_better),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _curves(site: Site, table: Table) -> list[Curve]:
    """Return the learning curves of a table; none where no part of its training rows was measured."""
    from .. import index
    from ..curves import load_curves

    if table.task not in site.thinned:
        return []
    try:
        found = load_curves(site.results, table.task).curves
    except UserError:  # nothing of it finished
        return []
    first = table.rows[0]
    mine = tuple(first[name] for name in ("task", "fingerprint", "split"))
    return [curve for curve in found if tuple(curve.card[name] for name in index.TABLE) == mine]


def _curve_figures(curves: Sequence[Curve]) -> dict[str, Any]:
    """Return the figures of scores and seconds, with axes and hover texts in the reader's words."""
    from ..curves_page import drawings

    found = {}
    for name, (_, _, figure) in drawings(curves).items():
        drawn: dict[str, Any] = json.loads(figure.to_json() or "{}")
        layout = drawn["layout"]
        for dropped in ("template", "font", "margin"):
            layout.pop(dropped, None)
        layout["xaxis"]["title"]["text"] = say("curves.rows")
        layout["yaxis"]["title"]["text"] = (
            METRICS[curves[0].card["metric"]].title if name == "scores" else say("curves.seconds")
        )
        for trace in drawn["data"]:
            if "hovertemplate" in trace:
                trace["hovertemplate"] = say(f"curves.hover_{name}", name=trace["name"])
        found[f"curves-{name}"] = drawn
    return found


def curve_rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return a row a measured point and a row an extrapolated one, as the tidy frame of curves has them."""
    from ..curves import Curves
    from ..curves_tables import as_frame, names
    from ..tables import rows_of

    if not curves:
        return []
    named = zip(curves, names(curves), strict=True)
    return [{**row, "name": name} for curve, name in named for row in rows_of(as_frame(Curves((curve,), (), 0)))]
