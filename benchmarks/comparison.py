"""Stored cells compared with each other on the test rows that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.layout import SealedTest
from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.progress import progress
from . import paired
from .bootstrap import resample_weights
from .paired import Difference, Disagreement
from .reread import Measured, measure_stored, side_by_side
from .store import Stored
from .thresholds import policies_for

if TYPE_CHECKING:
    from .record import Record

RESAMPLES = 1000
"""As many as the board's intervals are made of, and the same draws."""
LEAST_RESAMPLES, MOST_RESAMPLES = 100, 1_000_000


@dataclass(frozen=True)
class Entrant:
    """A side of a comparison: the cells of one configuration, one a seed."""

    name: str
    cells: tuple[Stored, ...]

    def __post_init__(self) -> None:
        if not self.cells or any(stored.record.status != "ok" for stored in self.cells):
            raise ValueError(f"{self.name}: an entrant has one finished cell or more")

    @property
    def record(self) -> Record:
        """Of its first seed."""
        return self.cells[0].record

    @property
    def seeds(self) -> list[int]:
        """The seeds of its cells."""
        return [stored.record.seed for stored in self.cells]


@dataclass(frozen=True)
class Comparison:
    """Every pair of entrants on every metric asked for, and on how many rows each alone is fully right.

    Attributes
    ----------
    ranked_by
        The metric that the verdict in words is about: the task's primary one, or the first of those asked for.
    rows, groups
        Of the test fold; groups are what the resamples draw.
    """

    task: str
    kind: str
    policy: str
    ranked_by: str
    rows: int
    groups: int
    resamples: int
    entrants: tuple[Entrant, ...]
    differences: tuple[Difference, ...]
    disagreements: tuple[Disagreement, ...]

    @property
    def metrics(self) -> list[str]:
        """The metrics that were compared."""
        return list(dict.fromkeys(each.metric for each in self.differences))

    def of(self, metric: str) -> list[Difference]:
        """Return the differences on one metric, pair by pair."""
        return [each for each in self.differences if each.metric == metric]


def compare_entrants(
    entrants: Sequence[Entrant],
    test: SealedTest,
    metrics: Sequence[str] = (),
    policy: str | None = None,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare entrants pairwise by paired bootstrap over groups, and by McNemar's test on rows.

    Seeds are pooled: in each resample a metric is averaged over an entrant's seeds, and a row counts as right where
    more than half of them have it right.

    Parameters
    ----------
    test
        The rows that the entrants' cells were scored on (`reread.sealed_rows`).
    metrics
        All that say which of two is better, unless some are named.
    policy
        A threshold policy, with the thresholds that it chose on validation; the records' own without it.

    Raises
    ------
    UserError
        If the entrants do not compare, or their probabilities are gone.
    """
    policy = agreed_policy(entrants, policy)
    record = entrants[0].record
    names = tuple(dict.fromkeys(metrics or (record.primary_metric, *paired.metric_names(record.kind))))
    main = record.primary_metric if record.primary_metric in names else names[0]
    weights = resample_weights(test.groups, resamples)
    cells = {stored.path: stored for entrant in entrants for stored in entrant.cells}
    jobs = [partial(measure_stored, stored, test, policy, weights, names) for stored in cells.values()]
    with progress("resampling", len(jobs)) as advance:
        measured = dict(zip(cells, side_by_side(jobs, advance), strict=True))
    found = [_pooled([measured[stored.path] for stored in entrant.cells], names) for entrant in entrants]
    return Comparison(
        record.task_name,
        record.kind,
        policy,
        main,
        rows=len(test.ids),
        groups=weights.counts.shape[1],
        resamples=resamples,
        entrants=tuple(entrants),
        differences=tuple(each for name in names for each in _on(name, found)),
        disagreements=tuple(paired.disagreements([each.right for each in found])),
    )


def _on(metric: str, found: Sequence[Measured]) -> list[Difference]:
    resamples = [each.resamples[metric] for each in found]
    return paired.differences(metric, [each.values[metric] for each in found], resamples)


def _pooled(seeds: Sequence[Measured], names: Sequence[str]) -> Measured:
    values = {name: _mean([each.values[name] for each in seeds]) for name in names}
    right = paired.right_in_most(np.stack([each.right for each in seeds]))
    return Measured(values, paired.replicates_mean([each.resamples for each in seeds]), right)


def _mean(values: Sequence[float | None]) -> float | None:
    """Average over seeds; None where one has no value, which is then a matter of the labels and true of all."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def agreed_policy(entrants: Sequence[Entrant], asked: str | None) -> str:
    """Return the policy by which entrants that compare are decided; see `compare_entrants` for the errors."""
    refuse_unlike(entrants)
    kind = entrants[0].record.kind
    if asked is not None:
        if asked not in policies_for(kind):
            raise unknown_name(f"threshold policy of {kind} tasks", asked, policies_for(kind))
        return asked
    own = {entrant.record.policy: entrant.name for entrant in entrants}
    if len(own) > 1:
        told = ", ".join(f"{name} by {policy}" for policy, name in own.items())
        raise UserError(f"the records are decided by different policies ({told}): name one by --policy")
    return next(iter(own))


def refuse_unlike(entrants: Sequence[Entrant]) -> None:
    """Refuse entrants whose scores do not compare, naming the two and what they differ in.

    Raises
    ------
    UserError
        If they are of other tasks, protocols, data, folds or labels, or scored by other versions of the metrics.
    """
    if len(entrants) < 2:
        raise UserError("a comparison needs two entrants or more")
    first = entrants[0]
    for other in entrants[1:]:
        for what, one, two in zip(_WHAT, _likeness(first.record), _likeness(other.record), strict=True):
            if one != two:
                raise UserError(
                    f"{first.name} and {other.name} cannot be compared: they are of different {what} "
                    f"({_short(one)} and {_short(two)}); run both on the same: `zoobench run --task "
                    f"{other.record.task_name} --model {first.record.model} --model {other.record.model}`"
                )


_WHAT = ("tasks or protocols", "data", "folds", "task versions", "kinds", "labels", "metric versions")


def _likeness(record: Record) -> tuple[object, ...]:
    return (
        record.task_name,
        record.data_fingerprint,
        record.split_sha256,
        record.task_version,
        record.kind,
        tuple(record.labels),
        record.metric_version,
    )


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return f"{len(value)}: {', '.join(map(str, value[:3]))}, …"
    text = str(value)
    return f"{text[:8]}…" if len(text) == 64 else text  # a hash
