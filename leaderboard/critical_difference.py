"""The critical-difference diagram of models over tasks, by scikit-posthocs, as a picture or a page.

Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets" (J. Mach. Learn. Res. 7): models stand at
their mean rank, and a bar joins those that Nemenyi's test cannot tell apart.
"""

from __future__ import annotations

import importlib.util
import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.support.errors import UnavailableError, UserError
from ..datasets.support.files import atomic_path, write_text
from .across import Across

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".html", ".svg", ".png")
ALPHA = 0.05
_NEEDS = ("scikit_posthocs", "matplotlib")
_LEAST = 3
_LONGEST_NAME = 60
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff }}
h1 {{ font-size: 1.4rem }}
svg {{ max-width: 100%; height: auto }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
li {{ color: #555 }}
</style></head><body>
<h1>{title}</h1>
{picture}
<table><thead><tr>{heading}</tr></thead><tbody>
{rows}
</tbody></table>
<ul>
{notes}
</ul>
</body></html>
"""


def check_picture(path: Path) -> None:
    """Refuse a picture that cannot be drawn or written, before any work is done.

    Raises
    ------
    UserError
        If its name has another ending than those of `SUFFIXES`, or it cannot be written where it says.
    UnavailableError
        If what draws it is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--picture {path} must end in {', '.join(SUFFIXES)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"--picture {path}: its folder is not there" if not path.is_dir() else f"{path} is a folder")
    if missing := [name for name in _NEEDS if importlib.util.find_spec(name) is None]:
        raise UnavailableError(f"--picture needs {', '.join(missing)}: pip install 'zoobench[stats]'")


def write_picture(path: Path, found: Across, notes: list[str]) -> None:
    """Draw the diagram into `path`, whole or not at all; a page has a table and `notes` beside it.

    Raises
    ------
    UserError
        If there are fewer than three entrants.
    """
    if len(found.names) < _LEAST:
        raise UserError(
            f"a critical-difference diagram needs {_LEAST} models on all tasks, and there are {len(found.names)}: "
            f"{', '.join(found.names)}; leave --picture out, or run more"
        )
    if path.suffix.lower() == ".html":
        write_text(path, _page(found, draw(found, titled=False), notes))
        return
    figure = draw(found)
    kind = path.suffix.lower().removeprefix(".")
    with atomic_path(path) as temporary:
        _save(figure, temporary, kind)


def critical_difference(entrants: int, tasks: int, alpha: float = ALPHA) -> float:
    """Return by how much two mean ranks must differ for Nemenyi's test to tell them apart.

    The studentised range at `alpha` over the square root of 2, times sqrt(k (k + 1) / (6 n)) for k entrants and n
    tasks (Demšar 2006, section 3.2.2).
    """
    from scipy.stats import studentized_range

    quantile = studentized_range.ppf(1 - alpha, entrants, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(entrants * (entrants + 1) / (6 * tasks)))


def draw(found: Across, *, titled: bool = True) -> Figure:
    """Return the diagram as a matplotlib figure that belongs to no window."""
    import pandas as pd
    import scikit_posthocs
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in found.names]
    ranks = pd.DataFrame(found.ranks, columns=names if len(set(names)) == len(names) else found.names)
    apart = scikit_posthocs.posthoc_nemenyi_friedman(ranks)
    with rc_context({"text.usetex": False, "text.parse_math": False}):
        figure = Figure(figsize=(10, 1.6 + 0.24 * len(names)))
        axes = figure.subplots()
        scikit_posthocs.critical_difference_diagram(
            ranks.mean(),
            apart,
            cd=critical_difference(len(names), len(found.tasks)),
            alpha=ALPHA,
            ax=axes,
            text_h_margin=0.012 * len(names),
            label_fmt_left="{label} ({rank:.2f})",
            label_fmt_right="({rank:.2f}) {label}",
            color_palette=["#1b4f72"] * len(names),
        )
        axes.tick_params(axis="x", pad=30)  # above the bar of the critical difference
        if titled:
            axes.set_title(title(found), fontsize=11, pad=24)
    return figure


def title(found: Across) -> str:
    """Say what the diagram is of."""
    p = "" if found.friedman_p is None else f", Friedman p {friedman_words(found.friedman_p)}"
    return f"Mean rank of {len(found.names)} models over {len(found.tasks)} tasks{p}"


def friedman_words(p: float) -> str:
    """Return a p-value behind its sign."""
    return "< 0.001" if p < 0.0005 else f"= {p:.3f}"


def _save(figure: Figure, target: Path | io.BytesIO, kind: str) -> None:
    from matplotlib import rc_context

    # No date and no random identifiers: the same records give the same file.
    with rc_context({"svg.hashsalt": "zoobench", "svg.fonttype": "none", "text.parse_math": False}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(target, format=kind, dpi=150, bbox_inches="tight", metadata=metadata)


def _page(found: Across, figure: Figure, notes: list[str]) -> str:
    picture = io.BytesIO()
    _save(figure, picture, "svg")
    drawn = picture.getvalue().decode("utf-8")
    heading = ["Model", "Mean rank", "95% interval", "Win rate", *found.tasks]
    rows = [
        [name, f"{mean:.2f}", f"{low:.2f} to {high:.2f}", f"{wins:.2f}", *(f"{rank:g}" for rank in ranks)]
        for name, mean, low, high, wins, ranks in zip(
            found.names, found.mean_rank, found.low, found.high, found.win_rate, found.ranks.T, strict=True
        )
    ]
    return _PAGE.format(
        title=escape(title(found)),
        picture=drawn[drawn.index("<svg") :],
        heading="".join(f"<th>{escape(each)}</th>" for each in heading),
        rows="\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows),
        notes="\n".join(f"<li>{escape(note)}</li>" for note in notes),
    )
