"""The board for people (terminal, GitHub) and for programs (CSV, JSON).

A terminal table never wraps a figure: where it is too narrow, columns are left out by priority and named below.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..benchmarks.metrics import METRICS
from ..benchmarks.thresholds import default_policy
from ..datasets.support.errors import unknown_name
from .sheet_notes import table_notes, told_apart
from .words import as_plain, cut, cut_name, one_line

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

FORMATS = ("table", "md", "csv", "json")

BEST, TIED, SHARED, SEEN, MISSING = "*", "=", "+", "!", "-"
_STYLES = {BEST: "bold green", TIED: "green"}

_MODEL_WIDTHS = (44, 30, 26, 16)
_MODEL_ENOUGH = 26
"""Shorter names, which could hide a mode, only where the figures would not fit otherwise."""

REASON_WIDTH = 160
_GAP = 2
USUAL_METRICS = {
    "multilabel": ("f1_micro", "f1_macro", "roc_auc_macro", "hamming_loss", "exact_match"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc_macro"),
}
_HEADINGS = {
    "roc_auc_macro": "ROC AUC",
    "hamming_loss": "Hamming loss",
    "exact_match": "Exact match",
    "balanced_accuracy": "Balanced acc.",
}
_KEPT_FIRST = (
    *("rank", "model", "value", "unseen", "hardware", "fit_s", "seeds", "f1_micro", "accuracy", "latency_p50_ms"),
    *("roc_auc_macro", "memory_gb", "f1_macro", "hamming_loss", "balanced_accuracy", "exact_match"),
)
_NEVER_DROPPED = 3

Row = dict[str, Any]
Places = dict[tuple[str, str], str]
"""A short name for each hardware class and device; an empty one where there is only one."""


@dataclass(frozen=True)
class Column:
    """A column as text: `name` is that of the frame, a line break in the heading is where it folds."""

    name: str
    heading: str
    cells: Sequence[str]
    right: bool = True

    @cached_property
    def width(self) -> int:
        """The characters that it takes."""
        return max(map(len, [*self.heading.split("\n"), *self.cells]))


@dataclass(frozen=True)
class Sheet:
    """One table of the board as text; `marks` has a mark for each row of the columns."""

    title: str
    columns: Sequence[Column]
    marks: Sequence[str]
    failures: Sequence[Column]


def render(frame: pd.DataFrame, format: str = "table", *, width: int | None = None) -> str:  # noqa: A002
    """Return the board as text without colour.

    Parameters
    ----------
    frame
        What `zoobench.leaderboard.board` returns.
    format
        ``table``, ``md`` (GitHub), ``csv``, or ``json`` (a list of objects, null for what is missing).
    width
        The characters a table may take; 100 without it, or what the variable COLUMNS says.

    Raises
    ------
    UserError
        If the format has another name.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if format == "csv":
        return frame.to_csv(index=False, lineterminator="\n")
    if format == "json":
        return _json(frame)
    if format == "md":
        return _markdown(frame)
    return as_plain(lambda console: _print_tables(frame, console), width)


def show(frame: pd.DataFrame, format: str = "table", console: Console | None = None) -> None:  # noqa: A002
    """Print the board to a console (standard output without one): in colour and in its width if it is a terminal."""
    from rich.console import Console

    console = console or Console(highlight=False)
    if format == "table" and console.is_terminal:
        _print_tables(frame, console)
    else:
        console.file.write(render(frame, format))


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """Return the rows as plain Python values, None for what is missing."""
    names = frame.columns.tolist()
    columns = [frame[name].to_numpy(dtype=object, na_value=None).tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _json(frame: pd.DataFrame) -> str:
    return json.dumps(rows_of(frame), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _sheets(rows: list[Row], places: Places) -> list[Sheet]:
    tables: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        tables.setdefault((row["task"], row["fingerprint"], row["split"]), []).append(row)
    return [_sheet(table, _version(key, tables), places) for key, table in tables.items()]


def _version(key: tuple[str, str, str], tables: Iterable[tuple[str, str, str]]) -> str:
    """Return what tells a table from others of its task: nothing, its data, its split."""
    others = [each for each in tables if each[0] == key[0]]
    data = f", data {key[1][:8]}" if len({each[1] for each in others}) > 1 else ""
    return data + (f", split {key[2][:8]}" if len({each[2] for each in others}) > 1 else "")


def _sheet(table: list[Row], version: str, places: Places) -> Sheet:
    first = table[0]
    metric = METRICS[first["ranked_by"]]
    size = f"{first['test_rows']} test rows, " if first["test_rows"] is not None else ""
    direction = "" if metric.higher_is_better else ", lower is better"
    title = f"{first['task']} ({first['kind']}, {size}ranked by {metric.title}{direction}{version})"
    done = [row for row in table if row["status"] == "ok"]
    return Sheet(title, _columns(done, places), [_mark(row) for row in done], _failures(table, places))


def _places(rows: list[Row]) -> Places:
    found = sorted({(row["hardware"], row["device"]) for row in rows})
    return {each: f"H{number}" if len(found) > 1 else "" for number, each in enumerate(found, start=1)}


def _place(row: Row, places: Places) -> str:
    return places[row["hardware"], row["device"]]


def _mark(row: Row) -> str:
    return BEST if row["rank"] == 1 else TIED if row["tied"] else ""


def _columns(done: list[Row], places: Places) -> list[Column]:
    if not done:
        return []
    ranked_by = done[0]["ranked_by"]
    metrics = [name for name in USUAL_METRICS[done[0]["kind"]] if name != ranked_by]
    columns = [
        Column("rank", "#", [f"{_or_missing(row['rank'], str)} {_mark(row):1}" for row in done]),
        Column("model", "Model", [model_words(row) for row in done], right=False),
        Column("seeds", "Seeds", [row["seeds"].replace(" of ", "/") for row in done]),
        Column("value", METRICS[ranked_by].title, [_value(row) for row in done], right=False),
        Column("unseen", "Unseen", [_or_missing(row["unseen"], "{:.3f}".format) for row in done]),
        *(_metric(name, done) for name in metrics),
        Column("fit_s", "Fit\ns", _fit(done)),
        Column("latency_p50_ms", "Latency\nms", [_or_missing(row["latency_p50_ms"], short_figure) for row in done]),
        Column("memory_gb", "Memory\nGB", [_or_missing(row["memory_gb"], short_figure) for row in done]),
        Column("hardware", "On", [_place(row, places) for row in done], right=False),
    ]
    silent = {"seeds": {"1"}, "hardware": {""}}
    return [column for column in columns if set(column.cells) != silent.get(column.name, {MISSING})]


def _or_missing(value: Any, write: Callable[[Any], str]) -> str:
    return MISSING if value is None else write(value)


def _metric(name: str, done: list[Row]) -> Column:
    heading = _HEADINGS.get(name, METRICS[name].title).replace(" ", "\n", 1)
    return Column(name, heading, [_or_missing(row[name], "{:.3f}".format) for row in done])


def model_words(row: Row) -> str:
    """Return how a row is called: model, preset, mode and settings."""
    name = row["model"] + (f"@{row['preset']}" if row["preset"] not in {"", "default"} else "")
    name += f", {row['mode']}" if row["mode"] not in {"default", "ensemble"} else ""  # an ensemble's name says so
    return one_line(name + (f" ({row['settings']})" if row["settings"] else ""))


def _value(row: Row) -> str:
    bounds = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return _or_missing(row["value"], lambda value: f"{value:.3f}{bounds}{SEEN if row['overlap'] else ''}")


def _fit(done: list[Row]) -> list[str]:
    blank = " " if any(row["beside"] for row in done) else ""
    return [_or_missing(row["fit_s"], short_figure) + (SHARED if row["beside"] else blank) for row in done]


def short_figure(value: float) -> str:
    """Return a time or a size to about three digits."""
    decimals = next((digits for limit, digits in ((1, 3), (10, 2), (100, 1)) if value < limit), 0)
    return f"{value:.{decimals}f}"


def _failures(table: list[Row], places: Places) -> list[Column]:
    """Return model, status and reason of what did not finish, also where it was one seed of several."""
    rows = [row for row in table if row["reason"]]
    if not rows:
        return []
    names = [model_words(row) + (f" on {place}" if (place := _place(row, places)) else "") for row in rows]
    states = [f"{row['seeds']} seeds ok" if row["status"] == "ok" else row["status"] for row in rows]
    reasons = [cut(one_line(row["reason"]), REASON_WIDTH, "...") for row in rows]
    titles = {"model": ("Did not finish", names), "status": ("Status", states), "reason": ("Reason", reasons)}
    return [Column(name, heading, cells, right=False) for name, (heading, cells) in titles.items()]


def _notes(rows: list[Row], places: Places) -> list[str]:
    marks = {_mark(row) for row in rows if row["status"] == "ok"}
    notes = [f"{BEST} best on its task"] if BEST in marks else []
    if TIED in marks:
        notes.append(
            f"{TIED} cannot be told from the best: the 95% paired bootstrap interval of the difference holds 0"
        )
    if marks:
        notes.append(
            "[low, high]: 95% bootstrap interval. Latency: one example, median. "
            "Fit: features of the training and validation texts, tuning and fit."
        )
    if any(row["unseen"] is not None for row in rows):
        notes.append(
            "Unseen: the primary metric on the test rows whose input no training or validation row has, "
            "over the labels that occur there."
        )
    policies = {row["policy"] for row in rows if row["status"] == "ok" and row["policy"] != default_policy(row["kind"])}
    if policies:
        notes.append(f"Decided by {', '.join(sorted(policies))}: no figure of records made before that policy")
    if any(row["beside"] for row in rows):
        notes.append(f"{SHARED} measured while other cells ran, so slower than alone")
    accelerated = any(device != "cpu" for _, device in places)
    if any(row["overlap"] for row in rows):
        notes.append(f"{SEEN} its weights were trained before on rows of this task, test fold included")
    for (hardware, device), short in places.items():
        notes.append(f"{short or 'Hardware'}: {one_line(hardware)}" + (f" ({device})" if accelerated else ""))
    if superseded := sum(row["superseded"] for row in rows):
        what, are = ("record", "is") if superseded == 1 else ("records", "are")
        notes.append(f"{superseded} {what} of earlier code or settings {are} not shown")
    return [*notes, *table_notes(rows), "Time and memory compare only within one hardware class."]


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that fit in `width`, by priority; a long model name gives way first."""
    fitted: list[Column] = []
    for limit in _MODEL_WIDTHS:
        named = {each.name: _shortened(each, limit) if each.name == "model" else each for each in columns}
        kept: list[str] = []
        for place, name in enumerate(_KEPT_FIRST):
            if name in named and (place < _NEVER_DROPPED or _width(named[each] for each in (*kept, name)) <= width):
                kept.append(name)
        fitted = [column for name, column in named.items() if name in kept]
        if len(fitted) == len(columns) or (limit <= _MODEL_ENOUGH and _width(fitted) <= width):
            break
    return fitted


def _shortened(column: Column, width: int) -> Column:
    return Column(column.name, column.heading, [cut_name(cell, width) for cell in column.cells], column.right)


def _width(columns: Iterable[Column]) -> int:
    return sum(column.width + _GAP for column in columns) - _GAP


def _print_tables(frame: pd.DataFrame, console: Console) -> None:
    from rich.text import Text

    rows = told_apart(rows_of(frame))
    places = _places(rows)
    gone: dict[str, None] = {}
    for sheet in _sheets(rows, places):
        console.print(Text(sheet.title, style="bold"))
        kept = _fitting(sheet.columns, console.width)
        names = {column.name for column in kept}
        gone |= {each.heading.replace("\n", " "): None for each in sheet.columns if each.name not in names}
        if kept:
            console.print(_figures(kept, sheet.marks, _rule(console)), no_wrap=True, overflow="ignore", crop=False)
            console.print()
        if sheet.failures:
            console.print(_reasons(sheet.failures, console))
            console.print()
    for note in _notes(rows, places):
        console.print(Text(note, style="dim"))
    if gone:
        console.print(Text(f"Not shown at this width: {', '.join(gone)}; --format csv has every column.", style="dim"))


def _is_plain(console: Console) -> bool:
    return console.options.ascii_only or not console.is_terminal


def _rule(console: Console) -> str:
    return "-" if _is_plain(console) else "\u2500"


def _figures(columns: Sequence[Column], marks: Sequence[str], rule: str) -> Text:
    """Return ranked rows as one text: a rich table lays out each cell anew, which takes seconds for thousands."""
    from rich.text import Text

    headings = [column.heading.split("\n") for column in columns]
    height = max(map(len, headings))
    above = zip(*([""] * (height - len(each)) + each for each in headings), strict=True)
    text = Text("\n").join(Text(_line(columns, cells), style="bold") for cells in above)
    text.append(f"\n{rule * _width(columns)}")
    for mark, cells in zip(marks, zip(*(column.cells for column in columns), strict=True), strict=True):
        text.append(f"\n{_line(columns, cells)}", style=_STYLES.get(mark, ""))
    return text


def _line(columns: Sequence[Column], cells: Sequence[str]) -> str:
    padded = (
        cell.rjust(column.width) if column.right else cell.ljust(column.width)
        for column, cell in zip(columns, cells, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()


def _reasons(columns: Sequence[Column], console: Console) -> Table:
    """Return what did not finish as a rich table, where reasons may fold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = box.Box("    \n    \n -- \n" + "    \n" * 5, ascii=True) if _is_plain(console) else box.SIMPLE_HEAD
    table = Table(box=lines, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column.heading, no_wrap=column.name != "reason", overflow="fold")
    for model, *cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, (cut(model, _MODEL_WIDTHS[1]), *cells)), style="yellow")
    return table


def _markdown(frame: pd.DataFrame) -> str:
    sheets, notes = markdown_parts(told_apart(rows_of(frame)))
    return "\n\n".join([*sheets, notes]) + "\n"


def markdown_parts(rows: list[Row]) -> tuple[list[str], str]:
    """Return the tables of rows that `told_apart` returned, each below its heading, and the notes below them all."""
    places = _places(rows)
    sheets = [
        "\n\n".join([f"### {sheet.title}", *(_pipes(each) for each in (sheet.columns, sheet.failures) if each)])
        for sheet in _sheets(rows, places)
    ]
    # A note that begins with the mark + would begin a list of its own.
    notes = [f"- \\{note}" if note.startswith(SHARED) else f"- {note}" for note in map(_escape, _notes(rows, places))]
    return sheets, "\n".join(notes)


def _pipes(columns: Sequence[Column]) -> str:
    headings = [column.heading.replace("\n", " ") for column in columns]
    sides = ["---:" if column.right else "---" for column in columns]
    cells = zip(*(map(_escape, column.cells) for column in columns), strict=True)
    return "\n".join("| " + " | ".join(line) + " |" for line in (headings, sides, *cells))


def _escape(text: str) -> str:
    """Keep from a cell what Markdown or HTML would read as marks."""
    return "".join(f"\\{each}" if each in "\\|*_`<>[]" else each for each in text.strip())
