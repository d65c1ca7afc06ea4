"""What a stored cell's probabilities show beside the targets of its task, where these are on this machine.

A record holds scores and confusion matrices; its curves need what is true, row by row. Pages hold the curves alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...benchmarks.calibration import Reliability, fit_temperature, reliability, scale
from ...benchmarks.metrics import Counts, as_indicator, as_probabilities
from ...benchmarks.record import Record
from ...benchmarks.rows import Rows
from ...benchmarks.store import PROBABILITIES, Stored
from ...benchmarks.thresholds import Thresholds, apply_thresholds
from ...datasets.core import Fold
from ...datasets.support.files import read_json, sha256_json, write_text
from ..known_rows import Absent, TruthsHere
from .figures import thousandths
from .figures.curves import Curve, label_curves
from .figures.sure import label_sureness
from .figures.sweep import confidence_sweep, label_sweep

DRAWN = 40
"""Labels whose curves stand in a page at most: those with the most test rows. Its tables hold them all."""
POINTS, LEAST, MOST = 1600, 40, 100
"""Points of all curves of a kind together, and of one of them at least and at most."""
FORMAT = 1
"""Raised whenever what `held_against` returns changes: kept figures are then made again."""

Why = Absent | Literal["disagrees"]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Missing:
    """Why there is nothing to draw: the task's data are not here, nor the probabilities, or these tell otherwise."""

    why: Why


class Evidence:
    """Figures of the cells of one model, computed once and kept beside the results.

    Parameters
    ----------
    kept
        The file that they are kept in: a cache, which may be deleted; where it cannot be written nothing is kept.

    Attributes
    ----------
    used
        The figures that were asked for, by what they follow from.
    """

    def __init__(self, kept: Path, truths: TruthsHere) -> None:
        self._path, self._truths = kept, truths
        self._kept = _read(kept)
        self.used: dict[str, Figures] = {}

    def of(self, stored: Stored) -> Figures | Missing:
        """Return what there is to draw of a cell that is ``ok``."""
        name = _identity(stored.record)
        if (known := self._kept.get(name)) is not None:
            self.used[name] = known
            return known
        found = self._computed(stored)
        if not isinstance(found, Missing):
            self.used[name] = found
        return found

    def save(self) -> None:
        """Write what is new; figures of cells that were not asked for are dropped. Does nothing without news."""
        if self.used.keys() == self._kept.keys():
            return
        try:
            write_text(self._path, json.dumps(self.used, separators=(",", ":"), allow_nan=False))
        except OSError:
            return  # the same figures are computed once more
        self._kept = dict(self.used)

    def _computed(self, stored: Stored) -> Figures | Missing:
        rows = self._truths.rows(stored)
        return Missing(rows) if isinstance(rows, str) else held_against(stored.record, rows)


def _identity(record: Record) -> str:
    """Name all that figures follow from: probabilities and targets by their hashes, and what the record decided."""
    own = record.test[record.policy]
    hashes = [record.data_fingerprint, record.split_sha256, record.files.get(PROBABILITIES), record.metric_version]
    decided = [record.policy, own.thresholds, own.confusion, record.temperature]
    return sha256_json([record.task_name, record.kind, record.labels, hashes, decided])[:20]


def _read(path: Path) -> dict[str, Figures]:
    try:
        kept = read_json(path)
        return {name: each for name, each in kept.items() if each["format"] == FORMAT}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def held_against(record: Record, rows: Mapping[Fold, Rows]) -> Figures | Missing:
    """Return the diagrams of a cell as JSON values, none of which is of a single row.

    Keys
    ----
    drawn
        The numbers of the labels that have curves, in the record's order; ``roc`` and ``recall`` (precision against
        recall) hold a curve for each, or null, and ``micro`` both of all labels pooled.
    sweeps
        By fold: what thresholds would do (`figures.sweep`).
    reliability
        ``before`` and ``after`` the ``temperature``: bins with counts, confidence and frequency, and the ``error``.
    sure
        A list of counts for each label (`figures.sure`).
    """
    truth, probabilities = _arrays(record, rows["test"])
    if not _as_claimed(record, rows["test"]):
        return Missing("disagrees")
    sweep = label_sweep if record.kind == "multilabel" else confidence_sweep
    return {
        "format": FORMAT,
        **_curves(truth, probabilities),
        "sweeps": {fold: sweep(*_arrays(record, rows[fold])).as_json() for fold in ("validation", "test")},
        "reliability": _reliability(record, rows),
        "sure": [each.as_json() for each in label_sureness(truth, probabilities)],
    }


def _arrays(record: Record, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    probabilities = as_probabilities(record.kind, rows.probabilities)
    return as_indicator(record.kind, rows.targets, probabilities.shape, "targets"), probabilities


def _as_claimed(record: Record, rows: Rows) -> bool:
    """Return whether the probabilities make the confusion counts that the record has: its curves must be its own."""
    claimed = record.test[record.policy]
    thresholds = Thresholds(record.policy, tuple(claimed.thresholds))
    predicted = apply_thresholds(thresholds, record.kind, rows.probabilities)
    shape = rows.probabilities.shape
    truth, chosen = (as_indicator(record.kind, each, shape, "labels") for each in (rows.targets, predicted))
    if record.kind == "multiclass":
        return (truth.astype(int).T @ chosen.astype(int)).tolist() == claimed.confusion
    counts = Counts.of(truth, chosen)
    told = np.column_stack([len(truth) - counts.support - counts.fp, counts.fp, counts.fn, counts.tp])
    return told.tolist() == claimed.confusion


def _curves(truth: np.ndarray, probabilities: np.ndarray) -> Figures:
    support = truth.sum(axis=0)
    drawn = np.sort(np.argsort(-support, kind="stable")[:DRAWN]).tolist()
    most = int(np.clip(POINTS // len(drawn), LEAST, MOST))
    each = [label_curves(truth[:, label], probabilities[:, label], most) for label in drawn]
    pooled = label_curves(truth.ravel(), probabilities.ravel(), MOST)
    return {
        "drawn": drawn,
        "roc": [_plain(curves.roc) for curves in each],
        "recall": [_plain(curves.precision_recall) for curves in each],
        "micro": {"roc": _plain(pooled.roc), "recall": _plain(pooled.precision_recall)},
    }


def _plain(curve: Curve | None) -> Figures | None:
    return None if curve is None else curve.as_json()


def _reliability(record: Record, rows: Mapping[Fold, Rows]) -> Figures:
    validation, test = rows["validation"], rows["test"]
    temperature = record.temperature
    if temperature is None:  # the record is older than temperatures
        temperature = fit_temperature(record.kind, validation.targets, validation.probabilities)
    before, after = (
        _bins(reliability(record.kind, test.targets, scale(record.kind, test.probabilities, each)))
        for each in (1.0, temperature)
    )
    return {"temperature": temperature, "before": before, "after": after}


def _bins(found: Reliability) -> Figures:
    held = found.counts > 0
    return {
        "error": found.expected_error,
        "counts": found.counts[held].tolist(),
        "confidence": thousandths(found.confidence[held]),
        "frequency": thousandths(found.frequency[held]),
    }
