"""Every record of a results folder as one tidy table: a row a record, or a row a figure."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from ..benchmarks.outputs import FIGURE_COLUMNS, figures
from ..benchmarks.schema import why_unreadable
from ..benchmarks.store import RECORD, read_record
from ..datasets.support.files import atomic_path
from ..datasets.support.progress import tracked
from .index import RECORDS, row_of, scan_records

if TYPE_CHECKING:
    from ..benchmarks.record import Record

FORMATS = ("parquet", "csv")
BATCH = 20_000
"""Rows that are in hand at a time."""

_DROPPED = {"path", "mtime_ns", "size", "row", "setup", "own_policy", "created", "framework", "label_count"}
"""Columns of the index that are its own, or stand elsewhere here."""
_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_FIRST = [
    *((name, _TEXT) for name in ("key", "fit_key", "attempt")),
    ("created", pa.timestamp("ms", tz="UTC")),
    *((name, _TEXT) for name in ("task", "protocol", "model", "framework", "preset", "mode")),
]
_LAST = [
    *(("task_version", _WHOLE), ("labels", pa.list_(_TEXT)), ("config", _TEXT), ("source_sha256", _TEXT)),
    *(("validation_rows", _WHOLE), ("temperature", _REAL), ("warmup_s", _REAL), ("wall_s", _REAL)),
    *(("timeout_s", _REAL), ("memory_limit_gb", _REAL), ("hardware", _TEXT), ("software", _TEXT), ("zoobench", _TEXT)),
    *(("revision", _TEXT), ("notes", _TEXT), ("path", _TEXT)),
]
_KNOWN = {name for name, _ in (*_FIRST, *_LAST)} | _DROPPED
WIDE = pa.schema([*_FIRST, *((field.name, field.type) for field in RECORDS if field.name not in _KNOWN), *_LAST])
"""A row a record: test scores under its own policy with their intervals (``METRIC:low``, ``METRIC:high``)."""

_NAMED = ("key", "task", "model", "preset", "mode", "seed", "fraction", "hardware_class")
_NUMBERS = {"seed": _WHOLE, "fraction": _REAL, "value": _REAL, "low": _REAL, "high": _REAL}
LONG = pa.schema([(name, _NUMBERS.get(name, _TEXT)) for name in (*_NAMED, *FIGURE_COLUMNS)])
"""A row a figure: every fold, part of the test fold, policy, label and metric."""


def export(
    root: Path, tasks: Sequence[str], style: str, out: Path | None, write: Callable[[str], None], *, long: bool = False
) -> tuple[int, list[str]]:
    """Write the records of a results folder as Parquet or CSV; return how many, and a line for each that was skipped.

    Parameters
    ----------
    tasks
        Only these (``name@protocol``); all where there is none.
    out
        The file, which is whole or not there; None for CSV that is handed to `write` bit by bit.
    long
        A row a figure in place of a row a record.
    """
    scan = scan_records(root)
    problems = list(scan.problems)
    paths = [path for path in sorted(scan.stamps) if not tasks or path.split("/")[1] in tasks]
    schema = LONG if long else WIDE
    count = 0
    with _sink(schema, style, out, write) as put:
        rows: list[dict[str, Any]] = []
        for path in tracked(paths, len(paths), "exporting records"):
            try:
                rows += _rows(read_record(root / path), path, long)
                count += 1
            except (OSError, ValueError, RecursionError) as error:
                problems.append(f"skipped {root / path}: {why_unreadable(root / path, error)}")
            if len(rows) >= BATCH:
                put(pa.Table.from_pylist(rows, schema))
                rows = []
        put(pa.Table.from_pylist(rows, schema))
    return count, problems


def _rows(record: Record, path: str, long: bool) -> list[dict[str, Any]]:
    flat = row_of(record, path)
    if long:
        named = {name: flat.get(name) for name in _NAMED} | {"key": record.key}
        return [{**named, **{"part": "", "label": ""}, **figure} for figure in figures(record)]
    same = ("key", "fit_key", "protocol", "framework", "task_version", "labels", "source_sha256", "temperature")
    more = ("timeout_s", "memory_limit_gb", "zoobench", "revision")
    told = {name: getattr(record, name) for name in (*same, *more)}
    as_json = {name: _json(getattr(record, name)) for name in ("config", "hardware", "software", "notes")}
    timings = {"warmup_s": record.timings.warmup, "wall_s": record.timings.wall}
    rows = {"validation_rows": record.rows.get("validation")}
    if any(not -(2**63) <= number < 2**63 for number in (record.task_version, rows["validation_rows"] or 0)):
        raise ValueError("not a zoobench record (its rows, or the version of its task, are out of range)")
    return [{**flat, **told, **as_json, **timings, **rows, "created": _time(record.created), "path": path}]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _time(text: str) -> datetime.datetime | None:
    try:
        made = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return made if made.tzinfo else made.replace(tzinfo=datetime.UTC)


@contextlib.contextmanager
def _sink(
    schema: pa.Schema, style: str, out: Path | None, write: Callable[[str], None]
) -> Iterator[Callable[[pa.Table], None]]:
    """Yield what takes tables of one schema, one after another."""
    if style == "parquet" and out is not None:
        with atomic_path(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            yield writer.write_table
    elif out is not None:
        with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            yield _csv(stream.write)
    else:
        yield _csv(write)


def _csv(write: Callable[[str], Any]) -> Callable[[pa.Table], None]:
    """Return what writes tables as CSV: nothing where there is no value, ``""`` for an empty text."""
    headed = False

    def put(table: pa.Table) -> None:
        nonlocal headed
        if "labels" in table.column_names:
            at = table.column_names.index("labels")
            table = table.set_column(at, "labels", pa.array(map(_json, table["labels"].to_pylist()), pa.string()))
        content = io.BytesIO()
        pc.write_csv(table, content, pc.WriteOptions(include_header=not headed))
        headed = True
        write(content.getvalue().decode())

    return put


__all__ = ["FORMATS", "LONG", "RECORD", "WIDE", "export"]
