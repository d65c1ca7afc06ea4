"""What stored cells answered on the test fold, read back beside what is true there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..datasets.core import Kind
from ..datasets.layout import SealedTest
from ..datasets.support.errors import UserError
from .bootstrap import ResampleWeights, bootstrap
from .hardware import cores
from .metrics import score
from .rows import again, read_answers, rows_of
from .store import Stored
from .thresholds import Thresholds, apply_thresholds

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


def decided_answers(stored: Stored, ids: np.ndarray, policy: str) -> Answers:
    """Return what a cell answered on the test rows `ids` (rows,), in their order, decided as on its validation fold.

    Raises
    ------
    UserError
        If its probabilities are gone, damaged or of other rows, or it is older than the policy.
    """
    record = stored.record
    if policy not in record.test:
        raise UserError(f"{_words(stored)} is older than the policy {policy}: {again(record)}")
    found = rows_of(stored, read_answers(stored)["test"], ids)
    thresholds = Thresholds(policy, tuple(record.test[policy].thresholds))
    return Answers(found, apply_thresholds(thresholds, record.kind, found))


def _words(stored: Stored) -> str:
    record = stored.record
    return f"record {record.key[:8]} ({record.model}, seed {record.seed})"


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
    answers = decided_answers(stored, test.ids, policy)
    found = measure(record.kind, test.targets, answers, weights, metrics)
    claimed, seen = record.test[policy].values[record.primary_metric], found.values[record.primary_metric]
    if claimed != seen if claimed is None or seen is None else abs(claimed - seen) > AGREEMENT:
        raise UserError(
            f"{_words(stored)} claims {record.primary_metric} {claimed}, its probabilities give {seen}: {again(record)}"
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
