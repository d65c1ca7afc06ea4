"""Two to five configurations side by side: what the page needs to compute any pair's difference by itself."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...benchmarks.metrics import MAIN_METRICS, METRICS
from ...benchmarks.paired import metric_names
from ..tables import Row
from .core import Page, Site, Table
from .wording import say

_LIST = "compare.html"
MOST = 5
"""Configurations that are compared at once."""

BUDGET = 640_000
"""Characters that the replicates of a page may take: the whole page stays below 1 MB."""

COSTS = ("fit_s", "predict_s", "latency_p50_ms", "latency_p95_ms", "rows_per_second", "memory_gb", "parameters")
_TOP = 2**16 - 2
_UNDEFINED = 2**16 - 1


def path_of(table: Table) -> str:
    """Return where the comparisons of a table stand below the folder of a language."""
    return f"compare/{table.path.partition('/')[2]}"


def paths(site: Site) -> Iterable[str]:
    """Return the path of the list of tasks, and of every table with two finished rows."""
    return [_LIST, *(path_of(table) for table in _comparable(site))]


def _comparable(site: Site) -> list[Table]:
    return [table for table in site.tables if len(_scored(table)) > 1]


def _scored(table: Table) -> list[Row]:
    return [row for row in table.done if row["value"] is not None]


def pages(site: Site, wanted: Collection[str]) -> Iterator[Page]:
    """Yield what is wanted of the list of tasks and the pages of tables with two finished rows."""
    tables = _comparable(site)
    if _LIST in wanted:
        yield Page(
            path=_LIST,
            template="compare_list.html.jinja",
            title=say("compare.title"),
            section="compare",
            values={"tables": [(table, path_of(table), len(_scored(table))) for table in tables]},
        )
    for table in tables:
        if path_of(table) in wanted:
            yield _page(site, table)


def _page(site: Site, table: Table) -> Page:
    scored = _scored(table)
    held = [site.shelf.all_of(row["records"]) for row in scored]
    metrics, rows = fitting(table, held)
    shown = [name for name in METRICS if any(row[name] is not None for row in scored)]
    return Page(
        path=path_of(table),
        template="compare.html.jinja",
        title=say("compare.title_of", task=table.title),
        section="compare",
        values={
            "table": table,
            "left_out": [row["full"] for row in scored[rows:]],
            "without": [METRICS[name].title for name in main_metrics(table) if name not in metrics],
            "silent": [row["full"] for row, each in zip(scored[:rows], held, strict=False) if each is None],
            "most": MOST,
        },
        data={
            "rows": [_row(row, each, shown, metrics) for row, each in zip(scored[:rows], held, strict=False)],
            "metrics": [
                {"name": name, "title": METRICS[name].title, "higher": METRICS[name].higher_is_better}
                for name in [
                    table.rows[0]["ranked_by"],
                    *(name for name in shown if name != table.rows[0]["ranked_by"]),
                ]
            ],
            "paired": metrics,
            "costs": [{"name": name, "title": say(f"column.{name}")} for name in COSTS],
            "most": MOST,
        },
        scripts=("compare.js",),
        charts=True,
    )


def main_metrics(table: Table) -> list[str]:
    """Return the metrics that have resamples and say who is better, the one that ranks first."""
    first = table.rows[0]
    names = [name for name in MAIN_METRICS if name in metric_names(first["kind"])]
    return sorted(names, key=lambda name: name != first["ranked_by"])


def fitting(table: Table, held: Sequence[dict[str, np.ndarray] | None]) -> tuple[list[str], int]:
    """Return the metrics whose replicates fit on a page, and of how many rows, best first.

    The metric that ranks comes first, and is there for as many rows as fit; others only where all rows fit.
    """
    lengths = [len(next(iter(each.values()))) for each in held if each]
    if not lengths:
        return [], len(held)
    cost = _characters(max(lengths))
    rows = min(len(held), BUDGET // cost)
    defined = [
        name
        for name in main_metrics(table)
        if any(each is not None and name in each and not np.isnan(each[name]).all() for each in held)
    ]
    return defined[: max(1, BUDGET // (cost * rows))], rows


def _characters(resamples: int) -> int:
    return 4 * (-(-2 * resamples // 3))


def _row(row: Row, held: dict[str, np.ndarray] | None, shown: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    figures = {name: row[name] for name in (*shown, *COSTS) if row[name] is not None}
    return {
        "id": row["id"],
        "name": row["full"],
        "place": row["place"],
        "seeds": row["seeds"],
        "figures": {name: float(f"{value:.7g}") for name, value in figures.items()},
        "drawn": {name: packed(held[name]) for name in metrics if held and name in held},
    }


def packed(replicates: np.ndarray) -> dict[str, Any]:
    """Return replicates (resamples,) for the page: 16-bit steps from `low`, little-endian, in base 64.

    The last step, 65535, is a replicate that leaves the metric undefined. Half a step is lost at most: 1/131068 of
    what the replicates of a row span.
    """
    defined = replicates[~np.isnan(replicates)]
    low, high = (float(defined.min()), float(defined.max())) if len(defined) else (0.0, 0.0)
    step = (high - low) / _TOP
    steps = np.full(len(replicates), _UNDEFINED, dtype="<u2")
    steps[~np.isnan(replicates)] = np.round((defined - low) / step) if step else 0
    return {"low": low, "step": step, "steps": base64.b64encode(steps.tobytes()).decode()}
