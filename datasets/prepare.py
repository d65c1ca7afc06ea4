"""Preparation: read a task once, fix its folds, and lay it out so that a worker sees no test label.

A prepared task is a folder in the cache::

    public/train.parquet       id, input, target
    public/validation.parquet  id, input, target
    public/test.parquet        input alone, in an order that tells nothing
    sealed/test.masked         id, group, target of the same rows in the same order: for the parent process
    prepared.json              what it is and what it holds

Its name is a hash of all that could change it (the card, the code that made it, the raw files), so a folder
that is there is right. It appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import core, folds, near
from .core import FOLDS, Examples, Fold, Task, as_mapping
from .support.errors import UnavailableError, UserError, unknown_name
from .support.files import lock, read_json, sha256_file, sha256_json, write_json
from .support.folders import cache_root

if TYPE_CHECKING:
    import pyarrow as pa

_CODE = tuple(Path(str(file)) for file in (__file__, core.__file__, folds.__file__, near.__file__))
_PUBLIC = "public"
_SEALED = Path("sealed") / "test.masked"
_SUMMARY = "prepared.json"
_FILES = (*(Path(_PUBLIC) / f"{fold}.parquet" for fold in FOLDS), _SEALED)


@dataclass(frozen=True)
class SealedTest:
    """The test rows' other half, in the order of `load_test_inputs`; only the parent process opens it.

    Attributes
    ----------
    ids
        (n,) object array of strings.
    groups
        (n,) int64.
    targets
        (n, labels) uint8 for multi-label; (n,) int64 for multi-class.
    """

    ids: np.ndarray
    groups: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Prepared:
    """A prepared task in the cache.

    Attributes
    ----------
    folder
        Holds the layout above; a worker is given ``folder / "public"`` alone.
    task, protocol
        Names; the protocol without a name is the honest default.
    fingerprint
        SHA-256 of all examples (`Examples.fingerprint`).
    split_sha256
        SHA-256 of the canonical fold file, also for folds that were computed.
    rows
        Number of rows in each fold.
    """

    folder: Path
    task: str
    protocol: str
    fingerprint: str
    split_sha256: str
    rows: Mapping[Fold, int]

    def __post_init__(self) -> None:
        if set(self.rows) != set(FOLDS) or min(self.rows.values()) < 1:
            raise ValueError(f"task {self.task}: every fold needs rows, found {dict(self.rows)}")
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))

    def sealed_test(self) -> SealedTest:
        """Return ids, groups and targets of the test rows."""
        content = _mask((self.folder / _SEALED).read_bytes())
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            return SealedTest(kept["id"].astype(object), kept["group"], kept["target"])


def load_training(folder: Path, fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets of the train or validation fold.

    Parameters
    ----------
    folder
        The ``public`` folder of a prepared task.
    fold
        "train" or "validation".

    Returns
    -------
    (n,) object array of strings, and (n, labels) uint8 (multi-label) or (n,) int64 (multi-class).
    """
    if fold not in ("train", "validation"):
        raise ValueError(f"fold {fold!r} has no public targets: ask for 'train' or 'validation'")
    table = _read_table(folder / f"{fold}.parquet")
    return table["input"].to_numpy(), _targets(table)


def load_ids(folder: Path, fold: Fold) -> np.ndarray:
    """Return the (n,) object array of ids of the train or validation fold in a ``public`` folder."""
    return _read_table(folder / f"{fold}.parquet")["id"].to_numpy()


def load_test_inputs(folder: Path) -> np.ndarray:
    """Return the (n,) object array of test inputs in the ``public`` folder of a prepared task."""
    return _read_table(folder / "test.parquet")["input"].to_numpy()


def prepare(task: Task, protocol: str = "") -> Prepared:
    """Return the prepared task, from the cache where it is already there.

    A task whose raw files are known is read only when the card, the code or a file changed. A task without
    raw files, or without a module file, is read each time, and prepared anew when its examples differ.
    Processes that prepare the same task at once take turns: the first works, the others find its result.

    Raises
    ------
    UnavailableError
        If a package that the task is read with is not installed.
    UserError
        If the protocol is unknown, a raw file is missing, the examples do not fit the card, the committed
        folds do not fit the examples, a fold is empty, or the default folds part a group.
    """
    _check_requirements(task)
    if protocol and protocol not in task.card.splits:
        raise unknown_name(f"protocol of {task.card.name}", protocol, filter(None, task.card.splits))
    sources, module = task.sources(), _module_file(task)
    examples = None if sources and module else task.read()
    key = sha256_json(
        {
            "card": as_mapping(task.card),
            "code": [sha256_file(path) for path in (*_CODE, *filter(None, [module]))],
            "sources": [_source_sha256(task, path) for path in sources],
            "examples": "" if examples is None else examples.fingerprint(),
        }
    )
    name = f"{task.card.name}@{protocol}" if protocol else task.card.name
    folder = cache_root() / "tasks" / name / key[:32]
    with _exclusive(folder):
        found = _load(folder)
        if found is None:
            _write(folder, task, protocol, task.read() if examples is None else examples)
            found = _load(folder)
    if found is None:
        raise UserError(f"prepared task {folder} cannot be read back: check the disk, or set ZOOBENCH_CACHE")
    return found


def _check_requirements(task: Task) -> None:
    missing = [name for name in task.card.requires if importlib.util.find_spec(name) is None]
    if missing:
        what = f"zoobench[{task.card.extra}]" if task.card.extra else " ".join(missing)
        raise UnavailableError(f"task {task.card.name} needs {', '.join(missing)}: pip install '{what}'")


def _module_file(task: Task) -> Path | None:
    """Return the file whose text makes the examples; None for a notebook or a prompt."""
    file = getattr(sys.modules.get(task.module), "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def _source_sha256(task: Task, path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise UserError(f"task {task.card.name}: its file {path} cannot be read ({error.strerror})") from error


def _exclusive(folder: Path) -> AbstractContextManager[Any]:
    """Hold the lock of `folder` for a ``with`` block."""
    try:
        return lock(folder.with_suffix(".lock")).acquire()
    except OSError as error:
        raise UserError(
            f"cache folder {folder.parent} cannot be written ({error.strerror}): set ZOOBENCH_CACHE"
        ) from error


def _load(folder: Path) -> Prepared | None:
    """Return what `folder` holds, or None if it is not a whole preparation."""
    try:
        summary = read_json(folder / _SUMMARY)
        names = ("task", "protocol", "fingerprint", "split_sha256", "rows")
        found = Prepared(folder, **{name: summary[name] for name in names})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if all((folder / file).is_file() for file in _FILES) else None


def _write(folder: Path, task: Task, protocol: str, examples: Examples) -> None:
    """Write the preparation beside `folder` and rename it there; the caller holds the lock."""
    for leftover in (*folder.parent.glob(f".{folder.name}.*"), folder):
        shutil.rmtree(leftover, ignore_errors=True)
    _check_examples(task, examples)
    dealt = _folds(task, protocol, examples)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _write_tables(temporary, task, examples, dealt)
        write_json(temporary / _SUMMARY, _summary(task, protocol, examples, dealt))
        for file in _FILES:
            _flush(temporary / file)
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_examples(task: Task, examples: Examples) -> None:
    try:
        examples.check_against(task.card)
    except ValueError as error:
        raise UserError(str(error)) from error
    if task.card.modality == "text":
        for key, value in zip(examples.ids, examples.inputs, strict=True):
            if not isinstance(value, str):
                raise UserError(f"task {task.card.name}: the input of example {key!r} is {value!r}, not a text")


def _folds(task: Task, protocol: str, examples: Examples) -> np.ndarray:
    """Return the (n,) int64 folds: the committed ones where the card names them, computed ones otherwise."""
    card = task.card
    if protocol in card.splits:
        dealt = folds.read_split(folds.split_path(card.name, protocol), card.splits[protocol], examples.ids)
    else:
        dealt = folds.default_folds(examples)
    parted = folds.shared_groups(dealt, examples.groups)
    if parted and not protocol:
        raise UserError(f"task {card.name}: its default folds part {parted} groups ({card.group}): make them anew")
    counts = np.bincount(dealt, minlength=len(FOLDS))
    if not counts.all():
        raise UserError(f"task {card.name}: {len(examples)} examples leave the {FOLDS[counts.argmin()]} fold empty")
    return dealt


def _summary(task: Task, protocol: str, examples: Examples, dealt: np.ndarray) -> dict[str, Any]:
    labels = task.card.labels
    hot = examples.targets if examples.targets.ndim == 2 else np.eye(len(labels), dtype=int)[examples.targets]
    chosen = {fold: dealt == number for number, fold in enumerate(FOLDS)}
    return {
        "task": task.card.name,
        "protocol": protocol,
        "version": task.card.version,
        "fingerprint": examples.fingerprint(),
        "split_sha256": folds.split_sha256(examples.ids, dealt),
        "rows": {fold: int(rows.sum()) for fold, rows in chosen.items()},
        "shared_groups": folds.shared_groups(dealt, examples.groups),
        "labels": list(labels),
        "positives": {
            fold: dict(zip(labels, hot[rows].sum(axis=0).tolist(), strict=True)) for fold, rows in chosen.items()
        },
    }


def _write_tables(folder: Path, task: Task, examples: Examples, dealt: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "id": pa.array(examples.ids.astype(str).tolist(), pa.string()),
            "group": pa.array(examples.groups.astype(np.int64)),
            "input": pa.array(examples.inputs.tolist(), pa.string()),
            "target": _target_column(examples.targets),
        }
    )
    # Shuffled, so that the order of a corpus sorted by class does not give test labels away.
    order = np.random.default_rng(0).permutation(len(examples))
    test = table.take(order[dealt[order] == FOLDS.index("test")])
    for file in _FILES:
        (folder / file).parent.mkdir(exist_ok=True)
    for fold in ("train", "validation"):
        rows = np.flatnonzero(dealt == FOLDS.index(fold))
        pq.write_table(table.take(rows).select(["id", "input", "target"]), folder / _PUBLIC / f"{fold}.parquet")
    pq.write_table(test.select(["input"]), folder / _PUBLIC / "test.parquet")
    content = io.BytesIO()
    np.savez(
        content,
        allow_pickle=False,
        id=np.array(test["id"].to_pylist(), dtype=np.str_),
        group=test["group"].to_numpy(),
        target=_targets(test),
    )
    (folder / _SEALED).write_bytes(_mask(content.getvalue()))


def _mask(content: bytes) -> bytes:
    """Mask, or unmask, bytes: a model that comes by the file without Python's `open` still reads no label.

    It keeps out whoever looks around, not whoever takes this function: that would be fraud, and shows in its source.
    """
    stream = hashlib.shake_256(b"zoobench: test targets").digest(len(content))
    return (np.frombuffer(content, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()


def _target_column(targets: np.ndarray) -> pa.Array:
    import pyarrow as pa

    if targets.ndim == 1:
        return pa.array(targets.astype(np.int64))
    flat = pa.array(np.ascontiguousarray(targets, dtype=np.uint8).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, targets.shape[1])


def _targets(table: pa.Table) -> np.ndarray:
    column = table["target"].combine_chunks()
    width = getattr(column.type, "list_size", 0)
    return column.flatten().to_numpy().reshape(-1, width) if width else column.to_numpy()


def _read_table(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(path, use_threads=False)  # starting threads takes longer than they save


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
