"""How a peer is given the folds and hands back its answers: of all that is here it needs numpy, and no zoobench."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Folds:
    """Texts of the train, validation and test folds, and what holds of each text of the first two.

    Attributes
    ----------
    multilabel
        Whether any number of labels may hold; else exactly one does.
    held
        By fold, train and validation: the positions in `labels` that hold, a list a row.
    metric
        What the task is scored by.
    """

    folder: Path
    multilabel: bool
    labels: list[str]
    metric: str
    texts: dict[str, list[str]]
    held: dict[str, list[list[int]]]

    def targets(self, fold: str) -> np.ndarray:
        """Return (n, labels) uint8, or (n,) class numbers."""
        if not self.multilabel:
            return np.array([row[0] for row in self.held[fold]])
        found = np.zeros((len(self.held[fold]), len(self.labels)), dtype=np.uint8)
        for number, row in enumerate(self.held[fold]):
            found[number, row] = 1
        return found


def read() -> Folds:
    """Return the folds that the first word of the command line names."""
    folder = Path(sys.argv[1])
    return Folds(folder, **json.loads((folder / "folds.json").read_text(encoding="utf-8")))


def answer(folds: Folds, scores: dict[str, np.ndarray], chosen: np.ndarray, fit_s: float) -> None:
    """Hand back what was found.

    Parameters
    ----------
    scores
        (n, labels) by fold, validation and test: probabilities, or decision values mapped into them.
    chosen
        What the peer itself decides of the test fold: (n, labels) of 0 and 1, or (n,) class numbers.
    fit_s
        Seconds from the texts to the fitted model, imports and reading excluded.
    """
    found: dict[str, Any] = {fold: np.asarray(scores[fold], dtype=np.float64) for fold in ("validation", "test")}
    found |= {"chosen": np.asarray(chosen).astype(np.int64), "fit_s": fit_s, "peak_gb": peak_gb()}
    np.savez(folds.folder / "answers.npz", **found)


def peak_gb() -> float:
    """Return the most resident memory that this process had, in GB (10^9 bytes); 0 where the system does not tell.

    Linux's own figure: that of `resource` counts what the process had that this one was started from.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM:")), 0.0)


def from_decisions(values: np.ndarray, multilabel: bool) -> np.ndarray:
    """Map decision values (n, labels) into [0, 1]: their order within a label, or a row, stays."""
    if multilabel:
        return 1 / (1 + np.exp(-values))
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
