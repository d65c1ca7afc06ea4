"""Preparation: read a task once, fix its folds, and lay it out so that a worker sees no test label.

A prepared task is a folder in the cache: the files of ``layout.py``, and ``prepared.json``, which says what it is
and what it holds. Its name is a hash of all that could change it (the card, the code that made it, the raw files),
so a folder that is there is right. It appears whole or not at all.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from . import folds
from .core import FOLDS, Examples, Fold, Task, TaskCard, as_mapping
from .layout import FILES, SealedTest, read_sealed, write_layout
from .support.errors import UnavailableError, UserError
from .support.files import lock, read_json, sha256_file, sha256_json, write_json
from .support.folders import cache_root
from .support.source import code_fingerprint

_SUMMARY = "prepared.json"
_ROOM = "zoobench.datasets"
# Hashing forty gigabytes of images would take longer than preparing them.
_HASHED_BYTES = 200_000_000


@dataclass(frozen=True)
class Prepared:
    """A prepared task in the cache.

    Attributes
    ----------
    folder
        Holds the layout; a worker is given ``folder / "public"`` alone.
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
        """Return ids, groups, targets and subsets of the test rows."""
        return read_sealed(self.folder)


def prepare(task: Task, protocol: str = "") -> Prepared:
    """Return the prepared task, from the cache where it is already there.

    A task whose raw files are known is read only when the card, the code or a file changed. A task without
    raw files, or without a module file, is read each time, and prepared anew when its examples differ.
    Processes that prepare the same task at once take turns: the first works, the others find its result.

    Raises
    ------
    UnavailableError
        If a package that the task is read with is not installed, or a raw file cannot be had.
    UserError
        If the protocol is unknown, a raw file is missing or broken, the examples do not fit the card, a fold is
        empty, or an honest protocol parts a group.
    """
    check_requirements(task)
    card = task.card.under(protocol)
    sources, module = task.sources(), _module_of(task)
    examples = None if sources and module else task.read(protocol)
    key = sha256_json(
        {
            "card": as_mapping(card),
            "code": [code_fingerprint(name, _ROOM) for name in (__name__, *([module] if module else []))],
            "sources": [_state(task, path) for path in sources],
            "examples": "" if examples is None else _made_up(examples),
        }
    )
    name = f"{card.name}@{protocol}" if protocol else card.name
    folder = cache_root() / "tasks" / name / key[:32]
    with _exclusive(folder):
        found = _load(folder)
        if found is None:
            _write(folder, task, protocol, task.read(protocol) if examples is None else examples)
            found = _load(folder)
    if found is None:
        raise UserError(f"prepared task {folder} cannot be read back: check the disk, or set ZOOBENCH_CACHE")
    if (published := card.protocols[protocol].fingerprint) and found.fingerprint != published:
        logging.getLogger(__name__).warning(
            "%s: these are other data than the published ones (fingerprint %s…, not %s…): their scores stand apart",
            name,
            found.fingerprint[:12],
            published[:12],
        )
    return found


def find_prepared(name: str, fingerprint: str, split_sha256: str) -> Prepared | None:
    """Return a task that the cache holds already, by its data and folds; nothing is downloaded, read or made.

    Parameters
    ----------
    name
        With its protocol, as ``name@protocol``; it need not be registered.
    """
    folder = cache_root() / "tasks" / name
    try:
        places = sorted(folder.iterdir())
    except OSError:
        return None
    found = (_load(place) for place in places if not place.name.startswith("."))
    fits = (each for each in found if each and (each.fingerprint, each.split_sha256) == (fingerprint, split_sha256))
    return next(fits, None)


def deal(task: Task, protocol: str, examples: Examples) -> np.ndarray:
    """Return the (n,) int64 folds of `examples`, -1 for a row that is left out.

    They are the committed ones where there is a file and the data are those that it was made for, the reader's
    own where it deals (`Examples.folds`), and computed ones otherwise.

    Raises
    ------
    UserError
        If the published data come out in other folds than the card pins.
    """
    card, pinned = task.card.under(protocol), task.card.protocols[protocol]
    path = folds.split_path(card.name, protocol)
    published = pinned.fingerprint == examples.fingerprint()
    if published and path.exists():
        dealt = folds.read_split(path, pinned.split, examples.ids)
    else:
        dealt = folds.default_folds(examples) if examples.folds is None else examples.folds
    if published and pinned.split != folds.split_sha256(examples.ids, dealt):
        raise UserError(
            f"{_name(card, protocol)}: its folds came out otherwise than published: install the versions that made them"
        )
    return dealt


def _check_folds(card: TaskCard, protocol: str, examples: Examples, dealt: np.ndarray) -> None:
    kept = dealt >= 0
    parted = folds.shared_groups(dealt[kept], examples.groups[kept])
    if parted and "group" not in card.protocols[protocol].leaks:
        raise UserError(f"{_name(card, protocol)}: its folds part {parted} groups ({card.group}): make them anew")
    _, inputs = np.unique(examples.contents()[kept].astype(object), return_inverse=True)
    twins = folds.shared_groups(dealt[kept], inputs)
    if twins and "exact" not in card.protocols[protocol].leaks:
        raise UserError(
            f"{_name(card, protocol)}: {twins} inputs stand in more than one fold: group them, or declare the leak and "
            f"why (`zoobench data audit` lists them)"
        )
    counts = np.bincount(dealt[kept], minlength=len(FOLDS))
    if not counts.all():
        name, empty = _name(card, protocol), FOLDS[counts.argmin()]
        raise UserError(f"{name}: {kept.sum()} examples leave the {empty} fold empty")


def _name(card: TaskCard, protocol: str) -> str:
    return f"task {card.name}@{protocol}" if protocol else f"task {card.name}"


def check_requirements(task: Task) -> None:
    """Refuse a task whose packages are not installed, with the command that installs them."""
    missing = [name for name in task.card.requires if importlib.util.find_spec(name) is None]
    if missing:
        what = f"zoobench[{task.card.extra}]" if task.card.extra else " ".join(missing)
        raise UnavailableError(f"task {task.card.name} needs {', '.join(missing)}: pip install '{what}'")


def _module_of(task: Task) -> str:
    """Return the module whose file makes the examples; "" for a notebook or a prompt."""
    file = getattr(sys.modules.get(task.module), "__file__", None)
    return task.module if file and Path(file).is_file() else ""


def _made_up(examples: Examples) -> list[Any]:
    """Return what examples are known by that come from no file: all that the reader says of them."""
    dealt = None if examples.folds is None else examples.folds.tolist()
    subsets = {name: sha256_json(mask.tolist()) for name, mask in examples.subsets.items()}
    return [examples.fingerprint(), sha256_json(dealt), subsets, sorted(examples.columns)]


def _state(task: Task, path: Path) -> Any:
    """Return what tells whether a raw file changed: its content, or of a folder and a huge file the outside."""
    try:
        if path.is_dir():
            files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
            return sorted([file.relative_to(path).as_posix(), *_outside(file.stat())] for file in files)
        status = path.stat()
        return sha256_file(path) if status.st_size <= _HASHED_BYTES else [path.name, *_outside(status)]
    except OSError as error:
        raise UserError(f"task {task.card.name}: its file {path} cannot be read ({error.strerror})") from error


def _outside(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns]


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
        files = [Path(file) for file in summary["files"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if all((folder / file).is_file() for file in (*FILES, *files)) else None


def _write(folder: Path, task: Task, protocol: str, examples: Examples) -> None:
    """Write the preparation beside `folder` and rename it there; the caller holds the lock."""
    for leftover in (*folder.parent.glob(f".{folder.name}.*"), folder):
        shutil.rmtree(leftover, ignore_errors=True)
    card = task.card.under(protocol)
    _check_examples(card, examples)
    dealt = deal(task, protocol, examples)
    _check_folds(card, protocol, examples, dealt)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        write_layout(temporary, card.tabular, examples, dealt)
        written = sorted(path for path in temporary.rglob("*") if path.is_file())
        files = [path.relative_to(temporary).as_posix() for path in written]
        write_json(temporary / _SUMMARY, {**_summary(card, protocol, examples, dealt), "files": files})
        for path in written:
            _flush(path)
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_examples(card: TaskCard, examples: Examples) -> None:
    try:
        examples.check_against(card)
    except ValueError as error:
        raise UserError(str(error)) from error
    texts = {name: values for name, values in examples.columns.items() if values.dtype == object}
    if card.modality == "text":
        texts["input"] = examples.inputs
    for name, values in texts.items():
        for key, value in zip(examples.ids, values, strict=True):
            if not isinstance(value, str):
                raise UserError(f"task {card.name}: the {name} of example {key!r} is {value!r}, not a text")
            if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise UserError(f"task {card.name}: the {name} of example {key!r} holds half a character (a surrogate)")


def _summary(card: TaskCard, protocol: str, examples: Examples, dealt: np.ndarray) -> dict[str, Any]:
    labels = card.labels
    hot = examples.targets if examples.targets.ndim == 2 else np.eye(len(labels), dtype=int)[examples.targets]
    chosen = {fold: dealt == number for number, fold in enumerate(FOLDS)}
    kept = dealt >= 0
    return {
        "task": card.name,
        "protocol": protocol,
        "version": card.version,
        "fingerprint": examples.fingerprint(),
        "split_sha256": folds.split_sha256(examples.ids, dealt),
        "rows": {fold: int(rows.sum()) for fold, rows in chosen.items()},
        "left_out": int((~kept).sum()),
        "shared_groups": folds.shared_groups(dealt[kept], examples.groups[kept]),
        "labels": list(labels),
        "positives": {
            fold: dict(zip(labels, hot[rows].sum(axis=0).tolist(), strict=True)) for fold, rows in chosen.items()
        },
    }


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
