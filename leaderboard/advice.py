"""A task in a README: the best of each family, quality against cost, and what to take under which budget, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..benchmarks.metrics import METRICS
from .families import FLOOR, best_of_each, best_rows, family_of_row, thinned
from .frame import load_board
from .recommend import Budget, choose
from .recommend_data import Question, ask
from .recommend_tables import Answer, verdict
from .tables import markdown_parts, rows_of, short_figure

if TYPE_CHECKING:
    from .pareto import Pareto

LADDER: Mapping[str, tuple[str, tuple[float, ...]]] = MappingProxyType(
    {"train_s": ("s of training", (10, 60, 600)), "latency_ms": ("ms an answer", (5, 20, 100))}
)
"""Budgets that a paragraph looks at, by cost: what people call it, and the limits."""


@dataclass(frozen=True)
class Told:
    """What stands in a README: Markdown, and the pictures that it shows, by their place from the README's folder."""

    text: str
    pictures: tuple[tuple[str, Pareto], ...] = ()


def tasks_markdown(results: Path, pictures: str, tell: Callable[[str], None] = lambda _: None) -> Told:
    """Return every task with figures, under its honest protocol; raises as `frame.load_board` does.

    Parameters
    ----------
    pictures
        The folder of pictures, from that of the README; none where it is empty.
    tell
        Called with what is done next.
    """
    from .pareto import alternative, pareto_of

    questions = _questions(results, tell)
    if not questions:
        return Told("No task has a figure yet under its honest protocol: `zoobench run` makes some.\n")
    whole = [[row for row in question.rows if row["hardware"] == question.hardware] for question in questions]
    kept = [best_rows(rows, "family") for rows in whole]
    sheets, notes = markdown_parts([row for rows in kept for row in rows])
    parts: list[str] = []
    drawn: list[tuple[str, Pareto]] = []
    for sheet, question, rows, thin in zip(sheets, questions, whole, kept, strict=True):
        parts += [sheet, thinned(len(rows), len(thin), "family")]
        if pictures and (found := pareto_of(question)) is not None:
            place = f"{pictures.rstrip('/')}/{question.task}.svg"
            drawn.append((place, found))
            parts.append(f"![{alternative(found)}]({place})")
        parts.append(paragraph(question))
    return Told("\n\n".join([*parts, notes]) + "\n", tuple(drawn))


def _questions(results: Path, tell: Callable[[str], None]) -> list[Question]:
    """Return what is known of each task with figures under its honest protocol, those of the suite `quick` first."""
    from ..benchmarks.options import read_suite

    figures = dict.fromkeys(row["task"] for row in rows_of(load_board(results).frame) if row["rank"] is not None)
    quick = read_suite("quick")["tasks"]
    found = []
    for task in sorted((task for task in figures if "@" not in task), key=lambda task: task not in quick):
        tell(f"what to take for {task}")
        found.append(ask(results, task))
    return found


def paragraph(question: Question) -> str:
    """Say what to take with no limit, within each budget of `LADDER`, and by how much the other families are behind."""
    free = Answer(question, Budget(), choose(question.candidates, question.pairs, Budget()))
    return " ".join(filter(None, [*verdict(free), _costs(free), *_budgets(free), _behind(free)]))


def _costs(free: Answer) -> str:
    if not free.choice.recommended:
        return ""
    candidate = free.question.candidates[free.choice.recommended[0]]
    costs = (("trains in", "train_s", "s"), ("answers in", "latency_ms", "ms"), ("takes", "memory_gb", "GB"))
    known = [
        f"{words} {short_figure(cost)} {unit}"
        for words, name, unit in costs
        if math.isfinite(cost := candidate.cost(name))
    ]
    return f"It {_listed(known, 'and')}." if known else ""


def _budgets(free: Answer) -> list[str]:
    """Say of each budget of `LADDER` what it leaves; of those with the same answer in one sentence."""
    question = free.question
    usual = free.names[free.choice.recommended[0]] if free.choice.recommended else ""
    leaves: dict[str, dict[str, list[str]]] = {}
    for cost, (_, limits) in LADDER.items():
        for limit in limits:
            budget = Budget(**{cost: limit})
            answer = Answer(question, budget, choose(question.candidates, question.pairs, budget))
            leaves.setdefault(_taken(answer, usual), {}).setdefault(cost, []).append(f"{limit:g}")
    return [
        f"Within {_listed([f'{_listed(limits)} {LADDER[cost][0]}' for cost, limits in each.items()])}: {what}."
        for what, each in leaves.items()
    ]


def _taken(answer: Answer, usual: str) -> str:
    if answer.choice.best is None:
        return "nothing"
    place = answer.choice.recommended[0]
    if family_of_row(answer.row(place)) == FLOOR:
        return "nothing but the floor"
    name = answer.names[place]
    return "the same" if name == usual else f"{name} ({answer.row(place)['value']:.3f})"


def _listed(words: Sequence[str], last: str = "or") -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]


def _behind(free: Answer) -> str:
    """Say by how much the best of each other family is behind the best."""
    places = [place for place, each in enumerate(free.question.candidates) if not each.barred]
    firsts = best_of_each(places, lambda place: family_of_row(free.row(place)))
    told = [
        f"{family_of_row(row)} {abs(free.row(firsts[0])['value'] - row['value']):.3f} ({free.names[place]})"
        for place in firsts[1:]
        if family_of_row(row := free.row(place)) != FLOOR
    ]
    if not told:
        return ""
    best = family_of_row(free.row(firsts[0]))
    return f"Behind the best ({best}) in {METRICS[free.question.metric].title}: {', '.join(told)}."
