"""What a diff of two results folders says: for a terminal, as the body of a pull request, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..benchmarks.metrics import METRICS
from .diff import LEAST, Changed, Diff, Named
from .sheets import Page, Sheet
from .tables import MISSING, REASON_WIDTH, Column, short_figure
from .words import cut

SCHEMA = 1
"""Of the JSON; raised with every field that changes its meaning or goes. Fields may be added."""
LISTED = 60
"""Lines of a table that people are shown: the body of a pull request has a limit."""
_COSTS = {"latency_ms": "latency ms", "memory_gb": "memory GB", "train_s": "training s"}


def as_page(found: Diff, old: str, new: str, tolerance: float) -> Page:
    """Return the verdict, what moved, what fails, what is new and gone; the folders are called as they were named."""
    moved = [each for each in found.changed if each.verdict]
    still = [each for each in found.changed if each.difference and not each.verdict]
    untested = [each for each in found.changed if not each.difference]
    sheets = [
        _changed_sheet("Moved beyond chance", moved),
        _named_sheet("Fails now", found.failing, "Why"),
        _changed_sheet("Changed, and not beyond chance", still),
        _changed_sheet("Changed, and not compared", untested),
        _costs_sheet(found),
        _named_sheet("Finishes again", found.recovered, "Failed before"),
        _named_sheet("New", found.new, "Remark"),
        _named_sheet("Gone", found.gone, "Remark"),
    ]
    title = f"What changed from {old} to {new}"
    return Page(title, verdict(found), [sheet for sheet in sheets if sheet], _notes(found, tolerance))


def verdict(found: Diff) -> list[str]:
    """Say in a line or two what matters."""
    worse, better = (sum(each.verdict == word for each in found.changed) for word in ("worse", "better"))
    tested = sum(each.difference is not None for each in found.changed)
    if not (found.changed or found.new or found.gone or found.failing or found.recovered):
        return [f"Nothing changed: {_rows(found.unchanged)} with the same records."]
    lines = []
    if found.changed or found.failing:
        word = "Regression" if found.regressions else "No regression"
        moved = f"{worse} worse and {better} better beyond chance"
        lines.append(f"{word}: of {_rows(tested)} measured again, {moved}; {len(found.failing)} newly failing.")
    unfinished = sum(each.value is None for each in found.new)
    new = f"new ({unfinished} of them without a figure)" if unfinished else "new"
    rest = {new: len(found.new), "gone": len(found.gone), "finishing again": len(found.recovered)}
    told = [f"{count} {word}" for word, count in rest.items() if count or word == new]
    return [*lines, f"{', '.join([*told, f'{found.unchanged} unchanged'])}."]


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _changed_sheet(title: str, rows: Sequence[Changed]) -> Sheet | None:
    if not rows:
        return None
    shown = rows[:LISTED]
    verdicts = [each.verdict or each.why or "same" for each in shown]
    columns = [
        Column("task", "Task", [each.task for each in shown], right=False),
        Column("model", "Model", [each.name for each in shown], right=False),
        Column("metric", "Metric", [METRICS[each.metric].title for each in shown], right=False),
        Column("old", "Before", [_value(each.old) for each in shown]),
        Column("new", "Now", [_value(each.new) for each in shown]),
        Column("difference", "Now - before", [_difference(each) for each in shown]),
        Column("p", "p Holm", [_p(each) for each in shown]),
        Column("verdict", "", verdicts, right=False),
    ]
    places = {each.place for each in rows}
    if len(places) > 1:
        columns.insert(2, Column("place", "On", [each.place for each in shown], right=False))
    return Sheet(_counted(title, len(rows)), columns)


def _counted(title: str, count: int) -> str:
    return title if count <= LISTED else f"{title} (the first {LISTED} of {count}; --format json has all)"


def _value(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _difference(each: Changed) -> str:
    found = each.difference
    if found is None or found.difference is None:
        return MISSING
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _p(each: Changed) -> str:
    p = each.difference.p_holm if each.difference else None
    return MISSING if p is None else "<0.001" if p < 0.0005 else f"{p:.3f}"


def _costs_sheet(found: Diff) -> Sheet | None:
    if not found.costs:
        return None
    shown = found.costs[:LISTED]
    columns = [
        Column("task", "Task", [each.task for each in shown], right=False),
        Column("model", "Model", [each.name for each in shown], right=False),
        Column("place", "On", [each.place for each in shown], right=False),
        Column("cost", "Cost", [_COSTS[each.cost] for each in shown], right=False),
        Column("old", "Before", [short_figure(each.old) for each in shown]),
        Column("new", "Now", [short_figure(each.new) for each in shown]),
        Column("times", "Times", [f"{each.times:.2f}" for each in shown]),
    ]
    return Sheet(_counted("Costs", len(found.costs)), columns)


def _named_sheet(title: str, rows: Sequence[Named], why: str) -> Sheet | None:
    if not rows:
        return None
    shown = rows[:LISTED]
    columns = [
        Column("task", "Task", [each.task for each in shown], right=False),
        Column("model", "Model", [each.name for each in shown], right=False),
        Column("place", "On", [each.place for each in shown], right=False),
        Column("value", "Value", [_value(each.value) for each in shown]),
        Column("why", why, [cut(each.why, REASON_WIDTH) for each in shown], right=False),
    ]
    silent = {"value": {MISSING}, "why": {""}}
    return Sheet(_counted(title, len(rows)), [each for each in columns if set(each.cells) != silent.get(each.name)])


def _notes(found: Diff, tolerance: float) -> list[str]:
    lines = []
    if any(each.difference for each in found.changed):
        lines.append(
            "[low, high]: 95% interval of the difference over paired resamples of the same test rows. Better and "
            "worse: p < 0.05 after Holm's correction over all rows tested."
        )
    if any("1" in each.seeds for each in found.changed if each.difference):
        lines.append("The intervals say what other test rows would change; one seed does not say what another would.")
    lower = {METRICS[each.metric].title for each in found.changed if not METRICS[each.metric].higher_is_better}
    if lower:
        lines.append(f"Lower is better: {', '.join(sorted(lower))}.")
    if found.changed:
        least = ", ".join(f"{_COSTS[name]} {by:g}" for name, by in LEAST.items())
        lines.append(
            f"Costs are named from a factor of {tolerance:g} on (and {least}), on the same hardware alone. One timing "
            "has no interval: they are no regression."
        )
    if found.untimed:
        lines.append(f"{_rows(found.untimed)} ran with other threads or other company: their times do not compare.")
    return lines


def as_json(found: Diff, old: str, new: str) -> dict[str, Any]:
    """Return the diff as plain values; ``leaderboard/README.md`` says what each holds."""
    return {
        "schema": SCHEMA,
        "old": old,
        "new": new,
        "regressions": found.regressions,
        "changed": [_changed_json(each) for each in found.changed],
        "costs": [{**vars(each), "times": each.times} for each in found.costs],
        **{name: [vars(each) for each in getattr(found, name)] for name in ("failing", "recovered")},
        "added": [vars(each) for each in found.new],
        "gone": [vars(each) for each in found.gone],
        "unchanged": found.unchanged,
        "untimed": found.untimed,
    }


def _changed_json(each: Changed) -> dict[str, Any]:
    names = ("task", "name", "place", "metric", "old", "new")
    told = {name: getattr(each.difference, name, None) for name in ("difference", "low", "high", "p", "p_holm")}
    seeds = dict(zip(("seeds_old", "seeds_new"), each.seeds, strict=True))
    return {**{name: getattr(each, name) for name in names}, **told, "verdict": each.verdict, "why": each.why, **seeds}
