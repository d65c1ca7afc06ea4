"""An index beside the records, so that a board over thousands of them reads only what changed.

``<results>/.index/`` is a cache and nothing else: it may be deleted at any time, a damaged one is rebuilt, and
where the folder cannot be written the same figures are computed in memory. `records.parquet` holds one flat row
per readable record; `intervals.parquet` holds what was computed from bootstrap resamples, by the identity of
the records that went in.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..benchmarks.metrics import MAIN_METRICS, METRICS
from ..benchmarks.store import RECORD, read_record
from ..datasets.support.files import atomic_path, lock, sha256_json

if TYPE_CHECKING:
    import pandas as pd

    from ..benchmarks.record import Record

ID_LENGTH = 20
"""Hexadecimal digits of a name made from a hash."""

FORMAT = 1
"""Raised whenever the columns below, or how they are filled, change."""

TABLE = ("task", "data_fingerprint", "split_sha256")
"""Inside one of these figures compare."""

ROW = (*TABLE, "model", "preset", "mode", "settings", "hardware_class", "device")
"""What makes a row of the board; records that differ in the seed alone are pooled in one."""

LOCK_SECONDS = 30.0
"""How long to wait for another process that updates the index, before doing the work in memory."""

_TEXT = (
    *("path", "row", "attempt", "created", "task", "kind", "primary"),
    *("data_fingerprint", "split_sha256", "model", "framework", "preset", "mode", "settings"),
    *("status", "reason", "policy", "hardware_class", "device"),
)
_WHOLE = (
    *("mtime_ns", "size", "label_count", "test_rows", "seed", "metric_version"),
    *("parameters", "threads", "beside"),
)
_REAL = (
    *("prepare_s", "features_s", "tune_s", "fit_only_s", "fit_s", "predict_s"),
    *("latency_p50_ms", "latency_p95_ms", "rows_per_second", "memory_gb", "memory_baseline_gb", "memory_gpu_gb"),
)

_SAME = (
    *("attempt", "created", "kind", "data_fingerprint", "split_sha256", "model", "framework", "preset", "mode"),
    *("seed", "status", "reason", "metric_version", "policy", "parameters", "hardware_class", "device"),
    *("threads", "beside"),
)
"""Fields of a record that its row has under the same name."""


def low(metric: str) -> str:
    """Return the name of the column with the lower bound of `metric`."""
    return f"{metric}:low"


def high(metric: str) -> str:
    """Return the name of the column with the upper bound of `metric`."""
    return f"{metric}:high"


_BOUNDS = [name for metric in MAIN_METRICS for name in (low(metric), high(metric))]
RECORDS = pa.schema(
    [(name, pa.string()) for name in _TEXT]
    + [(name, pa.int64()) for name in _WHOLE]
    + [(name, pa.float64()) for name in (*_REAL, *METRICS, *_BOUNDS)]
)
INTERVALS = pa.schema(
    [(name, pa.string()) for name in ("row", "best", "metric")] + [("low", pa.float64()), ("high", pa.float64())]
)


class Stamp(NamedTuple):
    """What tells a file from the one that stood in its place before."""

    mtime_ns: int
    size: int


class Scan(NamedTuple):
    """What a results folder holds: the stamp of each record by its path in the folder, and what does not belong."""

    stamps: dict[str, Stamp]
    problems: list[str]


class Rows(NamedTuple):
    """One flat row per readable record, by path, and one line per file that was skipped."""

    frame: pd.DataFrame
    problems: list[str]


def index_folder(root: Path) -> Path:
    """Return the folder of the index of the results in `root`."""
    return root / ".index"


def read_rows(root: Path) -> Rows:
    """Return the records below `root` as flat rows, reading only files that are new or changed.

    Files that are not whole records of this zoobench are named in `problems`, each time, and left as they are.
    """
    scan = scan_records(root)
    path = index_folder(root) / "records.parquet"
    kept = _still_true(_read_cache(path, RECORDS), scan.stamps)
    if len(kept) == len(scan.stamps):
        return _rows(kept, scan.problems)
    with _writable(path) as writable:
        cached = _read_cache(path, RECORDS)
        kept = _still_true(cached, scan.stamps)
        new, problems = _read_new(root, scan.stamps, set(kept["path"].to_pylist()))
        table = pa.concat_tables([kept, new])
        if writable and (len(new) or len(kept) < len(cached)):
            _write_cache(path, table)
    return _rows(table, [*scan.problems, *problems])


def _rows(table: pa.Table, problems: list[str]) -> Rows:
    """Return the rows in the order of `ROW`; those of one seed from the oldest to the latest."""
    order = [(name, "ascending") for name in (*ROW, "seed", "created", "path")]
    return Rows(table.sort_by(order).to_pandas(), sorted(problems))


def scan_records(root: Path) -> Scan:
    """Return where the records stand below `root`, without opening any."""
    stamps: dict[str, Stamp] = {}
    problems: list[str] = []
    for task in _folders(root / "cells", problems):
        for model in _folders(task, problems):
            for cell in _folders(model, problems):
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(f"{cell.path}/{RECORD}")  # noqa: PTH116 - ten thousand Path objects are slow
                    path = f"cells/{task.name}/{model.name}/{cell.name}/{RECORD}"
                    stamps[path] = Stamp(status.st_mtime_ns, status.st_size)
    return Scan(stamps, problems)


def _folders(parent: os.DirEntry[str] | Path, problems: list[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(parent) as entries:
            found = list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"skipped {os.fspath(parent)}: {error.strerror or error}")
        return []
    problems += [
        f"skipped {entry.path}: not a record's place (cells/<task>/<model>/<key>/{RECORD})"
        for entry in found
        if entry.name.endswith(".json") and not entry.is_dir()
    ]
    return [entry for entry in found if entry.is_dir()]


def _still_true(cached: pa.Table, stamps: Mapping[str, Stamp]) -> pa.Table:
    columns = (cached[name].to_pylist() for name in ("path", "mtime_ns", "size"))
    mask = [stamps.get(path) == (mtime_ns, size) for path, mtime_ns, size in zip(*columns, strict=True)]
    return cached if all(mask) else cached.filter(pa.array(mask, pa.bool_()))


def _read_new(root: Path, stamps: Mapping[str, Stamp], known: set[str]) -> tuple[pa.Table, list[str]]:
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for path, stamp in stamps.items():
        if path in known:
            continue
        try:
            rows.append(_read_row(root, path, stamp))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            problems.append(f"skipped {root / path}: {_why(root / path, error)}")
    return pa.Table.from_pylist(rows, RECORDS), problems


def _read_row(root: Path, path: str, stamp: Stamp) -> dict[str, Any]:
    record = read_record(root / path)
    row = {"path": path, **stamp._asdict(), **flatten(record)}
    _, task, model, key, _ = path.split("/")
    if (task, model, key) != (row["task"], record.model, record.key):
        raise ValueError(f"holds the record of another cell ({row['task']}/{record.model}/{record.key})")
    if record.primary_metric not in METRICS:
        raise ValueError(f"ranks by {record.primary_metric!r}, which this zoobench does not know: upgrade it")
    return row


def _why(path: Path, error: Exception) -> str:
    """Return, in a few words, why the file at `path` is not a record."""
    from pydantic import ValidationError

    from ..benchmarks.record import SCHEMA_VERSION

    if not isinstance(error, ValidationError):
        return str(getattr(error, "strerror", None) or error)
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if text.strip() else None
    except (OSError, ValueError):
        return "not whole JSON (cut short, or another kind of file)"
    if value is None:
        return "empty"
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return f"written by a newer zoobench (schema {version}, this one reads {SCHEMA_VERSION}): upgrade it"
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"not a zoobench record ({where + ': ' if where else ''}{first['msg']})"


def flatten(record: Record) -> dict[str, Any]:
    """Return the flat row of a record: its test scores under its own policy, and what it cost."""
    row = {
        **{name: getattr(record, name) for name in _SAME},
        "task": f"{record.task}@{record.protocol}" if record.protocol else record.task,
        "primary": record.primary_metric,
        "settings": ", ".join(f"{name}={value}" for name, value in sorted(record.settings.items())),
        "label_count": len(record.labels),
        "test_rows": record.rows.get("test"),
        **_costs(record),
        **_scores(record),
    }
    return row | {"row": sha256_json([row[name] for name in ROW])[:ID_LENGTH]}


def _costs(record: Record) -> dict[str, float | None]:
    if record.speed is None or record.memory is None:
        return {}
    timings, speed, memory = record.timings, record.speed, record.memory
    return {
        "prepare_s": timings.prepare,
        "features_s": timings.features,
        "tune_s": timings.tune,
        "fit_only_s": timings.fit,
        "fit_s": timings.total,
        "predict_s": timings.predict,
        **speed.model_dump(),
        "memory_gb": memory.added_gb,
        "memory_baseline_gb": memory.baseline_gb,
        "memory_gpu_gb": memory.gpu_gb,
    }


def _scores(record: Record) -> dict[str, float | None]:
    if record.policy not in record.test:
        return {}
    evaluation = record.test[record.policy]
    found = {name: value for name, value in evaluation.values.items() if name in METRICS}
    for metric in MAIN_METRICS:
        found[low(metric)], found[high(metric)] = evaluation.intervals.get(metric) or (None, None)
    return found


class IntervalCache:
    """Intervals computed from resamples: of a row (`best` is empty), or of the difference ``best - row``.

    Rows are named by the identity of their records, so that nothing outlives a record that was replaced.
    """

    def __init__(self, root: Path, metrics: Iterable[str]) -> None:
        self._path = index_folder(root) / "intervals.parquet"
        self._kept = _read_cache(self._path, INTERVALS)
        wanted = self._kept.filter(pc.field("metric").isin(sorted(set(metrics))))
        columns = [wanted[name].to_pylist() for name in INTERVALS.names]
        self._known = {(row, best, metric): (lo, hi) for row, best, metric, lo, hi in zip(*columns, strict=True)}
        self._new: dict[tuple[str, str, str], tuple[float, float]] = {}

    def get(self, row: str, best: str, metric: str) -> tuple[float, float] | None:
        """Return a known interval; NaN bounds say that the resamples have no answer."""
        return self._known.get((row, best, metric))

    def add(self, row: str, best: str, metric: str, interval: tuple[float, float]) -> None:
        """Remember an interval."""
        self._known[row, best, metric] = self._new[row, best, metric] = interval

    def save(self, living: Iterable[str]) -> None:
        """Write what was added; intervals of rows that are not in `living` are dropped. Does nothing without news."""
        if not self._new:
            return
        rows = [*living, ""]
        with _writable(self._path) as writable:
            if not writable:
                return
            kept = _read_cache(self._path, INTERVALS)
            alive = pc.field("row").isin(rows) & pc.field("best").isin(rows)
            news = [dict(zip(INTERVALS.names, (*key, *value), strict=True)) for key, value in self._new.items()]
            _write_cache(self._path, pa.concat_tables([kept.filter(alive), pa.Table.from_pylist(news, INTERVALS)]))


def _signature() -> bytes:
    return json.dumps([FORMAT, list(METRICS), list(MAIN_METRICS)]).encode()


def _read_cache(path: Path, schema: pa.Schema) -> pa.Table:
    """Return a cached table, or an empty one where the file is missing, damaged, or of another make."""
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, ValueError):  # pyarrow's errors are of these kinds
        return schema.empty_table()
    made_by = (table.schema.metadata or {}).get(b"zoobench")
    if made_by != _signature() or not table.schema.equals(schema):
        return schema.empty_table()
    return table.replace_schema_metadata(None)


def _write_cache(path: Path, table: pa.Table) -> None:
    with contextlib.suppress(OSError), atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({b"zoobench": _signature()}), temporary)


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[bool]:
    """Hold the lock of the index; yield whether it was had (the folder may be read-only, or its holder stuck)."""
    held = None
    with contextlib.suppress(OSError):  # filelock's own time-out is a TimeoutError, which is one too
        held = lock(path.parent / "lock")
        held.acquire(timeout=LOCK_SECONDS)
    try:
        yield held is not None and held.is_locked
    finally:
        if held is not None:
            held.release()
