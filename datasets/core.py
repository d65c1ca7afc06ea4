"""The types of a task: its card, its examples, and its folds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from .support.registry import Registry, declare

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["multilabel", "multiclass"]
Modality = Literal["text", "image"]
Fold = Literal["train", "validation", "test"]
FOLDS: tuple[Fold, ...] = get_args(Fold)

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_name(kind: str, name: str) -> None:
    """Refuse a name that could not be a folder, a command-line word and a page address alike."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{kind} name {name!r} must be lower-case words of letters and digits joined by '-'")


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What a task asks, where its data come from, and how it is scored.

    Attributes
    ----------
    version
        Raised whenever the same raw files would be read into other examples.
    labels
        In the order of the target columns (multi-label) or class numbers (multi-class).
    primary_metric
        The name of the metric that ranks models on this task (see ``benchmarks/metrics.py``).
    group
        What ties examples together that must not be parted by a fold ("patient", "near-identical text", …).
    counts
        Figures about the data that a reader asserts, in the words of the data card.
    requires
        Importable modules that reading needs, found by name and not imported; `extra` installs them.
    splits
        SHA-256 of each committed fold file by protocol; the protocol without a name is the honest default.
        A task without one gets its folds computed, deterministically, when it is prepared.
    """

    name: str
    title: str
    description: str
    version: int
    kind: Kind
    modality: Modality
    labels: tuple[str, ...]
    primary_metric: str
    group: str
    licence: str
    source: str
    citation: str
    language: str = "en"
    counts: Mapping[str, int] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    extra: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("task", self.name)
        if self.kind not in get_args(Kind) or self.modality not in get_args(Modality):
            raise ValueError(f"task {self.name}: kind {self.kind!r} or modality {self.modality!r} is unknown")
        if len(self.labels) < (1 if self.kind == "multilabel" else 2) or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"task {self.name}: labels must be distinct, and two or more for multi-class")
        if self.version < 1:
            raise ValueError(f"task {self.name}: version {self.version} must be 1 or more")
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))
        object.__setattr__(self, "splits", MappingProxyType(dict(self.splits)))


@dataclass(frozen=True)
class Examples:
    """The rows of a task.

    Attributes
    ----------
    ids
        (n,) distinct strings.
    inputs
        (n,) object array of strings for text.
    targets
        (n, labels) uint8 of 0 and 1 for multi-label; (n,) int64 class numbers for multi-class.
    groups
        (n,) int64; rows with the same number never stand in two folds.
    """

    ids: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    groups: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.inputs), len(self.targets), len(self.groups)}
        if len(lengths) != 1:
            raise ValueError(f"ids, inputs, targets and groups differ in length: {sorted(lengths)}")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("ids are not distinct")

    def __len__(self) -> int:
        return len(self.ids)

    def check_against(self, card: TaskCard) -> None:
        """Refuse targets that do not fit the card.

        Raises
        ------
        ValueError
            If the shape, the type or a value of the targets is not what the card's kind and labels ask for.
        """
        wanted = (len(self), len(card.labels)) if card.kind == "multilabel" else (len(self),)
        if self.targets.shape != wanted:
            raise ValueError(f"task {card.name}: targets have shape {self.targets.shape}, expected {wanted}")
        top = 1 if card.kind == "multilabel" else len(card.labels) - 1
        if self.targets.dtype.kind not in "iu" or (
            len(self) and not 0 <= self.targets.min() <= self.targets.max() <= top
        ):
            raise ValueError(f"task {card.name}: targets must be whole numbers from 0 to {top}")

    def fingerprint(self) -> str:
        """Return the SHA-256 of all rows: equal for equal data, whatever file or machine it came from."""
        digest = hashlib.sha256()
        for column in (self.ids, self.inputs):
            for value in column:
                text = str(value).encode()
                digest.update(len(text).to_bytes(8, "little") + text)
        digest.update(self.targets.astype("int64").tobytes() + self.groups.astype("int64").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Task:
    """A task: its card, the reader of its examples, and the raw files that it reads.

    `sources` names the files without opening them; their SHA-256 tells whether a cached preparation still
    holds, and workers are kept from opening them. A task that makes its examples up has none.
    """

    card: TaskCard
    read: Callable[[], Examples]
    sources: Callable[[], tuple[Path, ...]] = tuple
    module: str = ""


def task(card: TaskCard, sources: Callable[[], tuple[Path, ...]] = tuple) -> Callable[[Callable[[], Examples]], Task]:
    """Register the decorated reader as the task that `card` describes.

    >>> @task(TaskCard(name="my-task", ...))
    ... def read() -> Examples: ...
    """

    def decorate(read: Callable[[], Examples]) -> Task:
        return declare(Task(card, read, sources, read.__module__), read.__module__)

    return decorate


TASKS: Registry[Task] = Registry("task", Task, "zoobench.datasets.tasks", "zoobench.tasks")


def from_mapping(values: Mapping[str, Any]) -> TaskCard:
    """Return the card that `as_mapping` made `values` of."""
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return TaskCard(**plain)


def as_mapping(card: TaskCard) -> dict[str, Any]:
    """Return a card as plain JSON values."""
    values = {name: getattr(card, name) for name in card.__dataclass_fields__}
    return {
        name: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }
