"""One cell from plan to record: claim it, run it, judge how it ended, score it, store it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from ..datasets.core import FOLDS, Fold
from ..datasets.layout import SealedTest, load_ids, load_training
from ..zoo.adapter import LOSSES, OPTIMIZER
from .cell import record_key
from .engines.base import ANEW, Ending, Engine
from .engines.servers import computes_on, server_of, software_of
from .hardware import Hardware, revision, versions
from .job import ARTEFACT, LOG, Event, Outcome, shorten
from .launch import Launcher, read_probabilities
from .metrics import METRIC_VERSION
from .options import Request
from .outputs import picture_examples, write_columns, write_outputs, write_probabilities, write_rows
from .plan import Planned
from .record import Memory, Record, Speed, Timings, now
from .schema import why_unreadable
from .scoring import Scored, evaluate
from .store import (
    PROBABILITIES,
    RESAMPLES,
    TRIALS,
    Results,
    Stored,
    discard,
    hash_files,
    lock,
    read_record,
)
from .thresholds import Thresholds
from .tuning import StoppedError, Tuned, Tuner

_ANEW = "a checkpoint of other code or data was removed: trained from the start"
_SHARED = "another program used its GPU when the run began: times and memory are not the cell's own"


@dataclass(frozen=True)
class Attempt:
    """What came of trying a cell: its record, and whether it was made just now."""

    stored: Stored
    made: bool


class Executor:
    """Runs planned cells through an engine into a results folder. Safe to use from several threads."""

    def __init__(self, request: Request, results: Results, engine: Engine, features: Path) -> None:
        self._request, self._results = request, results
        self._engine, self.launcher = engine, Launcher(request, engine, features)
        self._before: dict[str, str] = {}
        self._revision = revision()
        self.tuner = Tuner(results, self.launcher, request.budget) if request.budget else None
        self.broken: Mapping[str, str] = {}
        self.problems: list[str] = []
        self._sealed: dict[Path, SealedTest] = {}

    def find(self, planned: Planned) -> Stored | None:
        """Return the record that stands for a cell, or None if the cell is to be run.

        A failure stands until its code, data or limits change; what was unavailable is looked at again.
        """
        every = [self._standing(planned, self._path(planned, place)) for place in self._engine.places]
        return min(filter(None, every), key=lambda stored: stored.record.status != "ok", default=None)

    def _standing(self, planned: Planned, path: Path) -> Stored | None:
        record = self._readable(path)
        if record is None:
            self._before.setdefault(path.parent.name, "")
            return None
        if self._request.fresh and self._before.setdefault(path.parent.name, record.attempt) == record.attempt:
            return None  # it stood before this run began; one that another run made since is fresh enough
        grown = {
            "timeout": self._request.timeout > (record.timeout_s or 0),
            "oom": (self._request.memory_gb or 0) > (record.memory_limit_gb or 0),
            "unavailable": planned.obstacle != ("unavailable", record.reason),
        }
        return None if grown.get(record.status, False) else Stored(record, path)

    def _path(self, planned: Planned, place: Hardware) -> Path:
        cell = planned.cell
        return self._results.record_path(cell.task_name, cell.model, cell.key(place.class_id))

    def _readable(self, path: Path) -> Record | None:
        """Return the record at `path`; None if there is none, or one that is named as a problem and kept aside."""
        try:
            return read_record(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            why = why_unreadable(path, error)
            problem = f"  {path} is no record that this version reads ({why}): it is moved aside when its cell has run"
            if problem not in self.problems:
                self.problems.append(problem)
            return None

    def history(self, cells: Iterable[Planned]) -> Iterator[Record]:
        """Yield the readable records on these classes of hardware of the cells' tasks and models, of any key."""
        classes = {place.class_id for place in self._engine.places}
        places = sorted({(planned.cell.task_name, planned.cell.model) for planned in cells})
        found = (record for place in places for record in self._results.records(*place))
        yield from (record for record in found if record.hardware_class in classes and record.status == "ok")

    def attempt(self, planned: Planned, on_event: Callable[[Event], None], *, patient: bool) -> Attempt | None:
        """Run a cell unless its record stands.

        Parameters
        ----------
        patient
            Whether to wait for another run that has the cell in hand.

        Returns
        -------
        None if the cell was not run: another run has it (and we are not patient), or the engine is stopping.
        """
        claim = lock(self._results.claim(planned.cell.fit_key))  # whatever machine it may run on
        while not self._engine.stopping.is_set():
            try:
                claim.acquire(timeout=0.2 if patient else 0)
            except Timeout:
                if patient:
                    continue
                return None
            try:
                standing = self.find(planned)
                if standing is not None:
                    return Attempt(standing, made=False)
                stored = self._run(planned, on_event)
                return Attempt(stored, made=True) if stored else None
            finally:
                claim.release()
        return None

    def _run(self, planned: Planned, on_event: Callable[[Event], None]) -> Stored | None:
        reason = self.broken.get(server_of(planned.model.card, planned.cell.config))
        obstacle = planned.obstacle or (("unavailable", reason) if reason else None)
        if obstacle is not None:
            return self._results.commit(self._record(planned, Outcome(*obstacle), {}), None)
        tuned: Tuned | None = None
        if planned.search is not None and self.tuner is not None:
            try:
                answer = self.tuner.tune(planned, planned.search, on_event)
            except StoppedError:
                return None
            if isinstance(answer, Outcome):
                return self._results.commit(self._record(planned, answer, {}), None)
            tuned = answer
            planned = replace(planned, cell=replace(planned.cell, config=tuned.config))
        return self._fit(planned, on_event, tuned)

    def _fit(self, planned: Planned, on_event: Callable[[Event], None], tuned: Tuned | None) -> Stored | None:
        """Run a cell's process to its end, score and store it; None if the run was stopped before."""
        start = time.monotonic()
        scratch = self._results.scratch()
        place = planned.cell.place(self._engine.places[0].class_id), tuned.fit_key if tuned else planned.cell.fit_key
        checkpoints = self._results.checkpoints(*place) if self._request.checkpoint else None
        anew = checkpoints is not None and self._results.drop_strange_checkpoints(*place)
        history: list[dict[str, float]] = []

        def listen(event: Event) -> None:
            if event == ANEW or event.phase == "loading":
                history.clear()  # of a process that was killed, or a machine that was lost: this one tells it all
            if event.phase == "fit" and event.values:
                history.append({"step": float(event.step), **event.values})
            on_event(event)

        try:
            with self.launcher.room(planned, lambda: listen(Event("waiting"))) as waited:
                outcome, ending = self.launcher.run(planned, planned.cell, scratch, listen, checkpoints=checkpoints)
            if ending.cause == "stopped":
                return None
            staged = scratch / "staged"
            staged.mkdir()
            outcome, scored = self._score(planned, outcome, scratch, staged)
            said = [note for note, holds in ((_ANEW, anew), (_SHARED, ending.shared)) if holds]
            outcome = replace(outcome, notes=(*outcome.notes, *said))
            shorten(scratch / LOG)
            for name in (LOG, ARTEFACT, LOSSES, OPTIMIZER):
                if (scratch / name).exists():
                    (scratch / name).rename(staged / name)
            wall = time.monotonic() - start - waited - ending.waited_s
            rest = {"history": _finite(history), "wall": wall, "ending": ending, "tuned": tuned}
            record = self._record(planned, outcome, rest, scored)
            write_outputs(record, staged)
            if tuned is not None:
                write_rows(staged / TRIALS, tuned.columns, tuned.trials)
            stored = self._results.commit(record.model_copy(update={"files": hash_files(staged)}), staged)
            self._results.drop_checkpoints(*place)
            return stored
        finally:
            discard(scratch)

    def _score(self, planned: Planned, outcome: Outcome, scratch: Path, staged: Path) -> tuple[Outcome, Scored | None]:
        """Score what the process answered; probabilities that are none turn the outcome into a failure."""
        if outcome.status != "ok":
            return outcome, None
        card, prepared = planned.card, planned.prepared
        outcome, found = read_probabilities(planned, outcome, scratch, FOLDS)
        if not found:
            return outcome, None
        if prepared.folder not in self._sealed:
            self._sealed[prepared.folder] = prepared.sealed_test()
        test = self._sealed[prepared.folder]
        public = prepared.folder / "public"
        targets: dict[Fold, np.ndarray] = {
            "train": load_training(public, "train")[1][slice(None) if planned.subset is None else planned.subset],
            "validation": load_training(public, "validation")[1],
            "test": test.targets,
        }
        scored = evaluate(card.kind, card.labels, card.primary_metric, targets, found, test.groups, test.subsets)
        ids = np.concatenate([load_ids(public, "validation"), test.ids])
        write_probabilities(staged / PROBABILITIES, found, ids, card.labels)
        write_columns(staged / RESAMPLES, scored.resamples)
        decided = Thresholds(scored.policy, tuple(scored.folds["test"][scored.policy].thresholds))
        notes = picture_examples(staged, card, public, test, (found["test"], decided))
        return replace(outcome, notes=(*outcome.notes, *notes)), scored

    def _record(
        self, planned: Planned, outcome: Outcome, rest: Mapping[str, Any], scored: Scored | None = None
    ) -> Record:
        cell, card = planned.cell, planned.card
        timings = {**outcome.timings, "prepare": planned.prepare_s, "wall": rest.get("wall", 0.0)}
        ending: Ending | None = rest.get("ending")
        measured: dict[str, Any] = {"precision": dict(outcome.precision)}
        measured |= {"beside": ending.beside, "gpus": list(ending.gpus)} if ending else {}
        if outcome.memory:
            measured["memory"] = _memory(outcome, ending)
        if scored is not None:
            measured |= {fold: dict(scored.folds[fold]) for fold in FOLDS}
            measured |= {"parts": dict(scored.parts), "policy": scored.policy, "temperature": scored.temperature}
            measured |= {"speed": Speed(**outcome.speed), "parameters": outcome.parameters}
        fit_key, tuned = cell.fit_key, rest.get("tuned")
        if tuned is not None:
            fit_key, measured["tuning"] = tuned.fit_key, tuned.tuning
            timings |= {"tune": tuned.tuning.seconds, "wall": timings["wall"] + tuned.wall}
        return Record(
            attempt=secrets.token_hex(6),
            created=now(),
            task=cell.task,
            protocol=cell.protocol,
            task_version=cell.task_version,
            kind=card.kind,
            labels=list(card.labels),
            primary_metric=card.primary_metric,
            data_fingerprint=cell.data_fingerprint,
            split_sha256=cell.split_sha256,
            rows={fold: int(count) for fold, count in planned.rows.items()},
            fraction=cell.fraction,
            model=cell.model,
            framework=planned.model.card.framework,
            preset=cell.preset,
            mode="tuned" if cell.tuning else "default",
            config=dict(cell.config),
            settings=dict(cell.settings) | ({} if cell.tf32 is None else {"tf32": cell.tf32}),
            folders=dict(cell.folders),
            overlap=planned.model.card.overlap(cell.task, cell.config),
            seed=cell.seed,
            source_sha256=cell.source_sha256,
            status=outcome.status,
            reason=outcome.reason,
            metric_version=METRIC_VERSION if scored else 0,
            timings=Timings(**timings),
            notes=list(outcome.notes),
            history=rest.get("history", []),
            **measured,
            **self._circumstances(planned, fit_key, ending),
        )

    def _circumstances(self, planned: Planned, fit_key: str, ending: Ending | None) -> dict[str, Any]:
        place = (ending and ending.place) or self._engine.places[0]
        here = software_of(planned.model.card, planned.cell.config)
        return {
            "key": record_key(fit_key, place.class_id),
            "fit_key": fit_key,
            "hardware_class": place.class_id,
            "hardware": place.as_json(),
            "device": computes_on(planned.model.card, planned.cell.config, self._request.device),
            "threads": (ending and ending.threads) or self.launcher.threads(planned.model.card),
            "timeout_s": self._request.timeout,
            "memory_limit_gb": self._request.memory_gb,
            "software": dict((ending and ending.software) or versions(here)),
            "zoobench": version("zoobench"),
            "revision": self._revision,
        }


def _memory(outcome: Outcome, ending: Ending | None) -> Memory:
    """Return the peak that the process saw of itself, or of its children from here, whichever is more."""
    memory = Memory(**outcome.memory)  # type: ignore[arg-type]
    seen = ending.added_gb if ending else 0.0
    return memory.model_copy(update={"added_gb": max(memory.added_gb, seen)})


def _finite(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the history without the values that JSON has no word for (a loss that became NaN)."""
    return [{name: value for name, value in entry.items() if np.isfinite(value)} for entry in history]
