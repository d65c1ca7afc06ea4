"""What to take within a budget: pure functions on candidates and on what the evidence says of each pair of them.

The site computes the same in the page (``site/assets/recommend.js``); a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..datasets.support.errors import UserError
from .resampled import TIED, UNKNOWN

COSTS = ("latency_ms", "memory_gb", "train_s", "parameters")
"""What a budget limits, and the order in which the cheapest is looked for."""
FRONT_COSTS = COSTS[:3]
"""What the Pareto front weighs against quality: parameters alone cost nobody anything."""

_NEVER = math.inf
"""A cost that nobody measured: it stands behind every other, and within no limit."""


@dataclass(frozen=True)
class Budget:
    """The most that one answer (ms, median), the memory (GB), training (s) and the model (parameters) may take.

    None is no limit; any other must be more than 0 and finite (UserError).
    """

    latency_ms: float | None = None
    memory_gb: float | None = None
    train_s: float | None = None
    parameters: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if not 0 < limit < math.inf:
                option = OPTIONS[name]
                raise UserError(
                    f"{option} {limit:g} must be more than 0, and finite: leave it out where nothing limits"
                )

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, in the order of `COSTS`."""
        return {name: limit for name in COSTS if (limit := getattr(self, name)) is not None}


OPTIONS = {
    "latency_ms": "--max-latency-ms",
    "memory_gb": "--max-memory-gb",
    "train_s": "--max-train-s",
    "parameters": "--max-params",
}


@dataclass(frozen=True)
class Candidate:
    """A row of a table of the board that has a figure.

    Attributes
    ----------
    row
        Its place among the rows that the pairs are of.
    rank
        By quality, 1 for the best; equal values share one.
    costs
        One for each of `COSTS`, None where nobody measured it.
    estimated
        Of each cost, whether it was measured on another class of hardware and converted.
    barred
        Why it is not recommended whatever the budget; empty of most.
    """

    row: int
    rank: int
    costs: tuple[float | None, ...]
    estimated: tuple[bool, ...] = (False,) * len(COSTS)
    barred: str = ""

    def __post_init__(self) -> None:
        if not len(self.costs) == len(self.estimated) == len(COSTS) or self.rank < 1:
            raise ValueError(f"a candidate has a rank from 1 on and one cost for each of {COSTS}")

    def cost(self, name: str) -> float:
        """Return a cost; infinity where nobody measured it."""
        found = self.costs[COSTS.index(name)]
        return _NEVER if found is None else found


@dataclass(frozen=True)
class Excluded:
    """A candidate outside the budget: the limits that it breaks, with what it needs (infinity: not measured)."""

    place: int
    over: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        if not self.over:
            raise ValueError("what is excluded breaks a limit")


@dataclass(frozen=True)
class Choice:
    """What a budget leaves; all numbers are places among the candidates.

    Attributes
    ----------
    best
        Of highest quality within the budget; None where nothing is.
    recommended
        What the evidence cannot tell from the best, and the best, the cheapest first.
    untold
        Within the budget, and no resamples say whether they can be told from the best.
    front
        Nothing within the budget is as good in quality and in every cost, and better in one; best first.
    excluded, barred
        Outside the budget; recommended under none.
    nearest
        Where nothing is within the budget: what takes the least relaxing of limits.
    """

    best: int | None
    recommended: tuple[int, ...]
    untold: tuple[int, ...]
    front: tuple[int, ...]
    excluded: tuple[Excluded, ...]
    barred: tuple[int, ...]
    nearest: Excluded | None

    def __post_init__(self) -> None:
        if (self.best is None) != (not self.recommended) or (self.best is not None and self.nearest is not None):
            raise ValueError("a best is recommended, and limits are relaxed only where there is none")


def choose(candidates: Sequence[Candidate], pairs: np.ndarray, budget: Budget) -> Choice:
    """Return what to take within a budget.

    Parameters
    ----------
    candidates
        The best first.
    pairs
        (rows, rows) of `resampled.tied_pairs`, by the candidates' rows.
    """
    barred = tuple(place for place, each in enumerate(candidates) if each.barred)
    free = [place for place, each in enumerate(candidates) if not each.barred]
    excluded = tuple(Excluded(place, over) for place in free if (over := _over(candidates[place], budget)))
    outside = {each.place for each in excluded}
    within = [place for place in free if place not in outside]
    if not within:
        return Choice(None, (), (), (), excluded, barred, _nearest(excluded, budget))
    best = within[0]
    told = {place: int(pairs[candidates[place].row, candidates[best].row]) for place in within}
    return Choice(
        best=best,
        recommended=_cheapest_first([place for place in within if place == best or told[place] == TIED], candidates),
        untold=tuple(place for place in within if place != best and told[place] == UNKNOWN),
        front=tuple(place for place in within if not any(_beats(candidates, other, place) for other in within)),
        excluded=excluded,
        barred=barred,
        nearest=None,
    )


def _over(candidate: Candidate, budget: Budget) -> tuple[tuple[str, float], ...]:
    """Return the limits that a candidate breaks, with what it costs."""
    costs = ((name, candidate.cost(name), limit) for name, limit in budget.limits.items())
    return tuple((name, cost) for name, cost, limit in costs if cost > limit)


def _cheapest_first(places: Sequence[int], candidates: Sequence[Candidate]) -> tuple[int, ...]:
    return tuple(sorted(places, key=lambda place: ([candidates[place].cost(name) for name in COSTS], place)))


def _beats(candidates: Sequence[Candidate], one: int, other: int) -> bool:
    """Return whether one is at least as good as the other in quality and in every cost, and better in one of them."""
    a, b = ((each.rank, *map(each.cost, FRONT_COSTS)) for each in (candidates[one], candidates[other]))
    return a != b and all(mine <= theirs for mine, theirs in zip(a, b, strict=True))


def _nearest(excluded: Sequence[Excluded], budget: Budget) -> Excluded | None:
    """Return what the smallest factor on the limits that it breaks lets in; None where a cost is unknown of all."""
    factors = {each.place: max(cost / budget.limits[name] for name, cost in each.over) for each in excluded}
    known = [each for each in excluded if factors[each.place] < _NEVER]
    return min(known, key=lambda each: (factors[each.place], each.place), default=None)
