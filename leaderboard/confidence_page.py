"""The page of `zoobench confidence`: reliability before and after, and accuracy against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..benchmarks.confidence import FIGURES, Confidence, Reading
from ..benchmarks.metrics import CALIBRATION_BINS
from ..benchmarks.selective import USUAL_THRESHOLD
from ..datasets.report.blocks import Exact, Plot, Section, Share, Table
from ..datasets.report.plots import OTHER, PLAIN, REST, Figure, figure
from .confidence_tables import about, shares, title
from .pages import write_page

_POINTS = 300  # of a curve: more than a screen tells apart
_STYLES: tuple[tuple[str, str, str], ...] = (("before", OTHER, "diamond"), ("after", PLAIN, "circle"))


def write(found: Confidence, out: Path) -> Path:
    """Write the page into the folder `out` and return its path; UserError where that cannot be done."""
    record = found.record
    task = record.task_name
    name = ".".join([task, record.model, *filter(None, [record.preset]), f"seed{record.seed}", record.key[:8]])
    return write_page(
        out / f"{name}.html",
        title(found),
        [_calibration(found), _selective(found), _meaning(found)],
        lead=f"{about(found)}. Nothing here was fitted on a test row.",
        top=_top(found),
        brand="confidence",
    )


def _readings(found: Confidence) -> tuple[tuple[Reading, str, str, str], ...]:
    both = (found.before, found.after)
    return tuple((reading, *style) for reading, style in zip(both, _STYLES, strict=True))


def _top(found: Confidence) -> list[tuple[str, str, str]]:
    before, after = (each.figures for each in (found.before, found.after))
    usual = next(each for each in found.before.kept if each.threshold == USUAL_THRESHOLD)
    whole = "" if found.record.kind == "multiclass" else " as a whole"
    right = "no row is that sure" if usual.exact is None else f"of them {usual.exact:.1%} are right{whole}"
    return [
        (f"{found.temperature:.3f}", "temperature", "divides every logit"),
        (
            f"{before['expected_calibration_error']:.4f}",
            "expected calibration error",
            f"{after['expected_calibration_error']:.4f} after the temperature",
        ),
        (f"{before['log_loss']:.4f}", "log loss", f"{after['log_loss']:.4f} after the temperature"),
        (f"{usual.coverage:.1%}", f"of rows at confidence {USUAL_THRESHOLD} or more", right),
    ]


def _calibration(found: Confidence) -> Section:
    multiclass = found.record.kind == "multiclass"
    claimed = "rows, by the probability of their most probable class" if multiclass else "cells (row and label)"
    rows = [
        [words, Exact(found.before.figures[name]), Exact(found.after.figures[name])] for name, words in FIGURES.items()
    ]
    errors = zip(found.record.labels, found.positives, found.before.label_errors, found.after.label_errors, strict=True)
    labels = [[label, int(count), Exact(before), Exact(after)] for label, count, before, after in errors]
    return Section(
        "calibration",
        "Calibration",
        "Of what a model says with probability 0.8, eight in ten should come true.",
        [
            Plot(
                "reliability",
                "Reliability",
                f"{CALIBRATION_BINS} bins of equal width over {claimed}. On the dashed line a probability means what "
                "it says; below it the model is too sure. Bins with few claims scatter.",
                _reliability(found),
            ),
            Plot(
                "claims",
                "How often each confidence is claimed",
                f"Number of {claimed}, by bin{'' if multiclass else '; the axis is logarithmic'}.",
                _claims(found),
            ),
            Table("Figures, lower is better", ["figure", "before", "after"], rows),
            Table(
                "Calibration error of each label",
                ["label", "test rows", "before", "after"],
                labels,
                "One label against the rest, in the same bins; their mean stands above. Rows: of the label.",
            ),
        ],
    )


def _reliability(found: Confidence) -> Figure:
    import plotly.graph_objects as go

    ideal = go.Scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": REST, "dash": "dash"}, hoverinfo="skip", showlegend=False
    )
    traces = [ideal]
    for reading, name, colour, symbol in _readings(found):
        bins = reading.reliability
        held = bins.counts > 0
        traces.append(
            go.Scatter(
                x=bins.confidence[held].tolist(),
                y=bins.frequency[held].tolist(),
                customdata=bins.counts[held].tolist(),
                name=name,
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"color": colour, "symbol": symbol, "size": 9},
                hovertemplate=f"{name}: said %{{x:.3f}}, true %{{y:.3f}} (%{{customdata:,}} claims)<extra></extra>",
            )
        )
    span = {"range": [-0.02, 1.02]}
    return figure(traces, height=440, x="mean confidence", y="share that came true", xaxis=span, yaxis=dict(span))


def _claims(found: Confidence) -> Figure:
    import plotly.graph_objects as go

    middles = ((np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS).tolist()
    edges = [[at / CALIBRATION_BINS, (at + 1) / CALIBRATION_BINS] for at in range(CALIBRATION_BINS)]
    traces = [
        go.Bar(
            x=middles,
            y=reading.reliability.counts.tolist(),
            customdata=edges,
            name=name,
            marker_color=colour,
            hovertemplate=f"{name}, %{{customdata[0]:.2f}} to %{{customdata[1]:.2f}}: %{{y:,}}<extra></extra>",
        )
        for reading, name, colour, _ in _readings(found)
    ]
    # Of many labels most cells are near 0, and would hide the rest.
    upright = {} if found.record.kind == "multiclass" else {"type": "log", "dtick": 1}
    return figure(traces, x="confidence", y="claims", barmode="group", yaxis=upright, bargap=0.15)


def _selective(found: Confidence) -> Section:
    told = shares(found)
    right = told[1][1]
    columns = ["confidence", *(words for _, words in told), *(f"{words}, after" for _, words in told)]
    rows = []
    for before, after in zip(found.before.kept, found.after.kept, strict=True):
        values = [getattr(each, name) for each in (before, after) for name, _ in told]
        rows.append([before.threshold, *(None if value is None else Share(value) for value in values)])
    same = found.record.kind == "multilabel"
    order = " The temperature does not change which row is surer: one curve." if same else ""
    return Section(
        "selective",
        "Selective prediction",
        "If the model may say that it is uncertain: how many rows it answers, and how many of these are right.",
        [
            Plot(
                "coverage",
                f"{right.capitalize()} against coverage",
                f"The surest rows first. Larger marks: confidence {USUAL_THRESHOLD} or more.{order}",
                _coverage(found, right),
            ),
            Table(
                "What a threshold of confidence keeps",
                columns,
                rows,
                "Of the test rows whose answer has this confidence or more. A dash: no row has.",
            ),
        ],
    )


def _coverage(found: Confidence, right: str) -> Figure:
    import plotly.graph_objects as go

    traces: list[Any] = []
    for reading, name, colour, symbol in _readings(found):
        at = np.unique(np.linspace(0, len(reading.coverage) - 1, _POINTS).round().astype(int))
        usual = next(each for each in reading.kept if each.threshold == USUAL_THRESHOLD)
        hover = f"{name}: %{{x:.1%}} of rows, %{{y:.1%}} of them right<extra></extra>"
        if found.record.kind == "multiclass" or name == "before":
            curve = {"x": reading.coverage[at].tolist(), "y": (1 - reading.risk[at]).tolist()}
            line = {"color": colour, "width": 2}
            drawn = name if found.record.kind == "multiclass" else "before and after"
            traces.append(go.Scatter(**curve, name=drawn, mode="lines", line=line, hovertemplate=hover))
        if usual.exact is not None:
            marker = {"color": colour, "symbol": symbol, "size": 13}
            point = {"x": [usual.coverage], "y": [usual.exact], "mode": "markers", "marker": marker}
            label = f"{name}, at {USUAL_THRESHOLD}"
            traces.append(go.Scatter(**point, name=label, hovertemplate=hover.replace(name, label, 1)))
    shown = {"range": [0, 1.02], "tickformat": ".0%"}
    return figure(traces, height=400, x="share of rows answered", y=right, xaxis=shown, yaxis={"tickformat": ".0%"})


def _meaning(found: Confidence) -> Section:
    multiclass = found.record.kind == "multiclass"
    confidence = (
        "the probability of the most probable class"
        if multiclass
        else "that of the least sure of the row's decisions: the probability of a label that was chosen, 1 - that of "
        "one that was not"
    )
    pooled = "over rows, by their most probable class" if multiclass else "over all cells (row and label), pooled"
    whole = "wrong rows" if multiclass else "rows with any wrong label"
    rows: Sequence[Sequence[str]] = [
        ["before, after", "the probabilities as they are stored, and with every logit divided by the temperature"],
        ["temperature", "minimises the log loss of the validation fold; it changes no decision, only what is claimed"],
        ["expected calibration error", f"mean gap between confidence and frequency {pooled} (Guo et al. 2017)"],
        ["maximum calibration error", "the widest gap of any bin, however few claims it holds"],
        ["confidence of an answer", confidence],
        ["area under risk-coverage", f"mean share of {whole} over all coverages (Geifman and El-Yaniv 2017)"],
    ]
    return Section("meaning", "What the words mean", "", [Table("", ["word", "meaning"], rows)])
