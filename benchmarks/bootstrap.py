"""Bootstrap of the metrics, clustered on a group key, over all resamples at once.

Rows that share a group (near-identical texts, one patient) are drawn together, because they are not
independent evidence: Field and Welsh 2007, "Bootstrapping clustered data" (J. R. Stat. Soc. B 69). A resample
is a weight per cluster, so nothing is computed row by row: counts are matrix products with the weights, and a
ranking metric is a running total of weights down the ranking. Both are exact: scores are not binned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .metrics import (
    CALIBRATION_BINS,
    MAIN_METRICS,
    METRICS,
    Counts,
    Kind,
    as_indicator,
    as_probabilities,
    average_rates,
    balanced_accuracy,
    calibration_gaps,
    defined_mean,
    row_means,
    specificity,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

STEP = 16  # levels summed by one triangular product: 4 times faster than np.cumsum down the columns
SLICE = 32 * STEP  # levels handled together: 2 MB at 1,000 resamples, as much as a core's cache holds
BLOCK_CELLS = 2**21  # clusters x resamples weighted together: 8 MiB of float32, which a cache may hold

_AREAS = {"roc_auc_macro", "roc_auc_micro", "average_precision_macro", "average_precision_micro"}
_MEANS = ("brier", "log_loss", "label_ranking_average_precision")
_CALIBRATION = "expected_calibration_error"


@dataclass(frozen=True)
class ResampleWeights:
    """How often each resample draws each cluster, and which rows form the clusters.

    counts: (resamples, clusters) integers. cluster: (rows,) cluster number of each row.
    """

    counts: np.ndarray
    cluster: np.ndarray

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or self.cluster.ndim != 1 or not self.cluster.size:
            raise ValueError("weights need counts (resamples, clusters) and a cluster for each of one row or more")
        if self.cluster.min() < 0 or self.cluster.max() >= self.counts.shape[1]:
            raise ValueError(f"rows belong to clusters 0 to {self.counts.shape[1] - 1} only")


def resample_weights(groups: Any, n_resamples: int = 1000, seed: int = 0) -> ResampleWeights:
    """Draw as many clusters as there are distinct groups, with replacement, `n_resamples` times.

    groups: (rows,) of any sortable key. Clusters are numbered in the order of their keys, so the same groups
    give the same resamples: two models scored on the same rows are paired. ValueError without rows.
    """
    keys = np.asarray(groups)
    if keys.ndim != 1 or keys.size == 0:
        raise ValueError(f"groups must be (rows,) and not empty, got shape {keys.shape}")
    distinct, cluster = np.unique(keys, return_inverse=True)
    return ResampleWeights(_draw(len(distinct), n_resamples, seed), cluster)


@lru_cache(maxsize=2)
def _draw(n_clusters: int, n_resamples: int, seed: int) -> np.ndarray:
    """Return (resamples, clusters) draws; kept, since all cells of a task use the same ones."""
    rng = np.random.default_rng(seed)
    # a cluster is drawn once on average, so 65,535 draws of one cluster are out of reach
    counts = np.empty((n_resamples, n_clusters), dtype=np.uint16)
    for row in counts:
        row[:] = np.bincount(rng.integers(n_clusters, size=n_clusters, dtype=np.int32), minlength=n_clusters)
    counts.setflags(write=False)
    return counts


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Return the percentile interval of samples (resamples,), leaving out NaN; None if all are."""
    defined = samples[~np.isnan(samples)].astype(np.float64)
    if not defined.size:
        return None
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


@dataclass(frozen=True)
class _Slice:
    """Up to `SLICE` neighbouring levels of a ranking, highest first; a level is a score that positives have.

    rows: (2 * levels, clusters), how many positive cells of a cluster are at each level, then how many
        negative cells are at it or between it and the level above.
    tied, tied_rows: the levels that also hold negative cells of their very score, and these cells by cluster.
    """

    rows: csr_array
    tied: np.ndarray
    tied_rows: csr_array


def _tally(level: np.ndarray, cluster: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """Count cells by (level, cluster)."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(level), dtype=np.float32), (level, cluster)), shape=shape)


def _slices(truth: np.ndarray, scores: np.ndarray, cluster: np.ndarray, n_clusters: int) -> list[_Slice]:
    """Cut the ranking of cells (cells,) into slices, from the highest score down."""
    ascending = np.unique(scores[truth])
    n_levels = -(-len(ascending) // STEP) * STEP
    level = len(ascending) - np.searchsorted(ascending, scores, side="right")
    ranked = level < len(ascending)  # below the last positive, a negative changes neither area
    same = ranked & ~truth & (np.append(ascending, np.nan)[len(ascending) - 1 - level] == scores)
    # All slices are made at once, one below the other, since making a sparse array costs more than cutting one.
    start = level // SLICE * SLICE
    row = start + level + np.where(truth, 0, np.minimum(SLICE, n_levels - start))
    rows = _tally(row[ranked], cluster[ranked], (2 * n_levels, n_clusters))
    tied, numbers = np.unique(level[same], return_inverse=True)
    tied_rows = _tally(numbers, cluster[same], (len(tied), n_clusters))
    slices = []
    for first in range(0, n_levels, SLICE):
        end = min(first + SLICE, n_levels)
        low, high = np.searchsorted(tied, (first, end))
        slices.append(_Slice(rows[2 * first : 2 * end], tied[low:high] - first, tied_rows[low:high]))
    return slices


def _running_totals(counts: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Sum counts (2, levels, resamples) cumulatively down the levels, from `before` (2, resamples) on."""
    steps = counts.reshape(2, -1, STEP, counts.shape[-1])
    totals = np.tri(STEP, dtype=counts.dtype) @ steps
    reached = np.concatenate((before[:, None], totals[:, :-1, -1]), axis=1)
    totals += np.cumsum(reached, axis=1)[:, :, None]
    return totals.reshape(counts.shape)


def _areas(slices: list[_Slice], weights: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Compute ROC AUC and average precision (2, resamples) of a ranking under weights (clusters, resamples).

    positives, negatives: (resamples,) weighted numbers of cells. AUC = 1 - share of (positive, negative)
    pairs in the wrong order, a tie being half wrong; average precision = mean over positives of the precision
    at their level.
    """
    reached = np.zeros((2, weights.shape[1]), dtype=weights.dtype)
    wrong, precise = np.zeros((2, weights.shape[1]))
    for part in slices:
        counts = (part.rows @ weights).reshape(2, -1, weights.shape[1])
        hits, misses = totals = _running_totals(counts, reached)
        reached = totals[:, -1].copy()
        hits /= np.maximum(hits + misses, 1)
        precise += np.einsum("kr,kr->r", counts[0], hits)
        misses[part.tied] -= (part.tied_rows @ weights) / 2
        wrong += np.einsum("kr,kr->r", counts[0], misses)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack((1 - wrong / (positives * negatives), precise / positives))


def _weight_blocks(weights: ResampleWeights) -> Iterator[np.ndarray]:
    """Yield the counts as float32 (clusters, resamples), in blocks of resamples that bound memory.

    Sums of float32 counts are exact up to 2**24 cells, and good to 1e-7 beyond.
    """
    size = max(1, BLOCK_CELLS // weights.counts.shape[1])
    for start in range(0, len(weights.counts), size):
        yield np.ascontiguousarray(weights.counts[start : start + size].T, dtype=np.float32)


def _decision_cells(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what each row adds to the metrics of predictions, (rows, 3 * labels + 2).

    True positives per label, predicted cells per label, true cells per label, whether it is fully right, 1.
    """
    exact = (truth == predicted).all(axis=1, keepdims=True)
    return np.hstack((truth & predicted, predicted, truth, exact, np.ones_like(exact)))


def _probability_cells(kind: Kind, truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return what each row adds to the metrics that are sums over rows: (rows, `_MEANS` and a gap per bin)."""
    means = row_means(kind, truth, probabilities)
    bins, gaps = calibration_gaps(kind, truth, probabilities)
    row = np.arange(len(gaps)) // (len(gaps) // len(truth))
    binned = np.bincount(row * CALIBRATION_BINS + bins, weights=gaps, minlength=len(truth) * CALIBRATION_BINS)
    return np.column_stack([*(means[name] for name in _MEANS), binned.reshape(len(truth), -1)])


def _cluster_sums(cells: np.ndarray, cluster: np.ndarray, n_clusters: int) -> np.ndarray:
    """Sum what rows add (rows, n) over each cluster, (n, clusters)."""
    members = _tally(cluster, np.arange(len(cluster)), (n_clusters, len(cluster)))
    return np.ascontiguousarray((members @ cells.astype(np.float32)).T)


def _decision_samples(kind: Kind, totals: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the metrics of predictions (resamples,) from weighted sums (3 * labels + 2, resamples)."""
    exact, rows = totals[-2:]
    tp, predicted, support = totals[:-2].reshape(3, -1, totals.shape[1]).transpose(0, 2, 1)
    counts = Counts(tp, predicted - tp, support - tp)
    hamming = 1 - exact / rows if kind == "multiclass" else (counts.fp + counts.fn).mean(axis=1) / rows
    rates = {
        f"{name}_{average}": values
        for average in ("micro", "macro", "weighted")
        for name, values in average_rates(counts, average).items()
    }
    return rates | {
        "hamming_loss": hamming,
        "exact_match": exact / rows,
        "accuracy": 1 - hamming,
        "balanced_accuracy": balanced_accuracy(kind, counts, rows[:, None]),
        "specificity_macro": defined_mean(specificity(counts, rows[:, None])),
        "label_cardinality_true": support.sum(axis=1) / rows,
        "label_cardinality_predicted": predicted.sum(axis=1) / rows,
    }


def _probability_samples(kind: Kind, totals: np.ndarray, rows: np.ndarray, n_labels: int) -> dict[str, np.ndarray]:
    """Compute the metrics that are sums over rows (resamples,) from weighted sums and weighted numbers of rows."""
    cells = rows * n_labels if kind == "multilabel" else rows
    means = dict(zip(_MEANS, totals / rows, strict=False))
    return means | {_CALIBRATION: np.abs(totals[len(_MEANS) :]).sum(axis=0) / cells}


def _ranking_samples(rankings: list[list[_Slice]], weights: np.ndarray, totals: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the ranking metrics (resamples,) from one ranking per label and, last, that of all cells."""
    support = totals[:-2].reshape(3, -1, totals.shape[1])[2]
    positives = np.vstack((support, support.sum(axis=0)))
    negatives = np.vstack((totals[-1] - support, (totals[-1] - support).sum(axis=0)))
    areas = [_areas(slices, weights, *numbers) for slices, *numbers in zip(rankings, positives, negatives, strict=True)]
    roc_auc, average_precision = np.stack(areas, axis=-1)
    return {
        "roc_auc_macro": defined_mean(roc_auc[:, :-1]),
        "roc_auc_micro": roc_auc[:, -1],
        "average_precision_macro": defined_mean(average_precision[:, :-1]),
        "average_precision_micro": average_precision[:, -1],
    }


def _rankings(truth: np.ndarray, scores: np.ndarray, cluster: np.ndarray, n_clusters: int) -> list[list[_Slice]]:
    """Return one ranking per label and, last, that of all cells."""
    rankings = [_slices(*column, cluster, n_clusters) for column in zip(truth.T, scores.T, strict=True)]
    return [*rankings, _slices(truth.ravel(), scores.ravel(), np.repeat(cluster, truth.shape[1]), n_clusters)]


def bootstrap(
    kind: Kind,
    targets: Any,
    probabilities: Any,
    predictions: Any,
    weights: ResampleWeights,
    names: Sequence[str] = MAIN_METRICS,
) -> Mapping[str, np.ndarray]:
    """Compute metrics, those of `MAIN_METRICS` unless others are named, in every resample: to float32 (resamples,).

    Arrays are shaped as in `metrics.score`; ValueError where they or the weights' rows do not match, or a metric is
    unknown. A metric that a resample leaves undefined is NaN there; macro averages run over the labels that it
    defines.
    """
    if strange := set(names) - set(METRICS):
        raise ValueError(f"unknown metrics {sorted(strange)}")
    checked = as_probabilities(kind, probabilities)
    truth = as_indicator(kind, targets, checked.shape, "targets")
    predicted = as_indicator(kind, predictions, checked.shape, "predictions")
    cluster, n_clusters = weights.cluster, weights.counts.shape[1]
    if len(cluster) != len(truth):
        raise ValueError(f"weights were drawn for {len(cluster)} rows, the predictions have {len(truth)}")
    cells = _decision_cells(truth, predicted)
    decided = cells.shape[1]
    if _asks(names, {*_MEANS, _CALIBRATION}):
        cells = np.hstack((cells, _probability_cells(kind, truth, checked)))
    sums = _cluster_sums(cells, cluster, n_clusters)
    rankings = _rankings(truth, checked, cluster, n_clusters) if _asks(names, _AREAS) else []
    blocks = []
    for block in _weight_blocks(weights):
        totals, further = np.split((sums @ block).astype(np.float64), [decided])
        samples = _decision_samples(kind, totals)
        samples |= _probability_samples(kind, further, totals[-1], truth.shape[1]) if len(further) else {}
        samples |= _ranking_samples(rankings, block, totals) if rankings else {}
        blocks.append(samples)
    return {name: np.concatenate([block[name] for block in blocks]).astype(np.float32) for name in names}


def _asks(names: Sequence[str], family: Collection[str]) -> bool:
    return not set(family).isdisjoint(names)
