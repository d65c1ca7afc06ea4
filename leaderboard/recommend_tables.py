"""What a recommendation says: in words, as tables, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..benchmarks.metrics import METRICS
from .cards import blind_models, leak_notes
from .recommend import COSTS, OPTIONS, Budget, Choice, Excluded
from .recommend_data import Question
from .sheets import Page, Sheet
from .tables import BEST, MISSING, REASON_WIDTH, Column, Row, model_words, short_figure
from .words import cut

SCHEMA = 1
"""Of the JSON; raised with every field that changes its meaning or goes. Fields may be added."""
TITLES = {"latency_ms": "Latency ms", "memory_gb": "Memory GB", "train_s": "Train s", "parameters": "Parameters"}
_WORDS = {"latency_ms": "latency", "memory_gb": "memory", "train_s": "training", "parameters": "parameters"}
_UNITS = {"latency_ms": " ms", "memory_gb": " GB", "train_s": " s", "parameters": ""}
ESTIMATED = "~"
_LISTED = 20
"""Rows outside the budget that a terminal is shown."""


@dataclass(frozen=True, eq=False)
class Answer:
    """A question, the budget that was asked for, and what is left of the candidates."""

    question: Question
    budget: Budget
    choice: Choice

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each candidate is called."""
        return tuple(model_words(self.row(place)) for place in range(len(self.question.candidates)))

    def row(self, place: int) -> Row:
        """Return the row of the board behind a candidate."""
        return self.question.rows[self.question.candidates[place].row]


def as_page(answer: Answer) -> Page:
    """Return the verdict, what to take, what is cheaper and not as good, and what is out and why."""
    question, choice = answer.question, answer.choice
    metric = METRICS[question.metric]
    direction = "" if metric.higher_is_better else ", lower is better"
    title = f"{question.task} on {question.hardware} (ranked by {metric.title}{direction})"
    front = [place for place in choice.front if place not in choice.recommended]
    sheets = [
        Sheet("Recommended, the cheapest first", _columns(answer, choice.recommended)) if choice.recommended else None,
        Sheet("Not as good, and cheaper (the rest of the Pareto front)", _columns(answer, front)) if front else None,
        Sheet("Outside the budget", _excluded(answer)) if choice.excluded else None,
    ]
    return Page(title, verdict(answer), [sheet for sheet in sheets if sheet], notes(answer))


def verdict(answer: Answer) -> list[str]:
    """Say what to take, or which limit stands in the way."""
    choice, names = answer.choice, answer.names
    asked = budget_words(answer.budget)
    if choice.best is None:
        return [f"Nothing is within {asked}." if asked else "Nothing can be recommended.", *_relaxing(answer)]
    best, cheapest = choice.best, choice.recommended[0]
    within = f" within {asked}" if asked else ""
    first = f"Best{within}: {names[best]}, {METRICS[answer.question.metric].title} {_value(answer.row(best))}."
    guess = any(answer.question.candidates[cheapest].estimated)
    last = [f"By an estimate: it never ran on {answer.question.hardware}."] if guess else []
    last += [_FLOOR] if answer.row(cheapest)["model"] in blind_models() else []
    if len(choice.recommended) == 1:
        return [first, f"Take {names[best]}: {_alone(answer)}.", *last]
    others = len(choice.recommended) - 1
    told = f"{others} {'other' if others == 1 else 'others'} cannot be told from it"
    # Of what ties, latency is looked at first; without it "the cheapest" is the next cost that somebody measured.
    timed = math.isfinite(answer.question.candidates[cheapest].cost("latency_ms"))
    why = "answers the fastest" if timed else "is the cheapest"
    told = f"Take {names[cheapest]}: {told}, and of these {len(choice.recommended)} it {why}."
    return [first, told, *last]


def _alone(answer: Answer) -> str:
    """Say why the best is recommended alone."""
    choice = answer.choice
    within = len(answer.names) - len(choice.excluded) - len(choice.barred)
    if within == 1:
        return "nothing else is within the budget" if answer.budget.limits else "nothing else has a figure"
    if not choice.untold:
        return "whatever else is within the budget is worse beyond chance" if answer.budget.limits else _ALL_WORSE
    return f"whether {len(choice.untold)} of the {within - 1} others are worse beyond chance, nobody can say"


_FLOOR = "It never looks at its input: no evidence that anything within the budget has learned the task."
_ALL_WORSE = "everything else is worse beyond chance"


def budget_words(budget: Budget) -> str:
    """Return the limits in words; empty where there are none."""
    return ", ".join(f"{_WORDS[name]} {limit:,.10g}{_UNITS[name]}" for name, limit in budget.limits.items())


def _times(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.3g}"


def _plain(name: str, cost: float) -> str:
    return f"{cost:,.0f}" if name == "parameters" else short_figure(cost)


def _relaxing(answer: Answer) -> list[str]:
    nearest = answer.choice.nearest
    if nearest is None:
        return []
    needs = " and ".join(
        f"{OPTIONS[name]} {_enough(name, cost)} ({_times(cost / answer.budget.limits[name])} times the limit)"
        for name, cost in nearest.over
    )
    return [f"The nearest is {answer.names[nearest.place]}: it needs {needs}."]


def _enough(name: str, cost: float) -> str:
    """Return a limit that holds the cost also when it is typed as it is read."""
    if name == "parameters":
        return str(math.ceil(cost))
    digits = 2 - math.floor(math.log10(cost)) if cost > 0 else 0
    scale = 10.0**digits
    return f"{math.ceil(cost * scale) / scale:.{max(0, digits)}f}"


def _value(row: Row) -> str:
    bounds = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{bounds}"


def _columns(answer: Answer, places: Sequence[int]) -> list[Column]:
    choice = answer.choice
    marks = [f" {BEST}" if place == choice.best else "" for place in places]
    names = [answer.names[place] + mark for place, mark in zip(places, marks, strict=True)]
    columns = [
        Column("model", "Model", names, right=False),
        Column("value", METRICS[answer.question.metric].title, [_value(answer.row(place)) for place in places]),
    ]
    columns += [Column(name, TITLES[name], [_cost(answer, place, name) for place in places]) for name in COSTS]
    fronts = ["yes" if place in choice.front else "" for place in places]
    return [*columns, Column("front", "On the front", fronts, right=False)] if set(fronts) != {"yes"} else columns


def _cost(answer: Answer, place: int, name: str) -> str:
    candidate, number = answer.question.candidates[place], COSTS.index(name)
    cost = candidate.costs[number]
    return MISSING if cost is None else (ESTIMATED if candidate.estimated[number] else "") + _plain(name, cost)


def _excluded(answer: Answer) -> list[Column]:
    shown = answer.choice.excluded[:_LISTED]
    return [
        Column("model", "Model", [answer.names[each.place] for each in shown], right=False),
        Column("value", METRICS[answer.question.metric].title, [_value(answer.row(each.place)) for each in shown]),
        Column("over", "Limit", [_broken(answer, each) for each in shown], right=False),
    ]


def _broken(answer: Answer, each: Excluded) -> str:
    return ", ".join(_over(answer, each.place, name, cost) for name, cost in each.over)


def _over(answer: Answer, place: int, name: str, cost: float) -> str:
    if math.isinf(cost):
        return f"{_WORDS[name]} not measured"
    times = _times(cost / answer.budget.limits[name])
    return f"{_WORDS[name]} {_cost(answer, place, name)}{_UNITS[name]} ({times}x)"


def notes(answer: Answer) -> list[str]:
    """Say what the figures are, and which evidence is missing."""
    question, choice = answer.question, answer.choice
    drawn = "the 95% interval of (best - model) over the same resamples of the test rows holds 0"
    lines = [
        f"{BEST} best within the budget. Recommended: the best, and what cannot be told from it: {drawn}.",
        "Cheapest by latency, then memory, training, parameters. Latency: one example, median. Memory: the peak that "
        "training and answering added, of host or GPU the larger. Train: features, tuning and fit.",
        "On the Pareto front nothing within the budget is as good in quality, latency, memory and training, and better "
        "in one.",
    ]
    if len(choice.excluded) > _LISTED:
        lines.append(f"{len(choice.excluded) - _LISTED} more are outside the budget: --json has them all.")
    return [*lines, *missing(answer), *leak_notes([question.task])]


def missing(answer: Answer) -> list[str]:
    """Say which evidence is missing, a line each."""
    question, choice = answer.question, answer.choice
    names = [model_words(row) for row in question.rows]
    lines = [
        f"{answer.names[place]} is not recommended whatever the budget: {question.candidates[place].barred}"
        for place in choice.barred
    ]
    for place in question.failed:
        row = question.rows[place]
        lines.append(f"{names[place]} has no figure here: {row['status']}: {cut(row['reason'], REASON_WIDTH)}")
    if question.unmeasured:
        told = ", ".join(f"{names[place]} ({question.rows[place]['hardware']})" for place in question.unmeasured)
        lines.append(f"Never measured on {question.hardware}, and not to be converted: {told}")
    lines += _estimates(answer)
    if choice.untold:
        told = ", ".join(answer.names[place] for place in choice.untold)
        lines.append(f"No resamples say whether these can be told from the best: {told}")
    single = [answer.names[place] for place in choice.recommended if answer.row(place)["seeds"] == "1"]
    if single:
        lines.append(f"One seed alone, so that another seed may change it: {', '.join(single)}")
    if question.other_hardware:
        others = ", ".join(question.other_hardware)
        lines.append(f"The task was measured on other hardware too: {others} (--hardware CLASS)")
    if question.older:
        lines.append(f"{question.older} rows are of other data or folds than the newest, and left out")
    return lines


def _estimates(answer: Answer) -> list[str]:
    """Say of what was converted from other hardware how it was, and how wrong that is where it can be checked."""
    question = answer.question
    converted = [each for each in question.candidates if any(each.estimated)]
    if not converted:
        return []
    models = f"{len(converted)} model{'' if len(converted) == 1 else 's'}"
    lines = [f"{ESTIMATED} estimate: {models} never ran on {question.hardware}; measured elsewhere, and converted"]
    for place, name in enumerate(COSTS[:3]):
        if any(each.estimated[place] for each in converted):
            lines.append(f"{ESTIMATED} {_WORDS[name]}: {_conversion_words(answer, name)}")
    return lines


def _conversion_words(answer: Answer, name: str) -> str:
    conversion = answer.question.elsewhere.conversions[name]
    how = "as measured there" if conversion.rule == "none" else f"by the machines' {conversion.rule}"
    if conversion.middle is None or conversion.worst is None:
        return f"{how}; error unknown, for nothing ran on two classes of hardware"
    counted = f"{conversion.pairs} pair{'' if conversion.pairs == 1 else 's'} of measurements"
    return f"{how}; wrong by a factor {conversion.middle:.2f} (median), {conversion.worst:.2f} at worst, on {counted}"


def as_json(answer: Answer) -> dict[str, Any]:
    """Return the answer as plain values; ``leaderboard/README.md`` says what each holds."""
    question, choice = answer.question, answer.choice
    conversions = question.elsewhere.conversions.items()
    used = {name for each in question.candidates for name, told in zip(COSTS, each.estimated, strict=True) if told}
    return {
        "schema": SCHEMA,
        "task": question.task,
        "metric": question.metric,
        "higher_is_better": METRICS[question.metric].higher_is_better,
        "hardware": question.hardware,
        "budget": {name: getattr(answer.budget, name) for name in COSTS},
        "best": None if choice.best is None else _model_json(answer, choice.best),
        "recommended": [_model_json(answer, place) for place in choice.recommended],
        "front": [_model_json(answer, place) for place in choice.front],
        "excluded": [{**_model_json(answer, each.place), "over": _over_json(answer, each)} for each in choice.excluded],
        "nearest": choice.nearest
        and {
            **_model_json(answer, choice.nearest.place),
            "over": _over_json(answer, choice.nearest),
        },
        "estimates": {name: vars(conversion) for name, conversion in conversions if name in used},
        "missing": missing(answer),
    }


def _model_json(answer: Answer, place: int) -> dict[str, Any]:
    row, candidate = answer.row(place), answer.question.candidates[place]
    named = {name: row[name] for name in ("model", "preset", "mode", "settings", "seeds", "value", "low", "high")}
    return {
        "name": answer.names[place],
        **named,
        **dict(zip(COSTS, candidate.costs, strict=True)),
        "estimated": [name for name, told in zip(COSTS, candidate.estimated, strict=True) if told],
        "measured_on": row["hardware"],
        "device": row["device"],
        "records": row["records"].split(";"),
    }


def _over_json(answer: Answer, each: Excluded) -> list[dict[str, Any]]:
    return [
        {
            "limit": name,
            "at_most": answer.budget.limits[name],
            "needs": None if math.isinf(cost) else cost,
            "times": None if math.isinf(cost) else cost / answer.budget.limits[name],
        }
        for name, cost in each.over
    ]
