"""What a study found, read back from its storage: its trials best first, what mattered, and Optuna's own plots."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.support.errors import UserError
from .store import Results
from .studies import JOURNAL, counted, file_of, open_storage, shown
from .tuning import as_row, fanova, importances

if TYPE_CHECKING:
    import optuna
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class StudyReport:
    """A study as it stands.

    Attributes
    ----------
    name, storage
        As a person finds it again: by the journal's path or the database's URL without its password.
    metric
        What `value` is, on the validation fold; higher is better.
    trials
        A row for each, best first, then those without a value.
    settings
        The settings that were searched.
    importances
        Share of the variance that a setting explains.
    """

    name: str
    storage: str
    metric: str
    trials: tuple[Mapping[str, Any], ...]
    settings: tuple[str, ...]
    importances: Mapping[str, float]
    study: optuna.Study

    def figures(self) -> dict[str, Figure]:
        """Return Optuna's interactive plots by what they show; those that these trials allow."""
        from optuna import visualization

        target = f"{self.metric} (validation)"
        plots = {
            "Value by trial": lambda: visualization.plot_optimization_history(self.study, target_name=target),
            "What mattered": lambda: visualization.plot_param_importances(
                self.study, evaluator=fanova(), target_name=target
            ),
            "Value by setting": lambda: visualization.plot_slice(self.study, target_name=target),
            "Settings together": lambda: visualization.plot_parallel_coordinate(self.study, target_name=target),
        }
        found: dict[str, Figure] = {}
        for title, plot in plots.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found[title] = plot()
                except (ValueError, RuntimeError, IndexError):  # too few trials for it
                    continue
        return found


def read_studies(results: Path, task: str, model: str, storage: str | None = None) -> list[StudyReport]:
    """Return the studies of a model on a task: those in a results folder, or those in a database.

    Raises
    ------
    UserError
        If there is none, or none with a finished trial.
    """
    found = _in_database(storage, task, model) if storage else _in_folder(results, task, model)
    if not found:
        where = shown(storage) if storage else str(results)
        raise UserError(f"no study of {model} on {task} in {where}: `zoobench run --trials N` makes one")
    reports = [_report(study, where) for study, where in found]
    if not any(row["state"] == "complete" for report in reports for row in report.trials):
        tries = sum(len(report.trials) for report in reports)
        raise UserError(f"study {reports[0].name} in {reports[0].storage} has no finished trial of {tries} yet")
    return reports


def _in_folder(results: Path, task: str, model: str) -> list[tuple[optuna.Study, str]]:
    base = model.partition("@")[0]
    folders = Results(results).study(task, base, "").glob(f"*/{JOURNAL}")
    found = [(study, str(path)) for path in sorted(folders) for study in _studies(path)]
    return [(study, where) for study, where in found if model in (base, study.user_attrs.get("model"))]


def _in_database(url: str, task: str, model: str) -> list[tuple[optuna.Study, str]]:
    path = file_of(url)
    if path is not None and not path.is_file():
        raise UserError(f"--storage {url}: {path} does not exist; `zoobench run --trials N --storage {url}` makes it")
    wanted = [(study, shown(url)) for study in _studies(url)]
    made = [(study.user_attrs.get("task"), study.user_attrs.get("model", "")) for study, _ in wanted]
    fits = [of == task and model in (name, name.partition("@")[0]) for of, name in made]
    return [pair for pair, fit in zip(wanted, fits, strict=True) if fit]


def _studies(where: str | Path) -> list[optuna.Study]:
    import optuna

    storage = open_storage(where)
    names = optuna.get_all_study_names(storage)
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


def _report(study: optuna.Study, where: str) -> StudyReport:
    trials = counted(study.trials)
    rows = [as_row(trial) for trial in trials]
    ended = [row for row in rows if row["state"] == "complete"]
    ordered = [*sorted(ended, key=lambda row: -row["value"]), *(row for row in rows if row not in ended)]
    settings = tuple(dict.fromkeys(name for trial in trials for name in trial.params))
    metric = str(study.user_attrs.get("metric", "value"))
    return StudyReport(study.study_name, where, metric, tuple(ordered), settings, importances(study), study)
