"""Learning curves: score and seconds against the rows trained on, and what more rows would bring and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..benchmarks.metrics import MAIN_METRICS, METRICS
from ..datasets.support.errors import UserError
from . import index, rank
from .frame import of_one_setup, ranking_metric, read_records, where
from .power_law import ScoreLaw, SecondsLaw, fit_replicates, fit_score, fit_seconds, resample_seeds
from .replicates import Drawn, read_replicates

CURVE = tuple(name for name in index.ROW if name != "fraction")
"""What the records of one curve share."""

AHEAD = (2, 10)
"""How many times the most rows measured the curves are carried on to."""

LEAST_POINTS = 3
_RESAMPLES, _DRAWN = 1000, 60


@dataclass(frozen=True)
class Point:
    """A fraction as measured: means over the seeds, with the 95 % interval of the score (NaN where there is none)."""

    fraction: float
    rows: float
    value: float
    low: float
    high: float
    seconds: float
    seeds: int


@dataclass(frozen=True)
class Ahead:
    """What the laws say of more rows than were measured, each with its 95 % interval (NaN where there is none)."""

    times: int
    rows: float
    value: float
    low: float
    high: float
    seconds: float
    seconds_low: float
    seconds_high: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A model on a task, by the rows trained on.

    Attributes
    ----------
    card
        What it is of: the columns of `CURVE`, ``metric``, ``test_rows``.
    points
        By fraction, ascending.
    law, seconds
        None where they cannot be told; then `remark` says why, and `ahead` and `line` are empty.
    line
        (m, 4) rows, score, and the bounds of its interval, from the fewest rows measured to the most looked ahead.
    failures
        What did not finish, a line each.
    """

    card: dict[str, Any]
    points: tuple[Point, ...]
    law: ScoreLaw | None
    seconds: SecondsLaw | None
    ahead: tuple[Ahead, ...]
    line: np.ndarray
    remark: str
    failures: tuple[str, ...]

    @property
    def name(self) -> str:
        """The model with its preset, mode and settings."""
        card = self.card
        preset = f"@{card['preset']}" if card["preset"] not in {"", "default"} else ""
        mode = f", {card['mode']}" if card["mode"] != "default" else ""
        return index.one_line(card["model"] + preset + mode + (f" ({card['settings']})" if card["settings"] else ""))


@dataclass(frozen=True)
class Curves:
    """The curves of a results folder, one line for each file that could not be read, and the records left out."""

    curves: tuple[Curve, ...]
    problems: tuple[str, ...]
    superseded: int


def load_curves(results: Path, task: str | None = None, sort: str | None = None, policy: str | None = None) -> Curves:
    """Return the learning curves of a results folder, by task and the best first.

    Parameters
    ----------
    sort
        The metric; each task's primary one without it, or where a task lacks it.
    policy
        The threshold policy whose decisions are scored; intervals are of a record's own policy alone.

    Raises
    ------
    UserError
        If the folder is missing or holds no curve, or nothing answers to `task`, `sort` or `policy`.
    """
    rows, problems = read_records(results, task, sort, policy)
    if task is not None:
        rows = where(rows, rows["task"] == task)
    rows = rows.assign(row=rows.groupby(list(CURVE), sort=False).ngroup())
    rows = where(rows, rows["row"].isin(where(rows, rows["fraction"] < 1)["row"]))
    kept = of_one_setup(rows).drop_duplicates(["row", "fraction", "seed"], keep="last")
    found = [
        _curve(of_model, ranking_metric(of_table, sort), results.expanduser().absolute())
        for _, of_table in kept.groupby(list(index.TABLE), sort=False)
        for _, of_model in of_table.groupby("row", sort=False)
        if min(of_model["fraction"]) < 1
    ]
    if not found:
        where_to = f"{task} in {results}" if task else results
        raise UserError(f"no learning curve of {where_to}: `zoobench run --fractions 0.1,0.25,0.5,1` measures some")
    return Curves(tuple(sorted(found, key=_place)), tuple(problems), len(rows) - len(kept))


def _place(curve: Curve) -> tuple[Any, ...]:
    """Return the place of a curve: by its task, and there by the score of the most rows."""
    table, rest = ([str(curve.card[name]) for name in names] for names in (index.TABLE, CURVE))
    sign = -1 if METRICS[curve.card["metric"]].higher_is_better else 1
    return (*table, sign * curve.points[-1].value if curve.points else np.inf, *rest)


def _curve(rows: pd.DataFrame, metric: str, root: Path) -> Curve:
    first = rows.iloc[0]
    card: dict[str, Any] = {name: first[name] for name in (*CURVE, "test_rows")} | {"metric": metric}
    done = where(rows, (rows["status"] == "ok") & rows[metric].notna())
    by_fraction = [of_one for _, of_one in done.groupby("fraction", sort=True)]
    replicates = [_replicates(each, metric, root) for each in by_fraction]
    points = tuple(_point(*each, metric) for each in zip(by_fraction, replicates, strict=True))
    law, line, remark = _score_law(points, replicates, bool(METRICS[metric].higher_is_better))
    seconds = None
    if len(points) >= LEAST_POINTS:
        seconds = fit_seconds(done["train_rows"].to_numpy(float), done["fit_s"].to_numpy(float))
    failed = where(rows, rows["status"] != "ok")
    lines = [
        f"fraction {each['fraction']:g}, seed {each['seed']} {each['status']}: {index.one_line(each['reason'])}"
        for each in failed.to_dict("records")
    ]
    ahead = tuple(_ahead(points[-1].rows, line, place, seconds) for place in range(len(AHEAD))) if points else ()
    return Curve(card, points, law, seconds, ahead if law or seconds else (), line[: -len(AHEAD)], remark, tuple(lines))


def _replicates(rows: pd.DataFrame, metric: str, root: Path) -> dict[int, np.ndarray]:
    """Return the (resamples,) scores of each seed; none where a record has none, or none of this policy."""
    found: dict[int, np.ndarray] = {}
    if metric not in MAIN_METRICS or (METRICS[metric].thresholded and min(rows["own_policy"]) < 1):
        return found
    columns = (rows[name] for name in ("path", "attempt", "resamples", "seed"))
    for path, attempt, resamples, seed in zip(*columns, strict=True):
        try:
            drawn = Drawn((root / path).parent / attempt, resamples)
            found[int(seed)] = read_replicates(drawn, [metric])[metric].astype(float)
        except index.UNREADABLE:
            return {}
    return found


def _point(rows: pd.DataFrame, replicates: dict[int, np.ndarray], metric: str) -> Point:
    pairs = len({len(each) for each in replicates.values()}) == 1
    low, high = rank.interval(np.mean(list(replicates.values()), axis=0)) if pairs else rank.NO_INTERVAL
    means = rows[["fraction", "train_rows", metric, "fit_s"]].astype(float).mean()
    fraction, trained, value, seconds = map(float, means)
    return Point(fraction, trained, value, low, high, seconds, len(rows))


def _score_law(
    points: Sequence[Point], replicates: Sequence[dict[int, np.ndarray]], higher_is_better: bool
) -> tuple[ScoreLaw | None, np.ndarray, str]:
    """Return the law, the (m, 4) line drawn by it with the places of `AHEAD` last, and why there is none."""
    none = np.zeros((len(AHEAD), 4)) * np.nan
    if len(points) < LEAST_POINTS:
        count = f"{len(points)} fraction{'' if len(points) == 1 else 's'}"
        return None, none, f"{count} measured: a curve takes {LEAST_POINTS} or more"
    trained, values = (np.array([getattr(point, name) for point in points]) for name in ("rows", "value"))
    sign = 1 if higher_is_better else -1
    drawn = resample_seeds(replicates, np.random.default_rng(0), _RESAMPLES)
    gain = sign * (values[-1] - values[0])
    surely = gain if drawn is None else rank.interval(sign * (drawn[:, -1] - drawn[:, 0]))[0]
    if not min(gain, surely) > 0:
        return None, none, "more rows have not made it better, as far as the evidence tells: no law"
    law = fit_score(trained, values, higher_is_better=higher_is_better)
    if law is None:
        return None, none, "no power law fits these points"
    most = trained[-1]
    at = np.concatenate([np.geomspace(trained[0], most * AHEAD[-1], _DRAWN), most * np.array(AHEAD)])
    bounds = np.full((len(at), 2), np.nan)
    if drawn is not None:
        again = fit_replicates(trained, drawn, at, higher_is_better=higher_is_better)
        bounds = np.array([rank.interval(each) for each in again.T])
    return law, np.column_stack([at, law(at), bounds]), ""


def _ahead(most: float, line: np.ndarray, place: int, seconds: SecondsLaw | None) -> Ahead:
    rows = np.array([most * AHEAD[place]])
    value, low, high = map(float, line[place - len(AHEAD), 1:])
    cost = float(seconds(rows)[0]) if seconds else np.nan
    bounds = seconds.interval(rows)[0] if seconds else rank.NO_INTERVAL
    return Ahead(AHEAD[place], float(rows[0]), value, low, high, cost, float(bounds[0]), float(bounds[1]))
