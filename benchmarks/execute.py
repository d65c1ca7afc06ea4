"""One cell from plan to record: claim it, run it, judge how it ended, score it, store it."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from ..datasets.core import FOLDS, TASKS, Fold, as_mapping
from ..datasets.fetch import raw_folders
from ..datasets.folds import split_path
from ..datasets.layout import SealedTest, load_ids, load_training
from ..datasets.support.files import atomic_path
from ..datasets.support.folders import cache_root
from ..zoo.adapter import LOSSES, OPTIMIZER
from .engines.local import Ending, Limits, LocalEngine
from .engines.servers import server_of
from .hardware import Hardware, revision, versions
from .job import ARTEFACT, LOG, Event, Job, Outcome
from .job import PROBABILITIES as RAW
from .metrics import METRIC_VERSION
from .options import Request
from .outputs import picture_examples, write_outputs
from .plan import Planned
from .record import Memory, Record, Speed, Status, Timings
from .scoring import Scored, evaluate, refuse
from .store import (
    PROBABILITIES,
    RECORD,
    RESAMPLES,
    Results,
    Stored,
    discard,
    hash_files,
    lock,
    read_record,
    temporary,
)
from .thresholds import Thresholds

LOG_BYTES = 1_000_000
_SOFTWARE = {
    "scikit-learn": ("numpy", "scipy", "scikit-learn"),
    "torch": ("numpy", "scikit-learn", "torch", "transformers", "tokenizers"),
    "keras-tensorflow": ("numpy", "keras", "tensorflow", "torch", "transformers"),
    "keras-torch": ("numpy", "keras", "torch", "transformers"),
}


@dataclass(frozen=True)
class Attempt:
    """What came of trying a cell: its record, and whether it was made just now."""

    stored: Stored
    made: bool


class Executor:
    """Runs planned cells through an engine into a results folder. Safe to use from several threads."""

    def __init__(
        self, request: Request, results: Results, hardware: Hardware, engine: LocalEngine, features: Path
    ) -> None:
        self._request, self._results, self._hardware = request, results, hardware
        self._engine, self._features = engine, features
        self._before: dict[str, str] = {}
        self._revision = revision()
        self.side_by_side = request.jobs
        self.broken: Mapping[str, str] = {}
        self.problems: list[str] = []
        self._sealed: dict[Path, SealedTest] = {}

    def find(self, planned: Planned) -> Stored | None:
        """Return the record that stands for a cell, or None if the cell is to be run.

        A failure stands until its code, data or limits change; what was unavailable is looked at again.
        """
        path = self._path(planned)
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

    def _path(self, planned: Planned) -> Path:
        cell = planned.cell
        return self._results.record_path(cell.task_name, cell.model, cell.key(self._hardware.class_id))

    def _readable(self, path: Path) -> Record | None:
        """Return the record at `path`; None if there is none, or one that is named as a problem and kept aside."""
        try:
            return read_record(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            problem = (
                f"  {path} is no record that this version reads ({line[:80]}): it is moved aside when its cell has run"
            )
            if problem not in self.problems:
                self.problems.append(problem)
            return None

    def history(self, cells: Iterable[Planned]) -> Iterator[Record]:
        """Yield the readable records on this class of hardware of the cells' tasks and models, whatever their key."""
        folders = {self._results.folder(p.cell.task_name, p.cell.model) for p in cells}
        for path in (path for folder in sorted(folders) for path in folder.glob(f"*/{RECORD}")):
            with contextlib.suppress(OSError, ValueError, RecursionError):
                record = read_record(path)
                if record.hardware_class == self._hardware.class_id and record.status == "ok":
                    yield record

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
        key = planned.cell.key(self._hardware.class_id)
        claim = lock(self._results.claim(key))
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
                stored = self._run(planned, key, on_event)
                return Attempt(stored, made=True) if stored else None
            finally:
                claim.release()
        return None

    def _run(self, planned: Planned, key: str, on_event: Callable[[Event], None]) -> Stored | None:
        start = time.monotonic()
        server = server_of(planned.model.card, planned.cell.config)
        reason = self.broken.get(server)
        obstacle = planned.obstacle or (("unavailable", reason) if reason else None)
        if obstacle is not None:
            return self._results.commit(self._record(planned, key, Outcome(*obstacle), {}), None)
        scratch = self._results.scratch()
        history: list[dict[str, float]] = []

        def listen(event: Event) -> None:
            if event.phase == "fit" and event.values:
                history.append({"step": float(event.step), **event.values})
            on_event(event)

        try:
            temporary(scratch).mkdir(mode=0o700)
            job = self._job(planned, scratch)
            limits = Limits(self._request.timeout, self._request.memory_gb)
            ending = self._engine.run(job, server, limits, listen)
            if ending.cause == "stopped":
                return None
            outcome = judge(ending, Outcome.read(scratch), limits)
            staged = scratch / "staged"
            staged.mkdir()
            outcome, scored = self._score(planned, outcome, scratch, staged)
            _shorten(scratch / LOG)
            for name in (LOG, ARTEFACT, LOSSES, OPTIMIZER):
                if (scratch / name).exists():
                    (scratch / name).rename(staged / name)
            wall = time.monotonic() - start
            rest = {"history": _finite(history), "wall": wall, "ending": ending}
            record = self._record(planned, key, outcome, rest, scored)
            write_outputs(record, staged)
            return self._results.commit(record.model_copy(update={"files": hash_files(staged)}), staged)
        finally:
            discard(scratch)

    def _job(self, planned: Planned, scratch: Path) -> Job:
        cell, prepared = planned.cell, planned.prepared
        raw = [str(path) for path in (*raw_folders(TASKS.entries()), *planned.sources)]
        return Job(
            model=cell.model,
            module=planned.model.module,
            config=cell.config,
            card=as_mapping(planned.card),
            protocol=cell.protocol,
            seed=cell.derived_seed,
            device=self._request.device,
            threads=self._threads,
            plugins=tuple(str(path) for path in self._request.plugins),
            source_sha256=cell.source_sha256,
            public=str(prepared.folder / "public"),
            sealed=(str(cache_root() / "tasks"), str(split_path(cell.task).parent), *raw),
            features=str(self._features),
            scope={
                "data": prepared.fingerprint,
                "hardware": self._hardware.class_id,
                "device": self._request.device,
                "threads": self._threads,
            },
            out=str(scratch),
            temporary=str(temporary(scratch)),
        )

    @property
    def _threads(self) -> int:
        return max(1, self._request.threads // self.side_by_side)

    def _score(self, planned: Planned, outcome: Outcome, scratch: Path, staged: Path) -> tuple[Outcome, Scored | None]:
        """Score what the process answered; probabilities that are none turn the outcome into a failure."""
        if outcome.status != "ok":
            return outcome, None
        card, prepared = planned.card, planned.prepared
        try:
            with np.load(scratch / RAW, allow_pickle=False) as kept:
                found: dict[Fold, np.ndarray] = {fold: kept[fold].astype(np.float32) for fold in FOLDS}
        except (OSError, ValueError, KeyError) as error:
            return replace(outcome, status="failed", reason=f"the probabilities cannot be read back: {error}"), None
        for fold in reversed(FOLDS):
            if reason := refuse(card.kind, found[fold], prepared.rows[fold], len(card.labels)):
                return replace(outcome, status="failed", reason=f"{reason} ({fold} fold)"), None
        if prepared.folder not in self._sealed:
            self._sealed[prepared.folder] = prepared.sealed_test()
        test = self._sealed[prepared.folder]
        public = prepared.folder / "public"
        targets: dict[Fold, np.ndarray] = {
            "train": load_training(public, "train")[1],
            "validation": load_training(public, "validation")[1],
            "test": test.targets,
        }
        scored = evaluate(card.kind, card.labels, card.primary_metric, targets, found, test.groups, test.subsets)
        ids = np.concatenate([load_ids(public, "validation"), test.ids])
        _write_probabilities(staged / PROBABILITIES, found, ids, card.labels)
        _write_columns(staged / RESAMPLES, scored.resamples)
        decided = Thresholds(scored.policy, tuple(scored.folds["test"][scored.policy].thresholds))
        notes = picture_examples(staged, card, public, test, (found["test"], decided))
        return replace(outcome, notes=(*outcome.notes, *notes)), scored

    def _record(
        self, planned: Planned, key: str, outcome: Outcome, rest: Mapping[str, Any], scored: Scored | None = None
    ) -> Record:
        cell, card = planned.cell, planned.card
        timings = {**outcome.timings, "prepare": planned.prepare_s, "wall": rest.get("wall", 0.0)}
        ending: Ending | None = rest.get("ending")
        measured: dict[str, Any] = {"beside": ending.beside if ending else 0}
        if outcome.memory:
            # The process knows its own peak; its children's memory was seen from here.
            memory = Memory(**outcome.memory)  # type: ignore[arg-type]
            seen = ending.added_gb if ending else 0.0
            measured["memory"] = memory.model_copy(update={"added_gb": max(memory.added_gb, seen)})
        if scored is not None:
            measured |= {fold: dict(scored.folds[fold]) for fold in FOLDS}
            measured |= {"parts": dict(scored.parts), "policy": scored.policy, "temperature": scored.temperature}
            measured |= {"speed": Speed(**outcome.speed), "parameters": outcome.parameters}
        return Record(
            key=key,
            fit_key=cell.fit_key,
            attempt=secrets.token_hex(6),
            created=_now(),
            task=cell.task,
            protocol=cell.protocol,
            task_version=cell.task_version,
            kind=card.kind,
            labels=list(card.labels),
            primary_metric=card.primary_metric,
            data_fingerprint=cell.data_fingerprint,
            split_sha256=cell.split_sha256,
            rows={fold: int(count) for fold, count in planned.prepared.rows.items()},
            model=cell.model,
            framework=planned.model.card.framework,
            preset=cell.preset,
            config=dict(cell.config),
            settings=dict(cell.settings),
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
            **self._circumstances(planned),
        )

    def _circumstances(self, planned: Planned) -> dict[str, Any]:
        server = server_of(planned.model.card, planned.cell.config)
        return {
            "hardware_class": self._hardware.class_id,
            "hardware": self._hardware.as_json(),
            "device": self._request.device,
            "threads": self._threads,
            "timeout_s": self._request.timeout,
            "memory_limit_gb": self._request.memory_gb,
            "software": versions((*_SOFTWARE[server], *planned.model.card.requires)),
            "zoobench": version("zoobench"),
            "revision": self._revision,
        }


def judge(ending: Ending, outcome: Outcome | None, limits: Limits) -> Outcome:
    """Return the outcome of a process from how it ended and what it left; a reason in words where it failed."""
    if ending.cause == "timeout":
        return Outcome("timeout", f"ran longer than {limits.timeout_s:g} s; raise it with --timeout")
    if ending.cause == "memory":
        return Outcome(
            "oom",
            f"added {ending.added_gb:.2f} GB of memory, more than {limits.memory_gb:g} GB; raise it with --memory-gb",
        )
    return outcome or Outcome(*_death(ending))


def _death(ending: Ending) -> tuple[Status, str]:
    """Return the status and reason of a process that died before it could say anything."""
    if ending.cause == "lost":
        return "failed", "the warm process that the cell forked from died twice; run it again with --fresh"
    code = ending.code or 0
    if code == -signal.SIGKILL and ending.killed_for_memory:
        return "oom", f"killed by the system for want of memory after adding {ending.added_gb:.1f} GB"
    if code < 0:
        return "failed", f"the process was killed by {signal.Signals(-code).name}"
    return "failed", f"the process ended with exit status {code} before it answered"


def _shorten(log: Path) -> None:
    """Keep the beginning and the end of a log that grew beyond `LOG_BYTES`."""
    if not log.exists() or (size := log.stat().st_size) <= LOG_BYTES:
        return
    half = LOG_BYTES // 2
    with log.open("rb") as stream:
        head = stream.read(half)
        stream.seek(size - half)
        tail = stream.read()
    log.write_bytes(head + f"\n… {size - LOG_BYTES} bytes left out …\n".encode() + tail)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _finite(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the history without the values that JSON has no word for (a loss that became NaN)."""
    return [{name: value for name, value in entry.items() if np.isfinite(value)} for entry in history]


def _write_probabilities(
    path: Path, found: Mapping[Fold, np.ndarray], ids: np.ndarray, labels: tuple[str, ...]
) -> None:
    """Write validation and then test probabilities: fold, id and one float32 column a label."""
    sizes = [len(found["validation"]), len(found["test"])]
    both = np.concatenate([found["validation"], found["test"]])
    columns = {f"p:{label}": both[:, index] for index, label in enumerate(labels)}
    _write_columns(path, {"fold": np.repeat(["validation", "test"], sizes), "id": ids.astype(str), **columns})


def _write_columns(path: Path, columns: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(pa.table(dict(columns)), temporary, compression="zstd")
