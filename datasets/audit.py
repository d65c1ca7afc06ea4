"""The leakage audit: what stands in two folds at once, and how evenly the folds share the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from .core import FOLDS, Examples, Fold, Leak, Task, TaskCard
from .folds import split_sha256
from .near import THRESHOLD, NearTexts, near_identical
from .support.errors import UserError

_SHOWN = 3
IdPair = tuple[str, str]


@dataclass(frozen=True)
class Overlap:
    """What an earlier and a later fold share, of one kind.

    Attributes
    ----------
    kind
        "group": groups with rows in both folds. "exact": rows of the later fold whose input stands in the earlier
        one, to the letter or to the pixel. "near": rows of the later fold, beyond the exact ones, that have a
        near-identical text in the earlier one.
    count
        How many groups ("group") or rows of the later fold ("exact", "near").
    examples
        A few of them: ids of a row in the earlier and a row in the later fold.
    reason
        Why the protocol has such a leak by design, as it declares; None where it declares none.
    """

    kind: Leak
    earlier: Fold
    later: Fold
    count: int
    examples: tuple[IdPair, ...]
    reason: str | None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Leak) or (self.earlier, self.later) not in combinations(FOLDS, 2):
            raise ValueError(f"no overlap is of kind {self.kind!r} between {self.earlier!r} and {self.later!r}")
        if self.count < 0 or (self.count > 0) != bool(self.examples):
            raise ValueError(f"{self.count} overlaps with {len(self.examples)} examples")

    @property
    def declared(self) -> bool:
        """Whether the protocol leaks so by design."""
        return self.reason is not None


@dataclass(frozen=True)
class Deviation:
    """The fold and label whose share is furthest from the whole: by so many percentage points."""

    fold: Fold
    label: str
    points: float


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What the audit of one protocol of a task found.

    Attributes
    ----------
    fingerprint, split
        Of the data (`Examples.fingerprint`) and of the folds (`split_sha256`) that it looked at.
    near_threshold
        TF-IDF cosine from which on texts are near-identical; None for images, among which none are looked for.
    rows, left_out
        Rows in each fold, and rows in none.
    overlaps
        Every kind of leak that can be looked for, in every pair of folds, also where the count is 0.
    duplicates
        Rows in the folds whose input stands in them already: rows less distinct inputs.
    conflicts
        Rows of train and validation whose input stands there with other targets as well: noise in the labels.
        The test targets are used for the shares alone.
    conflicting
        Ids of a few such pairs.
    stale
        Kinds of leak that the protocol declares and no pair of folds has.
    shares, overall
        The share of rows that hold each label, by fold and label, and by label in all folds together.
    """

    task: str
    protocol: str
    fingerprint: str
    split: str
    near_threshold: float | None
    rows: Mapping[Fold, int]
    left_out: int
    overlaps: tuple[Overlap, ...]
    stale: tuple[Leak, ...]
    duplicates: int
    conflicts: int
    conflicting: tuple[IdPair, ...]
    shares: Mapping[Fold, Mapping[str, float]]
    overall: Mapping[str, float]

    def __post_init__(self) -> None:
        kinds = [kind for kind in get_args(Leak) if kind != "near" or self.near_threshold is not None]
        wanted = {(kind, *pair) for kind in kinds for pair in combinations(FOLDS, 2)}
        if len(self.overlaps) != len(wanted) or {(o.kind, o.earlier, o.later) for o in self.overlaps} != wanted:
            raise ValueError(f"task {self.task}: an audit looks for each kind of leak in each pair of folds, once")
        for name in ("rows", "shares", "overall"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def findings(self) -> tuple[Overlap, ...]:
        """Return the leaks, declared or not."""
        return tuple(overlap for overlap in self.overlaps if overlap.count)

    @property
    def ok(self) -> bool:
        """Whether the folds share nothing but what the protocol declares."""
        return all(finding.declared for finding in self.findings)

    @property
    def absent(self) -> Mapping[Fold, tuple[str, ...]]:
        """Return the labels that no row of a fold holds, by fold."""
        return {
            fold: tuple(label for label, share in shares.items() if not share) for fold, shares in self.shares.items()
        }

    @property
    def deviation(self) -> Deviation:
        """Return the largest deviation of a label's share in a fold from its share in all folds."""
        off = [
            Deviation(fold, label, 100 * abs(share - self.overall[label]))
            for fold, shares in self.shares.items()
            for label, share in shares.items()
        ]
        return max(off, key=lambda deviation: deviation.points)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        from pydantic_core import to_jsonable_python

        told = {name: getattr(self, name) for name in ("absent", "deviation", "ok")}
        # A read-only mapping is the one value that pydantic does not know.
        return to_jsonable_python(vars(self) | told, fallback=dict)


def audit(
    task: Task | TaskCard, protocol: str, examples: Examples, folds: np.ndarray, near: NearTexts | None = None
) -> Audit:
    """Look for everything that two folds share, and compare their labels.

    A text counts as equal to the letter, and as near-identical from a TF-IDF cosine of 0.9 on, with the words'
    weights from all `examples` (`near_identical` finds all such pairs, none left to chance).

    Parameters
    ----------
    folds
        (n,) int64 index into ``FOLDS``, -1 for a row that is left out; every fold needs rows.
    near
        Which of the texts are near-identical, where the caller has looked already; of images it is not used.

    Raises
    ------
    UserError
        If the task has no such protocol, or a fold is empty.
    """
    card = (task.card if isinstance(task, Task) else task).under(protocol)
    counts = _rows_by_fold(f"{card.name}@{protocol}" if protocol else card.name, folds)
    # In the order of the ids: no figure and no example hangs on the order of the rows.
    order = np.argsort(examples.ids.astype(object), kind="stable")
    dealt = folds[order]
    near = (near or near_identical(examples.inputs)) if examples.pixels is None else None
    inputs = np.unique(examples.contents()[order].astype(object), return_inverse=True)[1]
    ordered = near and replace(near, member=near.member[order])
    rows = _Rows(examples.ids[order], dealt, examples.groups[order], inputs, ordered)
    overlaps = rows.overlaps(reasons := card.protocols[protocol].leaks)
    hot = hot_targets(examples.targets[order], len(card.labels))
    conflicts, conflicting = rows.conflicts(hot)
    kept = dealt >= 0
    return Audit(
        task=card.name,
        protocol=protocol,
        fingerprint=examples.fingerprint(),
        split=split_sha256(examples.ids, folds),
        near_threshold=None if near is None else THRESHOLD,
        rows=counts,
        left_out=int((~kept).sum()),
        overlaps=overlaps,
        stale=tuple(kind for kind in reasons if not any(o.count for o in overlaps if o.kind == kind)),
        duplicates=int(kept.sum() - len(np.unique(rows.inputs[kept]))),
        conflicts=conflicts,
        conflicting=conflicting,
        shares={fold: _shares(card.labels, hot[dealt == number]) for number, fold in enumerate(FOLDS)},
        overall=_shares(card.labels, hot[kept]),
    )


def _rows_by_fold(name: str, folds: np.ndarray) -> dict[Fold, int]:
    counts: dict[Fold, int] = {fold: int((folds == number).sum()) for number, fold in enumerate(FOLDS)}
    if empty := [fold for fold, count in counts.items() if not count]:
        total = sum(counts.values())
        raise UserError(f"task {name}: {total} examples leave the {empty[0]} fold empty: deal them otherwise")
    return counts


def hot_targets(targets: np.ndarray, labels: int) -> np.ndarray:
    """Return (n, labels) bool from (n, labels) of 0 and 1 or (n,) class numbers."""
    return targets.astype(bool) if targets.ndim == 2 else np.eye(labels, dtype=bool)[targets]


@dataclass(frozen=True)
class _Rows:
    """Rows in the order of their ids: (n,) ids, folds, groups, and numbers that are equal where the inputs are."""

    ids: np.ndarray
    folds: np.ndarray
    groups: np.ndarray
    inputs: np.ndarray
    near: NearTexts | None

    def overlaps(self, reasons: Mapping[Leak, str]) -> tuple[Overlap, ...]:
        """Return every kind of overlap of every pair of folds."""
        found = []
        for one, other in combinations(range(len(FOLDS)), 2):
            earlier, later = np.flatnonzero(self.folds == one), np.flatnonzero(self.folds == other)
            exact = _met(self.inputs, earlier, later)
            met: dict[Leak, tuple[int, tuple[IdPair, ...]]] = {}
            parted = _met(self.groups, earlier, _firsts(self.groups, later))
            met["group"] = len(parted), _ids(self.ids, parted)
            met["exact"] = len(exact), _ids(self.ids, exact)
            if self.near is not None:
                beyond = np.setdiff1d(later[self.near.beside(self.folds == one)[later]], exact[:, 1])
                pairs = [(_partner(self.near, row, earlier), row) for row in beyond[:_SHOWN]]
                met["near"] = len(beyond), _ids(self.ids, pairs)
            found += [
                Overlap(kind, FOLDS[one], FOLDS[other], count, pairs, reasons.get(kind))
                for kind, (count, pairs) in met.items()
            ]
        return tuple(found)

    def conflicts(self, hot: np.ndarray) -> tuple[int, tuple[IdPair, ...]]:
        """Return how many rows of train and validation have an input that has other targets there too; a few pairs."""
        seen = np.flatnonzero((self.folds >= 0) & (self.folds != FOLDS.index("test")))
        inputs = self.inputs[seen]
        answers = np.unique(np.packbits(hot[seen], axis=1), axis=0, return_inverse=True)[1].ravel()
        distinct, times = np.unique(np.unique(np.column_stack([inputs, answers]), axis=0)[:, 0], return_counts=True)
        torn = np.isin(inputs, distinct[times > 1])
        pairs = []
        for first in _firsts(inputs, np.flatnonzero(torn))[:_SHOWN]:
            other = np.flatnonzero((inputs == inputs[first]) & (answers != answers[first]))[0]
            pairs.append((seen[first], seen[other]))
        return int(torn.sum()), _ids(self.ids, pairs)


def _firsts(keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the first of `rows` with each key, in their order."""
    return rows[np.sort(np.unique(keys[rows], return_index=True)[1])]


def _met(keys: np.ndarray, earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return (m, 2) rows: each of `later` whose key stands in `earlier`, after the first row there that has it."""
    held, first = np.unique(keys[earlier], return_index=True)
    place = np.searchsorted(held, keys[later]).clip(max=len(held) - 1)
    same = held[place] == keys[later]
    return np.column_stack([earlier[first[place[same]]], later[same]])


def _partner(near: NearTexts, row: int, earlier: np.ndarray) -> int:
    """Return the first row of `earlier` that is near-identical to `row`."""
    linked = near.links[(near.links == near.member[row]).any(axis=1)]
    return earlier[np.isin(near.member[earlier], [near.member[row], *linked.ravel()])][0]


def _ids(ids: np.ndarray, pairs: Sequence[Any] | np.ndarray) -> tuple[IdPair, ...]:
    return tuple((str(ids[one]), str(ids[other])) for one, other in pairs[:_SHOWN])


def _shares(labels: Sequence[str], hot: np.ndarray) -> dict[str, float]:
    return dict(zip(labels, hot.mean(axis=0).tolist(), strict=True))
