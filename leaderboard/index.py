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
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..benchmarks.metrics import MAIN_METRICS, METRICS
from ..benchmarks.store import RECORD, RESAMPLES, read_record
from ..benchmarks.thresholds import policies_for
from ..datasets.core import UNSEEN
from ..datasets.support.files import atomic_path, lock, sha256_json
from .words import one_line

if TYPE_CHECKING:
    import pandas as pd

    from ..benchmarks.record import Record

ID_LENGTH = 20
"""Hexadecimal digits of a name made from a hash."""

FORMAT = 7
"""Raised whenever the columns below, or how they are filled, change."""

TABLE = ("task", "data_fingerprint", "split_sha256")
"""Inside one of these figures compare."""

ROW = (*TABLE, "model", "preset", "mode", "settings", "hardware_class", "device", "fraction")
"""What makes a row of the board, or, of a fraction of the training rows, a point of a curve."""

LOCK_SECONDS = 30.0
"""How long to wait for another process that updates the index, before doing the work in memory."""

UNREADABLE = (OSError, ValueError, TypeError, LookupError, OverflowError, pa.ArrowException)
"""What pyarrow may raise on a file of a cache that is damaged, foreign or too large for it."""

_TEXT = (
    *("path", "row", "attempt", "created", "task", "kind", "primary"),
    *("data_fingerprint", "split_sha256", "model", "framework", "preset", "mode", "settings", "setup"),
    *("status", "reason", "policy", "hardware_class", "device", "overlap", "resamples"),
)
_WHOLE = (
    *("mtime_ns", "size", "label_count", "train_rows", "test_rows", "seed", "metric_version"),
    *("parameters", "threads", "beside", "own_policy"),
)
_REAL = (
    *("prepare_s", "features_s", "tune_s", "fit_only_s", "fit_s", "predict_s"),
    *("latency_p50_ms", "latency_p95_ms", "rows_per_second", "memory_gb", "memory_baseline_gb", "memory_gpu_gb"),
    *("unseen", "fraction"),
)

_SAME = (
    *("attempt", "created", "kind", "data_fingerprint", "split_sha256", "model", "framework", "preset", "mode"),
    *("seed", "status", "reason", "metric_version", "parameters", "hardware_class", "device"),
    *("threads", "beside", "overlap", "fraction"),
)
"""Fields of a record that its row has under the same name."""


def low(metric: str) -> str:
    """Return the name of the column with the lower bound of `metric`."""
    return f"{metric}:low"


def high(metric: str) -> str:
    """Return the name of the column with the upper bound of `metric`."""
    return f"{metric}:high"


_LIMIT = 2**63
"""Of every figure of a record, in size: none that was measured is near, and an index of 64-bit integers holds less."""

_BOUNDS = [name for metric in MAIN_METRICS for name in (low(metric), high(metric))]
RECORDS = pa.schema(
    [(name, pa.string()) for name in _TEXT]
    + [(name, pa.int64()) for name in _WHOLE]
    + [(name, pa.float64()) for name in (*_REAL, *METRICS, *_BOUNDS)]
)
INTERVALS = pa.schema(
    [(name, pa.string()) for name in ("row", "best", "metric")] + [("low", pa.float64()), ("high", pa.float64())]
)

_DANGLING = "a link to a file that does not exist"


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


def read_rows(root: Path, policy: str = "") -> Rows:
    """Return the records below `root` as flat rows, reading only files that are new or changed.

    `policy` is that of the scores, for the kind of task that has it; each record's own without it.
    Files that are not whole records of this zoobench are named in `problems`, each time, and left as they are.
    """
    scan = scan_records(root)
    path = index_folder(root) / (f"records-{policy}.parquet" if policy else "records.parquet")
    kept = _still_true(_read_cache(path, RECORDS), scan.stamps)
    if len(kept) == len(scan.stamps):
        return _rows(kept, scan.problems)
    with _writable(path) as writable:
        cached = _read_cache(path, RECORDS)
        kept = _still_true(cached, scan.stamps)
        new, problems = _read_new(root, scan.stamps, set(kept["path"].to_pylist()), policy)
        table = pa.concat_tables([kept, new])
        if writable and (len(new) or len(kept) < len(cached)):
            _write_cache(path, table)
    return _rows(table, [*scan.problems, *problems])


def _rows(table: pa.Table, problems: list[str]) -> Rows:
    """Return the rows in the order of `ROW`; those of one seed from the oldest to the latest."""
    problems = sorted(one_line(problem) for problem in problems)
    order = [(name, "ascending") for name in (*ROW, "seed", "created", "path")]
    return Rows(table.sort_by(order).to_pandas(), problems)


def scan_records(root: Path) -> Scan:
    """Return where the records stand below `root`, without opening any."""
    stamps: dict[str, Stamp] = {}
    problems: list[str] = []
    for task in _folders(root / "cells", problems):
        for model in _folders(task, problems):
            for cell in _folders(model, problems):
                stamp = _stamp(f"{cell.path}/{RECORD}", problems)
                if stamp is not None:
                    stamps[f"cells/{task.name}/{model.name}/{cell.name}/{RECORD}"] = stamp
    return Scan(stamps, problems)


def _stamp(path: str, problems: list[str]) -> Stamp | None:
    """Return the stamp of the file at `path`; None if there is none, which is a problem if something else is."""
    try:
        status = os.stat(path)  # noqa: PTH116 - ten thousand Path objects are slow
    except FileNotFoundError:
        if os.path.islink(path):  # noqa: PTH114 - as above
            problems.append(f"skipped {path}: {_DANGLING}")
        return None
    except OSError as error:
        problems.append(f"skipped {path}: {error.strerror or error}")
        return None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        problems.append(f"skipped {path}: not a file")
        return None
    return Stamp(status.st_mtime_ns, status.st_size)


def _folders(parent: os.DirEntry[str] | Path, problems: list[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(parent) as entries:
            found = list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"skipped {os.fspath(parent)}: {error.strerror or error}")
        return []
    return [entry for entry in found if _is_folder(entry, problems)]


def _is_folder(entry: os.DirEntry[str], problems: list[str]) -> bool:
    try:
        if entry.is_dir():
            return True
        if entry.is_symlink():
            entry.stat()
    except FileNotFoundError:
        problems.append(f"skipped {entry.path}: {_DANGLING}")
    except OSError as error:
        problems.append(f"skipped {entry.path}: {error.strerror or error}")
    else:
        if entry.name.endswith(".json"):
            problems.append(f"skipped {entry.path}: not a record's place (cells/<task>/<model>/<key>/{RECORD})")
    return False


def _still_true(cached: pa.Table, stamps: Mapping[str, Stamp]) -> pa.Table:
    columns = (cached[name].to_pylist() for name in ("path", "mtime_ns", "size"))
    mask = [stamps.get(path) == (mtime_ns, size) for path, mtime_ns, size in zip(*columns, strict=True)]
    return cached if all(mask) else cached.filter(pa.array(mask, pa.bool_()))


def _read_new(root: Path, stamps: Mapping[str, Stamp], known: set[str], policy: str) -> tuple[pa.Table, list[str]]:
    from ..benchmarks.schema import why_unreadable

    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for path, stamp in stamps.items():
        if path in known:
            continue
        try:
            rows.append({**stamp._asdict(), **row_of(read_record(root / path), path, policy)})
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            problems.append(f"skipped {root / path}: {why_unreadable(root / path, error)}")
    return pa.Table.from_pylist(rows, RECORDS), problems


def row_of(record: Record, path: str, policy: str = "") -> dict[str, Any]:
    """Return the flat row of the record at `path` in its folder; ValueError where it cannot stand in a table."""
    row = {"path": path, **flatten(record, policy)}
    _, task, model, key, _ = path.split("/")
    if (task, model, key) != (row["task"], record.model, record.key):
        raise ValueError(f"holds the record of another cell ({row['task']}/{record.model}/{record.key})")
    if record.primary_metric not in METRICS:
        raise ValueError(f"ranks by {record.primary_metric!r}, which this zoobench does not know: upgrade it")
    for name, value in row.items():
        if isinstance(value, (int, float)) and not abs(value) < _LIMIT:
            raise ValueError(f"not a zoobench record (its {name} is out of range)")
    return row


def flatten(record: Record, policy: str = "") -> dict[str, Any]:
    """Return the flat row of a record: its test scores under a policy (see `read_rows`), and what it cost."""
    shown = policy if record.test and policy in policies_for(record.kind) else record.policy
    row = {
        **{name: getattr(record, name) for name in _SAME},
        "task": record.task_name,
        "primary": record.primary_metric,
        "settings": ", ".join(f"{name}={value}" for name, value in sorted(record.settings.items())),
        "setup": sha256_json(record.setup)[:ID_LENGTH],
        "policy": shown,
        "own_policy": int(shown == record.policy),
        "label_count": len(record.labels),
        "resamples": record.files.get(RESAMPLES, ""),
        **{f"{fold}_rows": record.rows.get(fold) for fold in ("train", "test")},
        **_costs(record),
        **_scores(record, shown),
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


def _scores(record: Record, policy: str) -> dict[str, float | None]:
    if record.policy not in record.test:
        return {}
    # What needs no decision is the same under every policy, also where a record is older than the policy.
    own, shown = record.test[record.policy], record.test.get(policy)
    sources = {name: shown if METRICS[name].thresholded else own for name in METRICS}
    found = {name: source.values.get(name) for name, source in sources.items() if source}
    for metric in MAIN_METRICS:
        bounds = source.intervals.get(metric) if (source := sources[metric]) else None
        found[low(metric)], found[high(metric)] = bounds or (None, None)
    if (unseen := record.parts.get(UNSEEN)) and sources[record.primary_metric] is own:
        found["unseen"] = unseen.values.get(record.primary_metric)
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
    except UNREADABLE:
        return schema.empty_table()
    made_by = (table.schema.metadata or {}).get(b"zoobench")
    if made_by != _signature() or not table.schema.equals(schema):
        return schema.empty_table()
    return table.replace_schema_metadata(None)


def _write_cache(path: Path, table: pa.Table) -> None:
    with contextlib.suppress(*UNREADABLE), atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({b"zoobench": _signature()}), temporary)


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[bool]:
    """Hold the lock of the index; yield whether it was had (the folder may be read-only, or its holder stuck)."""
    held = None
    # An OSError is filelock's time-out too; the other says that the file system has no locks.
    with contextlib.suppress(OSError, NotImplementedError):
        held = lock(path.parent / "lock")
        held.acquire(timeout=LOCK_SECONDS)
    try:
        yield held is not None and held.is_locked
    finally:
        if held is not None:
            held.release()
