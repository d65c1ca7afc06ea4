"""Pages of results: one file each, which loads nothing and can be sent on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.support.errors import UserError
from ..datasets.support.files import write_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..datasets.report.blocks import Plot, Section

_TALL = 420  # pixels, of a figure that names no height


def write_page(
    path: Path,
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    top: Sequence[tuple[str, str, str]] = (),
    brand: str = "results",
) -> Path:
    """Write a page of sections to `path`, whole or not at all, and return the path.

    The sections are those of `zoobench.datasets.report.blocks`: their plots are drawn by the plotly.js that stands in
    the page, their tables sort, and the page turns dark where its reader's screen is. Every text is escaped.

    Parameters
    ----------
    lead
        What to know before reading on, below the title.
    top
        The figures that say most: (number, what, more), all in words.
    brand
        What kind of page it is.

    Raises
    ------
    UserError
        If the folder cannot be made or written.
    """
    from ..datasets.report.page import render

    told = {"title": title, "lead": lead, "name": "", "top": list(top), "brand": brand, "footer": "Made by zoobench."}
    try:
        write_text(path, render("page.html.jinja", sections, **told))
    except OSError as error:
        raise UserError(
            f"page {path} cannot be written ({error.strerror or error}): choose another folder with --out"
        ) from error
    return path


def check_folder(folder: Path) -> None:
    """Refuse a folder that no page can be written to before anything is computed; nothing is made yet.

    Raises
    ------
    UserError
        If a file stands in its way, or what it would be made in cannot be written.
    """
    whole = folder.expanduser().absolute()
    standing = next(each for each in (whole, *whole.parents) if each.exists())
    if not standing.is_dir():
        raise UserError(f"folder {folder} cannot be made, {standing} is a file: choose another with --out")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise UserError(f"folder {folder} cannot be written: choose another with --out")


def as_plot(name: str, title: str, caption: str, figure: go.Figure) -> Plot:
    """Return a figure that another library made (Optuna's, plotly's own) as a part of a page, in the pages' dress."""
    from ..datasets.report.blocks import Plot
    from ..datasets.report.plots import figure as dressed

    drawn: dict[str, Any] = json.loads(figure.to_json() or "{}")
    house = dressed([], height=drawn["layout"].get("height") or _TALL)["layout"]
    kept = {key: value for key, value in drawn["layout"].items() if key not in {"template", "title", "width"}}
    for axis in ("xaxis", "yaxis"):
        house[axis] |= kept.pop(axis, {})
    return Plot(name, title, caption, {"data": drawn["data"], "layout": {**house, **kept}})
