"""The groups of the training rows of a prepared task.

A prepared task keeps the groups of its test rows alone. These are read from the task once more, when somebody asks
for them first, and kept in the cache beside it: so no prepared task had to be made anew for them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from .core import Task
from .layout import PUBLIC, load_ids
from .prepare import Prepared
from .support.errors import UserError
from .support.files import atomic_path, lock, sha256_json
from .support.folders import cache_root


def train_groups(task: Task, prepared: Prepared) -> np.ndarray:
    """Return the (n,) int64 groups of the training rows, in the order of `layout.load_training`.

    Raises
    ------
    UserError
        If the task reads other examples now than when it was prepared.
    """
    name = f"{prepared.task}@{prepared.protocol}" if prepared.protocol else prepared.task
    key = sha256_json([name, prepared.fingerprint, prepared.split_sha256])[:20]
    path = cache_root() / "groups" / f"{name}-{key}.npy"
    with lock(path.with_suffix(".lock")):
        kept = _kept(path, prepared.rows["train"])
        return _read(task, prepared, path) if kept is None else kept


def _kept(path: Path, rows: int) -> np.ndarray | None:
    with contextlib.suppress(OSError, ValueError, EOFError):
        found = np.load(path, allow_pickle=False)
        if found.shape == (rows,) and found.dtype == np.int64:
            return found
    return None


def _read(task: Task, prepared: Prepared, path: Path) -> np.ndarray:
    examples = task.read(prepared.protocol)
    if examples.fingerprint() != prepared.fingerprint:
        raise UserError(f"task {prepared.task} reads other examples than it was prepared from: run again")
    group = dict(zip(examples.ids.astype(str).tolist(), examples.groups.tolist(), strict=True))
    ids = load_ids(prepared.folder / PUBLIC, "train")
    found = np.array([group[key] for key in ids.astype(str)], dtype=np.int64)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, found, allow_pickle=False)
    return found
