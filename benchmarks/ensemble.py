"""Ensembles of stored probabilities: chosen on validation, scored on test, recorded like any other model.

Nothing is fitted anew. `selection.py` says who is taken, `members.py` what is read and what it costs.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..datasets.core import Fold, TaskCard
from ..datasets.layout import PUBLIC, SealedTest, load_ids, load_training
from ..datasets.prepare import Prepared
from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.files import lock, sha256_json
from ..datasets.support.progress import progress
from ..datasets.support.source import code_fingerprint
from .cell import Cell
from .hardware import revision, versions
from .members import Costs, Member, Rows, in_order, named, summed
from .metrics import METRIC_VERSION, METRICS
from .outputs import picture_examples, write_columns, write_outputs, write_probabilities
from .record import ENSEMBLES, Record, Share, now
from .scoring import LOWEST, Scored, evaluate
from .selection import SIZE, Selection, blend, greedy, scorer_for, uniform
from .store import PROBABILITIES, RESAMPLES, Results, Stored, discard, hash_files, read_record
from .thresholds import Thresholds

How = Literal["greedy", "mean"]
_ROOM = "zoobench.benchmarks"


@dataclass(frozen=True)
class Recipe:
    """How members become an ensemble.

    Attributes
    ----------
    size
        Rounds of greedy selection.
    words
        What a board shows of it beside its name, such as which models it could take: ensembles of one name and the
        same words are one row, which shows the newest.
    """

    how: How
    size: int = SIZE
    words: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.how not in get_args(How):
            raise unknown_name("way to make an ensemble", self.how, get_args(How))
        if self.size < 1:
            raise UserError(f"--size {self.size} must be 1 or more: it is how often a member is taken")

    @property
    def config(self) -> dict[str, str | int]:
        """The settings, complete."""
        return {"size": self.size, **self.words} if self.how == "greedy" else dict(self.words)

    @property
    def settings(self) -> dict[str, str | int]:
        """The settings that differ from the usual."""
        return {name: value for name, value in self.config.items() if (name, value) != ("size", SIZE)}


@dataclass(frozen=True)
class Made:
    """A record of an ensemble, and whether it was made just now."""

    stored: Stored
    new: bool


class Pool:
    """Members on the rows of their task as it is now.

    Parameters
    ----------
    card
        Of the task under its protocol.
    members
        In any order.

    Raises
    ------
    UserError
        If there is none, they are not of one task, data, folds, labels and hardware class, or those of the task have
        changed since; the message names two members, or the member and the task.
    """

    def __init__(self, card: TaskCard, prepared: Prepared, members: Iterable[Member]) -> None:
        self.card, self.prepared = card, prepared
        self.members = in_order(members)
        first = self.members[0]
        place = self.place = first.place
        name = f"{card.name}@{prepared.protocol}" if prepared.protocol else card.name
        then = (place.task, place.task_version, place.kind, place.labels, place.primary_metric)
        if then != (name, card.version, card.kind, card.labels, card.primary_metric):
            raise UserError(f"{named(first)} was recorded for another version of task {name}: run it again")
        if (place.data_fingerprint, place.split_sha256) != (prepared.fingerprint, prepared.split_sha256):
            raise UserError(
                f"{named(first)} was recorded on other data or folds than task {name} has now: run it again"
            )
        self._public = self.prepared.folder / PUBLIC
        self._test: SealedTest | None = None
        self._validation: np.ndarray | None = None

    @property
    def test(self) -> SealedTest:
        """The test rows; nothing that selects asks for them."""
        if self._test is None:
            self._test = self.prepared.sealed_test()
        return self._test

    @property
    def targets(self) -> np.ndarray:
        """The targets of the validation rows."""
        return load_training(self._public, "validation")[1]

    @property
    def ids(self) -> dict[Fold, np.ndarray]:
        """The ids of the validation and test rows."""
        return {"validation": load_ids(self._public, "validation"), "test": self.test.ids}

    @property
    def validation(self) -> np.ndarray:
        """The (members, labels, rows) validation probabilities, read once; every file is checked."""
        if self._validation is None:
            with progress("reading probabilities", len(self.members)) as advance:
                self._validation = Rows(self.ids).stack(self.members, "validation", advance)
        return self._validation

    def select(self, recipe: Recipe) -> Selection:
        """Choose by the primary metric on the validation rows.

        Raises
        ------
        UserError
            If the metric is not defined on them.
        """
        scorer = scorer_for(self.card.kind, self.card.primary_metric, self.targets)
        if recipe.how == "mean":
            chosen = uniform(self.validation, scorer)
        else:
            members = self.validation
            with progress("selecting members", recipe.size) as advance:
                chosen = greedy(members, scorer, recipe.size, advance)
        if max(chosen.scores) <= LOWEST:
            raise UserError(f"{self.card.primary_metric} is not defined on the validation rows of {self.place.task}")
        return chosen

    def blended(self, chosen: Selection) -> dict[Fold, np.ndarray]:
        """Return the ensemble's (n, labels) float32 probabilities of validation and test rows."""
        at = np.flatnonzero(chosen.counts)
        counts = [chosen.counts[index] for index in at]
        test = Rows(self.ids).stack([self.members[index] for index in at], "test")
        return {"validation": blend(self.validation[at], counts).T, "test": blend(test, counts).T}


def assemble(pool: Pool, results: Results, recipe: Recipe, *, fresh: bool = False) -> Made:
    """Return the record of an ensemble of all that a pool offers; it is made where none stands, or `fresh` is asked.

    A record stands while its members' probabilities are those that it was made of. Two commands that make one take
    turns; what is stopped in the middle leaves nothing that a board shows.

    Raises
    ------
    UserError
        If probabilities cannot be read or are of other rows; nothing is written then.
    """
    cell = _cell(pool, recipe)
    key = cell.key(pool.place.hardware_class)
    path = results.record_path(cell.task_name, cell.model, key)
    with lock(results.claim(key)):
        standing = None if fresh else _standing(path, pool)
        if standing is not None:
            return Made(standing, new=False)
        start = time.monotonic()
        chosen = pool.select(recipe)
        own_s = time.monotonic() - start
        scratch = results.scratch()
        try:
            staged = scratch / "staged"
            staged.mkdir()
            scored, notes = _score(pool, chosen, staged)
            record = _record(pool, cell, chosen, scored, own_s).model_copy(update={"notes": notes})
            write_outputs(record, staged)
            return Made(results.commit(record.model_copy(update={"files": hash_files(staged)}), staged), new=True)
        finally:
            discard(scratch)


def _standing(path: Path, pool: Pool) -> Stored | None:
    """Return the record at `path` if it was made of the members' probabilities as they are now."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        record = read_record(path)
        known = {share.key: share.probabilities for share in record.members}
        if record.status == "ok" and known == {member.key: member.sha256 for member in pool.members}:
            return Stored(record, path)
    return None


def _cell(pool: Pool, recipe: Recipe) -> Cell:
    """Return the cell of an ensemble: its key follows from its members' and its settings, in whatever order."""
    code = code_fingerprint(f"{_ROOM}.selection", _ROOM, frozenset({f"{_ROOM}.record"}))
    keys = sorted(member.key for member in pool.members)
    return Cell(
        task=pool.card.name,
        protocol=pool.prepared.protocol,
        task_version=pool.card.version,
        data_fingerprint=pool.prepared.fingerprint,
        split_sha256=pool.prepared.split_sha256,
        model=ENSEMBLES[get_args(How).index(recipe.how)],
        preset="",
        config={**recipe.config, "members": sha256_json(keys)[:20]},
        settings=recipe.settings,
        seed=0,
        source_sha256=sha256_json([code, sorted(member.fit_key for member in pool.members)]),
        primary_metric=pool.card.primary_metric,
        folders={},
    )


def _score(pool: Pool, chosen: Selection, staged: Path) -> tuple[Scored, list[str]]:
    """Score an ensemble that is chosen, and write its probabilities and resamples."""
    card, test, found = pool.card, pool.test, pool.blended(chosen)
    targets: dict[Fold, np.ndarray] = {"validation": pool.targets, "test": test.targets}
    scored = evaluate(card.kind, card.labels, card.primary_metric, targets, found, test.groups, test.subsets)
    write_probabilities(staged / PROBABILITIES, found, np.concatenate([*pool.ids.values()]), card.labels)
    write_columns(staged / RESAMPLES, scored.resamples)
    decided = Thresholds(scored.policy, tuple(scored.folds["test"][scored.policy].thresholds))
    public = pool.prepared.folder / PUBLIC
    return scored, list(picture_examples(staged, card, public, test, (found["test"], decided)))


def _record(pool: Pool, cell: Cell, chosen: Selection, scored: Scored, own_s: float) -> Record:
    sign = 1 if METRICS[cell.primary_metric].higher_is_better else -1
    steps = enumerate(chosen.scores, start=1)
    return Record(
        **_identity(pool, cell),
        **_costs(pool, chosen, own_s),
        attempt=secrets.token_hex(6),
        created=now(),
        framework="ensemble",
        mode="ensemble",
        status="ok",
        metric_version=METRIC_VERSION,
        policy=scored.policy,
        temperature=scored.temperature,
        validation=dict(scored.folds["validation"]),
        test=dict(scored.folds["test"]),
        parts=dict(scored.parts),
        history=[{"step": float(step), "validation": sign * score} for step, score in steps if score > LOWEST],
        members=[
            Share(key=member.key, label=member.label, weight=weight, probabilities=member.sha256)
            for member, weight in zip(pool.members, chosen.weights, strict=True)
        ],
        software=versions(("numpy", "scipy", "pyarrow")),
        zoobench=version("zoobench"),
        revision=revision(),
    )


def _identity(pool: Pool, cell: Cell) -> dict[str, Any]:
    """Return what a record says of its cell."""
    return {
        "key": cell.key(pool.place.hardware_class),
        "fit_key": cell.fit_key,
        "task": cell.task,
        "protocol": cell.protocol,
        "task_version": cell.task_version,
        "kind": pool.card.kind,
        "labels": list(pool.card.labels),
        "primary_metric": cell.primary_metric,
        "data_fingerprint": cell.data_fingerprint,
        "split_sha256": cell.split_sha256,
        "rows": {fold: int(count) for fold, count in pool.prepared.rows.items()},
        "model": cell.model,
        "preset": cell.preset,
        "config": dict(cell.config),
        "settings": dict(cell.settings),
        "folders": dict(cell.folders),
        "seed": cell.seed,
        "source_sha256": cell.source_sha256,
        "hardware_class": pool.place.hardware_class,
        "hardware": {"class_id": pool.place.hardware_class},
        "device": pool.place.device,
    }


def _costs(pool: Pool, chosen: Selection, own_s: float) -> dict[str, Any]:
    """Return what a record says of its costs: see `summed`."""
    sides: tuple[list[Costs], list[Costs]] = ([], [])
    for member, count in zip(pool.members, chosen.counts, strict=True):
        sides[not count].append(member.costs)
    costs = summed(*sides, own_s)
    return {each.name: getattr(costs, each.name) for each in fields(costs)}
