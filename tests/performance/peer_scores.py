"""What a peer is given of a task, and what its answers, or zoobench's records, are worth on it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from zoobench.benchmarks.bootstrap import bootstrap, interval, resample_weights
from zoobench.benchmarks.metrics import score
from zoobench.benchmarks.predict import best_of
from zoobench.benchmarks.record import Evaluation, Record
from zoobench.benchmarks.scoring import evaluate, refuse
from zoobench.benchmarks.store import Stored, read_record
from zoobench.datasets.core import TASKS, Fold, TaskCard
from zoobench.datasets.layout import load_test_inputs, load_training
from zoobench.datasets.prepare import Prepared, prepare
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.files import write_text
from zoobench.zoo.core import split_name

ANSWERS = "answers.npz"
"""What a peer's program leaves in its folder; see ``peer_programs/exchange.py``."""


@dataclass(frozen=True)
class Said:
    """What one way to decide is worth on the test fold: the task's metric with its 95 % interval, and F1."""

    value: float
    low: float | None
    high: float | None
    f1_macro: float
    f1_micro: float

    @classmethod
    def of(cls, values: Mapping[str, float | None], primary: str, bounds: tuple[float, float] | None) -> Said:
        value, macro, micro = (values[name] for name in (primary, "f1_macro", "f1_micro"))
        if value is None or macro is None or micro is None:
            raise UserError(f"{primary} or F1 is not defined on the test fold: choose another task")
        return cls(value, *(bounds or (None, None)), macro, micro)


@dataclass(frozen=True)
class Line:
    """A peer or a model of zoobench on a task.

    Attributes
    ----------
    own, policy
        By the decisions that a peer makes itself (zoobench makes none but its policy's), and by the harness's
        default policy, whose thresholds are chosen on the validation fold.
    fit_s, wall_s
        Seconds of features, tuning and fit; of the whole process, or of the cell as the harness saw it.
    peak_gb
        Resident memory at its peak, the imported libraries included.
    """

    task: str
    who: str
    metric: str
    own: Said | None
    policy: Said
    fit_s: float
    wall_s: float
    peak_gb: float

    @property
    def best(self) -> Said:
        return max(filter(None, (self.own, self.policy)), key=lambda said: said.value)

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Line:
        """Return the line that `dataclasses.asdict` made `kept` of."""
        said = {name: Said(**kept[name]) if kept[name] else None for name in ("own", "policy")}
        return cls(**{**kept, **said})


@dataclass(frozen=True)
class Asked:
    """A prepared task of texts."""

    name: str
    card: TaskCard
    prepared: Prepared

    @classmethod
    def of(cls, name: str) -> Asked:
        base, protocol = split_name(name)
        task = TASKS.get(base)
        if task.card.modality != "text":
            raise UserError(f"task {name} is made of {task.card.modality}s: peers are asked about texts")
        return cls(name, task.card.under(protocol), prepare(task, protocol))

    def lay_out(self, folder: Path) -> None:
        """Write ``folds.json`` for a peer: the texts of all folds, the targets of train and validation, no other."""
        public, texts, held = self.prepared.folder / "public", {}, {}
        for fold in ("train", "validation"):
            inputs, targets = load_training(public, fold)
            texts[fold] = list(map(str, inputs))
            held[fold] = [np.atleast_1d(np.flatnonzero(row) if row.ndim else row).tolist() for row in targets]
        texts["test"] = list(map(str, load_test_inputs(public)))
        card = {"multilabel": self.card.kind == "multilabel", "labels": self.card.labels}
        card |= {"metric": self.card.primary_metric}
        write_text(folder / "folds.json", json.dumps({**card, "texts": texts, "held": held}, ensure_ascii=False))

    def score(self, who: str, folder: Path, wall_s: float) -> Line:
        """Return what the answers in `folder`, of a process of `wall_s` seconds, are worth.

        Raises
        ------
        UserError
            If they are not of the shape or the range of probabilities.
        """
        with np.load(folder / ANSWERS, allow_pickle=False) as kept:
            answers = {name: kept[name] for name in kept.files}
        kind, labels, metric = self.card.kind, self.card.labels, self.card.primary_metric
        sealed = self.prepared.sealed_test()
        validation = load_training(self.prepared.folder / "public", "validation")[1]
        truth: dict[Fold, np.ndarray] = {"validation": validation, "test": sealed.targets}
        found: dict[Fold, np.ndarray] = {fold: answers[fold].astype(np.float32) for fold in truth}
        for fold, rows in truth.items():
            if reason := refuse(kind, found[fold], len(rows), len(labels)):
                raise UserError(f"{who} on the {fold} fold of {self.name}: {reason}")
        scored = evaluate(kind, labels, metric, truth, found, sealed.groups, {})
        chosen = answers["chosen"]
        weights = resample_weights(sealed.groups)
        samples = bootstrap(kind, sealed.targets, found["test"], chosen, weights, [metric])
        values = score(kind, sealed.targets, found["test"], chosen).values
        own = Said.of(values, metric, interval(samples[metric]))
        policy = _said(scored.folds["test"][scored.policy], metric)
        return Line(self.name, who, metric, own, policy, float(answers["fit_s"]), wall_s, float(answers["peak_gb"]))

    def recorded(self, folders: Sequence[Path]) -> list[Stored]:
        """Return zoobench's finished cells of these rows, wherever in `folders`: of single models, on all training rows."""
        found = (stored for folder in folders for stored in self._records(folder))
        return [stored for stored in found if self._compares(stored.record)]

    def _records(self, results: Path) -> Iterator[Stored]:
        for path in sorted((results / "cells" / self.name).glob("*/*/record.json")):
            with contextlib.suppress(OSError, ValueError, RecursionError):  # what cannot be read is no best model
                yield Stored(read_record(path), path)

    def _compares(self, record: Record) -> bool:
        """Return whether a record is of these rows, and of a model that had seen none of the test fold."""
        same = (record.data_fingerprint, record.split_sha256) == (self.prepared.fingerprint, self.prepared.split_sha256)
        whole = record.status == "ok" and record.fraction == 1 and not record.members and not record.overlap
        return same and whole


def _said(evaluation: Evaluation, metric: str) -> Said:
    return Said.of(evaluation.values, metric, evaluation.intervals.get(metric))


def line_of(record: Record, who: str) -> Line:
    """Return the line of a record of zoobench."""
    if record.memory is None:
        raise ValueError(f"record {record.key} is not of a finished cell")
    said = _said(record.test[record.policy], record.primary_metric)
    peak, timings = record.memory.baseline_gb + record.memory.added_gb, record.timings
    return Line(record.task_name, who, record.primary_metric, None, said, timings.total, timings.wall, peak)


def own_lines(cells: Sequence[Stored]) -> list[Line]:
    """Return zoobench's lines: the cell that is best on the validation fold, then `tfidf-logreg` as it comes."""
    best = best_of(cells).record
    named = best.model + (f"@{best.preset}" if best.preset not in {"", "default"} else "")
    told = "".join(f" {name}={value}" for name, value in best.settings.items())
    lines = [line_of(best, f"zoobench {named}{' tuned' if best.mode == 'tuned' else ''}{told}")]
    plain = [each for each in cells if each.record.model == "tfidf-logreg" and not each.record.settings]
    plain = [each for each in plain if each.record.mode == "default" and each.record.preset in {"", "default"}]
    if plain and (logreg := best_of(plain).record).key != best.key:
        lines.append(line_of(logreg, "zoobench tfidf-logreg"))
    return lines
