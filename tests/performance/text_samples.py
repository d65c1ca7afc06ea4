"""What tests/performance/text.py measures on: the tasks themselves, or with --quick a few generated texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from zoobench.benchmarks.check import text_task
from zoobench.datasets.core import TASKS, Kind, TaskCard

RELATIONS = 96


@dataclass(frozen=True)
class Sample:
    """Texts of a task.

    Attributes
    ----------
    X, y
        (n,) texts and their targets.
    train, held
        (n,) bool: what is learnt from, and what is asked about; all False where the measurement parts the texts.
    """

    card: TaskCard
    X: np.ndarray
    y: np.ndarray
    train: np.ndarray
    held: np.ndarray


@dataclass(frozen=True)
class Samples:
    """How to get the texts of each measurement.

    Attributes
    ----------
    relations
        The same relations twice: as rows of their own, and as pairs of mentions.
    card
        The card of `reports` alone, which no process can send to another.
    """

    abstracts: Callable[[], Sample]
    relations: Callable[[], tuple[Sample, Sample]]
    reports: Callable[[], Sample]
    card: Callable[[], TaskCard]


def _whole(card: TaskCard, X: np.ndarray, y: np.ndarray) -> Sample:
    order, none = np.random.default_rng(0).permutation(len(X)), np.zeros(len(X), bool)
    return Sample(card, X[order], y[order], none, none)


def _task(name: str) -> Sample:
    task = TASKS.get(name)
    examples = task.read()
    return _whole(task.card, examples.inputs, examples.targets)


def _relations() -> tuple[Sample, Sample]:
    task = TASKS.get("litcoin-relations")
    marked, pairs = task.read("random"), task.read("mention-tail")
    assert marked.folds is not None
    train, held = marked.folds == 0, marked.folds == 1
    relation = np.array(["/".join(key.split("/")[:2]) for key in pairs.ids], dtype=object)
    return (
        Sample(task.card, marked.inputs, marked.targets, train, held),
        Sample(task.card, pairs.inputs, pairs.targets, *_same(relation, marked.ids, train, held)),
    )


def _same(relation: np.ndarray, ids: np.ndarray, train: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which pairs are of the training relations, and one pair of each relation that is asked about."""
    asked = np.zeros(len(relation), bool)
    _, first = np.unique(np.where(np.isin(relation, ids[held]), relation, ""), return_index=True)
    asked[first] = True
    return np.isin(relation, ids[train]), asked & np.isin(relation, ids[held])


def _generated(kind: Kind, rows: int) -> Sample:
    card, X, y = text_task(kind, rows)
    longer = np.random.default_rng(0).integers(1, 9, rows)  # texts of differing length, as everywhere
    return _whole(card, np.array([" ".join([text] * times) for text, times in zip(X, longer, strict=True)], object), y)


def _generated_relations() -> tuple[Sample, Sample]:
    found = _generated("multiclass", RELATIONS)
    train = np.arange(RELATIONS) < RELATIONS * 2 // 3

    def marked(*names: str) -> Any:
        texts = [f"[E1] {name} [/E1] {text} [E2] gene [/E2]" for name in names for text in found.X]
        held = np.arange(len(texts)) < RELATIONS
        y, here = np.tile(found.y, len(names)), np.tile(train, len(names))
        return Sample(found.card, np.array(texts, object), y, here, ~here & held)

    return marked("drug"), marked("drug", "medicine")


PUBLISHED = Samples(
    abstracts=lambda: _task("biomedical-abstracts"),
    relations=_relations,
    reports=lambda: _task("padchest-reports"),
    card=lambda: TASKS.get("padchest-reports").card,
)
GENERATED = Samples(
    abstracts=lambda: _generated("multilabel", 96),
    relations=_generated_relations,
    reports=lambda: _generated("multilabel", 640),
    card=lambda: text_task("multilabel")[0],
)
