"""The columns of a task's table: what each is called, how it is written, filtered and chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...benchmarks.metrics import METRICS
from ..frame import METRIC_COLUMNS
from ..tables import USUAL_METRICS, Row
from .core import Table
from .wording import Say, say


@dataclass(frozen=True)
class Column:
    """A column beside rank, name and score.

    Attributes
    ----------
    key
        That of the frame (``leaderboard/README.md``).
    digits
        Decimals of a number; None writes three digits or so.
    filter
        ``choice``, ``most``, ``least`` or none.
    """

    key: str
    title: Say | str
    group: str
    number: bool = True
    digits: int | None = None
    filter: str = ""
    shown: bool = False
    first: str = ""
    about: Say | str = ""


_COSTS = (
    *("fit_s", "features_s", "tune_s", "fit_only_s", "prepare_s", "predict_s"),
    *("latency_p50_ms", "latency_p95_ms", "rows_per_second"),
    *("memory_gb", "memory_baseline_gb", "memory_gpu_gb", "parameters"),
)
_LIMITED = ("fit_s", "latency_p50_ms", "memory_gb", "parameters")
_CHOICES = ("framework", "preset", "mode", "place")
_RUN = (*_CHOICES, "seeds", "policy", "threads", "beside", "overlap", "created", "superseded")
_USUAL = ("fit_s", "latency_p50_ms", "memory_gb")
_IF_SEVERAL = ("place", "seeds")
_NOTHING = (None, "", 0)


def columns_of(table: Table) -> list[Column]:
    """Return the columns that some finished row of a table fills: metrics, then costs, then how it was run."""
    ranked_by, kind = table.rows[0]["ranked_by"], table.rows[0]["kind"]
    held = {name: {row[name] for row in table.done} for name in (*METRIC_COLUMNS, "unseen", *_COSTS, *_RUN)}
    shown = {*USUAL_METRICS[kind], *_USUAL, *(name for name in _IF_SEVERAL if len(held[name]) > 1)}
    shown |= {"beside"} if any(held["beside"]) else set()  # these seconds are longer than they need be
    metrics = [_metric(name, name in shown) for name in METRIC_COLUMNS if name != ranked_by]
    unseen = Column("unseen", say("column.unseen"), "metrics", digits=3, about=say("column.unseen.about"))
    costs = [_cost(name, name in shown) for name in _COSTS]
    run = [_run(name, name in shown) for name in _RUN]
    every = [*metrics, unseen, *costs, *run]
    # A metric of 0 is a figure; no tuning, and 0 other cells at the same time, are none to tell of.
    return [each for each in every if held[each.key] - set((None,) if each.group == "metrics" else _NOTHING)]


def _metric(name: str, shown: bool) -> Column:
    metric = METRICS[name]
    up = metric.higher_is_better
    about = "" if up is None else say("metric.higher" if up else "metric.lower")
    first = "ascending" if up is False else "descending"
    return Column(name, metric.title, "metrics", digits=3, shown=shown, first=first, about=about)


def _cost(name: str, shown: bool) -> Column:
    digits = 0 if name == "parameters" else None
    first = "descending" if name == "rows_per_second" else "ascending"
    limit = "most" if name in _LIMITED else ""
    return Column(name, say(f"column.{name}"), "costs", digits=digits, filter=limit, shown=shown, first=first)


def _run(name: str, shown: bool) -> Column:
    number = name in {"threads", "beside", "superseded"}
    choice = "choice" if name in _CHOICES else ""
    return Column(name, say(f"column.{name}"), "run", number=number, digits=0, filter=choice, shown=shown)


def cells(row: Row, columns: Sequence[Column]) -> list[Any]:
    """Return the raw values of a row; None where there is none."""
    return [_value(row, column) for column in columns]


def _value(row: Row, column: Column) -> Any:
    value = row[column.key]
    if isinstance(value, float):
        return float(f"{value:.7g}")  # as exact as it is measured; all digits would double the page
    if column.key == "preset":
        return value or "default"
    if column.key == "created":
        return value[:16].replace("T", " ")
    return None if value == "" else value
