"""What a comparison of models says: in words, as tables, and as a frame."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ..benchmarks.comparison import Comparison, Entrant
from ..benchmarks.metrics import METRICS
from ..benchmarks.paired import Difference, Disagreement
from .cards import leak_notes
from .sheets import Page, Sheet
from .tables import BEST, MISSING, Column

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    *("task", "policy", "metric", "a", "b", "value_a", "value_b", "difference", "low", "high", "p", "p_holm", "better"),
    *("only_a", "only_b", "mcnemar_p", "mcnemar_p_holm", "rows", "groups", "resamples"),
    *("seeds_a", "seeds_b", "keys_a", "keys_b"),
]
"""Every column of the frame, in order; ``leaderboard/README.md`` says what each holds."""

LOW = " (-)"
"""Stands behind the name of a metric of which less is better."""
_NAMED = 3


def exact(kind: str) -> str:
    """Return the metric that is the share of rows that are fully right."""
    return "accuracy" if kind == "multiclass" else "exact_match"


def as_frame(found: Comparison) -> pd.DataFrame:
    """Return one row a metric and pair; McNemar's test stands on the rows of the metric that counts right rows."""
    import pandas as pd

    names = [entrant.name for entrant in found.entrants]
    by_pair = {each.pair: each for each in found.disagreements}
    rows = [_frame_row(found, each, names, by_pair[each.pair]) for each in found.differences]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"only_a": "Int64", "only_b": "Int64"})


def _frame_row(found: Comparison, each: Difference, names: Sequence[str], rows: Disagreement) -> dict[str, Any]:
    one, other = (found.entrants[place] for place in each.pair)
    counted = {
        "only_a": rows.only[0],
        "only_b": rows.only[1],
        "mcnemar_p": rows.p,
        "mcnemar_p_holm": rows.p_holm,
    }
    return {
        "task": found.task,
        "policy": found.policy,
        "metric": each.metric,
        "a": one.name,
        "b": other.name,
        "value_a": each.values[0],
        "value_b": each.values[1],
        **{name: getattr(each, name) for name in ("difference", "low", "high", "p", "p_holm")},
        "better": None if each.better is None else names[each.better],
        **(counted if each.metric == exact(found.kind) else {}),
        "rows": found.rows,
        "groups": found.groups,
        "resamples": found.resamples,
        "seeds_a": " ".join(map(str, one.seeds)),
        "seeds_b": " ".join(map(str, other.seeds)),
        "keys_a": " ".join(_keys(one)),
        "keys_b": " ".join(_keys(other)),
    }


def as_json(found: Comparison) -> str:
    """Return the frame's rows as a list of objects, null for what is missing."""
    frame = as_frame(found)
    return json.dumps(frame.astype(object).where(frame.notna(), None).to_dict("records"), indent=1, ensure_ascii=False)


def as_page(found: Comparison) -> Page:
    """Return the verdict, a table of all metrics (two entrants) or one each (more), and notes."""
    groups = f" in {found.groups} groups" if found.groups < found.rows else ""
    by = f"ranked by {METRICS[found.ranked_by].title}, decided by {found.policy}"
    title = f"{found.task} ({found.kind}, {found.rows} test rows{groups}, {by})"
    two = len(found.entrants) == 2
    sheets = [_metrics_sheet(found)] if two else [_pairs_sheet(found, metric) for metric in found.metrics]
    if exact(found.kind) in found.metrics:
        sheets.append(_rows_sheet(found))
    return Page(title, verdict(found), sheets, _notes(found))


def verdict(found: Comparison) -> list[str]:
    """Say who is better, by how much, and what cannot be told apart."""
    first = found.of(found.ranked_by)
    if len(found.entrants) == 2:
        return [_sentence(found, first[0]), *_counted(found)]
    values = {place: value for each in first for place, value in zip(each.pair, each.values, strict=True)}
    metric = METRICS[found.ranked_by]
    known = {
        place: value if metric.higher_is_better else -value for place, value in values.items() if value is not None
    }
    order = sorted(values, key=lambda place: -known.get(place, -math.inf))
    return [f"By {metric.title}, best first:", *(_standing(found, place, order, values) for place in order)]


def _sentence(found: Comparison, each: Difference) -> str:
    one, other = (found.entrants[place].name for place in each.pair)
    title = METRICS[each.metric].title
    if each.difference is None or each.low is None or each.high is None:
        return f"{one} and {other} cannot be compared by {title}: it is undefined on most resamples."
    if each.better is None:
        bounds = f"95% interval {each.low:+.4f} to {each.high:+.4f}, p {_p_words(each.p)}"
        return f"{one} and {other} cannot be told apart by {title}: {each.difference:+.4f} ({bounds})."
    better, worse = (one, other) if each.better == each.pair[0] else (other, one)
    return f"{better} is better than {worse} by {title}: {_lead(each)}, p {_p_words(each.p)}."


def _lead(each: Difference) -> str:
    """Say by how much the better of a pair leads, as positive figures."""
    low, middle, high = each.low or 0.0, each.difference or 0.0, each.high or 0.0
    if middle < 0:
        low, middle, high = -high, -middle, -low
    lower = "" if METRICS[each.metric].higher_is_better else " less"
    return f"{middle:.4f}{lower} (95% interval {low:.4f} to {high:.4f})"


def _counted(found: Comparison) -> list[str]:
    """Say of two entrants in how many metrics each is better."""
    if len(found.metrics) < 2:
        return []
    sides: dict[int | None, list[str]] = {0: [], 1: [], None: []}
    for each in found.differences:
        sides[each.better].append(METRICS[each.metric].title)
    parts = [f"{entrant.name} is better in {_some(sides[place])}" for place, entrant in enumerate(found.entrants)]
    return [f"Of {len(found.metrics)} metrics {', '.join(parts)}; they cannot be told apart in {_some(sides[None])}."]


def _some(titles: Sequence[str]) -> str:
    return f"{len(titles)}" + (f" ({', '.join(titles)})" if 0 < len(titles) <= _NAMED else "")


def _standing(found: Comparison, place: int, order: Sequence[int], values: dict[int, float | None]) -> str:
    """Say of one entrant of several whom it is better than and whom it cannot be told from."""
    mine = {sum(each.pair) - place: each for each in found.of(found.ranked_by) if place in each.pair}
    others = [other for other in order if other != place]
    beaten = [other for other in others if mine[other].better == place]
    level = [found.entrants[other].name for other in others if mine[other].better is None]
    value = values[place]
    parts = []
    if beaten:
        who = "all others" if len(beaten) == len(others) else ", ".join(found.entrants[other].name for other in beaten)
        nearest = "" if len(beaten) == 1 else f" than {found.entrants[beaten[0]].name}"
        lead = f",{nearest} by {_lead(mine[beaten[0]])}" if place == order[0] else ""
        parts.append(f"better than {who}{lead}")
    if level:
        parts.append(f"cannot be told from {', '.join(level)}")
    shown = MISSING if value is None else f"{value:.3f}"
    return f"  {found.entrants[place].name} {shown}: {'; '.join(parts) or 'better than none'}"


def _p(value: float | None) -> str:
    return MISSING if value is None else "<0.001" if value < 0.0005 else f"{value:.3f}"


def _p_words(value: float | None) -> str:
    return f"= {_p(value)}".replace("= <", "< ")


def _apart(each: Difference) -> str:
    if each.difference is None or each.low is None or each.high is None:
        return MISSING
    return f"{each.difference:+.4f} [{each.low:+.4f}, {each.high:+.4f}]"


def _metrics_sheet(found: Comparison) -> Sheet:
    rows = found.differences
    sides = [
        Column(f"model {side}", entrant.name, [_marked(each, side) for each in rows], right=False)
        for side, entrant in enumerate(found.entrants)
    ]
    columns = [
        Column("metric", "Metric", [_title(each.metric) for each in rows], right=False),
        *sides,
        Column("difference", "Difference", [_apart(each) for each in rows]),
        Column("p", "p", [_p(each.p) for each in rows]),
    ]
    return Sheet("", columns)


def _marked(each: Difference, side: int) -> str:
    value = each.values[side]
    return (MISSING if value is None else f"{value:.3f}") + (f" {BEST}" if each.better == side else "")


def _title(metric: str) -> str:
    return METRICS[metric].title + ("" if METRICS[metric].higher_is_better else LOW)


def _between(better: int | None, pair: tuple[int, int]) -> str:
    return "ties with" if better is None else "beats" if better == pair[0] else "loses to"


def _pair_columns(found: Comparison, rows: Sequence[Difference] | Sequence[Disagreement]) -> list[Column]:
    sides = [[found.entrants[each.pair[side]].name for each in rows] for side in (0, 1)]
    return [
        Column("model a", "A", sides[0], right=False),
        Column("better", "", [_between(each.better, each.pair) for each in rows], right=False),
        Column("model b", "B", sides[1], right=False),
    ]


def _pairs_sheet(found: Comparison, metric: str) -> Sheet:
    rows = found.of(metric)
    columns = [
        *_pair_columns(found, rows),
        Column("difference", "A - B", [_apart(each) for each in rows]),
        Column("p", "p", [_p(each.p) for each in rows]),
        Column("p_holm", "p Holm", [_p(each.p_holm) for each in rows]),
    ]
    return Sheet(_title(metric), columns)


def _rows_sheet(found: Comparison) -> Sheet:
    rows = found.disagreements
    columns = [
        *_pair_columns(found, rows),
        Column("only_a", "A alone right", [str(each.only[0]) for each in rows]),
        Column("only_b", "B alone right", [str(each.only[1]) for each in rows]),
        Column("p", "p", [_p(each.p) for each in rows]),
    ]
    if len(found.entrants) > 2:
        columns.append(Column("p_holm", "p Holm", [_p(each.p_holm) for each in rows]))
    what = "the right class" if found.kind == "multiclass" else "every label right"
    return Sheet(f"Test rows with {what} (McNemar's exact test)", columns)


def _notes(found: Comparison) -> list[str]:
    count, grouped = len(found.disagreements), found.groups < found.rows
    drawn = "groups of rows" if grouped else "rows"
    least = 2 / (found.resamples + 1)
    alike = [
        f"{one.name} and {other.name}" for one, other in combinations(found.entrants, 2) if _keys(one) == _keys(other)
    ]
    notes = [f"{names} are the same records: they differ by nothing" for names in alike]
    notes += [f"{BEST} better; where neither has it, the two cannot be told apart"] if len(found.entrants) == 2 else []
    notes += (
        [f"{LOW.strip()} lower is better"] if any(not METRICS[name].higher_is_better for name in found.metrics) else []
    )
    notes += [
        f"[low, high]: 95% interval of the difference over {found.resamples:,} paired resamples of the {drawn}; p: "
        f"two-sided, from the same resamples ({least:.2g} or more). A tie is p >= 0.05"
        + (f" after Holm's correction for {count} pairs." if count > 1 else ".")
    ]
    if exact(found.kind) in found.metrics and grouped:
        notes.append("McNemar's test takes every row as evidence of its own, the resamples whole groups.")
    if count * least >= 0.05:
        enough = 1000 * -(-count // 10)
        notes.append(f"{found.resamples:,} resamples show no difference among {count} pairs: --resamples {enough} can")
    if shared := set.intersection(*(set(each.record.settings.items()) for each in found.entrants)):
        notes.append(f"All with {', '.join(f'{name}={value}' for name, value in sorted(shared))}.")
    notes.append(f"Seeds, pooled: {'; '.join(f'{each.name}: {_seeds(each.seeds)}' for each in found.entrants)}.")
    if any(len(each.cells) == 1 for each in found.entrants):
        notes.append("The intervals say what other test rows would change, not what another seed would.")
    notes += [
        f"! {each.name}: its weights were trained before on rows of this task, test fold included"
        for each in found.entrants
        if each.record.overlap
    ]
    return [*notes, *leak_notes([found.task])]


def _keys(entrant: Entrant) -> list[str]:
    return [stored.record.key for stored in entrant.cells]


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
