"""What stands below a board: settings that need not be read in every row, and protocols that leak."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
_WAY = re.compile(r"=/(?:(?!, \w+=).)*/(?=[^/]+/[^/]+?(?:, \w+=|$))")
SHARED = "shared settings"
"""Of a row: those that tell it from no other, in words; they are not in its ``settings`` any more."""


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a board with only those settings that tell one from another, local paths shortened.

    Left out is what two rows or more of a task have, all those of their models, and none has otherwise.
    """
    tables: dict[str, list[Row]] = {}
    for row in rows:
        tables.setdefault(row["task"], []).append(row)
    shared = {task: _shared(mine) for task, mine in tables.items()}
    return [_without(row, shared[row["task"]]) for row in rows]


def _without(row: Row, shared: frozenset[str]) -> Row:
    left = [each for each in _settings(row) if each not in shared]
    return {**row, "settings": _shortened(left), SHARED: _shortened(sorted(shared))}


def _shortened(settings: Sequence[str]) -> str:
    return without_ways(", ".join(settings))


def without_ways(settings: str) -> str:
    """Return settings with the end of the path of a local folder: the whole would push the others out of sight."""
    return _WAY.sub("=.../", settings)


def _settings(row: Row) -> list[str]:
    return row["settings"].split(", ") if row["settings"] else []


def _shared(rows: Sequence[Row]) -> frozenset[str]:
    rows = [row for row in rows if row.get("mode") != "ensemble"]  # theirs say what they are made of
    models = Counter(row["model"] for row in rows)
    holding: dict[str, Counter[str]] = {}
    for row in rows:
        for each in _settings(row):
            holding.setdefault(each, Counter())[row["model"]] += 1
    values = Counter(each.partition("=")[0] for each in holding)
    return frozenset(
        each
        for each, held in holding.items()
        if held.total() > 1
        and values[each.partition("=")[0]] == 1
        and all(held[model] == models[model] for model in held)
    )


def table_notes(rows: Sequence[Row]) -> list[str]:
    """Return a line for the settings that rows of a task share, and for each leak that a protocol declares."""
    from .cards import leak_notes

    sharing: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.get(SHARED):
            sharing.setdefault(row[SHARED], {})[row["task"]] = None
    lines = [f"{', '.join(tasks)}: all with {words}, where a model has that" for words, tasks in sharing.items()]
    return lines + leak_notes(row["task"] for row in rows)
