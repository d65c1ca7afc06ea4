"""The plots of a report: pre-binned figures as plain JSON for plotly.js, without a single row of the data.

Every colour is one of this module, and `DARK` says what becomes of it on a dark page: light and dark differ in
lightness as well as in hue, so that folds stay apart for colour-blind readers and in print.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Figure = dict[str, Any]

_INK, _GRID, _CLEAR = "#3b4352", "#e3e7ed", "rgba(0,0,0,0)"
PLAIN, OTHER, REST = "#24808a", "#8a4b94", "#98a1b0"
_LOW, _MIDDLE, _HIGH = "#f1f5f9", "#6aa3cf", "#123f6e"
FOLD_COLOURS = {"train": "#2f6db3", "validation": "#c98500", "test": "#30353f", "left out": REST}
_SYMBOLS = {"train": "circle", "validation": "diamond", "test": "line-ns"}
DARK = {
    _INK: "#c5cdd9",
    _GRID: "#2c3542",
    PLAIN: "#58bcc4",
    OTHER: "#d09cd9",
    REST: "#6c7686",
    _LOW: "#1d2530",
    _MIDDLE: "#3f7fb5",
    _HIGH: "#b9deff",
    FOLD_COLOURS["train"]: "#6aa9ee",
    FOLD_COLOURS["validation"]: "#e3ab3c",
    FOLD_COLOURS["test"]: "#eef1f5",
}
_ROW, _FRAME = 22, 74  # pixels: one bar with its gap, and the axes around all bars


def histogram(found: Mapping[str, Any], axis: str, counted: str = "rows") -> Figure:
    """Return the bars of a `describe.histogram`."""
    return figure([_bins(found, counted)], height=300, x=axis, y=counted, bargap=0.04)


def histogram_choices(found: Sequence[Mapping[str, Any]], counted: str = "rows") -> list[list[Any]]:
    """Return the traces of several histograms, of which a page shows one at a time."""
    return [[_bins(each, counted).to_plotly_json()] for each in found]


def _bins(found: Mapping[str, Any], counted: str) -> Any:
    import plotly.graph_objects as go

    edges, counts = found["edges"], found["counts"]
    ranges = [[low, high] for low, high in pairwise(edges)]
    return go.Bar(
        x=[(low + high) / 2 for low, high in ranges],
        y=counts,
        width=[(high - low) * 0.96 for low, high in ranges],
        customdata=ranges,
        marker_color=PLAIN,
        hovertemplate=f"%{{customdata[0]:,.4~r}} to %{{customdata[1]:,.4~r}}: %{{y:,}} {counted}<extra></extra>",
    )


def bars(names: Sequence[str], counts: Sequence[int], total: int, rest: str = "", counted: str = "rows") -> Figure:
    """Return horizontal bars, one a name; the bar called `rest`, what the others leave, is grey."""
    import plotly.graph_objects as go

    trace = go.Bar(
        y=list(range(len(names))),
        x=list(counts),
        orientation="h",
        marker_color=[REST if name == rest else PLAIN for name in names],
        customdata=[[_safe(name), count / max(total, 1)] for name, count in zip(names, counts, strict=True)],
        text=[f"{count:,}" for count in counts],
        textposition="outside",
        cliponaxis=False,
        hovertemplate=f"%{{customdata[0]}}: %{{x:,}} {counted} (%{{customdata[1]:.1%}})<extra></extra>",
    )
    return figure([trace], height=_height(len(names)), x=counted, yaxis=_names(names), margin_r=52)


def fold_bars(names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Figure:
    """Return horizontal bars, one a name, each the sum of its folds; `counts` has a list for each fold."""
    import plotly.graph_objects as go

    traces = [
        go.Bar(
            y=list(range(len(names))),
            x=list(values),
            name=fold,
            orientation="h",
            marker_color=FOLD_COLOURS[fold],
            customdata=list(map(_safe, names)),
            hovertemplate=f"%{{customdata}}, {fold}: %{{x:,}} rows<extra></extra>",
        )
        for fold, values in counts.items()
        if any(values)
    ]
    return figure(traces, height=_height(len(names)) + 30, x="rows", yaxis=_names(names), barmode="stack")


def fold_shares(names: Sequence[str], shares: Mapping[str, Sequence[float]], overall: Sequence[float]) -> Figure:
    """Return one line a name with a mark for each fold: by how much its share there differs from `overall`."""
    import plotly.graph_objects as go

    traces = [
        go.Scatter(
            y=list(range(len(names))),
            x=[100 * (share - whole) for share, whole in zip(values, overall, strict=True)],
            name=fold,
            mode="markers",
            marker={
                "color": FOLD_COLOURS[fold],
                "symbol": _SYMBOLS[fold],
                "size": 11,
                "line": {"color": FOLD_COLOURS[fold], "width": 2.5 if fold == "test" else 0},
            },
            customdata=[[_safe(name), share] for name, share in zip(names, values, strict=True)],
            hovertemplate=f"%{{customdata[0]}}, {fold}: %{{customdata[1]:.2%}} (%{{x:+.2f}} points)<extra></extra>",
        )
        for fold, values in shares.items()
    ]
    axis = {"zeroline": True, "zerolinecolor": REST, "zerolinewidth": 1.5, "ticksuffix": " "}
    title = "difference, percentage points"
    return figure(traces, height=_height(len(names)) + 30, x=title, xaxis=axis, yaxis=_names(names, True))


def boxes(names: Sequence[str], found: Sequence[Mapping[str, Any]], axis: str) -> Figure:
    """Return horizontal box plots, one a name, of what `describe.box` found."""
    import plotly.graph_objects as go

    drawn = [(at, each) for at, each in enumerate(found) if each["count"]]
    trace = go.Box(
        y=[at for at, _ in drawn],
        orientation="h",
        q1=[each["q25"] for _, each in drawn],
        median=[each["median"] for _, each in drawn],
        q3=[each["q75"] for _, each in drawn],
        lowerfence=[each["lower"] for _, each in drawn],
        upperfence=[each["upper"] for _, each in drawn],
        mean=[each["mean"] for _, each in drawn],
        marker_color=PLAIN,
        line_width=1.4,
        hoverinfo="x",
    )
    return figure(
        [trace], height=_height(len(names)), x=axis, yaxis=_names(names, True), hovermode="closest", boxgap=0.35
    )


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    share: Sequence[Sequence[float | None]],
    counts: Sequence[Sequence[int]],
) -> Figure:
    """Return a grid of shares (0 to 1, None for a blank cell) whose hover text tells the counts as well."""
    import plotly.graph_objects as go

    told = [
        [[_safe(row), _safe(column), count] for column, count in zip(columns, line, strict=True)]
        for row, line in zip(rows, counts, strict=True)
    ]
    trace = go.Heatmap(
        z=[list(line) for line in share],
        x=list(range(len(columns))),
        y=list(range(len(rows))),
        customdata=told,
        colorscale=[[0, _LOW], [0.5, _MIDDLE], [1, _HIGH]],
        zmin=0,
        zmax=max((value for line in share for value in line if value), default=1),
        xgap=1.5,
        ygap=1.5,
        hoverongaps=False,
        colorbar={"tickformat": ".0%", "thickness": 10, "outlinewidth": 0, "len": 0.9},
        hovertemplate="%{customdata[0]} → %{customdata[1]}: %{z:.1%} (%{customdata[2]:,} rows)<extra></extra>",
    )
    across = {**_names(columns), "range": [-0.5, len(columns) - 0.5], "tickangle": -50 if len(columns) > 6 else 0}
    height = max(280, 150 + _ROW * len(rows))
    return figure([trace], height=height, xaxis=across, yaxis=_names(rows))


def word_bars(found: Mapping[str, Any]) -> Figure:
    """Return two panels of bars: the frequent and the distinctive words of one label of `words.label_words`."""
    panels = word_traces(found)
    axis = {"autorange": "reversed", "type": "category", "showgrid": False, "ticklabelstandoff": 6}
    return figure(
        panels,
        height=430,
        xaxis={"domain": [0, 0.42], "title": {"text": "occurrences"}},
        xaxis2={"domain": [0.6, 1], "title": {"text": "z-score"}, "anchor": "y2"},
        yaxis=axis,
        yaxis2={**axis, "anchor": "x2"},
        showlegend=False,
    )


def word_traces(found: Mapping[str, Any]) -> list[Any]:
    """Return the two traces of `word_bars`."""
    import plotly.graph_objects as go

    frequent, distinctive = found["frequent"], found["distinctive"]
    told = "<b>%{y}</b>: "
    return [
        go.Bar(
            y=[_safe(word) for word, _, _ in frequent],
            x=[count for _, count, _ in frequent],
            customdata=[rows for _, _, rows in frequent],
            orientation="h",
            marker_color=PLAIN,
            hovertemplate=told + "%{x:,} times in %{customdata:,} rows<extra></extra>",
        ).to_plotly_json(),
        go.Bar(
            y=[_safe(word) for word, _, _ in distinctive],
            x=[score for _, score, _ in distinctive],
            customdata=[count for _, _, count in distinctive],
            orientation="h",
            marker_color=OTHER,
            xaxis="x2",
            yaxis="y2",
            hovertemplate=told + "z = %{x:.1f}, %{customdata:,} times<extra></extra>",
        ).to_plotly_json(),
    ]


def columns(names: Sequence[str], counts: Sequence[int], axis: str, counted: str = "rows", log: bool = False) -> Figure:
    """Return upright bars for values that have an order of their own, such as the labels of a row."""
    import plotly.graph_objects as go

    trace = go.Bar(
        x=list(map(_safe, names)),
        y=list(counts),
        marker_color=PLAIN,
        text=[f"{count:,}" for count in counts] if len(names) <= 12 else None,
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{x}: %{y:,}<extra></extra>",
    )
    upright = {"type": "log", "dtick": 1} if log else {}
    return figure([trace], height=300, x=axis, y=counted, xaxis={"type": "category"}, yaxis=upright)


def figure(traces: Sequence[Any], *, height: int = 300, x: str = "", y: str = "", **layout: Any) -> Figure:
    """Return a figure in the dress of all pages; `x` and `y` are the titles of its axes, `layout` is plotly's.

    Traces hold plain lists, and colours that `DARK` knows, so that the page can turn dark.
    """
    import plotly.graph_objects as go

    base = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "automargin": True, "fixedrange": True}
    for name in [key for key in layout if key.startswith(("xaxis", "yaxis"))]:
        layout[name] = {**base, **layout[name]}
    layout = {"xaxis": dict(base), "yaxis": dict(base), **layout}
    for name, title in (("xaxis", x), ("yaxis", y)):
        if title:
            layout[name]["title"] = {"text": title, "standoff": 12}
    drawn = go.Figure(
        data=list(traces),
        layout={
            "template": "none",
            "height": height,
            "margin": {"l": 8, "r": layout.pop("margin_r", 12), "t": 12, "b": 40},
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "font": {"color": _INK, "size": 12},
            "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
            "bargap": 0.28,
            **layout,
        },
    )
    return drawn.to_plotly_json()


def _names(names: Sequence[str], grid: bool = False) -> dict[str, Any]:
    """Return an axis with one name a step, the first on top."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": list(map(_safe, names)),
        "range": [len(names) - 0.4, -0.6],
        "showgrid": grid,
        "zeroline": False,
        "ticklabelstandoff": 6,
    }


def _height(bars: int) -> int:
    return _FRAME + _ROW * max(bars, 2)


def _safe(name: str) -> str:
    """Return a text that plotly.js, which reads a little HTML, draws as it is."""
    return html.escape(name, quote=False) or "(none)"
