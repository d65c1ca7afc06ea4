"""What an ensemble is made of: stored probabilities of validation and test rows, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.core import Fold, Kind
from ..datasets.support.errors import UserError
from .record import Memory, Record, Speed, Timings
from .rows import read_file
from .store import PROBABILITIES, Stored

SHOWN = 3
"""Ids that a refusal names."""


@dataclass(frozen=True)
class Place:
    """Where probabilities stand; members of one ensemble share all of it.

    Attributes
    ----------
    task
        With its protocol, as ``name@protocol``.
    """

    task: str
    task_version: int
    kind: Kind
    labels: tuple[str, ...]
    primary_metric: str
    data_fingerprint: str
    split_sha256: str
    hardware_class: str
    device: str


_WORDS = {
    "task": "task or protocol",
    "task_version": "version of the task",
    "kind": "kind of task",
    "labels": "labels",
    "primary_metric": "primary metric",
    "data_fingerprint": "data",
    "split_sha256": "folds",
    "hardware_class": "hardware class (costs add up only within one)",
    "device": "device",
}


@dataclass(frozen=True)
class Costs:
    """What a member took: as in its record."""

    timings: Timings
    speed: Speed
    memory: Memory
    parameters: int | None = None
    threads: int = 1
    beside: int = 0
    overlap: str = ""


@dataclass(frozen=True)
class Member:
    """Probabilities that may go into an ensemble: those of a cell, or of a trial of its tuning.

    Attributes
    ----------
    key
        Names it among all members of a task; of members that score alike the one with the lower key is taken.
    label
        Names it for people.
    fit_key
        Of the cell: names all that can change its probabilities.
    probabilities
        A Parquet file with the columns ``fold`` ("validation", "test"), ``id``, and ``p:LABEL`` for each label.
    sha256
        Of that file as it was recorded; it is refused if it is another now. Not checked where empty.
    """

    key: str
    label: str
    fit_key: str
    place: Place
    probabilities: Path
    costs: Costs
    sha256: str = ""


def member_of(stored: Stored) -> Member:
    """Return a recorded cell as a member.

    Raises
    ------
    UserError
        If the cell did not finish, or is an ensemble itself.
    """
    record = stored.record
    label = label_of(record)
    if record.mode == "ensemble":
        raise UserError(f"{label} ({record.key}) is an ensemble: name the cells that it is made of")
    if record.status != "ok" or record.speed is None or record.memory is None:
        raise UserError(f"{label} ({record.key}) has no probabilities: {record.status}, {record.reason}")
    costs = Costs(
        record.timings, record.speed, record.memory, record.parameters, record.threads, record.beside, record.overlap
    )
    place = Place(
        task=record.task_name,
        task_version=record.task_version,
        kind=record.kind,
        labels=tuple(record.labels),
        primary_metric=record.primary_metric,
        data_fingerprint=record.data_fingerprint,
        split_sha256=record.split_sha256,
        hardware_class=record.hardware_class,
        device=record.device,
    )
    path = stored.attempt / PROBABILITIES
    return Member(record.key, label, record.fit_key, place, path, costs, record.files.get(PROBABILITIES, ""))


def label_of(record: Record) -> str:
    """Return a cell's model, preset, settings and seed in words."""
    preset = f"@{record.preset}" if record.preset not in {"", "default"} else ""
    mode = f", {record.mode}" if record.mode != "default" else ""
    settings = "".join(f", {name}={value}" for name, value in record.settings.items())
    return f"{record.model}{preset}{mode}{settings}, seed {record.seed}"


def in_order(members: Iterable[Member]) -> tuple[Member, ...]:
    """Return distinct members by key, whatever order they came in.

    Raises
    ------
    UserError
        If there is none, or two do not stand in the same place; the message names both.
    """
    found = tuple(sorted({member.key: member for member in members}.values(), key=lambda member: member.key))
    if not found:
        raise UserError("an ensemble needs members, and there is none")
    first = found[0]
    for member in found[1:]:
        for name, words in _WORDS.items():
            one, other = getattr(first.place, name), getattr(member.place, name)
            if one != other:
                raise UserError(
                    f"{named(first)} and {named(member)} differ in {words}: {_told(one, other)}; "
                    f"an ensemble has members of one kind: leave one out"
                )
    return found


def named(member: Member) -> str:
    """Return a member's name in a message."""
    return f"{member.label} ({member.key})"


def _told(one: Any, other: Any) -> str:
    """Return two values, or what tells them apart, in few words."""
    if isinstance(one, tuple):
        apart = sorted(set(one) ^ set(other))[:SHOWN]
        return f"{len(one)} and {len(other)}" + (f", such as {', '.join(apart)}" if apart else ", in another order")
    short = [f"{each[:12]}…" if isinstance(each, str) and len(each) == 64 else str(each) for each in (one, other)]
    return f"{short[0]} and {short[1]}"


class Rows:
    """The rows of a task, and the probabilities of members for them in the task's order.

    Parameters
    ----------
    ids
        By fold, validation and test: (n,) object arrays of strings.
    """

    def __init__(self, ids: dict[Fold, np.ndarray]) -> None:
        self._ids: dict[Fold, np.ndarray] = {fold: each.astype(str) for fold, each in ids.items()}

    def stack(self, members: Sequence[Member], fold: Fold, advance: Callable[[], object] | None = None) -> np.ndarray:
        """Return the (members, labels, rows) float32 probabilities of a fold; every fold of each is checked.

        Raises
        ------
        UserError
            If a file cannot be read, is not what was recorded, or holds other rows: the message names both members.
        """
        labels = members[0].place.labels
        stack = np.empty((len(members), len(labels), len(self._ids[fold])), dtype=np.float32)
        for index, member in enumerate(members):
            answers = read_file(
                member.probabilities,
                member.place.kind,
                labels,
                member.sha256,
                f"run {named(member)} again with --fresh, or leave it out",
            )
            other = next((each for each in members if each is not member), None)
            for each in self._ids:
                found = answers[each].in_order(self._ids[each])
                if found is None:
                    raise UserError(self._apart(member, answers[each].ids, each, other))
                if each == fold:
                    stack[index] = found.T
            if advance is not None:
                advance()
        return stack

    def _apart(self, member: Member, theirs: np.ndarray, fold: Fold, other: Member | None) -> str:
        """Return in words how a member's rows differ from the task's; `other` is one that it should go with."""
        ours = self._ids[fold]
        apart = np.setxor1d(ours, theirs)[:SHOWN]
        together = f" cannot go with {named(other)}: it" if other else ""
        what = f", such as {', '.join(map(str, apart))}" if len(apart) else ", some twice"
        return (
            f"{named(member)}{together} has other {fold} rows than task {member.place.task} ({len(theirs)} and "
            f"{len(ours)}{what}): run it again, or leave it out"
        )


def summed(taken: Sequence[Costs], others: Sequence[Costs], own_s: float) -> Costs:
    """Return what an ensemble costs: its members, one after another, and the search for them.

    Parameters
    ----------
    taken
        Of the distinct members that have a weight. Their seconds add up in each column, and their latencies (that
        of the slowest twentieth is then an upper bound); rows a second are those of one after another. Memory and
        parameters add up as well, since such a latency supposes that all are loaded: an upper bound, for each figure
        holds the member's training. Embeddings that several share are counted as often as they were charged.
    others
        Of the members that were looked at and have no weight: without their training nobody would know that, so their
        seconds (features, tuning, fit) count as tuning.
    own_s
        Seconds that reading and selecting took: tuning too.
    """
    every = [*taken, *others]
    added = {
        name: sum(getattr(each.timings, name) for each in taken) for name in ("warmup", "features", "fit", "predict")
    }
    tune = sum(each.timings.tune for each in taken) + sum(each.timings.total for each in others)
    gpu = [each.memory.gpu_gb for each in taken if each.memory.gpu_gb is not None]
    sizes = [each.parameters for each in taken]
    rates = [each.speed.rows_per_second for each in taken]
    return Costs(
        timings=Timings(
            prepare=max(each.timings.prepare for each in every),
            tune=tune + own_s,
            wall=sum(each.timings.wall for each in every) + own_s,
            **added,
        ),
        speed=Speed(
            latency_p50_ms=sum(each.speed.latency_p50_ms for each in taken),
            latency_p95_ms=sum(each.speed.latency_p95_ms for each in taken),
            rows_per_second=1 / sum(1 / rate for rate in rates) if all(rates) else 0,
        ),
        memory=Memory(
            added_gb=sum(each.memory.added_gb for each in taken),
            baseline_gb=max(each.memory.baseline_gb for each in taken),
            gpu_gb=sum(gpu) if gpu else None,
        ),
        parameters=None if None in sizes else sum(size for size in sizes if size is not None),
        threads=max(each.threads for each in every),
        beside=max(each.beside for each in every),
        overlap="; ".join(dict.fromkeys(each.overlap for each in taken if each.overlap)),
    )
