"""The types of a task: its card, its examples, and its folds."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from .support.errors import unknown_name
from .support.registry import Registry, declare

if TYPE_CHECKING:
    import numpy as np

    from .images import PixelStore

Kind = Literal["multilabel", "multiclass"]
Modality = Literal["text", "image"]
Fold = Literal["train", "validation", "test"]
FOLDS: tuple[Fold, ...] = get_args(Fold)
UNSEEN, UNSEEN_GROUP = "unseen", "unseen-group"
"""The parts of the test fold whose inputs, or whose groups, stand in no other fold, where that is not all of it."""
Leak = Literal["group", "exact", "near"]
"""What may stand in two folds: a group, an input equal to the letter, a near-identical text."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_name(kind: str, name: str) -> None:
    """Refuse a name that could not be a folder, a command-line word and a page address alike."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{kind} name {name!r} must be lower-case words of letters and digits joined by '-'")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the folds of a task are made, and what of the task it changes.

    Attributes
    ----------
    split
        SHA-256 of the canonical fold file of the published data: of the file in ``splits/`` where there is one,
        of the folds as they must come out where they are computed. Empty where the data could not be had.
    fingerprint
        `Examples.fingerprint` of the published data; other data are named as such and scored apart.
    leaks
        Why the folds share what honest folds do not, by kind of leak: the audit counts such a leak and
        fails any other.
    labels
        In place of the task's, where the protocol asks for others.
    """

    description: str
    split: str = ""
    fingerprint: str = ""
    leaks: Mapping[Leak, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if strange := set(self.leaks) - set(get_args(Leak)):
            raise ValueError(f"protocol: unknown kinds of leak {sorted(strange)}")
        object.__setattr__(self, "leaks", MappingProxyType(dict(self.leaks)))


HONEST = Protocol(description="70/10/20 by iterative stratification over groups; no group in two folds")


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
    protocols
        By name; the one without a name is the honest default.
    tabular
        Columns of numbers that a model of images is given beside the pixels, in this order.
    image_size
        Images are kept as squares of this side (pixels), smaller where the originals are; 0 for text.
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
    protocols: Mapping[str, Protocol] = field(default_factory=lambda: {"": HONEST})
    tabular: tuple[str, ...] = ()
    image_size: int = 0

    def __post_init__(self) -> None:
        check_name("task", self.name)
        if self.kind not in get_args(Kind) or self.modality not in get_args(Modality):
            raise ValueError(f"task {self.name}: kind {self.kind!r} or modality {self.modality!r} is unknown")
        if len(self.labels) < (1 if self.kind == "multilabel" else 2) or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"task {self.name}: labels must be distinct, and two or more for multi-class")
        if self.version < 1:
            raise ValueError(f"task {self.name}: version {self.version} must be 1 or more")
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))
        if "" not in self.protocols:
            raise ValueError(f"task {self.name}: it has no default protocol (the one named '')")
        for name in filter(None, self.protocols):
            check_name("protocol", name)
        if (self.modality == "image") != (self.image_size > 0) or (self.tabular and self.modality != "image"):
            raise ValueError(f"task {self.name}: image_size and tabular belong to image tasks, which need a size")
        object.__setattr__(self, "protocols", MappingProxyType(dict(self.protocols)))

    def under(self, protocol: str) -> TaskCard:
        """Return the card as `protocol` has it: with its labels.

        Raises
        ------
        UserError
            If the task has no such protocol.
        """
        if protocol not in self.protocols:
            raise unknown_name(f"protocol of {self.name}", protocol, filter(None, self.protocols))
        return replace(self, labels=self.protocols[protocol].labels or self.labels)


@dataclass(frozen=True)
class Examples:
    """The rows of a task.

    Attributes
    ----------
    ids
        (n,) distinct strings.
    inputs
        (n,) object array of strings for text; (n,) int64 rows of `pixels` for images.
    targets
        (n, labels) uint8 of 0 and 1 for multi-label; (n,) int64 class numbers for multi-class.
    groups
        (n,) int64; rows with the same number never stand in two folds of an honest protocol.
    columns
        What else is known of each row and says nothing of its target beyond the input: (n,) strings (object)
        or numbers (float, NaN where unknown) by name. The card's `tabular` names some of them.
    folds
        (n,) int64 index into ``FOLDS``, -1 for a row that is left out, where the source or the protocol deals
        the rows itself; None for the committed or computed folds.
    subsets
        (n,) bool by name: parts of the test fold that are scored apart as well.
    pixels
        Where the images are kept.
    """

    ids: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    folds: np.ndarray | None = None
    subsets: Mapping[str, np.ndarray] = field(default_factory=dict)
    pixels: PixelStore | None = None

    def __post_init__(self) -> None:
        parts = (self.ids, self.inputs, self.targets, self.groups, *self.columns.values(), *self.subsets.values())
        lengths = {len(part) for part in (*parts, *([] if self.folds is None else [self.folds]))}
        if len(lengths) != 1:
            raise ValueError(f"ids, inputs, targets, groups, columns, folds or subsets differ in length: {lengths}")
        for name, mask in self.subsets.items():
            if name in {UNSEEN, UNSEEN_GROUP} or mask.dtype.kind != "b":
                raise ValueError(
                    f"subset {name!r} must be of type bool, and have another name than {UNSEEN!r} and {UNSEEN_GROUP!r}"
                )
        dealt = set() if self.folds is None else set(self.folds.tolist())
        if not dealt <= {-1, *range(len(FOLDS))}:
            raise ValueError(f"folds must be whole numbers from -1 (left out) to {len(FOLDS) - 1}")
        for name in ("columns", "subsets"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
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
        if card.modality == "image" and self.pixels is None:
            raise ValueError(f"task {card.name}: an image task needs pixels")
        if missing := [name for name in card.tabular if name not in self.columns]:
            raise ValueError(f"task {card.name}: it has no column {', '.join(missing)}")

    def contents(self) -> np.ndarray:
        """Return (n,) strings that are equal where the inputs are: the texts, or the digests of the pixels."""
        return self.inputs if self.pixels is None else self.pixels.contents(self.inputs)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all rows: equal for equal data, whatever file or machine they came from.

        Of images the decoded pixels count: another version of the decoder may make other data of a JPEG.
        """
        digest = hashlib.sha256()
        extra = (self.columns[name] for name in sorted(self.columns))
        for column in (self.ids, self.contents(), *extra):
            for value in column:
                text = str(value).encode("utf-8", "surrogatepass")
                digest.update(len(text).to_bytes(8, "little") + text)
        digest.update(self.targets.astype("int64").tobytes() + self.groups.astype("int64").tobytes())
        return digest.hexdigest()


Reader = Callable[[], Examples] | Callable[[str], Examples]


@dataclass(frozen=True)
class Task:
    """A task: its card, the reader of its examples, and the raw files that it reads.

    `sources` names the raw files and folders, which it fetches where they are not there yet: their content tells
    whether a cached preparation still holds, and workers are kept from opening them. A task that makes its
    examples up has none.
    """

    card: TaskCard
    reader: Reader
    sources: Callable[[], tuple[Path, ...]] = tuple
    module: str = ""

    def read(self, protocol: str = "") -> Examples:
        """Return the examples under `protocol`; a reader without a parameter reads the same for each."""
        self.card.under(protocol)
        takes = "protocol" in inspect.signature(self.reader).parameters
        return self.reader(protocol) if takes else self.reader()  # type: ignore[call-arg]


def task(card: TaskCard, sources: Callable[[], tuple[Path, ...]] = tuple) -> Callable[[Reader], Task]:
    """Register the decorated reader as the task that `card` describes.

    >>> @task(TaskCard(name="my-task", ...))
    ... def read() -> Examples: ...

    A reader whose examples differ between protocols takes the protocol's name: ``def read(protocol: str)``.
    """

    def decorate(read: Reader) -> Task:
        return declare(Task(card, read, sources, read.__module__), read.__module__)

    return decorate


TASKS: Registry[Task] = Registry("task", Task, "zoobench.datasets.tasks", "zoobench.tasks")


def from_mapping(values: Mapping[str, Any]) -> TaskCard:
    """Return the card that `as_mapping` made `values` of."""
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    plain["protocols"] = {
        name: Protocol(**{**protocol, "labels": tuple(protocol["labels"])})
        for name, protocol in values["protocols"].items()
    }
    return TaskCard(**plain)  # type: ignore[arg-type]


def as_mapping(card: TaskCard) -> dict[str, Any]:
    """Return a card as plain JSON values."""
    return {name: _plain(getattr(card, name)) for name in card.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Protocol):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return list(value) if isinstance(value, tuple) else value
