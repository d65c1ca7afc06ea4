"""Learning curves as text: two lines a model, what was measured and what the laws say of more rows."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..benchmarks.metrics import METRICS
from . import index
from .curves import AHEAD, CURVE, Curve, Curves
from .tables import MISSING
from .words import plain_width

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    *("task", "model", "preset", "mode", "settings", "metric", "seeds", "fraction", "rows", "extrapolated"),
    *("value", "low", "high", "fit_s", "fit_s_low", "fit_s_high"),
    *("law", "ceiling", "scale", "exponent", "seconds_law", "seconds_scale", "seconds_exponent", "remark"),
    *("hardware", "device", "fingerprint", "split"),
]
"""Of the tidy frame: a row a point of a curve, measured or extrapolated. ``leaderboard/README.md`` has what each is."""

_EXTRAPOLATED = "~"
_GAP, _NAME_WIDTH = "  ", 30
_SECONDS = "  fit s"


class _Line(NamedTuple):
    """A line of a table: a name, cells by fraction, cells by times the rows, and the law, all as text."""

    name: str
    measured: dict[float, str]
    ahead: tuple[str, ...]
    law: str = ""


_HEADER = (_Line("part of the rows", {}, ()), _Line("training rows", {}, ()))


def as_frame(found: Curves) -> pd.DataFrame:
    """Return the curves as a tidy frame of `COLUMNS`."""
    import pandas as pd

    frame = pd.DataFrame([row for curve in found.curves for row in _rows(curve)], columns=COLUMNS)
    return frame.astype({"seeds": "Int64"})


def _rows(curve: Curve) -> Iterator[dict[str, Any]]:
    card = curve.card
    shared = {name: card[name] for name in (*CURVE, "metric")} | {"remark": curve.remark}
    shared["hardware"] = card["hardware_class"]
    shared |= {"fingerprint": card["data_fingerprint"], "split": card["split_sha256"]}
    if (law := curve.law) is not None:
        # In numbers of rows, so that score = ceiling -+ scale * rows ** -exponent.
        shared |= {"law": str(law), "ceiling": law.sign * law.ceiling, "exponent": law.exponent}
        shared |= {"scale": law.scale * law.unit**law.exponent}
    if (cost := curve.seconds) is not None:
        shared |= {"seconds_law": str(cost), "seconds_scale": cost.scale, "seconds_exponent": cost.exponent}
    for point in curve.points:
        yield shared | asdict(point) | {"fit_s": point.seconds, "extrapolated": False}
    for each in curve.ahead:
        costs = {"fit_s": each.seconds, "fit_s_low": each.seconds_low, "fit_s_high": each.seconds_high}
        yield shared | asdict(each) | costs | {"fraction": float(each.times), "extrapolated": True}


def render_curves(found: Curves, style: str, width: int | None = None) -> str:
    """Return the curves as text in a format of `tables.FORMATS`; `width` is that of a table, as in `tables.render`."""
    if style == "csv":
        return as_frame(found).to_csv(index=False, lineterminator="\n")
    if style == "json":
        frame = as_frame(found)
        columns = [frame[name].to_numpy(dtype=object, na_value=None).tolist() for name in COLUMNS]
        rows = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]
        return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if style == "md":
        parts = [_markdown(sheet) for sheet in sheets(found.curves)]
        return "\n".join([*parts, *(f"- {_escape(note)}" for note in _notes(found))]) + "\n"
    width = plain_width(width)
    tables = [_table(sheet, width) for sheet in sheets(found.curves)]
    return "\n".join([*tables, *(_wrapped(note, width, 2) for note in _notes(found))]) + "\n"


def sheets(curves: Sequence[Curve]) -> list[list[Curve]]:
    """Return the curves that compare, together: of one task, its data and its folds."""
    together: dict[tuple[str, ...], list[Curve]] = {}
    for curve in curves:
        together.setdefault(tuple(curve.card[name] for name in index.TABLE), []).append(curve)
    return list(together.values())


def title(sheet: Sequence[Curve]) -> str:
    """Return what the curves of a task are of."""
    card = sheet[0].card
    metric = METRICS[card["metric"]]
    direction = "" if metric.higher_is_better else " (lower is better)"
    return f"{card['task']}: {metric.title}{direction} on {card['test_rows']:,} test rows, by training rows"


def names(sheet: Sequence[Curve]) -> list[str]:
    """Return the name of each curve, with its hardware where there are several."""
    places = {(curve.card["hardware_class"], curve.card["device"]) for curve in sheet}
    where = [f" on {curve.card['hardware_class']}, {curve.card['device']}" for curve in sheet]
    return [curve.name + (place if len(places) > 1 else "") for curve, place in zip(sheet, where, strict=True)]


def _lines(sheet: Sequence[Curve]) -> Iterator[tuple[_Line, _Line]]:
    """Yield for each curve the line of its scores and that of its seconds."""
    for curve, name in zip(sheet, names(sheet), strict=True):
        scores = {point.fraction: f"{point.value:.3f}" for point in curve.points}
        seconds = {point.fraction: _figure(point.seconds) for point in curve.points}
        ahead = tuple(_between(each.value, each.low, each.high, "{:.3f}".format) for each in curve.ahead)
        costs = tuple(_between(each.seconds, each.seconds_low, each.seconds_high, _figure) for each in curve.ahead)
        none = (MISSING,) * len(AHEAD)
        law = f"score = {curve.law}" if curve.law else curve.remark
        cost = f"seconds = {curve.seconds}" if curve.seconds else ""
        yield _Line(name, scores, ahead or none, law), _Line(_SECONDS, seconds, costs or none, cost)


def _between(value: float, low: float, high: float, write: Callable[[float], str]) -> str:
    if np.isnan(value):
        return MISSING
    bounds = "" if np.isnan(low) else f" [{write(low)}, {write(high)}]"
    return f"{_EXTRAPOLATED}{write(value)}{bounds}"


def _figure(value: float) -> str:
    """Return seconds to about three digits."""
    decimals = next((digits for limit, digits in ((1, 3), (10, 2), (100, 1)) if value < limit), 0)
    return f"{value:,.{decimals}f}"


def _headings(sheet: Sequence[Curve]) -> tuple[dict[float, tuple[str, str]], list[tuple[str, str]]]:
    """Return the two heading lines of each fraction, and of each number of times the rows."""
    rows = {point.fraction: point.rows for curve in sheet for point in curve.points}
    most = max((curve.ahead[0].rows / AHEAD[0] for curve in sheet if curve.ahead), default=0)
    ahead = [(f"{times}x", f"{_EXTRAPOLATED}{most * times:,.0f}" if most else "") for times in AHEAD]
    return {part: (f"{part:.3g}", f"{rows[part]:,.0f}") for part in sorted(rows)}, ahead


def _table(sheet: Sequence[Curve], width: int) -> str:
    measured, ahead = _headings(sheet)
    pairs = list(_lines(sheet))
    longest = max(len(line.name) for line in (*_HEADER, *(score for score, _ in pairs)))
    kept = list(measured)
    while True:
        heads = [
            _Line(line.name, {each: measured[each][row] for each in kept}, tuple(each[row] for each in ahead))
            for row, line in enumerate(_HEADER)
        ]
        text = _laid_out([*heads, *(line for pair in pairs for line in pair)], kept, min(longest, _NAME_WIDTH))
        if len(kept) < 3 or max(map(len, text)) <= width:
            break
        kept.pop(1)  # the least and the most tell more than what lies between
    body: list[str] = []
    for place, pair in enumerate(pairs):
        laws = [_wrapped(f"    {line.law}", width, 8) for line in pair if line.law]
        both = "; ".join(line.law for line in pair if line.law)
        body += [*text[2 * place + 2 : 2 * place + 4], *([f"    {both}"] if len(both) + 4 <= width else laws)]
    gone = [measured[each][0] for each in measured if each not in kept]
    more = [f"Not shown at this width: {', '.join(gone)}; --format csv has every point."] if gone else []
    failed = [_wrapped(f"{line}", width, 4) for line in _failures(sheet)]
    return "\n".join([title(sheet), *text[:2], "-" * max(map(len, text)), *body, *failed, *more, ""])


def _failures(sheet: Sequence[Curve]) -> list[str]:
    named = zip(sheet, names(sheet), strict=True)
    return [f"Did not finish: {name}, {line}" for curve, name in named for line in curve.failures]


def _laid_out(lines: Sequence[_Line], kept: Sequence[float], name_width: int) -> list[str]:
    """Return the lines as text, the cells of a column in the same place."""
    cells = [[*(line.measured.get(each, MISSING) for each in kept), *line.ahead] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    found = []
    for line, row in zip(lines, cells, strict=True):
        name = line.name if len(line.name) <= name_width else line.name[: name_width - 2] + ".."
        measured = [cell.rjust(wide) for cell, wide in zip(row[: len(kept)], widths, strict=False)]
        ahead = [cell.ljust(wide) for cell, wide in zip(row[len(kept) :], widths[len(kept) :], strict=True)]
        found.append(_GAP.join([name.ljust(name_width), *measured, *ahead]).rstrip())
    return found


def _wrapped(text: str, width: int, indent: int) -> str:
    return textwrap.fill(text, max(width, 40), subsequent_indent=" " * indent, break_long_words=False)


def _markdown(sheet: Sequence[Curve]) -> str:
    measured, ahead = _headings(sheet)
    rows = [f"{rows} rows" for _, rows in measured.values()]
    heads = ["Model", *rows, *(f"{times}, {rows} rows" if rows else times for times, rows in ahead), "Law"]
    lines = [heads]
    for line in (line for pair in _lines(sheet) for line in pair):
        cells = [line.measured.get(each, MISSING) for each in measured]
        lines.append([line.name.strip(), *cells, *line.ahead, line.law])
    pipes = [f"| {' | '.join(map(_escape, line))} |" for line in lines]
    pipes.insert(1, "| " + " | ".join(["---", *["---:"] * len(measured), *["---"] * (len(ahead) + 1)]) + " |")
    failed = [f"- {_escape(line)}" for line in _failures(sheet)]
    return "\n".join([f"### {title(sheet)}", "", *pipes, "", *failed, *([""] if failed else [])])


def _escape(text: str) -> str:
    """Keep from a cell what Markdown or HTML would read as marks."""
    return "".join(f"\\{each}" if each in "\\|*_`<>[]~" else each for each in text)


def _notes(found: Curves) -> list[str]:
    notes = [
        f"{_EXTRAPOLATED} extrapolated, not measured: by the law of each model, n being training rows. "
        "It holds as far as more rows are like those that there are.",
        "[low, high]: 95% interval; of a score by bootstrap over test rows and seeds, of seconds that of one more fit.",
    ]
    if any(point.seeds == 1 for curve in found.curves for point in curve.points):
        notes.append("Of one seed the interval leaves out the chance of which rows were drawn: give several.")
    if found.superseded:
        what, are = ("record", "is") if found.superseded == 1 else ("records", "are")
        notes.append(f"{found.superseded} {what} of earlier code or settings {are} not shown.")
    return [*notes, "Seconds compare only within one hardware class."]
