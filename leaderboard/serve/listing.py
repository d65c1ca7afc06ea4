"""What is stored, as lists that are filtered and come in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cards import model_mapping
from ..frame import COLUMNS
from .refusals import RefusalError

if TYPE_CHECKING:
    import pandas as pd

    from ...datasets.core import TaskCard
    from .catalogue import Catalogue
    from .schema import Part


def task_items(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return the tasks in the form of `schema.TaskItem`: registered ones, and with its protocol what has records."""
    recorded = set(catalogue.board["task"])
    cards = [*catalogue.tasks, *(name for name in sorted(recorded) if _known(catalogue, name) and "@" in name)]
    return [_task(catalogue, name, name in recorded) for name in sorted(cards)]


def _known(catalogue: Catalogue, name: str) -> bool:
    base, _, protocol = name.partition("@")
    return base in catalogue.tasks and protocol in catalogue.tasks[base].protocols


def _task(catalogue: Catalogue, name: str, recorded: bool) -> dict[str, Any]:
    card: TaskCard = catalogue.card_of(name)
    same = ("title", "description", "kind", "modality", "primary_metric", "language", "licence", "source")
    return {
        "name": name,
        **{each: getattr(card, each) for each in same},
        "labels": list(card.labels),
        "protocols": sorted(filter(None, card.protocols)),
        "records": recorded,
        "answering": list(catalogue.answering.get(name, ())),
    }


def model_items(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return the registered models in the form of `schema.ModelItem`."""
    same = ("name", "title", "description", "modality", "framework", "kinds", "default", "citation")
    found = []
    for name, card in catalogue.models.items():
        values = model_mapping(card)
        answers = [task for task, models in catalogue.answering.items() if name in models]
        found.append({each: values[each] for each in same} | {"presets": [*card.presets], "answers": answers})
    return found


def result_items(frame: pd.DataFrame, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows of the board as JSON values, missing ones None; of all columns, or of `fields` alone.

    Raises
    ------
    RefusalError
        If the board has no column of a name in `fields`.
    """
    if strange := [name for name in fields if name not in COLUMNS]:
        raise RefusalError(422, "invalid", f"fields: the board has no column {strange[0][:80]!a}")
    names = list(dict.fromkeys(fields)) or list(frame.columns)
    columns = [frame[name].to_numpy(dtype=object).tolist() for name in names]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bool, int)):
        return value
    if value is None or not isinstance(value, (float, np.generic)):
        return None  # pandas' NA
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and not math.isfinite(number) else number


def part(items: Any, asked: Part, make: Callable[[Any], Any] = list) -> dict[str, Any]:
    """Return a part of a list or frame in the form of `schema.Page`; `make` turns what it holds into items."""
    held = items[asked.offset : asked.offset + asked.limit]
    return {"total": len(items), "offset": asked.offset, "limit": asked.limit, "items": make(held)}


def chosen(items: Sequence[dict[str, Any]], wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items whose fields have the wanted values, or hold them where they are lists."""
    return [item for item in items if all(_is(item[name], value) for name, value in wanted.items())]


def _is(found: Any, wanted: Any) -> bool:
    return wanted in found if isinstance(found, list) else found == wanted
