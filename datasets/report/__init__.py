"""The data card of a task: what it asks and what its data look like, as a page, as Markdown and as JSON.

The page is one file that loads nothing: plotly.js stands in it, and its content security policy names the two
scripts that may run by their hashes, so that no text of a corpus becomes one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ..core import Task
from ..prepare import deal
from ..support.errors import UserError
from ..support.files import write_json, write_text
from .blocks import Plot, Section, Share, Table
from .facts import facts
from .pictures import example_pictures
from .plots import DARK
from .sections import figures_on_top, sections

_TEMPLATES = Path(__file__).parent / "templates"
_LINK = re.compile(r"(?P<doi>\bdoi:\s?(?P<id>10\.\d{4,}/[^\s,;<>\"]*[\w)]))|(?P<url>https://[^\s,;<>\"]*[\w/])")


def write_report(task: Task, protocol: str, out: Path) -> list[Path]:
    """Write ``<task>[@protocol].html``, ``.md`` and ``.json`` into `out`, each whole or not at all.

    Parameters
    ----------
    out
        A folder; it is created if it is not there.

    Returns
    -------
    The three paths.

    Raises
    ------
    UserError
        If the protocol is unknown, the data cannot be read, do not fit the card or leave a fold empty, or `out`
        cannot be written.
    """
    card = task.card.under(protocol)
    examples = task.read(protocol)
    try:
        examples.check_against(card)
    except ValueError as error:
        raise UserError(str(error)) from error
    folds = deal(task, protocol, examples)
    found = facts(task, protocol, examples, folds)
    told = sections(found, example_pictures(card, examples, folds))
    name = f"{card.name}@{protocol}" if protocol else card.name
    paths = [out / f"{name}.{kind}" for kind in ("html", "md", "json")]
    try:
        write_text(paths[0], html_page(found, told))
        write_text(paths[1], markdown_page(found, told))
        write_json(paths[2], found)
    except OSError as error:
        raise UserError(
            f"report folder {out} cannot be written ({error.strerror}): choose another with --out"
        ) from error
    return paths


def html_page(found: dict[str, Any], told: list[Section]) -> str:
    """Return the page; every text of the data is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell, "linked": linked}
    environment.tests |= {"number": lambda value: isinstance(value, int | float)}
    scripts = [get_plotlyjs(), (_TEMPLATES / "report.js").read_text(encoding="utf-8")]
    plots = [block for section in told for block in section.blocks if isinstance(block, Plot)]
    return environment.get_template("report.html.jinja").render(
        facts=found,
        card=found["card"],
        sections=told,
        top=figures_on_top(found),
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - files of this package
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        hashes=[f"'sha256-{_sha256(script)}'" for script in scripts],
        data={
            "dark": DARK,
            "plots": {plot.name: {"figure": plot.figure, "variants": list(plot.variants)} for plot in plots},
        },
    )


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def markdown_page(found: dict[str, Any], told: list[Section]) -> str:
    """Return the tables of the page as Markdown; plots are on the page alone."""
    card = found["card"]
    name = f"{card['name']}@{found['protocol']}" if found["protocol"] else card["name"]
    lines = [f"# {plain(card['title'])}", "", f"`{name}`: {plain(card['description'])}", ""]
    lines += [f"- **{number}** {what} ({plain(more)})" for number, what, more in figures_on_top(found)]
    for section in told:
        tables = [block for block in section.blocks if isinstance(block, Table)]
        if tables:
            lines += ["", f"## {plain(section.title)}", ""]
            lines += [plain(section.lead), ""] if section.lead else []
            lines += [line for table in tables for line in _markdown_table(table)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _markdown_table(table: Table) -> list[str]:
    lines = [f"**{plain(table.title)}**", ""] if table.title else []
    lines.append(f"| {' | '.join(map(plain, table.columns))} |")
    numeric = [all(isinstance(row[at], int | float | None) for row in table.rows) for at in range(len(table.columns))]
    lines.append(f"|{'|'.join('---:' if each else '---' for each in numeric)}|")
    lines += [f"| {' | '.join(plain(cell(value)) for value in row)} |" for row in table.rows]
    return [*lines, "", *([plain(table.caption), ""] if table.caption else [])]


def cell(value: Any) -> str:
    """Return a value as tables show it: whole numbers with commas, shares in per cent, others to two decimals."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, Share):
        return f"{value:.2%}"
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def plain(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line: no markup, no HTML, no end of a table cell."""
    marked = re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", " ".join(text.split()))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def linked(text: str) -> Markup:
    """Return escaped HTML of a text in which DOIs and https addresses are links."""
    parts, end = [], 0
    for match in _LINK.finditer(text):
        address = f"https://doi.org/{match['id']}" if match["doi"] else match["url"]
        parts += [
            escape(text[end : match.start()]),
            Markup('<a href="{}" rel="noreferrer">{}</a>').format(address, match[0]),
        ]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])
