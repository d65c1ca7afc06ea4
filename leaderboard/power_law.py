"""Power laws of learning curves, fitted and extrapolated: pure functions on arrays.

Scores follow ``a - b n^-c`` (Cortes et al. 1994, "Learning Curves: Asymptotic Values and Rate of Convergence",
NIPS; Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically"): `a` is what no number of rows
passes. Seconds follow ``a n^b``, a straight line between logarithms.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .rank import LEVEL, NO_INTERVAL

EXPONENTS = (0.01, 3.0)
"""Of the score: slower growth cannot be told from the logarithm, faster from a step."""

_STEPS = 300


@dataclass(frozen=True)
class ScoreLaw:
    """``ceiling - scale * (n / unit) ** -exponent``, the score turned round first where lower is better.

    Attributes
    ----------
    ceiling, scale, exponent
        a, b and c; b in the unit of the score, c without one.
    unit
        Rows: the most that were measured, so that the three are of one size.
    sign
        1 where higher is better, -1 where lower is.
    """

    ceiling: float
    scale: float
    exponent: float
    unit: float
    sign: int

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the score at (n,) numbers of rows."""
        return self.sign * _law(rows / self.unit, self.ceiling, self.scale, self.exponent)

    def __str__(self) -> str:
        """Return the law in numbers of rows."""
        scale = self.scale * self.unit**self.exponent
        return f"{self.sign * self.ceiling:.3f} {'-' if self.sign > 0 else '+'} {scale:.3g} n^-{self.exponent:.3g}"


@dataclass(frozen=True)
class SecondsLaw:
    """``scale * n ** exponent`` seconds.

    Attributes
    ----------
    spread, middle, width, freedom
        Of the line between logarithms: the standard error of a point, the mean of log n, the sum of squares about
        it, and the degrees of freedom.
    """

    scale: float
    exponent: float
    spread: float
    middle: float
    width: float
    points: int

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the seconds at (n,) numbers of rows."""
        return self.scale * np.asarray(rows, dtype=float) ** self.exponent

    def interval(self, rows: np.ndarray, level: float = LEVEL) -> np.ndarray:
        """Return the (n, 2) prediction interval of one more fit: Student's t about the line between logarithms."""
        from scipy.stats import t

        freedom = self.points - 2
        if freedom < 1:
            return np.tile(NO_INTERVAL, (len(rows), 1))
        away = (np.log(rows) - self.middle) ** 2 / self.width
        half = t.ppf((1 + level) / 2, freedom) * self.spread * np.sqrt(1 + 1 / self.points + away)
        return np.stack([self(rows) * np.exp(-half), self(rows) * np.exp(half)], axis=1)

    def __str__(self) -> str:
        return f"{self.scale:.2g} n^{self.exponent:.2f}"


def _law(share: np.ndarray, ceiling: float, scale: float, exponent: float) -> np.ndarray:
    return ceiling - scale * share**-exponent


def _slopes(share: np.ndarray, ceiling: float, scale: float, exponent: float) -> np.ndarray:
    power = share**-exponent
    return np.stack([np.ones_like(share), -power, scale * power * np.log(share)], axis=1)


def fit_score(rows: np.ndarray, scores: np.ndarray, *, higher_is_better: bool) -> ScoreLaw | None:
    """Fit the law by least squares; None where that finds no end.

    Parameters
    ----------
    rows, scores
        (n,) of three points or more. No score passes the best one that there is: 1, or 0 where lower is better.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    sign, best = (1, 1.0) if higher_is_better else (-1, 0.0)
    unit, quality = float(rows.max()), sign * scores.astype(float)
    low, high = (-np.inf, 0.0, EXPONENTS[0]), (best, np.inf, EXPONENTS[1])
    start = np.clip(_profiled(rows / unit, quality[None], best)[0], low, high)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # three points leave nothing for a covariance
            found, _ = curve_fit(_law, rows / unit, quality, start, bounds=(low, high), jac=_slopes)
    except RuntimeError:
        return None
    return ScoreLaw(*map(float, found), unit=unit, sign=sign)


def fit_replicates(
    rows: np.ndarray, replicates: np.ndarray, ahead: np.ndarray, *, higher_is_better: bool
) -> np.ndarray:
    """Return (resamples, m) scores at the (m,) numbers of rows `ahead`, by the law fitted anew to each resample.

    Parameters
    ----------
    replicates
        (resamples, n) scores at the (n,) `rows`. One that is not finite makes its resample NaN.
    """
    sign, best = (1, 1.0) if higher_is_better else (-1, 0.0)
    found = np.full((len(replicates), len(ahead)), np.nan)
    whole = np.isfinite(replicates).all(axis=1)
    ceiling, scale, exponent = _profiled(rows / rows.max(), sign * replicates[whole], best).T[:, :, None]
    found[whole] = sign * _law(ahead / rows.max(), ceiling, scale, exponent)
    return found


def _profiled(share: np.ndarray, quality: np.ndarray, best: float) -> np.ndarray:
    """Return the (resamples, 3) best ceilings, scales and exponents, the exponents from a grid of steps of 2 %.

    With the exponent given the other two are a straight line, and so is all of it for all resamples at once: a
    thousand fits by `curve_fit` would take 20 s. Where the line leaves the bounds, the best within lies on one.
    """
    exponents = np.geomspace(*EXPONENTS, _STEPS)
    power = share ** -exponents[:, None]
    centred = power - power.mean(axis=1, keepdims=True)
    mean = quality.mean(axis=1)[:, None]
    scale = -(quality @ centred.T) / np.square(centred).sum(axis=1)
    ceiling = mean + scale * power.mean(axis=1)
    inside = (scale >= 0) & (ceiling <= best)
    under = np.maximum(0, ((best - quality) @ power.T) / np.square(power).sum(axis=1))
    flat = np.minimum(best, np.broadcast_to(mean, scale.shape))
    lines = [(np.where(inside, ceiling, flat), np.where(inside, scale, 0.0)), (np.full_like(under, best), under)]
    misses = [_misses(power, quality, *line) for line in lines]
    second = misses[1] < misses[0]
    chosen = np.where(second, misses[1], misses[0]).argmin(axis=1)
    rows = np.arange(len(quality))
    both = [np.where(second, lines[1][part], lines[0][part])[rows, chosen] for part in (0, 1)]
    return np.stack([*both, exponents[chosen]], axis=1)


def _misses(power: np.ndarray, quality: np.ndarray, ceiling: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the (resamples, steps) sums of squares that the laws of each step leave."""
    fitted = ceiling[:, :, None] - scale[:, :, None] * power[None]
    return np.square(fitted - quality[:, None]).sum(axis=2)


def fit_seconds(rows: np.ndarray, seconds: np.ndarray) -> SecondsLaw | None:
    """Fit a straight line to the logarithms of (n,) rows and seconds; None where fewer than two numbers of rows."""
    from scipy.stats import linregress

    kept = seconds > 0
    x, y = np.log(rows[kept]), np.log(seconds[kept])
    if len(np.unique(x)) < 2:
        return None
    line: Any = linregress(x, y)
    freedom = len(x) - 2
    left = y - line.intercept - line.slope * x
    spread = float(np.sqrt(np.square(left).sum() / freedom)) if freedom else 0.0
    width = float(np.square(x - x.mean()).sum())
    return SecondsLaw(float(np.exp(line.intercept)), float(line.slope), spread, float(x.mean()), width, len(x))


def resample_seeds(
    replicates: Sequence[dict[int, np.ndarray]], rng: np.random.Generator, count: int
) -> np.ndarray | None:
    """Return (count, points) scores of paired resamples: of the test rows, and of the seeds.

    Parameters
    ----------
    replicates
        For each point, (resamples,) scores by seed: replicate i was drawn on the same test rows everywhere. A drawn
        seed counts at every point that has it; a point without any of the drawn ones keeps its own.

    Returns
    -------
    None where a point has no resamples, or they do not pair.
    """
    lengths = {len(each) for point in replicates for each in point.values()}
    if len(lengths) != 1 or not all(replicates):
        return None
    seeds = sorted({seed for point in replicates for seed in point})
    found = np.empty((count, len(replicates)))
    for place, resample in enumerate(rng.integers(lengths.pop(), size=count)):
        drawn = rng.choice(seeds, len(seeds))
        for number, point in enumerate(replicates):
            held = [seed for seed in drawn if seed in point] or list(point)
            found[place, number] = np.mean([point[seed][resample] for seed in held])
    return found
