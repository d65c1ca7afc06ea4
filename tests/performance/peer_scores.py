"""What a peer is given of a task, and what its answers, or zoobench's records, are worth on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from zoobench.benchmarks.bootstrap import bootstrap, interval, resample_weights
from zoobench.benchmarks.metrics import score
from zoobench.benchmarks.record import Evaluation
from zoobench.benchmarks.scoring import evaluate, refuse
from zoobench.benchmarks.store import Stored
from zoobench.datasets.core import TASKS, Fold, TaskCard
from zoobench.datasets.layout import load_test_inputs, load_training
from zoobench.datasets.prepare import Prepared, prepare
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.files import write_text
from zoobench.leaderboard.peers import Line, Rows, Said
from zoobench.zoo.core import split_name

ANSWERS = "answers.npz"
"""What a peer's program leaves in its folder; see ``peer_programs/exchange.py``."""


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

    @property
    def rows(self) -> Rows:
        """The rows that it is made of."""
        return Rows(self.prepared.fingerprint, self.prepared.split_sha256)

    def recorded(self, folders: Sequence[Path]) -> list[Stored]:
        """Return zoobench's finished cells of these rows, wherever in `folders`: of single models, on all training rows."""
        return [stored for folder in folders for stored in self.rows.records(folder, self.name)]


def _said(evaluation: Evaluation, metric: str) -> Said:
    return Said.of(evaluation.values, metric, evaluation.intervals.get(metric))
