"""Learning curves as a page that opens anywhere: one file, plotly.js in it, nothing loaded."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..benchmarks.metrics import METRICS
from ..datasets.report.blocks import Section, Table
from ..datasets.support.errors import UserError
from .curves import Curve, Curves, Point
from .curves_tables import names, sheets, title
from .pages import as_plot, write_page

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito 2008, told apart by colour-blind readers; the yellow, too pale for a line, left out.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d")
_MARKS = ("circle", "square", "diamond", "triangle-up", "x")
_INK, _GRID = "#3b4352", "#e3e7ed"


def check_picture(path: Path) -> None:
    """Refuse a file that no picture can be written to, before anything else is done.

    Raises
    ------
    UserError
        If its name does not end in .html, or its folder is not there.
    """
    if path.suffix.lower() not in {".html", ".htm"}:
        raise UserError(f"--picture {path}: the picture is a page, name a file that ends in .html")
    if path.is_dir() or not path.expanduser().absolute().parent.is_dir():
        what = "is a folder" if path.is_dir() else "stands in a folder that is not there"
        raise UserError(f"--picture {path} {what}: name another file")


def write_curves(path: Path, found: Curves) -> None:
    """Write the curves to the page `path`, each task with its scores and its seconds."""
    sections = [
        Section(
            f"curves-{place}",
            title(sheet),
            "Points are measured. Dashed lines are extrapolated beyond the most rows measured, by the law of each "
            "model (n is the number of training rows); bands are 95 % intervals.",
            [*(as_plot(f"curves-{place}-{name}", *drawn) for name, drawn in drawings(sheet).items()), _laws(sheet)],
        )
        for place, sheet in enumerate(sheets(found.curves))
    ]
    write_page(path.expanduser(), "Learning curves", sections, brand="curves")


def drawings(sheet: Sequence[Curve]) -> dict[str, tuple[str, str, go.Figure]]:
    """Return title, caption and figure of the scores and of the seconds of curves that compare."""
    return {"scores": _scores(sheet), "seconds": _seconds(sheet)}


def _colours(sheet: Sequence[Curve]) -> Iterator[tuple[Curve, str, str, str]]:
    """Yield each curve with its name, colour and mark; beyond the colours the mark tells them apart."""
    for place, (curve, name) in enumerate(zip(sheet, names(sheet), strict=True)):
        again, colour = divmod(place, len(_COLOURS))
        yield curve, html.escape(name, quote=False), _COLOURS[colour], _MARKS[again % len(_MARKS)]


def _laws(sheet: Sequence[Curve]) -> Table:
    """Return the table of what was fitted to each curve, or why nothing was."""
    rows = [(name, str(curve.law or curve.remark), str(curve.seconds or "")) for curve, name, _, _ in _colours(sheet)]
    return Table("The laws", ("model", "score", "seconds"), rows, "n: training rows.")


def _scores(sheet: Sequence[Curve]) -> tuple[str, str, go.Figure]:
    metric = METRICS[sheet[0].card["metric"]].title
    traces: list[Any] = []
    for curve, name, colour, mark in _colours(sheet):
        points, line = curve.points, curve.line
        if len(line) and not np.isnan(line[:, 2:]).any():
            traces.append(_band(line[:, 0], line[:, 2], line[:, 3], colour))
        traces += _line(line[:, 0], line[:, 1], points[-1].rows if points else 0, colour)
        bars = [[point.high - point.value for point in points], [point.value - point.low for point in points]]
        told = f"<b>{name}</b><br>%{{x:,.0f}} rows: %{{y:.3f}}<extra></extra>"
        traces.append(_points(points, [point.value for point in points], (name, colour, mark), told, bars))
    return f"{metric} on the test fold", "", _figure(traces, metric, {})


def _seconds(sheet: Sequence[Curve]) -> tuple[str, str, go.Figure]:
    traces: list[Any] = []
    for curve, name, colour, mark in _colours(sheet):
        points, law = curve.points, curve.seconds
        if law is not None and curve.ahead:
            rows = np.geomspace(points[0].rows, curve.ahead[-1].rows, 60)
            bounds = law.interval(rows)
            if not np.isnan(bounds).any():
                traces.append(_band(rows, bounds[:, 0], bounds[:, 1], colour))
            traces += _line(rows, law(rows), points[-1].rows, colour)
        told = f"<b>{name}</b><br>%{{x:,.0f}} rows: %{{y:.3g}} s<extra></extra>"
        traces.append(_points(points, [point.seconds for point in points], (name, colour, mark), told, None))
    axis = {"type": "log", "dtick": "D2" if _narrow(sheet) else 1, "exponentformat": "none"}
    return "Seconds to fit", "Features, tuning and fit.", _figure(traces, "seconds (logarithmic)", axis)


def _narrow(sheet: Sequence[Curve]) -> bool:
    """Return whether all seconds lie within two decades, where a mark a decade would leave the axis bare."""
    seconds = [each.seconds for curve in sheet for each in (*curve.points, *curve.ahead) if each.seconds > 0]
    return bool(seconds) and max(seconds) / min(seconds) < 100


def _band(rows: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> Any:
    import plotly.graph_objects as go

    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return go.Scatter(
        x=np.concatenate([rows, rows[::-1]]).tolist(),
        y=np.concatenate([high, low[::-1]]).tolist(),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.14)",
        line_width=0,
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )


def _line(rows: np.ndarray, values: np.ndarray, most: float, colour: str) -> list[Any]:
    """Return the line up to the most rows measured, and its dashed continuation."""
    import plotly.graph_objects as go

    measured = int(np.searchsorted(rows, most, side="right"))
    if not measured:
        return []
    parts = {"solid": slice(0, measured), "dash": slice(max(measured - 1, 0), None)}
    return [
        go.Scatter(
            x=rows[part].tolist(),
            y=values[part].tolist(),
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
        for dash, part in parts.items()
    ]


def _points(points: Sequence[Point], values: Sequence[float], look: tuple[str, str, str], told: str, bars: Any) -> Any:
    import plotly.graph_objects as go

    name, colour, mark = look
    between = {"array": bars[0], "arrayminus": bars[1], "thickness": 1.2, "width": 0} if bars else None
    marker = {"color": colour, "symbol": mark, "size": 8, "line": {"color": "white", "width": 1}}
    rows = [point.rows for point in points]
    drawn = {"x": rows, "y": list(values), "mode": "markers", "marker": marker, "error_y": between}
    return go.Scatter(**drawn, hovertemplate=told, name=name, showlegend=True)


def _figure(traces: Sequence[Any], axis: str, more: dict[str, Any]) -> go.Figure:
    import plotly.graph_objects as go

    look = {"gridcolor": _GRID, "linecolor": _GRID, "zeroline": False, "automargin": True, "fixedrange": True}
    rows = {"type": "log", "dtick": "D2", "tickformat": "~s"}
    layout = {
        "template": "none",
        "height": 420,
        "showlegend": True,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "margin": {"l": 8, "r": 16, "t": 40, "b": 40},
        "font": {"color": _INK, "size": 12},
        "hovermode": "closest",
        "xaxis": {**look, **rows, "title": {"text": "training rows (logarithmic)", "standoff": 12}},
        "yaxis": {**look, **more, "title": {"text": axis, "standoff": 12}},
    }
    # Bands first, so that none lies over a line.
    return go.Figure(data=sorted(traces, key=lambda trace: trace.fill is None), layout=layout)
