"""The results of the five original systems, as `originals.toml` has them, and what of zoobench answers to each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..benchmarks.metrics import METRICS

ORIGINALS = Path(__file__).with_name("originals.toml")

OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "label:precision": "Precision",
        "label:recall": "Recall",
        "label:f1": "F1",
        "label:specificity": "Specificity",
        "sure:positives": "Positives above 0.8",
        "sure:negatives": "Negatives below 0.2",
        "sure:missed": "Positives surely missed, rows",
        "brier_of_label": "Brier score",
        "fit_s": "Seconds",
    }
)
"""What is measured beside `METRICS`, and titles: by label, of the row's label."""
TRAINING = "train:"
COUNTS = frozenset({"fit_s", "sure:missed"})
"""Measures of other hardware or of other rows: both are shown, and no difference."""


@dataclass(frozen=True)
class Reading:
    """What a published number is held against: a measure on a task (``name@protocol``)."""

    task: str
    measure: str

    def __post_init__(self) -> None:
        if self.measure.removeprefix(TRAINING) not in METRICS and self.measure not in OTHERS:
            raise ValueError(f"{self.measure!r} is no measure")

    @property
    def title(self) -> str:
        """What people call the measure."""
        metric = self.measure.removeprefix(TRAINING)
        title = OTHERS.get(metric) or METRICS[metric].title
        return f"{title}, training" if metric != self.measure else title


@dataclass(frozen=True)
class Entry:
    """A line of an original's table.

    Attributes
    ----------
    model
        NAME or NAME@PRESET: the original's.
    stands_in
        What is shown in its place where that has no figure; empty for nothing.
    settings
        What differs from the preset.
    values
        One for each column of the table, with the digits of the original.
    label
        Of measures by label.
    """

    name: str
    model: str
    values: tuple[Decimal, ...]
    stands_in: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        if not self.values or not all(value.is_finite() for value in self.values):
            raise ValueError(f"{self.name}: its values are no finite numbers")
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))


@dataclass(frozen=True)
class Original:
    """A table of an original system; each of its columns is held against one reading or several."""

    system: int
    title: str
    where: str
    task: str
    policy: str
    differs: str
    columns: tuple[tuple[Reading, ...], ...]
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if wrong := [each.name for each in self.entries if len(each.values) != len(self.columns)]:
            raise ValueError(f"{self.title}: {wrong[0]} has not a value for each of {len(self.columns)} columns")
        by_label = {column[0].measure for column in self.columns} & (set(OTHERS) - {"fit_s"})
        if by_label and not all(each.label for each in self.entries):
            raise ValueError(f"{self.title}: {sorted(by_label)} are measured by label")


@dataclass(frozen=True)
class LeftOut:
    """Numbers of a system that stand in no table, and why."""

    system: int
    what: str


@lru_cache
def originals() -> tuple[tuple[Original, ...], tuple[LeftOut, ...]]:
    """Return every table of the originals, and what is left out of them."""
    found = tomllib.loads(ORIGINALS.read_text(encoding="utf-8"), parse_float=Decimal)
    tables = tuple(_original(table) for table in found["table"])
    return tables, tuple(LeftOut(**each) for each in found["left_out"])


def _original(table: Mapping[str, Any]) -> Original:
    entries = tuple(
        Entry(**{**row, "values": tuple(map(Decimal, row["values"])), "settings": _words(row.get("settings", {}))})
        for row in table["rows"]
    )
    columns = tuple(_column(each, table["task"]) for each in table["columns"])
    facts = {name: table[name] for name in ("system", "title", "where", "task", "policy", "differs")}
    return Original(**facts, columns=columns, entries=entries)


def _words(settings: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in settings.items()}


def _column(column: str | Mapping[str, Sequence[Mapping[str, str]]], task: str) -> tuple[Reading, ...]:
    if isinstance(column, str):
        return (Reading(task, column),)
    return tuple(Reading(each.get("task", task), each["measure"]) for each in column["readings"])
