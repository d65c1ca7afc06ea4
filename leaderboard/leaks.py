"""What three leaks are worth: rows dealt by relation, or by image, and thresholds chosen on what they are scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from ..benchmarks.metrics import Kind, average_rates, score
from ..benchmarks.scoring import average_of
from ..benchmarks.store import Stored
from ..benchmarks.thresholds import Thresholds, apply_thresholds, counts_at, fit_thresholds
from .families import best_of_each, family_of_row
from .reproduction import NO_TARGETS, NOT_RUN, Boards, called, find_row
from .tables import Row

SINGLE = "single"
"""System 1's policy: one threshold of 0.10, 0.11, … 0.90 for all labels, the best F1 weighted."""
GRID = np.arange(10, 91) / 100


@dataclass(frozen=True)
class Split:
    """A split that leaks beside the honest one, by a metric."""

    title: str
    leaky: str
    honest: str
    metric: str


SPLITS = (
    Split("LitCoin: dealt by relation, or by abstract", "litcoin-relations@random", "litcoin-relations", "accuracy"),
    Split("NIH: dealt by image, or by patient", "nih-chest-xray14@published", "nih-chest-xray14", "roc_auc_macro"),
)


@dataclass(frozen=True)
class SplitGap:
    """A model under both splits; each row of the board is ranked by the split's metric."""

    name: str
    leaky: Row
    honest: Row

    @property
    def gap(self) -> float:
        """What the leak adds."""
        return self.leaky["value"] - self.honest["value"]


def split_gaps(boards: Boards, split: Split) -> list[SplitGap]:
    """Return, of each family, the model that is best under the honest split, of those that both splits have."""
    there = {_who(row): row for row in reversed(_done(boards.rows(split.leaky, split.metric), split.metric))}
    both = [row for row in _done(boards.rows(split.honest, split.metric), split.metric) if _who(row) in there]
    return [SplitGap(called(row), there[_who(row)], row) for row in best_of_each(both, family_of_row)]


def _who(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in ("model", "preset", "mode", "settings"))


def _done(rows: Sequence[Row], metric: str) -> list[Row]:
    return [row for row in rows if row["rank"] is not None and row["ranked_by"] == metric and not row["overlap"]]


@dataclass(frozen=True)
class Tuned:
    """A published way to choose thresholds, of a system, with the metric that it is judged by here."""

    system: int
    title: str
    task: str
    models: tuple[str, ...]
    policy: str
    metric: str


_SYSTEM_1 = ("pubmedbert@ensemble", "minilm@ensemble", "minilm", "tfidf-lightgbm", "tfidf-logreg")
_SYSTEM_2 = ("densenet121-fpn-tabular@published", "densenet121-fpn-tabular")
TUNED = (
    Tuned(1, "One threshold, 0.10 to 0.90", "biomedical-abstracts@published", _SYSTEM_1, SINGLE, "f1_weighted"),
    *(
        Tuned(2, title, "nih-chest-xray14@published", _SYSTEM_2, policy, "f1_macro")
        for title, policy in (
            ("Youden's J", "youden"),
            ("Best F1, precision 0.30 or more", "precision-constrained"),
            ("The same with 0.40, lowered where weak", "dynamic"),
        )
    ),
)


@dataclass(frozen=True)
class ThresholdGap:
    """A metric on the test fold with thresholds that were chosen there, and on validation; None: `missing` says why."""

    tuned: Tuned
    by: str = ""
    on_test: float | None = None
    on_validation: float | None = None
    missing: str = ""

    def __post_init__(self) -> None:
        if (self.on_test is None) != (self.on_validation is None) or (self.on_test is None) != bool(self.missing):
            raise ValueError("a gap has two figures, or says why it has none")


def threshold_gap(boards: Boards, tuned: Tuned) -> ThresholdGap:
    """Return what choosing thresholds on the test fold adds, of the first of the system's models that has records."""
    rows = boards.rows(tuned.task)
    row = next((found for model in tuned.models if (found := find_row(rows, model, {})[0])), None)
    if row is None:
        return ThresholdGap(tuned, missing=NOT_RUN)
    both = [_both(boards, stored, tuned) for stored in boards.stored(row)]
    known = [each for each in both if each is not None]
    if len(known) < len(both):
        return ThresholdGap(tuned, called(row), missing=NO_TARGETS)
    on_test, on_validation = (fmean(side) for side in zip(*known, strict=True))
    return ThresholdGap(tuned, called(row), on_test, on_validation)


def _both(boards: Boards, stored: Stored, tuned: Tuned) -> tuple[float, float] | None:
    folds = boards.answers(stored)
    if folds is None:
        return None
    kind, test, validation = stored.record.kind, folds["test"], folds["validation"]
    cheating = score_with_thresholds_chosen_on_the_rows_it_scores(
        kind, test.targets, test.probabilities, tuned.policy, tuned.metric
    )
    honest = _chosen(kind, validation.targets, validation.probabilities, tuned.policy, tuned.metric)
    return cheating, _score(kind, test.targets, test.probabilities, honest, tuned.metric)


def score_with_thresholds_chosen_on_the_rows_it_scores(
    kind: Kind, targets: np.ndarray, probabilities: np.ndarray, policy: str, metric: str
) -> float:
    """Return a score that no model has earned: its thresholds have seen the targets that it is scored on.

    It shows what that is worth, as some originals reported it, and is used for nothing else.

    Parameters
    ----------
    targets, probabilities
        (rows, labels) uint8, and (rows, labels) from 0 to 1.
    policy
        One of `thresholds.POLICIES`, or `SINGLE`.
    """
    chosen = _chosen(kind, targets, probabilities, policy, metric)
    return _score(kind, targets, probabilities, chosen, metric)


def _chosen(kind: Kind, targets: np.ndarray, probabilities: np.ndarray, policy: str, metric: str) -> Thresholds:
    if policy != SINGLE:
        return fit_thresholds(policy, kind, targets, probabilities, average_of(metric))
    f1 = average_rates(counts_at(GRID, targets.astype(bool), probabilities), average_of(metric))["f1"]
    return Thresholds("global", (float(GRID[int(np.nanargmax(f1))]),) * targets.shape[1])


def _score(kind: Kind, targets: np.ndarray, probabilities: np.ndarray, thresholds: Thresholds, metric: str) -> float:
    value = score(kind, targets, probabilities, apply_thresholds(thresholds, kind, probabilities)).values[metric]
    return float("nan") if value is None else value
