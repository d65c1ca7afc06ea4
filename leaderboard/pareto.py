"""Quality against what it costs, as a picture for a README: an SVG that is readable on light and on dark pages.

Named are the best of each family and the Pareto front, on which nothing is both better and cheaper; whatever else was
measured is a faint dot. The picture says in words what it shows, and is drawn anew only where that changes: another
version of matplotlib does not make another file.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..benchmarks.metrics import METRICS
from ..datasets.support.errors import UnavailableError, UserError
from ..datasets.support.files import write_text
from .families import FLOOR, best_of_each, family_of_row
from .recommend_data import Question
from .tables import Row, model_words, short_figure
from .words import cut_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

DRAWING = 1
"""Raised whenever the same figures shall look otherwise."""
COSTS: Mapping[str, str] = MappingProxyType({"fit_s": "Seconds to train", "latency_p50_ms": "Milliseconds an answer"})
"""The costs of the panels: columns of the board, and what people call them."""
NAMED = 12
"""Models that are named at most, the best."""
_NAME, _SIZE = 30, 8
_COLOURS = {
    "page": ("#ffffff", "#0d1117"),
    "ink": ("#3b4352", "#c5cdd9"),
    "grid": ("#e3e7ed", "#2c3542"),
    "faint": ("#98a1b0", "#6c7686"),
    "front": ("#24808a", "#58bcc4"),
}
"""On a light and on a dark page."""
_AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_DISTANCES = (7, 14, 22, 32, 44, 60, 80, 105, 135)
"""Where a name may stand, in points from its dot: the nearest free place is taken."""


@dataclass(frozen=True)
class Point:
    """A row of the board: its figure with the 95 % interval, and what it costs; None where nobody measured it."""

    name: str
    value: float
    low: float | None
    high: float | None
    costs: Mapping[str, float | None]
    named: bool

    def words(self) -> str:
        """Return all that a picture shows of it."""
        bounds = "" if self.low is None else f" [{self.low:.4f}, {self.high:.4f}]"
        costs = ", ".join(f"{name} {value:.4g}" for name, value in self.costs.items() if value is not None)
        return f"{self.name}{' (named)' if self.named else ''}: {self.value:.4f}{bounds}; {costs}"


@dataclass(frozen=True)
class Pareto:
    """What a picture shows: a task, its metric, the hardware that costs are of, and the points, the best first."""

    task: str
    metric: str
    hardware: str
    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a picture shows a model or more")

    def words(self) -> str:
        """Return all that the picture shows, a line a point."""
        return "\n".join(
            [f"drawing {DRAWING}: {self.task}, {self.metric}, {self.hardware}", *map(Point.words, self.points)]
        )


def pareto_of(question: Question) -> Pareto | None:
    """Return the points of a task: what was measured on the hardware of the question, and saw no test row before.

    The floor is left out where there is more, for its seconds would stretch the picture; None where nothing is left.
    """
    rows = [question.rows[each.row] for each in question.candidates if not (each.barred or any(each.estimated))]
    if not rows:
        return None
    rows = [row for row in rows if family_of_row(row) != FLOOR] or rows
    higher = bool(METRICS[question.metric].higher_is_better)
    shown = [row["records"] for row in best_of_each(rows, family_of_row)]
    shown += [row["records"] for cost in COSTS for row in front(rows, cost, higher_is_better=higher)]
    named = [row["records"] for row in rows if len(rows) <= NAMED or row["records"] in shown][:NAMED]
    points = [
        Point(
            model_words(row), row["value"], row["low"], row["high"], {cost: row[cost] for cost in COSTS},
            row["records"] in named,
        )
        for row in rows
    ]  # fmt: skip
    return Pareto(question.task, question.metric, question.hardware, tuple(points))


def front(rows: Sequence[Row], cost: str, *, higher_is_better: bool) -> list[Row]:
    """Return the rows, the cheapest first, of which none is as cheap and as good, and cheaper or better."""
    known = [row for row in rows if row[cost] is not None]
    sign = 1 if higher_is_better else -1
    found: list[Row] = []
    for row in sorted(known, key=lambda row: (row[cost], -sign * row["value"])):
        if not found or sign * row["value"] > sign * found[-1]["value"]:
            found.append(row)
    return found


def check_svg(path: Path) -> None:
    """Refuse a picture that cannot be drawn, before any work is done: UserError, or UnavailableError."""
    if path.suffix.lower() != ".svg":
        raise UserError(f"--picture {path} must end in .svg")
    if importlib.util.find_spec("matplotlib") is None:
        raise UnavailableError("a picture needs matplotlib: pip install 'zoobench[stats]'")


def write_pareto(path: Path, found: Pareto) -> bool:
    """Draw into `path`, whole or not at all; return whether that was needed: not where it shows the same already."""
    if told(path) == found.words():
        return False
    check_svg(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, as_svg(found))
    return True


def told(path: Path) -> str:
    """Return what a picture says it shows; empty where it says nothing, or is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    match = re.search(r"<desc>(.*?)</desc>", text, re.DOTALL)
    return unescape(match[1]) if match else ""


def as_svg(found: Pareto) -> str:
    """Return the picture: letters are drawn as shapes, so that they stand where they were placed with any font."""
    from matplotlib import rc_context

    drawn = io.StringIO()
    # No date and no random names: the same figures make the same file.
    settings: dict[Any, Any] = {"svg.hashsalt": "zoobench", "svg.fonttype": "path"}
    settings |= {"text.parse_math": False, "font.size": 9}
    with rc_context(settings):
        draw(found).savefig(drawn, format="svg", metadata={"Date": None})
    svg = drawn.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for name, (light, _) in _COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    head, _, rest = svg.partition(">")
    title = f"{found.task}: {METRICS[found.metric].title} against training time and latency"
    return f"{head}>\n<title>{escape(title)}</title>\n<desc>{escape(found.words())}</desc>\n{_style()}{rest}"


def _style() -> str:
    light, dark = ("".join(f"--{name}:{pair[side]};" for name, pair in _COLOURS.items()) for side in (0, 1))
    return f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"


def draw(found: Pareto) -> Figure:
    """Return the picture as a matplotlib figure that belongs to no window: a panel a cost, the quality shared."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), facecolor=_light("page"), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for axes, cost in zip(panels, COSTS, strict=True):
        _panel(axes, found, cost)
    metric = METRICS[found.metric]
    panels[0].set_ylabel(metric.title + ("" if metric.higher_is_better else " (less is better)"))
    canvas.draw()
    figure.set_layout_engine("none")  # names must stand where they are placed
    for axes, cost in zip(panels, COSTS, strict=True):
        _name(axes, found, cost, canvas.get_renderer())
    return figure


def _light(name: str) -> str:
    return _COLOURS[name][0]


def _panel(axes: Axes, found: Pareto, cost: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_facecolor(_light("page"))
    axes.grid(color=_light("grid"), linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_light("ink"), length=0)
    axes.set_xlabel(f"{COSTS[cost]} ({found.hardware})", color=_light("ink"))
    axes.yaxis.label.set_color(_light("ink"))
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(_light("grid"))
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.margins(x=0.2, y=0.12)
    places = [(each, x) for each in found.points if (x := _place(each, cost)) is not None]
    for each, x in places:
        colour = _light("front" if each.named else "faint")
        if each.named and each.low is not None and each.high is not None:
            axes.plot([x, x], [each.low, each.high], color=colour, linewidth=1, alpha=0.6)
        axes.plot([x], [each.value], "o", color=colour, markersize=6 if each.named else 3.5)
    xs = [x for _, x in places]
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(xs, default=1) < 100 * min(xs, default=1) else (1,)))
    xs, ys = _front(found, cost)
    axes.plot(xs, ys, drawstyle="steps-post", color=_light("front"), linewidth=1.2, alpha=0.5, zorder=1)


def _place(point: Point, cost: str) -> float | None:
    # What takes no measurable time stands at a ten-thousandth: a logarithm has no 0.
    value = point.costs[cost]
    return None if value is None else max(value, 1e-4)


def _front(found: Pareto, cost: str) -> tuple[list[float], list[float]]:
    """Return the costs and the figures on the front, the cheapest first."""
    rows: list[Row] = [{"value": each.value, cost: _place(each, cost)} for each in found.points]
    best = front(rows, cost, higher_is_better=bool(METRICS[found.metric].higher_is_better))
    return [row[cost] for row in best], [row["value"] for row in best]


def _front_boxes(axes: Axes, found: Pareto, cost: str) -> list[Bbox]:
    """Return what the steps of the front take, in pixels."""
    from matplotlib.transforms import Bbox

    corners = [axes.transData.transform(each) for each in zip(*_front(found, cost), strict=True)]
    return [
        Bbox.from_extents(
            *(min(ends) - 1 for ends in zip(*way, strict=True)), *(max(ends) + 1 for ends in zip(*way, strict=True))
        )
        for (x0, y0), (x1, y1) in pairwise(corners)
        for way in (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)))
    ]


def _name(axes: Axes, found: Pareto, cost: str, renderer: Any) -> None:
    """Write the names beside their dots, where they touch neither one another nor a dot, an interval or the front.

    Where there is no such place, one beside the other names and their dots must do.
    """
    dots = [(each, x) for each in found.points if (x := _place(each, cost)) is not None]
    hard = [_boxes(axes, each, x)[0] for each, x in dots if each.named]
    soft = [box for each, x in dots for box in _boxes(axes, each, x)] + _front_boxes(axes, found, cost)
    for each, x in dots:
        if not each.named:
            continue
        places = _places_around(axes, each, x, renderer)
        free = [(way, box) for way, box in places if _free(box, hard, axes.bbox)]
        best = next((found for found in free if _free(found[1], soft, axes.bbox)), next(iter(free), None))
        if best is not None:
            hard.append(best[1])
            _label(axes, each, x, best[0])


def _places_around(axes: Axes, each: Point, x: float, renderer: Any) -> list[tuple[tuple[float, float], Bbox]]:
    """Return where a name may stand, the nearest first: points to the right and up, and the box of its letters."""
    from matplotlib.transforms import Bbox

    trial = axes.text(0, 0, cut_name(each.name, _NAME), fontsize=_SIZE)
    size = trial.get_window_extent(renderer)
    trial.remove()
    middle = axes.transData.transform((x, each.value))
    found = []
    for reach, (right, up) in ((reach, way) for reach in _DISTANCES for way in _AROUND):
        dx, dy = (way * reach * axes.figure.dpi / 72 for way in (right, up))
        left = middle[0] + dx - size.width * (1 - right) / 2
        foot = middle[1] + dy - size.height * (1 - up) / 2
        box = Bbox.from_extents(left - 1, foot - 1, left + size.width + 1, foot + size.height + 1)
        found.append(((right * reach, up * reach), box))
    return found


def _label(axes: Axes, each: Point, x: float, offset: tuple[float, float]) -> None:
    sides = {-1: "right", 0: "center", 1: "left"}
    heights = {-1: "top", 0: "center", 1: "bottom"}
    ways = [(value > 0) - (value < 0) for value in offset]
    far = max(map(abs, offset)) > _DISTANCES[1]
    line = {"arrowstyle": "-", "color": _light("faint"), "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3} if far else None
    axes.annotate(
        cut_name(each.name, _NAME), (x, each.value), offset, textcoords="offset points", ha=sides[ways[0]],
        va=heights[ways[1]], fontsize=_SIZE, color=_light("ink"), arrowprops=line,
    )  # fmt: skip


def _boxes(axes: Axes, each: Point, x: float) -> list[Bbox]:
    """Return what a dot and its interval take of the picture, in pixels."""
    from matplotlib.transforms import Bbox

    centre = axes.transData.transform((x, each.value))
    size = 4.5 if each.named else 2.5
    found = [Bbox.from_extents(*(centre - size), *(centre + size))]
    if each.named and each.low is not None and each.high is not None:
        ends = [axes.transData.transform((x, end)) for end in (each.low, each.high)]
        found.append(Bbox.from_extents(ends[0][0] - 1, ends[0][1], ends[1][0] + 1, ends[1][1]))
    return found


def _free(box: Bbox, taken: Iterable[Bbox], inside: Bbox) -> bool:
    within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
    return within and not any(box.overlaps(other) for other in taken)


def alternative(found: Pareto) -> str:
    """Return the picture in a sentence, for those who do not see it."""
    best = found.points[0]
    seconds = best.costs["fit_s"]
    told_s = "" if seconds is None else f", {short_figure(seconds)} s to train"
    models = "one model" if len(found.points) == 1 else f"{len(found.points)} models"
    return (
        f"{found.task}: {METRICS[found.metric].title} of {models} against seconds of training and "
        f"milliseconds an answer; best {best.name}, {best.value:.3f}{told_s}"
    )
