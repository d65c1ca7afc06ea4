"""The tidy frame behind every table: records become rows, seeds are pooled, rows are ranked inside their table.

A table is one task on one data fingerprint and one split: only there do figures compare. Inside it a row is a
configuration on one hardware class and device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..benchmarks.metrics import MAIN_METRICS, METRICS
from ..benchmarks.store import folder_of_results
from ..benchmarks.thresholds import POLICIES
from ..datasets.support.errors import UserError, unknown_name
from . import index, rank
from .replicates import Drawn, mean_replicates

_PARTS = ("prepare_s", "features_s", "tune_s", "fit_only_s")
_COSTS = (
    *("fit_s", "predict_s", "latency_p50_ms", "latency_p95_ms", "rows_per_second"),
    *("memory_gb", "memory_baseline_gb", "memory_gpu_gb"),
)
_FIRST_METRICS = (
    *("f1_micro", "f1_macro", "f1_weighted", "roc_auc_macro", "roc_auc_micro", "average_precision_macro"),
    *("hamming_loss", "exact_match", "accuracy", "balanced_accuracy"),
)
METRIC_COLUMNS = [*_FIRST_METRICS, *(name for name in METRICS if name not in _FIRST_METRICS)]
COLUMNS = [
    *("rank", "task", "model", "preset", "mode", "settings", "seeds", "status", "reason"),
    *("primary", "ranked_by", "value", "low", "high", "tied", "unseen"),
    *METRIC_COLUMNS,
    *(*_PARTS, *_COSTS, "parameters", "device", "threads", "beside", "overlap", "hardware"),
    *(
        "fingerprint",
        "split",
        "policy",
        "kind",
        "framework",
        "label_count",
        "test_rows",
        "created",
        "records",
        "superseded",
    ),
]
"""Every column of the board, in order; ``leaderboard/README.md`` says what each holds."""

_BOUNDS = [name for metric in MAIN_METRICS for name in (index.low(metric), index.high(metric))]
_WHOLE = ("rank", "parameters", "threads", "beside", "label_count", "test_rows", "superseded")


@dataclass(frozen=True)
class Board:
    """The board, and one line for each file among the records that could not be read."""

    frame: pd.DataFrame
    problems: tuple[str, ...]


class _Member(NamedTuple):
    """A record of a row: where its files stand, the hash of its resamples, and what tells it from any other record."""

    folder: str
    resamples: str
    identity: str


def load_board(results: Path, task: str | None = None, sort: str | None = None, policy: str | None = None) -> Board:
    """Return the board of a results folder; see `zoobench.leaderboard.board`.

    Raises
    ------
    UserError
        If the folder is missing or has no record, or nothing answers to `task`, `sort` or `policy`.
    """
    rows, problems = read_records(results, task, sort, policy)
    root = results.expanduser().absolute()
    current, members = _pool(_whole(results, rows, task))
    living = {name for name in current["identity"] if name}
    if task is not None:
        current = where(current, current["task"] == task)
    cache = index.IntervalCache(root, [*([sort] if sort else []), *current["primary"]])
    evidence = _Evidence(root, cache, members)
    tables = [_rank_table(table, sort, evidence) for _, table in current.groupby(list(index.TABLE), sort=False)]
    cache.save(living)
    return Board(_finish(current, pd.concat(tables)), tuple(problems))


def read_records(results: Path, task: str | None, sort: str | None, policy: str | None) -> index.Rows:
    """Return all records of a results folder as flat rows; raises as `load_board` does."""
    check_metric(sort)
    if policy is not None and policy not in POLICIES:
        raise unknown_name("threshold policy", policy, POLICIES)
    root = folder_of_results(results)
    found = index.read_rows(root, policy or "")
    _check_rows(results, found.frame, found.problems, task)
    return found


def check_metric(name: str | None) -> None:
    """Refuse a metric that there is not, or that has no better and worse."""
    if name is None:
        return
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    if METRICS[name].higher_is_better is None:
        raise UserError(f"metric {name!r} describes and does not rank: sort by another, such as 'f1_macro'")


def _check_rows(results: Path, rows: pd.DataFrame, problems: Sequence[str], task: str | None) -> None:
    if rows.empty and problems:
        count = len(problems)
        raise UserError(f"results folder {results} has no readable record; {count} not read, the first: {problems[0]}")
    if rows.empty:
        raise UserError(f"results folder {results} has no record yet: `zoobench run --results {results}` makes some")
    if task is not None and task not in (known := sorted(set(rows["task"]))):
        raise UserError(f"task {task!r} has no record in {results}; tasks that have: {', '.join(known)}")


def _whole(results: Path, rows: pd.DataFrame, task: str | None) -> pd.DataFrame:
    """Return the records of models that were fitted on all training rows: those of a part are of curves alone."""
    whole = where(rows, rows["fraction"] == 1)
    if whole.empty or (task is not None and task not in set(whole["task"])):
        what = task or results
        raise UserError(f"{what} has records of parts of the training rows alone: show them by --curves")
    return whole


def _pool(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[_Member]]]:
    """Return one line per row of the board, and the records behind each by the row's identity.

    Of several records of one seed the latest counts, also where it failed. What the seeds share is taken from one
    that succeeded, if any did.
    """
    counts = rows["row"].value_counts()
    rows = standing(rows)
    rows = rows.assign(group=rows.groupby("row", sort=False).ngroup(), ok=rows["status"] == "ok")
    ok = where(rows, rows["ok"])
    averaged = ["unseen", *METRIC_COLUMNS, *_PARTS, *_COSTS, *_BOUNDS]
    shared = rows.drop(columns=[*averaged, "seed", "reason", "beside"])
    shared = shared.iloc[np.lexsort((rows["ok"], rows["group"]))].drop_duplicates("group", keep="last")
    by_group = ok.groupby("group")
    pooled = shared.set_index("group").join(by_group[averaged].mean())
    pooled["beside"] = rows.groupby("group")["beside"].max()
    pooled["several"] = by_group.size().reindex(pooled.index, fill_value=0) > 1
    pooled["superseded"] = counts.loc[pooled["row"]].to_numpy() - rows.groupby("group").size().loc[pooled.index]
    members, identities = _members(ok)
    pooled["identity"] = [identities.get(group, "") for group in pooled.index]
    return pooled.assign(**_words(rows)), members


def standing(rows: pd.DataFrame) -> pd.DataFrame:
    """Return those of the index's rows that count: the latest record of each seed, of those that ran alike."""
    return of_one_setup(rows).drop_duplicates(["row", "seed"], keep="last")


def of_one_setup(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the records that ran as the newest of their row did: no figure pools two versions of the code.

    What failed has no metric version, so that counts among the scored alone.
    """
    rows = where(rows, rows["setup"] == _newest(rows, "setup"))
    scored = rows.assign(metric_version=rows["metric_version"].where(rows["status"] == "ok"))
    version = scored["metric_version"]
    return where(rows, version.isna() | (version == _newest(scored, "metric_version")))


def _newest(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Return, for each record, the field `name` of the newest one of its row that has it."""
    by_row = rows.sort_values(["created", "path"]).groupby("row", sort=False)
    return by_row[name].transform("last").reindex(rows.index).to_numpy()


def where(rows: pd.DataFrame, mask: Any) -> pd.DataFrame:
    """Return the rows that the (n,) bool `mask` holds."""
    return rows.take(np.flatnonzero(mask))


def _lists(rows: pd.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    """Yield the values of some columns, row by row: far quicker than any loop over a frame."""
    return zip(*(rows[name].to_numpy(dtype=object).tolist() for name in names), strict=True)


def _members(ok: pd.DataFrame) -> tuple[dict[str, list[_Member]], dict[int, str]]:
    grouped: dict[int, list[_Member]] = {}
    names = ("group", "path", "attempt", "resamples", "mtime_ns", "size")
    for group, path, attempt, resamples, mtime_ns, size in _lists(ok, *names):
        folder = f"{path.rpartition('/')[0]}/{attempt}"
        grouped.setdefault(group, []).append(_Member(folder, resamples, f"{path}:{mtime_ns}:{size}"))
    identities = {
        group: hashlib.sha256("\n".join(member.identity for member in members).encode()).hexdigest()[: index.ID_LENGTH]
        for group, members in grouped.items()
    }
    return {identities[group]: members for group, members in grouped.items()}, identities


def _words(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Return what is said of each row in words: its seeds, the reasons of those that failed, its records."""
    paths: dict[int, list[str]] = {}
    failed: dict[int, list[tuple[int, str, str]]] = {}
    for group, path, seed, status, reason in _lists(rows, "group", "path", "seed", "status", "reason"):
        paths.setdefault(group, []).append(path)
        if status != "ok":
            failed.setdefault(group, []).append((seed, status, reason))
    return {
        "seeds": [_seeds(len(found), len(failed.get(group, ()))) for group, found in paths.items()],
        "reason": [_reason(len(found), failed.get(group, [])) for group, found in paths.items()],
        "records": [";".join(found) for found in paths.values()],
    }


def _seeds(count: int, failed: int) -> str:
    return f"{count - failed} of {count}" if failed else str(count)


def _reason(count: int, failed: list[tuple[int, str, str]]) -> str:
    if count == len(failed) == 1:
        return failed[0][2]
    return "; ".join(f"seed {seed} {status}: {reason}" for seed, status, reason in failed)


class _Evidence:
    """The bootstrap replicates behind rows, read only where the cache has no answer."""

    def __init__(self, root: Path, cache: index.IntervalCache, members: dict[str, list[_Member]]) -> None:
        self._root, self._cache, self._members = root, cache, members
        self._best: dict[str, dict[str, np.ndarray] | None] = {}

    def pooled(self, row: str, metric: str) -> tuple[float, float]:
        """Return the interval of the mean over a row's seeds."""
        if (known := self._cache.get(row, "", metric)) is not None:
            return known
        for name, replicates in (self._replicates(row) or {}).items():
            self._cache.add(row, "", name, rank.interval(replicates))
        return self._cache.get(row, "", metric) or rank.NO_INTERVAL

    def difference(self, row: str, best: str, metric: str) -> tuple[float, float]:
        """Return the interval of the difference between the best and a row, on the same resamples."""
        if (known := self._cache.get(row, best, metric)) is not None:
            return known
        if best not in self._best:
            self._best = {best: self._replicates(best)}
        ours, theirs = self._best[best], self._replicates(row)
        if ours is None or theirs is None:
            return rank.NO_INTERVAL
        paired = metric in ours and metric in theirs
        found = rank.difference_interval(ours[metric], theirs[metric]) if paired else rank.NO_INTERVAL
        self._cache.add(row, best, metric, found)
        return found

    def _replicates(self, row: str) -> dict[str, np.ndarray] | None:
        """Return the replicates of a row; None where there are none, as for "", a row under a policy not its own."""
        return mean_replicates([Drawn(self._root / each.folder, each.resamples) for each in self._members.get(row, ())])


def _rank_table(table: pd.DataFrame, sort: str | None, evidence: _Evidence) -> pd.DataFrame:
    """Return rank, metric, value, interval and ties of the rows of one table, best first and failures last."""
    metric = ranking_metric(table, sort)
    values = table[metric].to_numpy(dtype=float)
    ranks = rank.ranks(values, higher_is_better=bool(METRICS[metric].higher_is_better))
    order = np.lexsort((ranks, ~table["ok"].to_numpy()))
    ranked = pd.DataFrame({"rank": ranks, "ranked_by": metric, "value": values}, index=table.index)
    if METRICS[metric].thresholded:
        # Resamples are of a record's own policy, and no evidence of another.
        table = table.assign(identity=table["identity"].where(table["own_policy"] == 1, ""))
    ranked[["low", "high"]] = _intervals(table, metric, evidence)
    ranked["tied"] = _ties(table["identity"].tolist(), order[: int((~np.isnan(ranks)).sum())], metric, evidence)
    return ranked.iloc[order]


def ranking_metric(table: pd.DataFrame, sort: str | None) -> str:
    """Return the metric asked for; the primary one where no row of the table has that."""
    if sort is not None and not np.isnan(table[sort].to_numpy(dtype=float)).all():
        return sort
    return str(table["primary"].iloc[-1])


def _intervals(table: pd.DataFrame, metric: str, evidence: _Evidence) -> np.ndarray:
    """Return the interval (n, 2) of each row; NaN where nobody computed one."""
    if metric not in MAIN_METRICS:
        return np.full((len(table), 2), np.nan)
    columns = _lists(table, "identity", "several", index.low(metric), index.high(metric))
    bounds = [evidence.pooled(row, metric) if several else alone for row, several, *alone in columns]
    return np.array(bounds, dtype=float)


def _ties(rows: list[str], ranked: np.ndarray, metric: str, evidence: _Evidence) -> pd.arrays.BooleanArray:
    """Return whether each row cannot be told from the best: true of the best itself, missing without evidence.

    `ranked` holds the positions of the rows that have a rank, best first.
    """
    tied, known = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    if len(ranked) and metric in MAIN_METRICS:
        best = rows[ranked[0]]
        low, high = np.array([evidence.difference(rows[each], best, metric) for each in ranked]).T
        tied[ranked], known[ranked] = rank.tied_with_best(low, high), ~np.isnan(low)
    tied[ranked[:1]] = known[ranked[:1]] = True
    return pd.arrays.BooleanArray(tied, ~known)


def _finish(rows: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    renamed = {"hardware_class": "hardware", "data_fingerprint": "fingerprint", "split_sha256": "split"}
    frame = ranked.join(rows).rename(columns=renamed).reindex(columns=COLUMNS)
    return frame.astype(dict.fromkeys(_WHOLE, "Int64")).reset_index(drop=True)
