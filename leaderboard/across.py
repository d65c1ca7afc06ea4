"""Models over several tasks: mean rank, win rate, and what Friedman's test says. Pure functions on arrays and frames.

Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets" (J. Mach. Learn. Res. 7): a task is one
observation, models are ranked within it, and ranks are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..benchmarks.bootstrap import resample_weights
from ..benchmarks.metrics import METRICS
from ..datasets.support.errors import UserError
from .rank import LEVEL, interval
from .sheet_notes import SHARED, told_apart
from .tables import model_words

RESAMPLES = 10_000
Entrant = tuple[str, str, str, str]
ENTRANT = ("model", "preset", "mode", "settings")
"""What makes a line of the board whatever the task and the machine."""


@dataclass(frozen=True)
class Across:
    """Entrants that every task has, best first, and those that some tasks lack.

    Attributes
    ----------
    metrics
        What each task is ranked by.
    values, ranks
        (tasks, entrants); rank 1 is best, equal values share the mean of their ranks.
    low, high
        (entrants,) bounds of the mean rank over resampled tasks.
    win_rate
        (entrants,): of all others on all tasks, the share that an entrant is better than, ties counting half.
    friedman_p
        Of "all entrants are alike"; None for fewer than three of them.
    lacking
        The tasks that each further entrant has no figure on.
    left_out
        Lines on what was not taken.
    """

    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray
    ranks: np.ndarray
    mean_rank: np.ndarray
    low: np.ndarray
    high: np.ndarray
    win_rate: np.ndarray
    friedman_p: float | None
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """Return one row an entrant, best first, with its rank and its figure on every task; then what lacks tasks."""
        figures = {"mean_rank": self.mean_rank, "low": self.low, "high": self.high, "win_rate": self.win_rate}
        by_task = {f"rank:{task}": ranks for task, ranks in zip(self.tasks, self.ranks, strict=True)}
        for task, metric, values in zip(self.tasks, self.metrics, self.values, strict=True):
            by_task[f"{metric}:{task}"] = values
        ranked = pd.DataFrame({"model": self.names, **figures, "tasks": len(self.tasks), "lacks": "", **by_task})
        further = [
            {"model": name, "tasks": len(self.tasks) - len(tasks), "lacks": ";".join(tasks)}
            for name, tasks in self.lacking.items()
        ]
        return pd.concat([ranked, pd.DataFrame(further)]) if further else ranked


def mean_ranks(values: np.ndarray, higher_is_better: np.ndarray) -> np.ndarray:
    """Rank entrants on each task: (tasks, entrants) values to ranks, 1 for the best, ties sharing their mean rank.

    Parameters
    ----------
    higher_is_better
        (tasks,) bool.
    """
    from scipy.stats import rankdata

    return rankdata(np.where(higher_is_better[:, None], -values, values), method="average", axis=1)


def win_rates(ranks: np.ndarray) -> np.ndarray:
    """Return (entrants,) the share of tasks x opponents that each is better than, ties counting half.

    >>> win_rates(np.array([[1.0, 2.5, 2.5]])).tolist()
    [1.0, 0.25, 0.25]
    """
    # With mean ranks for ties, an entrant of rank r among k has beaten k - r, ties counting half.
    return (ranks.shape[1] - ranks).mean(axis=0) / (ranks.shape[1] - 1)


def rank_intervals(
    ranks: np.ndarray, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds (entrants,) of the mean rank: percentile intervals over tasks drawn with replacement."""
    weights = resample_weights(np.arange(len(ranks)), resamples)
    drawn = weights.counts @ ranks / len(ranks)
    low, high = np.array([interval(column, level) for column in drawn.T]).T
    return low, high


def friedman(ranks: np.ndarray) -> float | None:
    """Return the p-value of Friedman's test on (tasks, entrants); None for fewer than three entrants.

    1 where all tie on every task, which the test's formula leaves undefined.
    """
    from scipy.stats import friedmanchisquare

    if ranks.shape[1] < 3:
        return None
    return 1.0 if np.ptp(ranks) == 0 else float(friedmanchisquare(*ranks.T).pvalue)


def rank_across(frame: pd.DataFrame, tasks: Sequence[str] = ()) -> Across:
    """Rank the lines of a board over tasks.

    Parameters
    ----------
    frame
        What `zoobench.leaderboard.board` returns.
    tasks
        Which to take. Without them all, but of a task's protocols the honest one, or else the first, alone: the same
        data would count twice.

    Raises
    ------
    UserError
        If there are fewer than two tasks, or than two entrants that all of them have.
    """
    chosen, left_out = _tasks(frame, tasks)
    if len(chosen) < 2:
        more = f" ({'; '.join(left_out)})" if left_out else ""
        raise UserError(f"--across ranks over two tasks or more, and there is {len(chosen)}: {', '.join(chosen)}{more}")
    lines = [_lines(frame, task) for task in chosen]
    entrants = sorted(set().union(*(line.values for line in lines)))
    names, shared = entrant_names(entrants)
    left_out += [line.left_out for line in lines if line.left_out]
    left_out += [f"All with {shared}, where a model has that"] if shared else []
    has = dict(zip(chosen, (line.values for line in lines), strict=True))
    missing = {each: tuple(task for task in chosen if each not in has[task]) for each in entrants}
    whole = [each for each in entrants if not missing[each]]
    lacking = {names[each]: tasks for each, tasks in missing.items() if tasks}
    if len(whole) < 2:
        told = "; ".join(f"{name} lacks {', '.join(tasks)}" for name, tasks in list(lacking.items())[:4])
        raise UserError(
            f"--across ranks two models or more, and {len(whole)} of {len(entrants)} have a figure on all of "
            f"{', '.join(chosen)}: {told}{', …' if len(lacking) > 4 else ''}; run them there, or choose tasks by --task"
        )
    values = np.array([[line.values[each] for each in whole] for line in lines])
    metrics = [line.metric for line in lines]
    ranked = _ranked(chosen, metrics, [names[each] for each in whole], values)
    return replace(ranked, lacking=lacking, left_out=tuple(left_out))


def _ranked(tasks: Sequence[str], metrics: Sequence[str], names: Sequence[str], values: np.ndarray) -> Across:
    """Rank (tasks, entrants) values."""
    ranks = mean_ranks(values, np.array([bool(METRICS[metric].higher_is_better) for metric in metrics]))
    order = np.lexsort((list(names), ranks.mean(axis=0))).tolist()
    ranks = ranks[:, order]
    low, high = rank_intervals(ranks)
    return Across(
        tasks=tuple(tasks),
        metrics=tuple(metrics),
        names=tuple(str(names[place]) for place in order),
        values=values[:, order],
        ranks=ranks,
        mean_rank=ranks.mean(axis=0),
        low=low,
        high=high,
        win_rate=win_rates(ranks),
        friedman_p=friedman(ranks),
    )


def _tasks(frame: pd.DataFrame, asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the tasks to rank over, and a line for each that is left out."""
    there = list(dict.fromkeys(frame["task"]))
    if asked:
        for task in asked:
            if task not in there:
                raise UserError(f"task {task!r} has no record here; tasks that have: {', '.join(sorted(there))}")
        return list(dict.fromkeys(asked)), []
    first: dict[str, str] = {}
    for task in sorted(there):  # the honest protocol has no name, and comes first
        first.setdefault(task.partition("@")[0], task)
    left_out = [
        f"{task} is left out, being made of the data of {first[base]}: choose tasks by --task"
        for task in sorted(there)
        if task != first[base := task.partition("@")[0]]
    ]
    return sorted(first.values()), left_out


class _Line(NamedTuple):
    """A task: the value of each entrant, the metric, and what is said of other data or folds of it."""

    values: dict[Entrant, float]
    metric: str
    left_out: str


def _lines(frame: pd.DataFrame, task: str) -> _Line:
    """Return a task's figures: of several data or folds the newest count, of several machines the newest measurement.

    The machine is no matter here: what it changes is time, not quality.
    """
    columns = [*ENTRANT, "created", "fingerprint", "split", "value", "ranked_by"]
    rows: list[dict[str, Any]] = frame.loc[frame["task"] == task, columns].to_dict("records")  # type: ignore[assignment]
    rows = sorted(rows, key=lambda row: row["created"])
    newest = rows[-1]
    mine = [row for row in rows if (row["fingerprint"], row["split"]) == (newest["fingerprint"], newest["split"])]
    values = {_entrant(row): float(row["value"]) for row in mine if not pd.isna(row["value"])}
    older = len(rows) - len(mine)
    line = f"{older} rows of {task} are of other data or folds than the newest, and left out" if older else ""
    return _Line(values, str(newest["ranked_by"]), line)


def _entrant(row: dict[str, Any]) -> Entrant:
    return row["model"], row["preset"], row["mode"], row["settings"]


def entrant_names(entrants: Sequence[Entrant]) -> tuple[dict[Entrant, str], str]:
    """Return what each entrant is called, and the settings that need not be named for telling them apart."""
    rows = told_apart([{"task": "", **dict(zip(ENTRANT, each, strict=True))} for each in entrants])
    names = {each: model_words(row) for each, row in zip(entrants, rows, strict=True)}
    return names, rows[0][SHARED] if rows else ""
