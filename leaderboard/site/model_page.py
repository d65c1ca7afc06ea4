"""A page for each model: what it scored on each task, its diagrams, its configuration, and how to make it again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from jinja2.utils import htmlsafe_json_dumps

from ...benchmarks.metrics import METRICS
from ...benchmarks.predict import best_of
from ...benchmarks.record import ENSEMBLES
from ...benchmarks.store import Stored, read_record
from ..cards import card_of_task
from ..index import index_folder
from ..tables import Row
from .core import Page, Site, Table, model_path
from .evidence import Evidence, Missing
from .model_parts import POLICY_METRICS, Part
from .names import file_name
from .wording import say

FIGURES = "figures"
"""The folder of the index that holds what was computed of each model's cells."""


def paths(site: Site) -> Iterable[str]:
    """Return the paths of all models' pages."""
    return [model_path(model) for model in site.models]


def pages(site: Site, wanted: Collection[str]) -> Iterator[Page]:
    """Yield the page of each model that is wanted."""
    for model, rows in site.models.items():
        if model_path(model) not in wanted:
            continue
        evidence = Evidence(index_folder(site.results) / FIGURES / f"{file_name(model)}.json", site.truths)
        parts = [part for table in site.newest if (part := _part(site, table, model, evidence))]
        evidence.save()
        yield _page(site, model, rows, parts)


def read_stored(site: Site, row: Row) -> list[Stored]:
    """Return the records of a row; one that is gone by now is left out."""
    found: list[Stored] = []
    for name in row["records"].split(";"):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found.append(Stored(read_record(site.results / name), site.results / name))
    return found


def best_stored(cells: Sequence[Stored]) -> Stored:
    """Return the cell that `zoobench confidence` would take, the best on validation; else the newest one."""
    done = [stored for stored in cells if stored.record.status == "ok"]
    scored = [stored for stored in done if stored.record.policy in stored.record.validation]
    return best_of(scored) if scored else max(done or cells, key=lambda stored: stored.record.created)


def _page(site: Site, model: str, rows: Sequence[tuple[Table, Row]], parts: Sequence[Part]) -> Page:
    measured = {table.task for table, _ in rows}
    return Page(
        path=model_path(model),
        template="model.html.jinja",
        title=say("model.title", model=model),
        values={
            "model": model,
            "card": site.cards_of_models.get(model),
            "ensemble": model in ENSEMBLES,
            "metrics": METRICS,
            "rows": rows,
            "parts": parts,
            "anchors": {part.row["task"]: part.anchor for part in parts},
            "missing_tasks": [table for table in site.newest if table.task not in measured],
            "citations": _task_citations(parts),
            "policy_metrics": POLICY_METRICS,
            # Once for all languages: no word of any is in it.
            "drawn": htmlsafe_json_dumps([part.data() for part in parts if part.record.status == "ok"], dumps=_dumps),
        },
        scripts=("confusion.js", "model.js"),
        charts=True,
    )


def _dumps(value: Any, **_: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _task_citations(parts: Sequence[Part]) -> dict[str, str]:
    """Return what to cite for each task whose card is at hand."""
    cards = {part.record.task: card_of_task(part.record.task) for part in parts}
    return {task: card.citation for task, card in cards.items() if card}


def _part(site: Site, table: Table, model: str, evidence: Evidence) -> Part | None:
    """Return what the page tells of a task; None where the model has no record there that can be read."""
    rows = tuple(row for row in table.rows if row["model"] == model)
    found = [(row, stored) for row in rows for stored in read_stored(site, row)]
    if not found:
        return None
    best = best_stored([stored for _, stored in found])
    row = next(row for row, stored in found if stored is best)
    figures = evidence.of(best) if best.record.status == "ok" else Missing("no-probabilities")
    return Part(f"task-{file_name(table.task)}", row, rows, best, figures)
