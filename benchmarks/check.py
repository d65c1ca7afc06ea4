"""The conformance suite: what every model and every task must do, for the tests and for `zoobench check`.

A check is a function that raises `Broken` with a sentence; nothing registered escapes the list.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.core import FOLDS, Kind, Task, TaskCard
from ..datasets.images import PIXELS, Images
from ..datasets.layout import load_test_inputs, load_training
from ..datasets.prepare import prepare
from ..datasets.support.errors import UnavailableError, first_line
from ..zoo import adapter
from ..zoo.core import Config, Context, Model, missing_modules
from ..zoo.features import FeatureCache
from .metrics import METRICS
from .scoring import TaskScorer, refuse
from .tiny import tiny_encoder

SEED = 11
QUICK: Config = {"epochs": 2, "trees": 20}
"""Lowered where a model has them, and its encoder is a tiny one: conformance is not about the score."""
QUICK_IMAGES: Config = {"epochs": 1, "cycles": 1, "weights": "none", "size": 64, "memory_layout": "contiguous"}
"""The same for models of images: a random start, of the smallest size."""
SIDE = 64

ROW_GAP = 1e-4
"""By how much padding and the order of sums may move a probability."""


class Broken(AssertionError):  # noqa: N818 - reads as a finding, not as an error of the suite
    """A model or task does not keep the contract; the message says how."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: `problem` is empty where the contract is kept."""

    check: str
    problem: str
    seconds: float


def text_task(kind: Kind, rows: int = 72) -> tuple[TaskCard, np.ndarray, np.ndarray]:
    """Return a card, (rows,) texts and their targets: three labels that three words give away."""
    words = ("fever", "fracture", "nodule")
    rng = np.random.default_rng(SEED)
    held = rng.random((rows, 3)) < 0.45 if kind == "multilabel" else np.eye(3, dtype=bool)[np.arange(rows) % 3]
    filler = np.array(["the", "chest", "is", "seen", "with", "no", "change", "today"])
    texts = np.array(
        [" ".join([*rng.choice(filler, 6), *np.array(words)[row], *rng.choice(filler, 4)]) for row in held],
        dtype=object,
    )
    card = TaskCard(
        name=f"check-{kind}",
        title="Generated texts",
        description="Each label is one word.",
        version=1,
        kind=kind,
        modality="text",
        labels=words,
        primary_metric="f1_macro",
        group="none",
        licence="CC0-1.0",
        source="generated",
        citation="none",
    )
    return card, texts, held.astype(np.uint8) if kind == "multilabel" else held.argmax(axis=1)


def image_task(kind: Kind, rows: int = 48) -> tuple[TaskCard, Images, np.ndarray]:
    """Return a card, (rows,) images of 64 pixels and their targets: three labels that three bright squares give away.

    Beside each image stand age, view and sex, one of which is not known.
    """
    card, _, targets = text_task(kind, rows)
    held = targets.astype(bool) if kind == "multilabel" else np.eye(3, dtype=bool)[targets]
    rng = np.random.default_rng(SEED)
    pixels = rng.integers(0, 90, (rows, SIDE, SIDE), np.uint8)
    for label in range(3):
        pixels[held[:, label], 24:40, 8 + 16 * label : 24 + 16 * label] += 140
    tabular = np.column_stack([rng.random(rows), held[:, 0], rng.integers(0, 2, rows)]).astype(np.float32)
    tabular[5, 0] = np.nan
    names = ("age", "view", "sex")
    image_card = replace(
        card,
        title="Generated images",
        description="Each label is one bright square.",
        modality="image",
        tabular=names,
        image_size=SIDE,
    )
    return image_card, Images(pixels, np.arange(rows), tabular, names), targets


@dataclass
class Bench:
    """A model on a generated task of one kind, fitted once for all checks."""

    model: Model
    kind: Kind
    folder: Path

    @cached_property
    def data(self) -> tuple[TaskCard, Any, np.ndarray]:
        """Card, texts or images, and targets."""
        return self.make()

    @property
    def looks(self) -> bool:
        """Whether the model reads images; one that reads anything is given texts."""
        return self.model.card.modality == "image"

    def make(self) -> tuple[TaskCard, Any, np.ndarray]:
        """Return the task anew."""
        return image_task(self.kind) if self.looks else text_task(self.kind)

    def build(self) -> Any:
        """Return a fresh estimator."""
        card = self.model.card
        quick = {**QUICK, **QUICK_IMAGES} if self.looks else QUICK
        wanted = {name: value for name, value in quick.items() if name in card.default}
        if "number_format" in card.default:
            wanted["number_format"] = "fp32"  # coarser ones round by the shape of a batch
        if "encoder" in card.default:
            wanted["encoder"] = tiny_encoder(self.folder / "encoder")
        config = card.configure("", wanted)
        estimator = self.model.build(
            config, Context(self.data[0], SEED, "cpu", 2, FeatureCache(self.folder / "features"))
        )
        adapter.seed_generators(estimator, SEED)
        return estimator

    def fit(self, estimator: Any, X: Any, y: np.ndarray) -> Any:
        """Fit on all rows but the last 24, with rows 24 to 12 from the end as validation."""
        offered = {
            "X_val": X[-24:-12],
            "y_val": y[-24:-12],
            "seed": SEED,
            "scorer": TaskScorer(self.kind, "f1_macro"),
            "report": lambda step, total, **values: None,
        }
        return adapter.fit(estimator, X[:-24], y[:-24], offered)

    def ask(self, estimator: Any, X: Any) -> np.ndarray:
        """Return valid probabilities, or raise `Broken`."""
        card = self.data[0]
        found = adapter.probabilities(estimator, X, card)
        if reason := refuse(self.kind, np.asarray(found, dtype=np.float32), len(X), len(card.labels)):
            raise Broken(reason)
        return found

    @cached_property
    def fitted(self) -> Any:
        """The estimator after one fit."""
        _, X, y = self.data
        return self.fit(self.build(), X, y)

    @cached_property
    def again(self) -> tuple[Any, bool]:
        """The estimator after another fit on the same rows, and whether that left X and y alone."""
        _, X, y = self.make()
        _, same, targets = self.make()
        estimator = self.fit(self.build(), X, y)
        return estimator, _same_inputs(same, X) and np.array_equal(targets, y)


def _same_inputs(first: Any, second: Any) -> bool:
    if isinstance(first, Images):
        return np.array_equal(first.load(), second.load()) and np.array_equal(first.tabular, second.tabular, True)
    return np.array_equal(first, second)


def card_is_complete(bench: Bench) -> None:
    """Require a card with title, source and needs, and defaults within the search space."""
    card = bench.model.card
    for name in ("title", "description", "citation"):
        if not getattr(card, name).strip():
            raise Broken(f"the card has no {name}")
    for name, space in card.space.items():
        if card.default[name] not in space:
            raise Broken(f"the default {name}={card.default[name]!r} lies outside its search space {space}")
    for preset in card.presets:
        card.configure(preset)
    if missing := missing_modules(card.requires):
        raise Broken(f"{', '.join(missing)} is not installed: pip install 'zoobench[{card.extra or 'all'}]'")


def answers_probabilities(bench: Bench) -> None:
    """Require (n, labels) finite probabilities, for many rows and for one."""
    _, X, _ = bench.data
    bench.ask(bench.fitted, X[-12:])
    bench.ask(bench.fitted, X[-1:])


def answers_each_row_by_itself(bench: Bench) -> None:
    """Require that the rows that are asked about together leave each other's answers alone."""
    if bench.model.card.modality == "any":
        return  # it does not look at the rows, and may draw its answers
    _, X, _ = bench.data
    asked = X[-4:] if bench.looks else np.concatenate([X[-4:], ["fever " * 200, "nodule"]]).astype(object)
    together = bench.ask(bench.fitted, asked)
    alone = np.concatenate([bench.ask(bench.fitted, asked[row : row + 1]) for row in range(len(asked))])
    gap = float(np.abs(together - alone).max())
    if gap > ROW_GAP:
        raise Broken(f"a row's probabilities change by {gap:.2g} with the rows that it is asked with")


def leaves_inputs_alone(bench: Bench) -> None:
    """Require that `fit` changes neither X nor y."""
    if not bench.again[1]:
        raise Broken("fit changed its inputs in place")


def repeats_itself(bench: Bench) -> None:
    """Require the same probabilities of two fits with the same seed."""
    _, X, _ = bench.data
    first = bench.ask(bench.fitted, X[-12:])
    second = bench.ask(bench.again[0], X[-12:])
    gap = float(np.abs(first - second).max())
    if gap > 1e-5:
        raise Broken(f"two fits with the same seed differ by {gap:.2g}: use the context's seed")


def takes_odd_inputs(bench: Bench) -> None:
    """Require an answer to empty, very long and non-English texts; to black and white images of which nothing is known.

    They are of another size than those that were trained on.
    """
    if bench.looks:
        pixels = np.stack([np.zeros((80, 80), np.uint8), np.full((80, 80), 255, np.uint8)])
        unknown = np.full((2, 3), np.nan, np.float32)
        bench.ask(bench.fitted, Images(pixels, np.arange(2), unknown, ("age", "view", "sex")))
        return
    odd = np.array(["", " ", "fever " * 3000, "Φλεγμονή 肺炎 🫁", "\x00\x01"], dtype=object)
    bench.ask(bench.fitted, odd)


def survives_an_absent_label(bench: Bench) -> None:
    """Require a column also for a label without a training row."""
    _, X, y = bench.data
    if bench.kind == "multilabel":
        y = y.copy()
        y[:, 2] = 0
        kept = np.ones(len(X), bool)
    else:
        kept = (y != 2) | (np.arange(len(X)) >= len(X) - 24)
    bench.ask(bench.fit(bench.build(), X[kept], y[kept]), X[-12:])


def comes_back_from_disk(bench: Bench) -> None:
    """Require that the stored artefact loads without pickle and answers the same."""
    _, X, _ = bench.data
    folder = bench.folder / f"artefact-{bench.kind}"
    adapter.save(bench.fitted, folder)
    again = adapter.load(bench.build(), folder, (bench.model.module,))
    gap = float(np.abs(bench.ask(bench.fitted, X[-12:]) - bench.ask(again, X[-12:])).max())
    if gap > 1e-6:
        raise Broken(f"the loaded model's probabilities differ by {gap:.2g}")


MODEL_CHECKS: Mapping[str, Callable[[Bench], None]] = {
    check.__name__: check
    for check in (
        card_is_complete,
        answers_probabilities,
        answers_each_row_by_itself,
        leaves_inputs_alone,
        repeats_itself,
        takes_odd_inputs,
        survives_an_absent_label,
        comes_back_from_disk,
    )
}


def task_card_is_complete(task: Task) -> None:
    """Require a card with its origin, and a primary metric that exists."""
    for name in ("title", "description", "licence", "source", "citation", "group"):
        if not getattr(task.card, name).strip():
            raise Broken(f"the card has no {name}")
    metric = METRICS.get(task.card.primary_metric)
    if metric is None or metric.higher_is_better is None:
        raise Broken(f"the primary metric {task.card.primary_metric!r} is unknown or has no good direction")


def reads_the_same_twice(task: Task) -> None:
    """Require that reading is deterministic, fits the card, and yields strings for text."""
    first, second = task.read(), task.read()
    first.check_against(task.card)
    if first.fingerprint() != second.fingerprint():
        raise Broken("two readings differ")
    if task.card.modality == "text" and not all(isinstance(text, str) and text.strip() for text in first.inputs):
        raise Broken("an input is empty or no string")


def folds_are_fair(task: Task) -> None:
    """Require folds under every protocol that part nothing undeclared, and every label in the default training fold."""
    for protocol in filter(None, task.card.protocols):
        with contextlib.suppress(UnavailableError):  # it may need files that the default does without
            prepare(task, protocol)
    targets = load_training(prepare(task).folder / "public", "train")[1]
    labels = task.card.labels
    counts = targets.sum(axis=0) if task.card.kind == "multilabel" else np.bincount(targets, minlength=len(labels))
    if absent := [label for label, count in zip(labels, counts, strict=True) if not count]:
        raise Broken(f"no training row holds {', '.join(absent)}")


def hides_the_test_targets(task: Task) -> None:
    """Require that a worker is given the inputs of the test fold and nothing else of it."""
    prepared = prepare(task)
    if len(load_test_inputs(prepared.folder / "public")) != prepared.rows["test"]:
        raise Broken("the test inputs are not as many as the test rows")
    found = {path.name for path in (prepared.folder / "public").iterdir()}
    if found - {PIXELS} != {f"{fold}.parquet" for fold in FOLDS}:
        raise Broken(f"the public folder holds more than the folds: {sorted(found)}")


TASK_CHECKS: Mapping[str, Callable[[Task], None]] = {
    check.__name__: check
    for check in (task_card_is_complete, reads_the_same_twice, folds_are_fair, hides_the_test_targets)
}


def check_model(model: Model) -> Iterator[Finding]:
    """Run every check on every kind of task that the model answers."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in model.card.kinds:
            bench = Bench(model, kind, Path(folder))
            for name, check in MODEL_CHECKS.items():
                yield _finding(f"{name} ({kind})", check, bench)


def check_task(task: Task) -> Iterator[Finding]:
    """Run every check of a task."""
    for name, check in TASK_CHECKS.items():
        yield _finding(name, check, task)


def _finding(name: str, check: Callable[[Any], None], subject: Any) -> Finding:
    start = time.monotonic()
    try:
        check(subject)
        problem = ""
    except Exception as error:
        line = first_line(error)
        problem = line if isinstance(error, Broken) else f"{type(error).__name__}: {line}"
    return Finding(name.replace("_", " "), problem, time.monotonic() - start)
