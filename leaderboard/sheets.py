"""Small tables with lines of words above and notes below, for a terminal, a file or GitHub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .index import one_line
from .tables import Column
from .words import as_plain, cut_name

_GAP = "  "
_SHORTEST = 12
"""Characters of a name that are left where the width is short."""


@dataclass(frozen=True)
class Sheet:
    """A table; its columns called ``model…`` are shortened where the width asks for it."""

    title: str
    columns: Sequence[Column]


@dataclass(frozen=True)
class Page:
    """What a command has to say: its title, what it found in words, tables, and notes."""

    title: str
    words: Sequence[str]
    sheets: Sequence[Sheet]
    notes: Sequence[str]


def show_page(page: Page, style: str) -> None:
    """Print a page as ``table`` or ``md`` to standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    if style == "md":
        console.file.write(as_markdown(page))
    elif console.is_terminal:
        _print(page, console)
    else:
        console.file.write(as_text(page))


def as_text(page: Page, width: int | None = None) -> str:
    """Return a page as text without colour, `width` characters wide: 100, or what the variable COLUMNS says."""
    return as_plain(lambda console: _print(page, console), width)


def as_markdown(page: Page) -> str:
    """Return a page as GitHub writes it."""
    parts = [f"### {_escape(page.title)}", "\n".join(f"- {_escape(line)}" for line in page.words)]
    for sheet in page.sheets:
        parts += [f"#### {_escape(sheet.title)}"] if sheet.title else []
        parts.append(pipes(sheet.columns))
    parts.append("\n".join(f"- {_escape(note)}" for note in page.notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def _print(page: Page, console: object) -> None:
    from rich.console import Console
    from rich.text import Text

    assert isinstance(console, Console)  # noqa: S101
    console.print(Text(one_line(page.title), style="bold"))
    for line in page.words:
        console.print(Text(one_line(line)))
    rule = "\u2500" if console.is_terminal and not console.options.ascii_only else "-"
    for sheet in page.sheets:
        console.print()
        if sheet.title:
            console.print(Text(one_line(sheet.title), style="bold"))
        heading, *lines = _lines(_fitting(sheet.columns, console.width))
        text = Text(f"{heading}\n", style="bold")
        text.append("\n".join([rule * max(map(len, (heading, *lines))), *lines]), style="not bold")
        console.print(text, no_wrap=True, overflow="ignore", crop=False)
    console.print()
    for note in page.notes:
        console.print(Text(one_line(note), style="dim"))


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns with names so short that a line takes `width` characters, where that can be."""
    fitted = [replace(column, cells=[one_line(cell) for cell in column.cells]) for column in columns]
    over = sum(column.width + len(_GAP) for column in fitted) - len(_GAP) - width
    while over > 0:
        longest = max(
            (each for each in fitted if each.name.startswith("model")), key=lambda column: column.width, default=None
        )
        if longest is None or longest.width <= _SHORTEST:
            break
        limit = longest.width - 1
        shown = [cut_name(cell, limit) for cell in longest.cells]
        heading = cut_name(longest.heading, limit)
        fitted[fitted.index(longest)] = Column(longest.name, heading, shown, right=False)
        over -= 1
    return fitted


def _lines(columns: Sequence[Column]) -> list[str]:
    """Return the headings and then every row, padded."""
    rows = zip(*([column.heading, *column.cells] for column in columns), strict=True)
    return [_line(columns, row) for row in rows]


def _line(columns: Sequence[Column], cells: Sequence[str]) -> str:
    padded = (
        cell.rjust(column.width) if column.right else cell.ljust(column.width)
        for column, cell in zip(columns, cells, strict=True)
    )
    return _GAP.join(padded).rstrip()


def pipes(columns: Sequence[Column]) -> str:
    """Return columns as a table of GitHub's Markdown."""
    sides = ["---:" if column.right else "---" for column in columns]
    rows = list(zip(*([column.heading, *column.cells] for column in columns), strict=True))
    lines = [[_escape(cell) for cell in rows[0]], sides, *([_escape(cell) for cell in row] for row in rows[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _escape(text: str) -> str:
    """Keep from a text what Markdown or HTML would read as marks."""
    return "".join(f"\\{each}" if each in "\\|*_`<>[]" else each for each in one_line(text.strip()))
