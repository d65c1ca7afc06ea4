"""What is true of a task's validation and test rows, in one small file: results are verified where its data are not.

``splits/<task>[@<protocol>].<data>.masked`` is a Parquet file (zstd) of the validation rows and then the test rows:
``fold``, ``id``, ``target``, and of the test rows ``group`` and ``subset:…``. No text, no pixel and no other column is
in it; groups are numbered, so that a patient's number stays in the data. <data> begins the data's fingerprint: what is
true of a sample never passes for what is true of the original. The bytes are masked as the sealed test targets are,
and no model opens this folder (``benchmarks/worker.py``).
"""

from __future__ import annotations

import glob
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import folds
from .core import FOLDS, Fold, Task, TaskCard
from .fetch import only_looking
from .layout import PUBLIC, SealedTest, load_ids, load_training, mask, target_column, targets_in
from .prepare import Prepared, check_requirements, prepare
from .support.errors import UnavailableError, UserError
from .support.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".masked"
_ABOUT = b"zoobench"
_SUBSET = "subset:"
_DIGITS = 12


@dataclass(frozen=True)
class Truth:
    """All that scoring needs of a task, and nothing that a model is given but ids and targets of the validation rows.

    Attributes
    ----------
    name
        ``task@protocol``; without ``@``, the honest protocol.
    fingerprint, split_sha256, rows
        As `Prepared` has them: of the data, of the folds, and the number of rows in each fold.
    validation
        (n,) ids, an object array of strings; (n, labels) uint8 or (n,) int64 targets.
    test
        The test rows; the numbers of their groups are ranks among them, from 0.
    """

    name: str
    fingerprint: str
    split_sha256: str
    rows: Mapping[Fold, int]
    validation: tuple[np.ndarray, np.ndarray]
    test: SealedTest

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))
        columns = (*self.validation, self.test.ids, self.test.targets, self.test.groups, *self.test.subsets.values())
        counts = [self.rows.get("validation")] * 2 + [self.rows.get("test")] * (len(columns) - 2)
        if set(self.rows) != set(FOLDS) or list(map(len, columns)) != counts:
            raise ValueError(f"{self.name}: its columns and the rows of its folds differ")
        if self.validation[1].shape[1:] != self.test.targets.shape[1:]:
            raise ValueError(f"{self.name}: validation and test targets are of other labels")

    @classmethod
    def of(cls, prepared: Prepared) -> Truth:
        """Return what is true of a prepared task."""
        public, test = prepared.folder / PUBLIC, prepared.sealed_test()
        # In the order of the groups' own numbers: the bootstrap numbers clusters so, and draws the same.
        groups = np.unique(test.groups, return_inverse=True)[1]
        return cls(
            f"{prepared.task}@{prepared.protocol}" if prepared.protocol else prepared.task,
            prepared.fingerprint,
            prepared.split_sha256,
            prepared.rows,
            (load_ids(public, "validation"), load_training(public, "validation")[1]),
            SealedTest(test.ids, groups, test.targets, test.subsets),
        )

    @property
    def ids(self) -> dict[Fold, np.ndarray]:
        """The (n,) ids of the validation and test rows."""
        return {"validation": self.validation[0], "test": self.test.ids}

    @property
    def targets(self) -> dict[Fold, np.ndarray]:
        """The targets of the validation and test rows."""
        return {"validation": self.validation[1], "test": self.test.targets}

    def fits(self, card: TaskCard) -> bool:
        """Return whether targets are of a card's kind and number of labels."""
        shape, labels = self.test.targets.shape, len(card.labels)
        if card.kind == "multilabel":
            return shape[1:] == (labels,)
        return len(shape) == 1 and all(each.max(initial=0) < labels for each in self.targets.values())

    def parts(self) -> dict[str, Any]:
        """Return all that it says as plain values, by what people call them."""
        found: dict[str, Any] = {"SHA-256 of the folds": self.split_sha256, "rows": dict(self.rows)}
        for fold in self.ids:
            found[f"ids of the {fold} rows"] = self.ids[fold].astype(str).tolist()
            found[f"targets of the {fold} rows"] = self.targets[fold].tolist()
        found["groups of the test rows"] = self.test.groups.tolist()
        return found | {f"test part {name}": rows.tolist() for name, rows in self.test.subsets.items()}


def truth_of(task: Task, protocol: str = "") -> Truth:
    """Prepare a task and return what is true of it, to be committed.

    Raises
    ------
    UserError, UnavailableError
        As `prepare` does; UserError too if the card knows the published data, and these are others.
    """
    prepared = prepare(task, protocol)
    truth, published = Truth.of(prepared), task.card.protocols[protocol].fingerprint
    if published and truth.fingerprint != published:
        raise UserError(
            f"{truth.name} here is other data than the published ones (fingerprint {truth.fingerprint[:_DIGITS]}…, not "
            f"{published[:_DIGITS]}…): the targets of a part or of another edition are not written under its name"
        )
    return truth


def data_here(task: Task) -> bool:
    """Return whether the raw files of a task are on this machine; nothing is downloaded to find out."""
    try:
        check_requirements(task)
        with only_looking():
            return all(path.exists() for path in task.sources())
    except (UserError, UnavailableError):
        return False


def write_truth(truth: Truth, folder: Path) -> Path:
    """Write the file of a task into `folder`, atomically and the same bytes each time, and return its path."""
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(_table(truth), content, compression="zstd", compression_level=19)
    path = folder / f"{truth.name}.{truth.fingerprint[:_DIGITS]}{SUFFIX}"
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(mask(content.getvalue()))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): name a folder of yours with --out") from error
    return path


def read_truth(path: Path) -> Truth:
    """Return what the file at `path` holds.

    Raises
    ------
    UserError
        If it is damaged, or stands under the name of another task or other data.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(mask(path.read_bytes()))).read(use_threads=False)
        truth = _truth(table)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
        raise UserError(f"{path} is no whole file of ids and targets: restore it, or reinstall zoobench") from error
    if path.name != f"{truth.name}.{truth.fingerprint[:_DIGITS]}{SUFFIX}":
        raise UserError(
            f"{path} holds {truth.name} of the data {truth.fingerprint[:_DIGITS]}: restore it, or reinstall zoobench"
        )
    return truth


def shipped(name: str) -> list[Truth]:
    """Return what zoobench ships of the task `name@protocol`: of the published data, of a sample, or of both."""
    return [read_truth(path) for path in sorted(folds.SPLITS.glob(f"{glob.escape(name)}.*{SUFFIX}"))]


def find_shipped(name: str, fingerprint: str, split_sha256: str) -> Truth | None:
    """Return what zoobench ships of a task, by its data and folds; None where it ships none."""
    path = folds.SPLITS / f"{name}.{fingerprint[:_DIGITS]}{SUFFIX}"
    truth = read_truth(path) if path.is_file() else None
    return truth if truth and (truth.fingerprint, truth.split_sha256) == (fingerprint, split_sha256) else None


def _table(truth: Truth) -> pa.Table:
    import pyarrow as pa

    (ids, targets), test = truth.validation, truth.test
    groups = np.concatenate([np.zeros(len(ids), np.int32), test.groups.astype(np.int32)])
    columns = {
        "fold": pa.array(["validation"] * len(ids) + ["test"] * len(test.ids)),
        "id": pa.array([*ids.astype(str).tolist(), *test.ids.astype(str).tolist()]),
        "target": target_column(np.concatenate([targets, test.targets])),
        "group": pa.array(groups),
    }
    for name, rows in sorted(test.subsets.items()):
        columns[_SUBSET + name] = pa.array(np.concatenate([np.zeros(len(ids), bool), rows]))
    about = {name: getattr(truth, name) for name in ("name", "fingerprint", "split_sha256")}
    told = json.dumps({**about, "rows": {fold: truth.rows[fold] for fold in FOLDS}})
    return pa.table(columns).replace_schema_metadata({_ABOUT: told})


def _truth(table: pa.Table) -> Truth:
    about = json.loads((table.schema.metadata or {})[_ABOUT])
    first = int(about["rows"]["validation"])
    if table["fold"].to_pylist() != ["validation"] * first + ["test"] * (len(table) - first):
        raise ValueError("its rows are not those of the validation fold and then those of the test fold")
    validation, test = table.slice(0, first), table.slice(first)
    subsets = {
        name.removeprefix(_SUBSET): test[name].to_numpy() for name in table.column_names if name.startswith(_SUBSET)
    }
    sealed = SealedTest(test["id"].to_numpy(), test["group"].to_numpy().astype(np.int64), targets_in(test), subsets)
    return Truth(**about, validation=(validation["id"].to_numpy(), targets_in(validation)), test=sealed)
