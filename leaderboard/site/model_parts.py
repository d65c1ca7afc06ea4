"""What a model's page tells of one task: its best cell there, taken from the record alone, and in no language yet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ...benchmarks.metrics import METRICS
from ...benchmarks.record import Record
from ...benchmarks.store import TRIALS, Stored
from .evidence import Figures, Missing
from .figures.sure import GAPS, Overfitting, overfitting
from .reproduce import FOLDER, command, is_place

COMPARED = (*GAPS, "f1_micro", "roc_auc_macro", "exact_match", "log_loss", "expected_calibration_error")
"""What is shown of training, validation and test side by side; the first ones make the overfitting score."""
POLICY_METRICS = ("f1_weighted", "f1_macro", "f1_micro", "hamming_loss", "exact_match")
BEST_TRIALS, STEPS = 10, 200
_PER_LABEL = ("f1", "precision", "recall", "specificity", "roc_auc", "average_precision", "support")
_LISTED = frozenset({"trial", "state", "value", "seconds", "reason", "sha256"})


@dataclass(frozen=True)
class FoldRow:
    """A metric on the three folds of a cell, under the record's policy; None where a fold has no score.

    Attributes
    ----------
    interval
        Of the test score, 95 %.
    lost
        How much worse validation is than training, in the metric's own units: above 0 is worse, whichever way it goes.
    share
        `lost` as a share of the training score; None where that is 0.
    """

    metric: str
    train: float | None
    validation: float | None
    test: float | None
    interval: tuple[float, float] | None
    lost: float | None
    share: float | None


Trial = tuple[str, float, float | None, Sequence[str | None]]
"""A trial's number, value on validation, seconds, and settings."""


@dataclass(frozen=True)
class Trials:
    """The best trials of a study, and the names of the settings that they tried."""

    settings: tuple[str, ...]
    rows: tuple[Trial, ...]


@dataclass(frozen=True)
class Part:
    """A task on a model's page.

    Attributes
    ----------
    anchor
        Its place in the page's address.
    row, rows
        The board's row that the cell is of, and all rows of the model on the task.
    stored
        The cell that diagrams are of: the best on validation.
    figures
        What needs targets, or why it is missing.
    """

    anchor: str
    row: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    stored: Stored
    figures: Figures | Missing

    @property
    def record(self) -> Record:
        """The cell's record."""
        return self.stored.record

    @property
    def chosen(self) -> bool:
        """Whether the cell was chosen by its validation score, and not for being the newest."""
        return self.record.policy in self.record.validation

    @property
    def missing(self) -> str:
        """Why there are no diagrams that need targets; "" where there are."""
        return self.figures.why if isinstance(self.figures, Missing) else ""

    @property
    def command(self) -> str:
        """The command that makes the cell again."""
        return command(self.record)

    @property
    def folds(self) -> list[FoldRow]:
        """The scores by fold."""
        return [_fold_row(self.record, metric) for metric in _compared(self.record)]

    @property
    def overfitting(self) -> Overfitting:
        """The score of what is lost between training and validation."""
        return overfitting(*(_values(self.record, fold) for fold in ("train", "validation")))

    @property
    def history(self) -> tuple[bool, bool]:
        """Whether the fit reported losses, and whether it reported anything else."""
        names = {name for entry in self.record.history for name in entry} - {"step"}
        return any("loss" in name for name in names), any("loss" not in name for name in names)

    @property
    def policies(self) -> list[tuple[str, tuple[float, float] | None, list[float | None]]]:
        """Each policy with its lowest and highest threshold, and `POLICY_METRICS` on the test fold."""
        return [
            (
                policy,
                (min(found.thresholds), max(found.thresholds)) if found.thresholds else None,
                [found.values.get(name) for name in POLICY_METRICS],
            )
            for policy, found in self.record.test.items()
        ]

    @property
    def settings(self) -> list[tuple[str, str, bool]]:
        """Each setting, its value, and whether it is not the preset's; of a place on the machine its last name."""
        record = self.record
        return [(name, _shown(record, name, value), name in record.settings) for name, value in record.config.items()]

    @property
    def places(self) -> bool:
        """Whether the command holds a word that stands for a folder."""
        return any(is_place(self.record, name) for name in self.record.settings)

    @property
    def trials(self) -> Trials | None:
        """The best trials where the cell is tuned and its list of trials is here."""
        return best_trials(self.stored) if self.record.tuning else None

    def data(self) -> dict[str, Any]:
        """Return what the page's script draws."""
        record, found = self.record, self.record.test.get(self.record.policy)
        figures = {} if isinstance(self.figures, Missing) else self.figures
        scores = found.per_label if found else {}
        return {
            "anchor": self.anchor,
            "kind": record.kind,
            "labels": record.labels,
            "scores": {name: _short(scores[name]) for name in _PER_LABEL if name in scores},
            "confusion": found.confusion if found else [],
            "thresholds": _short(found.thresholds) if found else [],
            "figures": {name: value for name, value in figures.items() if name != "format"},
            "history": told_history(record.history),
        }


def _shown(record: Record, name: str, value: object) -> str:
    return f"{FOLDER}/{PurePosixPath(str(value)).name}" if is_place(record, name) else str(value)


def _short(values: Sequence[float | None]) -> list[float | None]:
    """Return numbers to four decimals: more would only make the page longer."""
    return [None if value is None else round(value, 4) for value in values]


def _values(record: Record, fold: str) -> Mapping[str, float | None]:
    found = getattr(record, fold).get(record.policy)
    return found.values if found else {}


def _compared(record: Record) -> list[str]:
    known = _values(record, "test")
    return [name for name in dict.fromkeys((*COMPARED, record.primary_metric)) if name in known]


def _fold_row(record: Record, metric: str) -> FoldRow:
    train, validation, test = (_values(record, fold).get(metric) for fold in ("train", "validation", "test"))
    lost = None
    if train is not None and validation is not None:
        lost = train - validation if METRICS[metric].higher_is_better else validation - train
    interval = record.test[record.policy].intervals.get(metric) if record.policy in record.test else None
    return FoldRow(
        metric, train, validation, test, interval, lost, lost / train if lost is not None and train else None
    )


def told_history(entries: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return what a fit reported by step, at most `STEPS` of its entries: steps, and a list for each name.

    An entry that has not a name's value has null there.
    """
    if not entries:
        return {}
    every = -(-len(entries) // STEPS)
    kept = [entry for place, entry in enumerate(entries) if place % every == 0 or place == len(entries) - 1]
    names = dict.fromkeys(name for entry in entries for name in entry if name != "step")
    series = {name: _short([entry.get(name) for entry in kept]) for name in names}
    if any(values == series.get("score") for name, values in series.items() if name != "score"):
        del series["score"]  # the metric that is watched, once more under its own name
    return {"steps": [entry.get("step", place + 1) for place, entry in enumerate(kept)], "series": series}


def best_trials(stored: Stored) -> Trials | None:
    """Return the best finished trials of a tuned cell; None where their list is not here, or damaged."""
    try:
        with (stored.attempt / TRIALS).open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["state"] == "complete"]
        best = sorted(rows, key=lambda row: (-float(row["value"]), int(row["trial"])))[:BEST_TRIALS]
        names = tuple(name for name in best[0] if name not in _LISTED and any(row[name] for row in best))
        return Trials(names, tuple(_trial(row, names) for row in best))
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        return None


def _trial(row: Mapping[str, str], names: Sequence[str]) -> Trial:
    return row["trial"], float(row["value"]), float(row["seconds"]) if row["seconds"] else None, [*map(row.get, names)]
