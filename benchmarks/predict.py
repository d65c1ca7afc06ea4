"""Answers from a stored model: the artefact of a recorded cell, loaded and asked."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.core import TASKS, Modality, Task
from ..datasets.images import Images
from ..datasets.own import registered
from ..datasets.support.errors import UserError
from ..datasets.support.registry import import_plugin
from ..datasets.support.texts import Texts
from ..zoo import adapter
from ..zoo.core import MODELS, Context, split_name
from ..zoo.features import FeatureCache
from ..zoo.word_weights import Weighed, weigh
from .calibration import scale
from .engines.quiet import prepare_process
from .metrics import METRICS
from .options import load_plugin
from .record import ENSEMBLES, Record
from .scoring import refuse
from .selective import answer_confidence
from .store import ARTEFACT, Results, Stored, read_record
from .thresholds import Thresholds, apply_thresholds


@dataclass(frozen=True)
class Answer:
    """What a model says of one example: (label, probability) of its labels, most probable first.

    `chosen` are the labels at or above their thresholds (multi-label), or the most probable one (multi-class).
    `confidence` is the probability that the model gives to this answer (`selective` says how).
    """

    probabilities: tuple[tuple[str, float], ...]
    chosen: tuple[str, ...]
    confidence: float


def task_of(record: Record) -> Task:
    """Return the task that a record is of."""
    return TASKS.get(record.task)


class Predictor:
    """A stored model, loaded.

    Parameters
    ----------
    stored
        The record of a cell that has an artefact.
    plugins
        The plug-in files that the model came from.
    temperature
        Divides the logits of what is answered. Decisions are made before, by the thresholds as they were fitted:
        the same as to move the thresholds through the same map.
    serving
        Asked again and again in a process of many threads: it forks no processes, and keeps nothing of the texts.
    """

    def __init__(
        self, stored: Stored, plugins: Sequence[Path] = (), temperature: float = 1.0, *, serving: bool = False
    ) -> None:
        record = self.record = stored.record
        model = MODELS.get(record.model)
        prepare_process(model.card, record.config)
        # What it was trained on: the task of today may have other labels, in another order.
        card = dataclasses.replace(task_of(record).card, labels=tuple(record.labels), kind=record.kind)
        self._features, self._serving = FeatureCache(), serving
        context = Context(card, record.seed, "cpu", 1 if serving else os.cpu_count() or 1, self._features)
        built = model.build(record.config, context)
        names = (model.module, *(import_plugin(path).__name__ for path in plugins))
        self._card = card
        self._estimator: Any = adapter.load(built, stored.attempt / ARTEFACT, names)
        self._temperature = temperature

    def __call__(self, inputs: Sequence[str] | Texts | Images) -> list[Answer]:
        """Return one answer an input, in order; `Texts` bring columns along that the model may know.

        Raises
        ------
        UserError
            If the model answers something that is no probability.
        """
        return answers_of(self.record, self.probabilities(inputs), self._temperature)

    def probabilities(self, inputs: Sequence[str] | Texts | Images) -> np.ndarray:
        """Return the (n, labels) float32 probabilities of inputs; errors as above."""
        X = inputs if isinstance(inputs, Images) else np.asanyarray(inputs, dtype=object)
        with self._features.bypass() if self._serving else contextlib.nullcontext():
            found = np.asarray(adapter.probabilities(self._estimator, X, self._card), dtype=np.float32)
        if reason := refuse(self._card.kind, found, len(X), len(self._card.labels)):
            raise UserError(f"model {self.record.model}: {reason}")
        return found

    def look(self, images: Images, label: str) -> np.ndarray:
        """Return (n, side, side) float32 maps from 0 to 1 of what spoke for `label`.

        Raises
        ------
        UserError
            If the model cannot tell.
        """
        if not hasattr(self._estimator, "grad_cam"):
            raise UserError(f"model {self.record.model} cannot tell where it looked: take a convolutional network")
        return np.asarray(self._estimator.grad_cam(images, self._card.labels.index(label)), dtype=np.float32)

    def weigh(self, text: str) -> Weighed | None:
        """Return what each word of a text adds to each label; None of a model that is no weighted sum of words."""
        return weigh(self._estimator, text, len(self._card.labels))


def answers_of(record: Record, found: np.ndarray, temperature: float = 1.0) -> list[Answer]:
    """Return an answer for each row of (n, labels) probabilities, decided by a record's thresholds.

    Parameters
    ----------
    temperature
        Divides the logits of what is answered. Decisions are made before, by the thresholds as they were fitted:
        the same as to move the thresholds through the same map.
    """
    thresholds = Thresholds(record.policy, tuple(record.test[record.policy].thresholds))
    decided = apply_thresholds(thresholds, record.kind, found)
    said = scale(record.kind, found, temperature)
    sure = answer_confidence(record.kind, said, decided).tolist()
    return [_answer(record, *row) for row in zip(found, said, decided, sure, strict=True)]


def _answer(record: Record, found: np.ndarray, said: np.ndarray, choice: Any, confidence: float) -> Answer:
    labels = record.labels
    order = np.argsort(-found, kind="stable")
    held = set(np.flatnonzero(choice)) if record.kind == "multilabel" else {int(choice)}
    return Answer(
        tuple((labels[index], float(said[index])) for index in order),
        tuple(labels[index] for index in order if index in held),
        confidence,
    )


def best_cell(
    task: str, model: str, results: Path, plugins: Sequence[Path] = (), modality: Modality = "text"
) -> Stored:
    """Return the stored cell of `model` on `task` with the best primary metric on the validation fold.

    The validation fold, not the test fold: choosing by the latter would make the board's score of it a lie.

    Raises
    ------
    UserError
        If a name is unknown, the task is of another modality, or no finished cell of the two has an artefact.
    """
    for path in plugins:
        load_plugin(path)
    known = registered(task)
    (base, _), (name, preset) = split_name(known), split_name(model)
    if (found := TASKS.get(base).card.modality) != modality:
        command = "zoobench explain" if found == "image" else "zoobench predict"
        raise UserError(f"task {base} is made of {found}s: ask with `{command}`")
    folder = Results(results).folder(known, name)
    if model not in ENSEMBLES:
        MODELS.get(name).card.configure(preset)
    elif modality == "image":
        raise UserError(f"{model} cannot tell where it looked: name one of its members")
    done = [stored for path in sorted(folder.glob("*/record.json")) if (stored := _whole(path))]
    cells = [stored for stored in done if _usable(stored) and (not preset or stored.record.preset == preset)]
    if not cells:
        run = f"zoobench ensemble {task}" if model in ENSEMBLES else f"zoobench run --task {task} --model {model}"
        fresh = " --fresh" if model not in ENSEMBLES and done else ""
        raise UserError(f"no stored {model} for {task} in {results}: run `{run}{fresh}` first")
    return best_of(cells)


def recorded_cell(
    task: str, model: str, results: Path, plugins: Sequence[Path] = (), seed: int | None = None
) -> tuple[Stored, Task]:
    """Return the recorded cell of `model` on `task` with the best primary metric on the validation fold, and the task.

    It needs no artefact, and its model need not be registered: what is asked of it are its stored probabilities.

    Raises
    ------
    UserError
        If a name is unknown, or no finished cell of the two (with `seed`, where one is given) is recorded.
    """
    for path in plugins:
        load_plugin(path)
    known = registered(task)
    (base, protocol), (name, preset) = split_name(known), split_name(model)
    found = TASKS.get(base)
    found.card.under(protocol)
    folder = Results(results).folder(known, name)
    if not folder.is_dir() or name in MODELS.entries():
        MODELS.get(name).card.configure(preset)
    paths = sorted(folder.glob("*/record.json"))
    cells = [stored for path in paths if (stored := _whole(path)) and stored.record.status == "ok"]
    cells = [stored for stored in cells if not preset or stored.record.preset == preset]
    chosen = [stored for stored in cells if seed is None or stored.record.seed == seed]
    if not chosen:
        seeds = ", ".join(map(str, sorted({stored.record.seed for stored in cells})))
        wanted = "" if seed is None else f" with seed {seed}{f' (recorded: {seeds})' if seeds else ''}"
        more = "" if seed is None else f" --seed {seed}"
        run = f"zoobench run --task {task} --model {model}{more}"
        raise UserError(f"no finished record of {model} on {task}{wanted} in {results}: run `{run}` first")
    return best_of(chosen), found


def best_of(cells: Sequence[Stored]) -> Stored:
    """Return the cell with the best validation score, of those on the newest one's rows."""
    newest = max(cells, key=lambda stored: stored.record.created).record
    cells = [stored for stored in cells if _same_rows(stored.record, newest)]
    return max(cells, key=lambda stored: _validation_score(stored.record))


def _same_rows(one: Record, other: Record) -> bool:
    """Return whether two validation scores were measured on the same rows and labels."""
    return (one.data_fingerprint, one.split_sha256, one.labels) == (
        other.data_fingerprint,
        other.split_sha256,
        other.labels,
    )


def _whole(path: Path) -> Stored | None:
    """Return a readable record; None of a learning curve's, whose model has seen but a part of the training rows."""
    try:
        stored = Stored(read_record(path), path)
    except (OSError, ValueError, RecursionError):
        return None
    return stored if stored.record.fraction == 1 else None


def _usable(stored: Stored) -> bool:
    kept = stored.record.mode == "ensemble" or (stored.attempt / ARTEFACT).is_dir()
    return stored.record.status == "ok" and kept


def _validation_score(record: Record) -> float:
    value = record.validation[record.policy].values[record.primary_metric]
    if value is None:
        return -np.inf
    return value if METRICS[record.primary_metric].higher_is_better else -value
