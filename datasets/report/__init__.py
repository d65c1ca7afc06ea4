"""The data card of a task: what it asks and what its data look like, as a page, as Markdown and as JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..core import Task
from ..prepare import deal
from ..support.errors import UserError
from ..support.files import write_json, write_text
from .blocks import Section, Table
from .facts import facts
from .page import cell, render
from .pictures import example_pictures
from .sections import figures_on_top, sections


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
    card = found["card"]
    about = {"title": card["title"], "brand": "data card", "top": figures_on_top(found)}
    return render("report.html.jinja", told, facts=found, card=card, **about)


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


def plain(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line: no markup, no HTML, no end of a table cell."""
    marked = re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", " ".join(text.split()))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
