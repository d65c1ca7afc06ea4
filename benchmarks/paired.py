"""Which of two sets of answers to the same test rows is better: pure functions on arrays.

Resamples are paired: resample i of every model draws the same rows, so a difference cancels what models share
(Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 15).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .metrics import METRICS

LEVEL, SIGNIFICANCE = 0.95, 0.05
RESOLUTION = 2e-7
"""Of a difference of two float32 resamples of metrics near 1: what is smaller is none."""

_ACCURACY = frozenset({"f1_micro", "precision_micro", "recall_micro", "exact_match", "hamming_loss"})


@dataclass(frozen=True)
class Difference:
    """What separates two entrants on a metric: ``difference = values[0] - values[1]``, as the metric has it.

    Attributes
    ----------
    pair
        Positions of the two among the entrants.
    values
        The metric of each on the test fold, its seeds averaged; None where it is defined on no label.
    low, high
        The 95 % interval of the difference; None, as `p`, where most resamples leave the metric undefined.
    p
        Two-sided; `p_holm` is corrected for all pairs that were compared on this metric.
    """

    metric: str
    pair: tuple[int, int]
    values: tuple[float | None, float | None]
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None

    @property
    def better(self) -> int | None:
        """The position of the better entrant; None where the evidence cannot tell the two apart."""
        if self.p_holm is None or self.p_holm >= SIGNIFICANCE or not self.difference:
            return None
        return self.pair[0] if (self.difference > 0) == METRICS[self.metric].higher_is_better else self.pair[1]


@dataclass(frozen=True)
class Disagreement:
    """On how many rows one entrant of a pair alone was fully right, and whether that is chance (McNemar 1947)."""

    pair: tuple[int, int]
    only: tuple[int, int]
    p: float
    p_holm: float

    @property
    def better(self) -> int | None:
        """The position of the entrant that is right more often; None where it may be chance."""
        if self.p_holm >= SIGNIFICANCE or self.only[0] == self.only[1]:
            return None
        return self.pair[0] if self.only[0] > self.only[1] else self.pair[1]


def pairs(count: int) -> list[tuple[int, int]]:
    """Return all pairs of `count` entrants, the first before the second."""
    return list(itertools.combinations(range(count), 2))


def two_sided_p(differences: np.ndarray) -> np.ndarray:
    """Return the p-values (...,) of "no difference" from paired bootstrap differences (..., resamples), none NaN.

    Twice the share of resamples on the rarer side of 0, resamples at 0 on both: the level at which the percentile
    interval begins to hold 0. One is added to both counts, since no number of resamples shows that p is 0 (Davison
    and Hinkley 1997, "Bootstrap Methods and their Application", section 4.2); the least is 2 / (resamples + 1).
    """
    rarer = np.minimum((differences <= 0).sum(axis=-1), (differences >= 0).sum(axis=-1))
    return np.minimum(1.0, 2 * (rarer + 1) / (differences.shape[-1] + 1))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Correct p-values (n,) for being n, by Holm's step-down rule (Holm 1979); a missing one stays missing.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[place] = highest
    return corrected


def differences(
    metric: str, values: Sequence[float | None], resamples: Sequence[np.ndarray], level: float = LEVEL
) -> list[Difference]:
    """Compare all pairs of entrants on one metric.

    Parameters
    ----------
    values
        Of each entrant on the test fold.
    resamples
        Of each entrant (resamples,), drawn alike; NaN where the metric is undefined.
    """
    chosen = pairs(len(values))
    found = _paired(np.stack(resamples).astype(np.float64), chosen, level)
    corrected = holm([p for *_, p in found])
    return [
        Difference(metric, pair, (values[pair[0]], values[pair[1]]), _less(*(values[each] for each in pair)), *each, p)
        for pair, each, p in zip(chosen, found, corrected, strict=True)
    ]


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _paired(
    samples: np.ndarray, chosen: Sequence[tuple[int, int]], level: float
) -> list[tuple[float, float, float]] | list[tuple[None, None, None]]:
    """Return low, high and p of each pair from samples (entrants, resamples); nothing where most are undefined.

    A resample that leaves the metric undefined for one entrant is left out for all.
    """
    defined = np.asarray(~np.isnan(samples).any(axis=0))
    if 2 * defined.sum() <= len(defined):
        return [(None, None, None)] * len(chosen)
    one, other = np.array(chosen).T
    apart = samples[one][:, defined] - samples[other][:, defined]
    apart[np.abs(apart) < RESOLUTION] = 0
    low, high = np.quantile(apart, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return list(zip(low.tolist(), high.tolist(), two_sided_p(apart).tolist(), strict=True))


def disagreements(right: Sequence[np.ndarray]) -> list[Disagreement]:
    """Compare all pairs of entrants by McNemar's exact test on the rows that one alone has right.

    Parameters
    ----------
    right
        Of each entrant (rows,) bool: whether all of a row was right.
    """
    from scipy.special import bdtr

    chosen = pairs(len(right))
    only = [(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in chosen]
    found = [min(1.0, 2 * float(bdtr(min(counts), sum(counts), 0.5))) if sum(counts) else 1.0 for counts in only]
    corrected = holm(found)
    return [
        Disagreement(pair, counts, p, p_holm)
        for pair, counts, p, p_holm in zip(chosen, only, found, corrected, strict=True)
        if p_holm is not None
    ]


def right_in_most(right: np.ndarray) -> np.ndarray:
    """Return whether each row is right in more than half of the seeds, (seeds, rows) bool to (rows,) bool.

    A row counts once, however many seeds there are: seeds are no further evidence about the rows.
    """
    return 2 * right.sum(axis=0) > len(right)


def metric_names(kind: str) -> tuple[str, ...]:
    """Name the metrics that say which of two is better on a kind of task.

    For multi-class, those that are accuracy by another name are left out.
    """
    left_out = _ACCURACY if kind == "multiclass" else frozenset()
    return tuple(name for name, each in METRICS.items() if each.higher_is_better is not None and name not in left_out)


def replicates_mean(seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Average resamples over seeds, metric by metric, (resamples,) float64; NaN where a seed has NaN."""
    return {name: np.stack([each[name] for each in seeds]).mean(axis=0, dtype=np.float64) for name in seeds[0]}
