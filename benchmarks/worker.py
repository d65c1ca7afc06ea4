"""The process of one cell: it loads, fits and predicts, and has never seen a test target."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.core import Fold, from_mapping
from ..datasets.layout import load_test_inputs, load_training
from ..datasets.support.errors import UnavailableError, UserError, first_line
from ..datasets.support.registry import import_plugin
from ..zoo import adapter
from ..zoo.checkpoints import Checkpoints
from ..zoo.core import MODELS, Context, Model
from ..zoo.features import FeatureCache
from . import gpu_state
from .cell import source_fingerprint
from .job import ARTEFACT, EVENTS, LOG, PROBABILITIES, Event, Job, Outcome
from .record import Status
from .store import is_no_space

GB = 1e9
EVENT_SECONDS = 0.1
LATENCY_CALLS, LATENCY_SECONDS = 50, 2.0


class SealedError(PermissionError):
    """A model tried to open a file that is kept from it."""


def main(path: str, environment: Mapping[str, str]) -> None:
    """Run the job in the file `path`: what the forked process does, and all it does.

    `environment` is the harness's when the cell was started; the server that this process was forked from keeps
    that of its own start.
    """
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    job = Job.read(Path(path))
    os.environ.update(job.environment)
    # The exit below skips whoever tidies up at exit (tensorflow keeps the code that it wrote).
    tempfile.tempdir = os.environ["TMPDIR"] = job.temporary
    # What the warm process imported is never garbage: a collection that walked it would also copy its pages.
    gc.freeze()
    out = Path(job.out)
    _settle(out)
    attempts = _seal(job.sealed, job.public)
    outcome = _outcome(job)
    if attempts:
        # Also where the model swallowed the refusal: a score made after such an attempt is not believed.
        outcome = Outcome("failed", f"the model tried to open {attempts[0]}, which holds test targets")
    outcome.write(out)
    sys.stdout.flush()
    sys.stderr.flush()
    # A model's threads, exit handlers and finalisers have no say once the outcome is written.
    os._exit(0)


def _outcome(job: Job) -> Outcome:
    baseline = resident_gb()[0]
    try:
        return _Work(job, baseline).run()
    except UnavailableError as error:
        return Outcome("unavailable", first_line(error))
    except BaseException as error:
        traceback.print_exc()
        memory, full = _memory(baseline), is_no_space(error)
        return Outcome(*_blame(error, memory), memory=memory, no_space=full, precision=gpu_state.precision())


def _settle(out: Path) -> None:
    """Make the process a session of its own, tie its life to its parent's, and send its output to the log."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    log = os.open(out / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    (out / "work").mkdir(exist_ok=True)
    os.chdir(out / "work")


_TOUCHING = frozenset({"open", "os.link", "os.rename", "os.symlink", "shutil.copyfile", "shutil.move"})


def _seal(sealed: tuple[str, ...], public: str) -> list[str]:
    """Refuse, from here on, to touch what lies at or below `sealed` and not in `public`.

    Returns the list of attempts, kept up to date. A guard against accident and curiosity: a hook that Python cannot
    take back, not a jail for native code or other programs, to which the sealed files are masked.
    """
    roots, allowed = tuple(os.path.realpath(path) for path in sealed), os.path.realpath(public)
    attempts: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _TOUCHING:
            return
        for argument in arguments[: 1 if event == "open" else 2]:  # that of `open` is followed by its mode
            if not isinstance(argument, (str, bytes, os.PathLike)):
                continue
            try:
                path = os.path.realpath(os.fsdecode(argument))
            except FileNotFoundError:
                continue  # relative to a current folder that the model deleted: nothing is opened from there
            if _below(path, roots) and not _below(path, (allowed,)):
                attempts.append(path)
                raise SealedError(f"{path} holds test targets: no model opens it")

    if roots:
        sys.addaudithook(hook)
    return attempts


def _below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + os.sep) for root in roots)


class _Work:
    """One cell from its inputs to its outcome."""

    def __init__(self, job: Job, baseline: float) -> None:
        self.job, self.baseline = job, baseline
        self.out, self.public = Path(job.out), Path(job.public)
        self.card = from_mapping(job.card)
        self.features = FeatureCache(Path(job.features), job.scope, self._on_features)
        self.timings: dict[str, float] = {}
        self._last_event = self._began = self._spent = 0.0
        self._phase = ""
        self.checkpoints = self._checkpoints()
        self.test_features = 0.0

    def run(self) -> Outcome:
        gpu_state.set_tf32(self.job.tf32)
        with _timed(self.timings, "warmup"):
            model, estimator = self._build()
        self._tell(Event("loading"))
        X, y = load_training(self.public, "train")
        if self.job.rows:
            rows = np.load(self.job.rows, allow_pickle=False)
            X, y = X[rows], y[rows]
        X_val, y_val = load_training(self.public, "validation")
        X_test = load_test_inputs(self.public)
        with _limited(self.job.threads, model.card.blas_threads), self._terms():
            self._fit(estimator, X, y, X_val, y_val)
            found: dict[Fold, np.ndarray] = {"validation": adapter.probabilities(estimator, X_val, self.card)}
            found["test"], rate = self._predict_test(estimator, X_test)
            if not self.job.trial:
                found["train"] = adapter.probabilities(estimator, X, self.card)
        if self.job.trial:
            self._write(found)
            return Outcome("ok", "", self.timings, memory=_memory(self.baseline), notes=adapter.notes(estimator))
        self._tell(Event("latency"))
        with _limited(self.job.threads, model.card.blas_threads):
            speed = _latency(estimator, X_test, self.features) | {"rows_per_second": rate}
        self.timings["features"] = self.features.charged - self.test_features
        memory = _memory(self.baseline)
        self._write(found)
        self._tell(Event("saving"))
        notes = (*adapter.notes(estimator), *_save(estimator, self.out))
        size = adapter.count_parameters(estimator)
        return Outcome("ok", "", self.timings, speed, memory, size, notes, precision=gpu_state.precision())

    def _write(self, found: Mapping[Fold, np.ndarray]) -> None:
        with (self.out / PROBABILITIES).open("wb") as stream:
            np.savez(stream, allow_pickle=False, **{fold: _plain(array) for fold, array in found.items()})

    def _terms(self) -> contextlib.AbstractContextManager[None]:
        """Trials of a study share their counts of terms; a fit that is timed for a board counts its own."""
        if not (self.job.trial and "sklearn" in sys.modules):
            return contextlib.nullcontext()
        from ..zoo.kept_terms import kept_terms

        return kept_terms(Path(self.job.features) / "terms", self.job.source_sha256)

    def _build(self) -> tuple[Model, Any]:
        plugins = {plugin: import_plugin(Path(plugin)) for plugin in self.job.plugins}
        module = plugins.get(self.job.module) or importlib.import_module(self.job.module)
        model = MODELS.of(module)[self.job.model]
        if source_fingerprint(model.module) != self.job.source_sha256:
            raise UnavailableError("the model's source changed while the run went on: run it again")
        job = self.job
        context = Context(self.card, job.seed, job.device, job.threads, self.features, job.protocol, self.checkpoints)
        estimator = model.build(self.job.config, context)
        adapter.seed_generators(estimator, self.job.seed)
        return model, estimator

    def _fit(self, estimator: Any, X: np.ndarray, y: np.ndarray, X_val: np.ndarray, y_val: np.ndarray) -> None:
        from .scoring import TaskScorer

        offered = {
            "X_val": X_val,
            "y_val": y_val,
            "seed": self.job.seed,
            "scorer": TaskScorer(self.card.kind, self.card.primary_metric),
            "report": self._on_report,
        }
        self._tell(Event("fit"))
        with self._without_features("fit"):
            adapter.fit(estimator, X, y, offered)
        if self.checkpoints is not None:
            self.timings["fit"] = max(0.0, self.timings["fit"] + self.checkpoints.carried)

    def _checkpoints(self) -> Checkpoints | None:
        if not self.job.checkpoint:
            return None
        path = Path(self.job.checkpoint)
        return Checkpoints(path.parent, path.name, self._seconds, self._on_resume)

    def _predict_test(self, estimator: Any, X_test: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the probabilities in the fold's own order, and rows a second with features paid for."""
        self._tell(Event("predict"))
        shuffled = np.random.default_rng(self.job.seed).permutation(len(X_test))
        charged = self.features.charged
        with self._without_features("predict"):
            answer = adapter.probabilities(estimator, X_test[shuffled], self.card)
        self.test_features = self.features.charged - charged
        self.timings["predict"] = seconds = self.timings["predict"] + self.test_features
        if answer.shape[:1] == (len(X_test),):
            restored = np.empty_like(answer)
            restored[shuffled] = answer
            answer = restored
        return answer, len(X_test) / max(seconds, 1e-9)

    @contextlib.contextmanager
    def _without_features(self, name: str) -> Iterator[None]:
        """Time a block less what it spent on shared features, which are charged apart."""
        self._began, self._spent = time.perf_counter(), self.features.spent
        yield
        self.timings[name] = max(0.0, self._seconds())

    def _seconds(self) -> float:
        return time.perf_counter() - self._began - (self.features.spent - self._spent)

    def _on_resume(self, epoch: int, epochs: int) -> None:
        self._tell(Event("resumed", epoch, epochs))
        self._tell(Event("fit"))

    def _on_report(self, step: int, total: int, **values: float) -> None:
        self._tell(Event("fit", int(step), int(total), {name: float(value) for name, value in values.items()}))

    def _on_features(self, done: int, total: int) -> None:
        if done == total or time.perf_counter() - self._last_event > EVENT_SECONDS:
            self._tell(Event("features", done, total))
        if done == total:
            self._tell(Event(self._phase))  # features are made inside of a fit or a prediction: that goes on

    def _tell(self, event: Event) -> None:
        self._last_event = time.perf_counter()
        if event.phase != "features":
            self._phase = event.phase
        with contextlib.suppress(OSError), (self.out / EVENTS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(event)) + "\n")


def _save(estimator: Any, out: Path) -> tuple[str, ...]:
    """Store the artefact and what is kept of the training; what cannot be stored leaves the score and says why."""
    notes: list[str] = []
    try:
        adapter.save(estimator, out / ARTEFACT)
    except Exception as error:
        if is_no_space(error):
            raise
        shutil.rmtree(out / ARTEFACT, ignore_errors=True)
        notes.append(f"no artefact: {type(error).__name__}: {first_line(error)}")
    try:
        adapter.save_training(estimator, out)
    except Exception as error:
        if is_no_space(error):
            raise
        notes.append(f"training not kept: {type(error).__name__}: {first_line(error)}")
    return tuple(notes)


def _latency(estimator: Any, X: np.ndarray, features: FeatureCache) -> dict[str, float]:
    """Time one example at a time, from raw input to probabilities, nothing cached; milliseconds."""
    if not len(X):
        return {"latency_p50_ms": 0.0, "latency_p95_ms": 0.0}
    seconds: list[float] = []
    started = time.perf_counter()
    with features.bypass():
        for _ in range(2):  # the first calls pay for buffers and traces
            estimator.predict_proba(X[:1])
        while len(seconds) < LATENCY_CALLS and (len(seconds) < 5 or time.perf_counter() - started < LATENCY_SECONDS):
            row = len(seconds) % len(X)
            start = time.perf_counter()
            estimator.predict_proba(X[row : row + 1])
            seconds.append(time.perf_counter() - start)
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    return {"latency_p50_ms": float(p50), "latency_p95_ms": float(p95)}


def _plain(array: np.ndarray) -> np.ndarray:
    """Return numbers as they are; words, objects and masked cells are no probabilities.

    Raises
    ------
    TypeError
        Saying what was answered instead.
    """
    if array.dtype.kind not in "fiub" or np.ma.is_masked(array):
        what = "masked cells" if np.ma.is_masked(array) else f"an array of {array.dtype} with shape {array.shape}"
        raise TypeError(f"predict_proba answered {what}, not an array of numbers")
    return array


@contextlib.contextmanager
def _limited(threads: int, blas_threads: int) -> Iterator[None]:
    """Hold every thread pool of the process to `threads`, and BLAS to fewer where the model is faster so."""
    import joblib
    from threadpoolctl import threadpool_limits

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "tensorflow" in sys.modules:
        with contextlib.suppress(RuntimeError):  # its threads are fixed once its first operation ran
            sys.modules["tensorflow"].config.threading.set_intra_op_parallelism_threads(threads)
    limits = {"openmp": threads, "blas": min(threads, blas_threads or threads)}
    # A cell is one process: estimators that ask joblib for workers get threads.
    with threadpool_limits(limits=limits), joblib.parallel_config(backend="threading"):
        yield


@contextlib.contextmanager
def _timed(into: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    into[name] = time.perf_counter() - start


def resident_gb(pid: int | str = "self") -> tuple[float, float]:
    """Return a process's resident memory now and at its peak, in GB; zeros where the system does not tell."""
    found = {"VmRSS": 0.0, "VmHWM": 0.0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) * 1024 / GB
    return found["VmRSS"], found["VmHWM"]


def _memory(baseline: float) -> dict[str, float | None]:
    added = max(0.0, resident_gb()[1] - baseline)
    return {"added_gb": added, "baseline_gb": baseline, "gpu_gb": gpu_state.peak_gb()}


def _blame(error: BaseException, memory: Mapping[str, float | None]) -> tuple[Status, str]:
    """Return the status of an exception that a model raised, and its reason in words; of memory, how full it was."""
    name, line = type(error).__name__, first_line(error)
    if gpu_state.ran_out(error):
        # The exception still holds what filled the memory.
        told = filter(None, [line, gpu_state.full(), f"the cell had added {memory['added_gb']:.2f} GB of main memory"])
        return "oom", f"out of memory: {'; '.join(told)}"
    if isinstance(error, ModuleNotFoundError):
        return "unavailable", f"{line}: pip install {(error.name or '').partition('.')[0]}"
    if isinstance(error, UserError):
        return "failed", line
    if isinstance(error, SystemExit):
        return "failed", f"the model called exit({error.code!r})"
    return "failed", f"{name}: {line}" if line else name
