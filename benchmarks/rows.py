"""The rows that a stored cell answered: its probabilities, read back, beside the targets of the task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.core import Fold, Kind, Task
from ..datasets.prepare import prepare
from ..datasets.support.errors import UserError
from ..datasets.support.files import sha256_file
from ..datasets.truth import Truth, data_here, find_shipped
from .scoring import refuse
from .store import PROBABILITIES, Stored

if TYPE_CHECKING:
    from .record import Record

_log = logging.getLogger(__name__)
STORED: tuple[Fold, ...] = ("validation", "test")
"""The folds whose probabilities are kept."""


@dataclass(frozen=True)
class Answered:
    """What a cell answered of one fold: (n,) ids, (n, labels) float32 probabilities."""

    ids: np.ndarray
    probabilities: np.ndarray

    def in_order(self, ids: np.ndarray) -> np.ndarray | None:
        """Return the (n, labels) probabilities of the rows `ids`, in their order; None if these are not its rows."""
        ours, wanted = self.ids.astype(str), ids.astype(str)
        if np.array_equal(ours, wanted):
            return self.probabilities
        by_ours, by_wanted = np.argsort(ours, kind="stable"), np.argsort(wanted, kind="stable")
        if not np.array_equal(ours[by_ours], wanted[by_wanted]) or len(np.unique(ours)) != len(ours):
            return None
        order = np.empty(len(wanted), dtype=np.int64)
        order[by_wanted] = by_ours
        return self.probabilities[order]


@dataclass(frozen=True)
class Rows(Answered):
    """The same with what is true: (n, labels) uint8 for multi-label, (n,) int64 for multi-class."""

    targets: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.probabilities) == len(self.targets):
            raise ValueError("ids, probabilities and targets are not of the same rows")


def read_file(path: Path, kind: Kind, labels: Sequence[str], sha256: str, mend: str) -> Mapping[Fold, Answered]:
    """Return the probabilities in a file that the harness wrote, by fold.

    Parameters
    ----------
    sha256
        Of the file as it was recorded; not checked where empty.
    mend
        What to do where it cannot be read, for people.

    Raises
    ------
    UserError
        If the file is missing, not the one that was recorded, or holds what are no probabilities of these labels.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if sha256 and sha256_file(path) != sha256:
            raise UserError(f"{path} is not the file that was recorded: {mend}")
        table = pq.ParquetFile(path).read(use_threads=False)
        if table.column_names != ["fold", "id", *(f"p:{label}" for label in labels)]:
            raise UserError(f"{path} has other columns than fold, id and its {len(labels)} labels: {mend}")
        fold, ids = (np.asarray(table[name].to_pylist(), dtype=str) for name in ("fold", "id"))
        both = np.column_stack([table[f"p:{label}"].to_numpy().astype(np.float32) for label in labels])
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {mend}") from None
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no whole file of probabilities"
        raise UserError(f"{path} cannot be read: {reason}: {mend}") from error
    found: dict[Fold, Answered] = {name: Answered(ids[fold == name], both[fold == name]) for name in STORED}
    for name, part in found.items():
        if not len(part.ids):
            raise UserError(f"{path} has no {name} rows: {mend}")
        if reason := refuse(kind, part.probabilities, len(part.ids), len(labels)):
            raise UserError(f"{path}: {reason.removeprefix('predict_proba ')} ({name} fold): {mend}")
    return found


def read_answers(stored: Stored) -> Mapping[Fold, Answered]:
    """Return the stored probabilities of a cell that is ``ok``, by fold; raises as `read_file` does."""
    record, path = stored.record, stored.attempt / PROBABILITIES
    return read_file(path, record.kind, record.labels, record.files.get(PROBABILITIES, ""), again(record))


def truth_as(task: Task, record: Record) -> Truth:
    """Return what is true of the rows that a record was scored on: by the task's data, else as zoobench ships it.

    Raises
    ------
    UserError, UnavailableError
        If the task's data are not on this machine and cannot be had, or are others than the record's, and zoobench does
        not ship what is true of these.
    """
    name, card = record.task_name, task.card.under(record.protocol)
    kept = find_shipped(name, record.data_fingerprint, record.split_sha256)
    kept = kept if kept and kept.fits(card) else None
    truth = kept if kept and not data_here(task) else Truth.of(prepare(task, record.protocol))
    if kept and (truth is kept or truth.fingerprint != kept.fingerprint):
        _log.warning("%s: the data of its records are not here: taken are the targets that zoobench ships", name)
        truth = kept
    for what, here, there in (
        ("data", truth.fingerprint, record.data_fingerprint),
        ("folds", truth.split_sha256, record.split_sha256),
        ("labels", list(card.labels), record.labels),
    ):
        if here != there:
            told = "" if what == "labels" else f" ({there[:8]}…, here {here[:8]}…)"
            raise UserError(
                f"the records of {name} are of other {what} than this machine has{told}: `zoobench run --task {name}` "
                f"measures on these, or set ZOOBENCH_DATA to those"
            )
    return truth


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
    UserError, UnavailableError
        As `read_answers` and `truth_as` do.
    """
    answers = read_answers(stored)
    on_prepare(stored.record.task_name)
    return beside(stored, answers, truth_as(task, stored.record))


def beside(stored: Stored, answers: Mapping[Fold, Answered], truth: Truth) -> Mapping[Fold, Rows]:
    """Return answers beside what is true, by fold; UserError where they are of other rows."""
    targets = truth.targets
    return {fold: Rows(ids, rows_of(stored, answers[fold], ids), targets[fold]) for fold, ids in truth.ids.items()}


def rows_of(stored: Stored, answered: Answered, ids: np.ndarray) -> np.ndarray:
    """Return the (n, labels) probabilities of the rows `ids`; UserError if the cell answered others."""
    found = answered.in_order(ids)
    if found is None:
        record = stored.record
        raise UserError(
            f"{stored.attempt / PROBABILITIES} holds other rows than the folds of {record.task_name}: {again(record)}"
        )
    return found


def again(record: Record) -> str:
    """Return the command that makes a record anew."""
    model = f"{record.model}@{record.preset}" if record.preset else record.model
    return f"`zoobench run --task {record.task_name} --model {model} --seed {record.seed} --fresh` makes it anew"
