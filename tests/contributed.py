"""A copy of a results folder, and ways to tamper with one record of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from zoobench.benchmarks.cell import record_key
from zoobench.benchmarks.store import PROBABILITIES, read_record
from zoobench.benchmarks.verify import _fit_key
from zoobench.datasets.support.files import sha256_file


@dataclass
class Contributed:
    """A copy of the folder, and one record of it to tamper with."""

    root: Path
    path: Path

    @property
    def values(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @property
    def attempt(self) -> Path:
        return self.path.parent / self.values["attempt"]

    def write(self, values: dict[str, Any]) -> None:
        self.path.write_text(json.dumps(values))

    def edit(self, place: str, change: Callable[[Any], Any]) -> None:
        """Change what the record says at a place such as ``test/global/values/f1_micro``."""
        values = self.values
        *way, last = place.split("/")
        inner: Any = values
        for name in way:
            inner = inner[int(name) if isinstance(inner, list) else name]
        at: Any = int(last) if isinstance(inner, list) else last
        inner[at] = change(inner[at])
        self.write(values)

    def rehash(self) -> None:
        """List the files as they are now, as somebody would who knows how records are made."""
        values = self.values
        values["files"] = {name: sha256_file(self.attempt / name) for name in values["files"]}
        self.write(values)

    def rekey(self) -> None:
        """Make the keys follow from the record again, and move it to its new place."""
        values = self.values
        values["fit_key"] = _fit_key(read_record(self.path))
        values["key"] = record_key(values["fit_key"], values["hardware_class"])
        self.write(values)
        self.path = self.path.parent.rename(self.path.parent.with_name(values["key"])) / self.path.name

    def table(self, change: Callable[[dict[str, Any]], Any], name: str = PROBABILITIES) -> None:
        """Change the columns of a Parquet file, and list its new hash."""
        path = self.attempt / name
        columns = {each: column.to_numpy().copy() for each, column in columns_of(path)}
        pq.write_table(pa.table(change(columns) or columns), path)
        self.rehash()


def columns_of(path: Path) -> list[tuple[str, Any]]:
    table = pq.read_table(path)
    return [(name, table[name]) for name in table.column_names]


def half(values: dict[str, Any], label: str = "p:fever") -> None:
    values[label][-5:] = 1 - values[label][-5:]


def first_to_last(values: dict[str, Any]) -> dict[str, Any]:
    return {name: np.concatenate([column[:-1], column[:1]]) for name, column in values.items()}


def other_id(values: dict[str, Any]) -> None:
    values["id"][-1] = "r-from-elsewhere"


def swap_ids(values: dict[str, Any]) -> None:
    values["id"][-2:] = values["id"][-2:][::-1]


def set_to(value: float) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        values["p:nodule"][-1] = value

    return change


def train_row(values: dict[str, Any]) -> dict[str, Any]:
    more = {"fold": "train", "id": "r0"}
    return {name: np.append(column, more.get(name, np.float32(0.5))) for name, column in values.items()}
