"""The rows that a stored cell answered: its probabilities beside the targets of the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..datasets.core import Fold, Task
from ..datasets.layout import load_ids, load_training
from ..datasets.prepare import prepare
from ..datasets.support.errors import UserError
from ..datasets.support.files import sha256_file
from .store import PROBABILITIES, Stored

STORED: tuple[Fold, ...] = ("validation", "test")
"""The folds whose probabilities are kept."""


@dataclass(frozen=True)
class Answered:
    """What a cell answered of one fold: (n,) ids, (n, labels) float32 probabilities."""

    ids: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Rows(Answered):
    """The same with what is true: (n, labels) uint8 for multi-label, (n,) int64 for multi-class."""

    targets: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.probabilities) == len(self.targets):
            raise ValueError("ids, probabilities and targets are not of the same rows")


def read_answers(stored: Stored) -> Mapping[Fold, Answered]:
    """Return the stored probabilities of a cell that is ``ok``, by fold.

    Raises
    ------
    UserError
        If the file is missing, damaged, or not the one that the record was made with.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    record, path = stored.record, stored.attempt / PROBABILITIES
    mend = f"run `zoobench run --task {_name(stored)} --model {record.model} --fresh`"
    if not path.is_file():
        raise UserError(f"{path} is missing: {mend}")
    try:
        if record.files.get(PROBABILITIES, digest := sha256_file(path)) != digest:
            raise UserError(f"{path} is damaged, it is not the file that its record was made with: {mend}")
        table = pq.read_table(path)
        fold, ids = table["fold"].to_numpy(), table["id"].to_numpy()
        columns = [table[f"p:{label}"].to_numpy() for label in record.labels]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{path} is no Parquet file with the columns of its record: {mend}") from error
    found = np.column_stack(columns)
    return {name: Answered(ids[fold == name], found[fold == name]) for name in STORED}


def read_rows(stored: Stored, task: Task, on_prepare: Callable[[str], None]) -> Mapping[Fold, Rows]:
    """Return what a cell answered of the validation and the test fold, with the targets, by fold.

    Parameters
    ----------
    task
        The task of the record; it is prepared where it is not yet.
    on_prepare
        Called with the task's name before that.

    Raises
    ------
    UserError
        As `read_answers` does; and if the task's data, folds or labels on this machine are not those of the record.
    UnavailableError
        If the task cannot be read here.
    """
    answers = read_answers(stored)
    record, name = stored.record, _name(stored)
    on_prepare(name)
    prepared = prepare(task, record.protocol)
    for what, ours, theirs in (
        ("data", prepared.fingerprint, record.data_fingerprint),
        ("folds", prepared.split_sha256, record.split_sha256),
        ("labels", ", ".join(task.card.under(record.protocol).labels), ", ".join(record.labels)),
    ):
        if ours != theirs:
            raise UserError(
                f"the {what} of {name} on this machine ({ours[:12]}…) are not those of the record ({theirs[:12]}…): "
                f"run `zoobench run --task {name} --model {record.model}` on them"
            )
    public, test = prepared.folder / "public", prepared.sealed_test()
    truths = {
        "validation": (load_ids(public, "validation"), load_training(public, "validation")[1]),
        "test": (test.ids, test.targets),
    }
    return {fold: _joined(name, answers[fold], *truths[fold]) for fold in STORED}


def _joined(name: str, answered: Answered, ids: np.ndarray, targets: np.ndarray) -> Rows:
    if not np.array_equal(answered.ids.astype(str), ids.astype(str)):
        raise UserError(f"the stored probabilities of {name} are of other rows than its folds have: run the cell again")
    return Rows(answered.ids, answered.probabilities, targets)


def _name(stored: Stored) -> str:
    record = stored.record
    return f"{record.task}@{record.protocol}" if record.protocol else record.task
