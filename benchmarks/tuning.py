"""A study: trials of a model's configurations on the validation fold, each in a process of its own."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.core import Fold
from ..datasets.layout import PUBLIC, load_ids, load_training
from ..datasets.support.errors import UserError
from ..datasets.support.files import sha256_file
from ..zoo.core import Scalar
from .budget import Budget
from .cell import Cell
from .engines.base import ANEW
from .job import LOG, Event, Outcome
from .launch import Launcher, read_probabilities
from .outputs import write_probabilities
from .plan import Planned
from .record import Tuning
from .scoring import LOWEST, TaskScorer
from .search import Search
from .store import PROBABILITIES, Results, discard
from .studies import (
    INTERRUPTED,
    JOURNAL,
    OWNER,
    REASON,
    SECONDS,
    SHA256,
    check_study,
    counted,
    open_storage,
    open_study,
    owner,
    shown,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

SCORES = ("score", "val_score")
"""What a fit calls the task's metric on the validation fold when it reports an epoch."""


class StoppedError(Exception):
    """The run is being stopped: no trial failed."""


class TrialFailedError(Exception):
    """A trial came to nothing; the study goes on."""


@dataclass(frozen=True)
class Tuned:
    """What a study came to: the best configuration, and the account of how it was found.

    Attributes
    ----------
    fit_key
        Of the tuned cell, whose best configuration nobody knew when it was planned.
    trials, columns
        A row for each trial, and the names of what a row may hold.
    wall
        Seconds that this run spent on the study.
    """

    config: Mapping[str, Scalar]
    tuning: Tuning
    fit_key: str
    trials: tuple[Mapping[str, Any], ...]
    columns: tuple[str, ...]
    wall: float


class Tuner:
    """Runs the studies of a run's tuned cells. Safe to use from several threads, one study a thread.

    Attributes
    ----------
    workers
        Trials of one study side by side, where there is room for them.
    share
        Those that it has room for while all cells of the run go on.
    """

    def __init__(self, results: Results, launcher: Launcher, budget: Budget) -> None:
        self._results, self._launcher, self._budget = results, launcher, budget
        self.workers = self.share = 1

    def tune(self, planned: Planned, search: Search, tell: Callable[[Event], None]) -> Tuned | Outcome:
        """Bring the study of a tuned cell to its number of trials, or to the end of its time.

        Returns
        -------
        What was found, or a failure where no trial came to a value.

        Raises
        ------
        StoppedError
            If the run is being stopped.
        UserError
            If the study in the storage is another one, or cannot be read.
        """
        return _Study(self, planned, search, tell).run()

    def check(self, cells: Iterable[Planned]) -> None:
        """Refuse, before anything runs, cells whose study cannot be read, or is another one in the database."""
        url = self._budget.storage
        for planned in cells:
            if planned.search is None:
                continue
            where = url or self.folder(planned.cell) / JOURNAL
            if url or Path(where).exists():
                check_study(open_storage(where), study_name(planned), planned.search, made_of(planned.cell))

    def folder(self, cell: Cell) -> Path:
        """Return the folder of a cell's study."""
        return self._results.study(cell.task_name, cell.model, cell.study_key)


class _Study:
    def __init__(self, tuner: Tuner, planned: Planned, search: Search, tell: Callable[[Event], None]) -> None:
        self._planned, self._search, self._tell = planned, search, tell
        self._results, self._launcher, self._budget = tuner._results, tuner._launcher, tuner._budget
        self._workers, self._share = tuner.workers, tuner.share
        self._folder = tuner.folder(planned.cell)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._y_val = load_training(planned.prepared.folder / PUBLIC, "validation")[1]
        self._scorer = TaskScorer(planned.card.kind, planned.card.primary_metric)

    def run(self) -> Tuned | Outcome:
        self._start = time.monotonic()
        cell, budget = self._planned.cell, self._budget
        storage = open_storage(budget.storage or self._folder / JOURNAL)
        seed = cell.derived_seed
        self._study = study = open_study(storage, study_name(self._planned), self._search, made_of(cell), seed)
        study.pruner = _pruner(budget.pruner)
        done = counted(study.trials)
        left = budget.trials - len(done)
        seconds = _left(budget, sum(trial.user_attrs.get(SECONDS, 0.0) for trial in done), self._share)
        self._tell(Event("tune", len(done), budget.trials))
        if left > 0 and seconds > 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                study.optimize(
                    self._objective, n_trials=left, timeout=None if seconds == float("inf") else seconds,
                    n_jobs=min(self._workers, left), catch=(TrialFailedError,), callbacks=[self._after],
                )  # fmt: skip
        return self._summed_up()

    def _objective(self, trial: Trial) -> float:
        import optuna

        trial.set_user_attr(OWNER, owner())
        trial.set_user_attr(INTERRUPTED, False)
        scratch = self._results.scratch()
        try:
            return self._fit(trial, scratch)
        except TrialFailedError as failure:
            trial.set_user_attr(REASON, str(failure))
            raise
        except optuna.TrialPruned:
            raise
        except BaseException:  # the run is stopped, its disk is full, its cluster is gone: none of the trial's doing
            trial.set_user_attr(INTERRUPTED, True)
            raise
        finally:
            discard(scratch)

    def _fit(self, trial: Trial, scratch: Path) -> float:
        with self._launcher.room(self._planned):  # before it is chosen what to try: by then more is known
            outcome, found = self._tried(trial, scratch)
        planned = self._planned
        if outcome.status != "ok":
            raise TrialFailedError(f"{outcome.status}: {outcome.reason}")
        value = self._scorer(self._y_val, found["validation"])
        if value == LOWEST:
            raise TrialFailedError(f"{planned.card.primary_metric} is undefined on the validation fold")
        trial.set_user_attr(SHA256, self._keep(trial.number, found, scratch))
        return value

    def _tried(self, trial: Trial, scratch: Path) -> tuple[Outcome, dict[Fold, np.ndarray]]:
        """Choose a configuration, fit it, and return its probabilities of the validation and test folds."""
        import optuna

        planned, start = self._planned, time.monotonic()
        try:
            config = planned.model.card.configure("", self._search.suggest(trial))
        except UserError as error:
            raise TrialFailedError(str(error)) from error
        cell = replace(planned.cell, config=config, tuning={})
        outcome, ending = self._launcher.run(planned, cell, scratch, _Listener(trial), trial=True)
        trial.set_user_attr(SECONDS, time.monotonic() - start - ending.waited_s)
        if ending.cause == "stopped":
            raise StoppedError
        if ending.cause == "pruned":
            raise optuna.TrialPruned
        if outcome.status != "ok":
            return outcome, {}
        return read_probabilities(planned, outcome, scratch, ("validation", "test"))

    def _keep(self, number: int, found: Any, scratch: Path) -> str:
        """Store a trial's probabilities, of which the SHA-256 is returned, and log: members of an ensemble to come."""
        staged, target = scratch / "staged", self._folder / "trials" / f"{number:04d}"
        staged.mkdir()
        prepared = self._planned.prepared
        ids = np.concatenate([load_ids(prepared.folder / PUBLIC, "validation"), prepared.sealed_test().ids])
        write_probabilities(staged / PROBABILITIES, found, ids, self._planned.card.labels)
        if (scratch / LOG).exists():
            (scratch / LOG).rename(staged / LOG)
        target.parent.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)  # of a study that was begun anew
        staged.rename(target)
        return sha256_file(target / PROBABILITIES)

    def _after(self, study: optuna.Study, trial: Any) -> None:
        del trial
        done = len(counted(study.trials))
        self._tell(Event("tune", done, max(done, self._budget.trials)))
        if done >= self._budget.trials:
            study.stop()  # with other machines on the storage, the number is reached sooner

    def _summed_up(self) -> Tuned | Outcome:
        from optuna.trial import TrialState

        # The first of them: another run may have taken the study beyond this budget.
        study, trials = self._study, counted(self._study.trials)[: self._budget.trials]
        finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        if not finished:
            reasons = [trial.user_attrs.get(REASON, "") for trial in trials]
            first = next(filter(None, reasons), "none was begun: give --tune-time more")
            return Outcome("failed", f"no trial of {len(trials)} came to a value; the first: {first}")
        best = max(finished, key=lambda trial: (trial.value or 0.0, -trial.number))
        start = next((trial for trial in finished if trial.user_attrs.get("default")), None)
        config = {**self._search.base, **best.params}
        tuning = Tuning(
            study=study.study_name,
            key=self._planned.cell.study_key,
            storage=shown(self._budget.storage) if self._budget.storage else "",
            budget=self._budget.trials,
            tune_time_s=self._budget.seconds,
            finished=len(finished),
            pruned=sum(trial.state == TrialState.PRUNED for trial in trials),
            failed=sum(trial.state == TrialState.FAIL for trial in trials),
            best=best.number,
            value=best.value or 0.0,
            default_value=start.value if start else None,
            seconds=sum(trial.user_attrs.get(SECONDS, 0.0) for trial in trials),
            sampler="TPE, multivariate, grouped",
            pruner=self._budget.pruner,
            importances=importances(study),
        )
        rows = tuple(as_row(trial) for trial in trials)
        columns = tuple(dict.fromkeys(name for row in rows for name in row))
        chosen = self._planned.model.card.configure("", config)
        return Tuned(chosen, tuning, self._planned.cell.fit_key, rows, columns, time.monotonic() - self._start)


class _Listener:
    """Hands what a fit reports to its trial, and ends the fit that the pruner gives up."""

    def __init__(self, trial: Trial) -> None:
        self._trial, self._epoch = trial, 0

    def __call__(self, event: Event) -> bool:
        if event == ANEW or event.phase == "loading":  # of a process that was killed: this one tells it all
            self._epoch = 0
        value = next((event.values[name] for name in SCORES if name in event.values), None)
        if event.phase != "fit" or value is None:
            return False
        # Epochs, not steps: a trial with other batches takes other steps, and is as far all the same.
        self._epoch += 1
        self._trial.report(value, self._epoch)
        return self._trial.should_prune()


def study_name(planned: Planned) -> str:
    """Name a cell's study, as a person looks for it in a storage of many: what was set by hand is part of it."""
    cell, search = planned.cell, planned.search
    held = {name: cell.config[name] for name in planned.model.card.space if search and name not in search.space}
    settings = ",".join(f"{name}={value}" for name, value in sorted({**held, **cell.settings}.items()))
    return "/".join(filter(None, [cell.task_name, cell.model_name, settings, f"seed {cell.seed}"]))


def made_of(cell: Cell) -> dict[str, Any]:
    """Return what the trials of a study share beyond its search space."""
    return {
        "model": cell.model_name,
        "task": cell.task_name,
        "data": cell.data_fingerprint[:12],
        "folds": cell.split_sha256[:12],
        "metric": cell.primary_metric,
        "code": cell.source_sha256[:12],
    }


def as_row(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial in one row: number, state, value, seconds, its parameters, and why it failed."""
    kept = trial.user_attrs
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value,
        "seconds": kept.get(SECONDS),
        **trial.params,
        "reason": kept.get(REASON, ""),
        "sha256": kept.get(SHA256, ""),
    }


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the share of the trials' variance that each setting explains (fANOVA, Hutter et al. 2014)."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dict(optuna.importance.get_param_importances(study, evaluator=fanova()))
        except (ValueError, RuntimeError, ImportError):  # fewer than two trials, or all of one value
            return {}


def fanova() -> Any:
    """Return what judges settings; seeded, so that a study is told the same way each time."""
    import optuna

    return optuna.importance.FanovaImportanceEvaluator(seed=0)


def _pruner(name: str) -> Any:
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    return optuna.pruners.HyperbandPruner() if name == "hyperband" else optuna.pruners.NopPruner()


def _left(budget: Budget, spent: float, workers: int) -> float:
    """Return the seconds of wall time that a study has left."""
    return float("inf") if budget.seconds is None else budget.seconds - spent / workers
