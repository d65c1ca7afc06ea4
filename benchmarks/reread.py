"""What stored cells answered on the test fold, read back beside what is true there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.core import Kind, Task
from ..datasets.layout import SealedTest
from ..datasets.prepare import prepare
from ..datasets.support.errors import UserError
from .bootstrap import ResampleWeights, bootstrap
from .hardware import cores
from .metrics import score
from .scoring import refuse
from .store import PROBABILITIES, Stored
from .thresholds import Thresholds, apply_thresholds

if TYPE_CHECKING:
    from .record import Record

MOST_THREADS = 8  # each holds the rankings of a model and a block of weights: up to a few 100 MB
AGREEMENT = 1e-6  # between a stored score and that of the stored float32 probabilities


@dataclass(frozen=True)
class Measured:
    """A cell on the test fold: metrics, their resamples (resamples,), and which rows are fully right (rows,) bool."""

    values: Mapping[str, float | None]
    resamples: Mapping[str, np.ndarray]
    right: np.ndarray


@dataclass(frozen=True)
class Answers:
    """Test probabilities (rows, labels) and predictions of a cell, shaped as in `metrics.score`."""

    probabilities: np.ndarray
    predictions: np.ndarray


def sealed_rows(task: Task, record: Record) -> SealedTest:
    """Return the test rows, with their targets, of the task that a record was scored on.

    Raises
    ------
    UserError, UnavailableError
        If the task's data are not on this machine and cannot be had, or are others than the record's.
    """
    name = named(record)
    prepared = prepare(task, record.protocol)
    for what, here, there in (
        ("data", prepared.fingerprint, record.data_fingerprint),
        ("folds", prepared.split_sha256, record.split_sha256),
        ("labels", list(task.card.under(record.protocol).labels), record.labels),
    ):
        if here != there:
            told = "" if what == "labels" else f" ({there[:8]}…, here {here[:8]}…)"
            raise UserError(
                f"the records of {name} are of other {what} than this machine has{told}: `zoobench run --task {name}` "
                f"measures on these, or set ZOOBENCH_DATA to those"
            )
    return prepared.sealed_test()


def named(record: Record) -> str:
    """Return the task of a record with its protocol, as the command line takes it."""
    return f"{record.task}@{record.protocol}" if record.protocol else record.task


def read_answers(stored: Stored, ids: np.ndarray, policy: str) -> Answers:
    """Return what a cell answered on the test rows `ids` (rows,), in their order, decided as on its validation fold.

    Raises
    ------
    UserError
        If its probabilities are gone, damaged or of other rows, or it is older than the policy.
    """
    record = stored.record
    if policy not in record.test:
        raise UserError(f"{_words(stored)} is older than the policy {policy}: {_again(record)}")
    found = _probabilities(stored, ids)
    thresholds = Thresholds(policy, tuple(record.test[policy].thresholds))
    return Answers(found, apply_thresholds(thresholds, record.kind, found))


def _probabilities(stored: Stored, ids: np.ndarray) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    record, path = stored.record, stored.attempt / PROBABILITIES
    columns = [f"p:{label}" for label in record.labels]
    try:
        table = pq.ParquetFile(path).read(columns=["fold", "id", *columns]).filter(pc.field("fold") == "test")
        found = np.column_stack([table[name].to_numpy() for name in columns]).astype(np.float32)
        place = {key: number for number, key in enumerate(table["id"].to_pylist())}
    except FileNotFoundError as error:
        raise UserError(f"{_words(stored)} has no {PROBABILITIES} any more: {_again(record)}") from error
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read back: {_again(record)}") from error
    if len(place) != len(found) or set(place) != {str(key) for key in ids}:
        raise UserError(f"{path} holds other rows than the test fold of {named(record)}: {_again(record)}")
    ordered = found[[place[str(key)] for key in ids]]
    if reason := refuse(record.kind, ordered, len(ids), len(columns)):
        raise UserError(f"{path}: {reason.removeprefix('predict_proba ')}: {_again(record)}")
    return ordered


def _words(stored: Stored) -> str:
    record = stored.record
    return f"record {record.key[:8]} ({record.model}, seed {record.seed})"


def _again(record: Record) -> str:
    model = f"{record.model}@{record.preset}" if record.preset else record.model
    return f"`zoobench run --task {named(record)} --model {model} --seed {record.seed} --fresh` makes it anew"


def measure(
    kind: Kind, targets: np.ndarray, answers: Answers, weights: ResampleWeights, metrics: Sequence[str]
) -> Measured:
    """Score answers and resample the scores; shapes as in `metrics.score`."""
    found = (kind, targets, answers.probabilities, answers.predictions)
    right = targets == answers.predictions
    return Measured(
        score(*found).values, bootstrap(*found, weights, metrics), right if right.ndim == 1 else right.all(axis=1)
    )


def measure_stored(
    stored: Stored, test: SealedTest, policy: str, weights: ResampleWeights, metrics: Sequence[str]
) -> Measured:
    """Read a cell's answers back and measure them; what its record claims must come out again (UserError)."""
    record = stored.record
    answers = read_answers(stored, test.ids, policy)
    found = measure(record.kind, test.targets, answers, weights, metrics)
    claimed, seen = record.test[policy].values[record.primary_metric], found.values[record.primary_metric]
    if claimed != seen if claimed is None or seen is None else abs(claimed - seen) > AGREEMENT:
        raise UserError(
            f"{_words(stored)} claims {record.primary_metric} {claimed}, its probabilities give {seen}: "
            f"{_again(record)}"
        )
    return found


def side_by_side(jobs: Sequence[Callable[[], Measured]], advance: Callable[[], None]) -> list[Measured]:
    """Run jobs in threads, one a core, and return what they measured in their order."""
    from threadpoolctl import threadpool_limits

    def one(job: Callable[[], Measured]) -> Measured:
        found = job()
        advance()
        return found

    threads = max(1, min(cores(), MOST_THREADS, len(jobs)))
    with threadpool_limits(1), ThreadPoolExecutor(threads, thread_name_prefix="resampling") as pool:
        futures = [pool.submit(one, job) for job in jobs]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)
