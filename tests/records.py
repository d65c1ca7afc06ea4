"""Valid records for tests: real scores of generated predictions, by plain numpy, with paired bootstrap resamples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import RESAMPLES, Results, Stored, hash_files

TUNING = {
    "study": "made-up/model/seed 0", "key": "0123456789abcdef0123", "budget": 4, "finished": 4, "pruned": 0, "failed": 0, "best": 2, "value": 0.5,
    "seconds": 3.0, "sampler": "TPE", "pruner": "median",
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a test fold says of one set of predictions: values, and replicates (resamples,) by metric."""

    kind: str
    rows: int
    values: dict[str, float]
    replicates: dict[str, np.ndarray]

    def intervals(self) -> dict[str, tuple[float, float]]:
        quantiles = {name: np.quantile(each, [0.025, 0.975]) for name, each in self.replicates.items()}
        return {name: (float(low), float(high)) for name, (low, high) in quantiles.items()}


def _f1(tp: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> dict[str, np.ndarray]:
    """F1 (...,) from counts (..., labels)."""
    each = 2 * tp / np.maximum(predicted + support, 1)
    return {
        "f1_micro": 2 * tp.sum(-1) / np.maximum((predicted + support).sum(-1), 1),
        "f1_macro": each.mean(-1),
        "f1_weighted": (each * support).sum(-1) / np.maximum(support.sum(-1), 1),
    }


def _auc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Chance that a positive outscores a negative (Mann-Whitney), ties counting one half."""
    gaps = scores[truth][:, None] - scores[~truth][None, :]
    return float(((gaps > 0) + (gaps == 0) / 2).mean())


def _scores(kind: str, truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of decisions (resamples,) under row weights (resamples, rows)."""
    tp, chosen, support = (weights @ each.astype(float) for each in (truth & predicted, predicted, truth))
    total = weights.sum(axis=1)
    exact = weights @ (truth == predicted).all(axis=1) / total
    wrong = 1 - exact if kind == "multiclass" else (weights @ (truth != predicted).astype(float)).mean(axis=1) / total
    return _f1(tp, chosen, support) | {"hamming_loss": wrong, "exact_match": exact}


def outcome(
    skill: float,
    *,
    kind: str = "multilabel",
    seed: int = 0,
    rows: int = 120,
    labels: int = 4,
    resamples: int = 200,
) -> Outcome:
    """Predictions whose signal-to-noise ratio is `skill`, scored; same rows and resamples whatever skill and seed."""
    fold = np.random.default_rng(7)
    truth = fold.random((rows, labels)) < 0.35
    if kind == "multiclass":
        truth = np.eye(labels, dtype=bool)[fold.integers(labels, size=rows)]
    weights = fold.multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    signal = skill * (2.0 * truth - 1) + np.random.default_rng([11, seed]).normal(size=truth.shape)
    predicted = np.eye(labels, dtype=bool)[signal.argmax(axis=1)] if kind == "multiclass" else signal > 0
    replicates = _scores(kind, truth, predicted, weights)
    values = {name: float(each[0]) for name, each in _scores(kind, truth, predicted, np.ones((1, rows))).items()}
    values["roc_auc_macro"] = float(np.mean([_auc(*columns) for columns in zip(truth.T, signal.T, strict=True)]))
    if kind == "multiclass":
        recall = (truth & predicted).sum(0) / truth.sum(0)
        values |= {"accuracy": values["exact_match"], "balanced_accuracy": float(recall.mean())}
    return Outcome(kind, rows, values, replicates)


STRONG, WEAK = outcome(1.5, seed=1), outcome(0.2, seed=2)


def digest(*parts: Any, length: int = 20) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:length]


KEYED = (
    "task",
    "protocol",
    "task_version",
    "data_fingerprint",
    "split_sha256",
    "model",
    "preset",
    "mode",
    "settings",
    "config",
    "seed",
    "source_sha256",
    "fraction",
)
"""What the fit key of a made-up cell depends on."""
LABELS = ["ash", "birch", "cedar", "dogwood"]


@dataclass
class Cell:
    """A cell to store; `changes` replaces any field of its record."""

    model: str
    outcome: Outcome | None = None
    task: str = "made-up"
    protocol: str = ""
    seed: int = 0
    hardware: str = "Test CPU, 2 cores"
    created: str = "2025-01-01T00:00:00Z"
    changes: dict[str, Any] = field(default_factory=dict)

    def record(self) -> Record:
        scored = self._scored() if self.outcome else {"status": "failed", "reason": "ValueError: no rows left"}
        kind = self.outcome.kind if self.outcome else "multilabel"
        fields: dict[str, Any] = {
            "attempt": digest(self.model, self.seed, self.created, self.changes, length=12),
            "created": self.created,
            "task": self.task,
            "protocol": self.protocol,
            "task_version": 1,
            "kind": kind,
            "labels": LABELS,
            "primary_metric": "f1_macro",
            "data_fingerprint": digest(self.task, length=64),
            "split_sha256": digest(self.task, self.protocol, length=64),
            "rows": {"train": 400, "validation": 60, "test": 120},
            "model": self.model,
            "framework": "scikit-learn",
            "preset": "",
            "config": {"C": 1.0},
            "seed": self.seed,
            "source_sha256": digest("source of", self.model, length=64),
            "hardware_class": self.hardware,
            "hardware": {"cpu": "Test CPU"},
            "device": "cpu",
            "threads": 2,
            "zoobench": "0.1.0",
            **scored,
            **self.changes,
        }
        decided = {"thresholds": [0.5] * len(fields["labels"]) if kind == "multilabel" else []}
        fields["test"] = {policy: decided | dict(each) for policy, each in fields.get("test", {}).items()}
        if fields.get("mode") == "tuned":
            fields.setdefault("tuning", TUNING)
        fit_key = digest({name: str(fields.get(name)) for name in KEYED})
        keys = {"fit_key": fit_key, "key": digest(fit_key, fields["hardware_class"], fields["device"])}
        return Record.model_validate(keys | fields)

    def _scored(self) -> dict[str, Any]:
        assert self.outcome is not None
        evaluation = {"values": self.outcome.values, "intervals": self.outcome.intervals()}
        effort = 1 + len(self.model) / 10
        return {
            "status": "ok",
            "metric_version": 1,
            "policy": "fixed-0.5",
            "test": {"fixed-0.5": evaluation},
            "timings": {"features": 0.5, "fit": effort, "predict": effort / 20},
            "speed": {
                "latency_p50_ms": effort,
                "latency_p95_ms": 2 * effort,
                "rows_per_second": 1000 / effort,
            },
            "memory": {"added_gb": effort / 100, "baseline_gb": 0.2},
            "parameters": 1000,
        }

    def store(self, root: Path) -> Stored:
        """Commit the record, and its resamples where it has scores, as a run would."""
        results, record = Results(root), self.record()
        results.ensure_writable()
        if self.outcome is None:
            return results.commit(record, None)
        staged = results.scratch()
        columns = {name: each.astype(np.float32) for name, each in self.outcome.replicates.items()}
        pq.write_table(pa.table(columns), staged / RESAMPLES)
        return results.commit(record.model_copy(update={"files": hash_files(staged)}), staged)


def store_four(root: Path) -> Path:
    """Store four models on one task: a strong one and its twin, a weak one, and one that failed."""
    for name, found in (("strong", STRONG), ("twin", STRONG), ("weak", WEAK), ("broken", None)):
        Cell(name, found).store(root)
    return root
