"""Boards inside of Markdown files: what stands between two marks is written anew from the records."""

from __future__ import annotations

import re
from pathlib import Path

from ..datasets.support.errors import UserError
from ..datasets.support.files import write_text

_BOARD = re.compile(r"(?P<begin><!-- board: (?P<name>\S+) -->\n)(?P<told>.*?)(?P<end><!-- end board -->)", re.DOTALL)
ALL = "all"


def write_tables(paths: list[Path], results: Path) -> list[Path]:
    """Write the boards of Markdown files anew, and return the files that changed.

    A board stands between ``<!-- board: NAME -->`` and ``<!-- end board -->``, where NAME is a task, a suite (whose
    tasks are shown) or ``all``.

    Raises
    ------
    UserError
        If a file cannot be read or has no such marks, or a name is that of no task with records; then none is written.
    """
    found = {path: _read(path) for path in paths}
    drawn = {name: board_of(name, results) for text in found.values() for name in _names(text)}

    def put(match: re.Match[str]) -> str:
        return f"{match['begin']}{drawn[match['name']]}\n{match['end']}"

    news = {path: _BOARD.sub(put, text) for path, text in found.items()}
    changed = [path for path in paths if news[path] != found[path]]
    for path in changed:
        write_text(path, news[path])
    return changed


def board_of(name: str, results: Path) -> str:
    """Return the boards of a task, of a suite's tasks or of ``all``, as Markdown; raises as `load_board` does."""
    import pandas as pd

    from .frame import load_board
    from .tables import render

    tasks = [None] if name == ALL else _tasks(name)
    frames = [load_board(results, task=task).frame for task in tasks]
    return render(frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True), "md")


def _tasks(name: str) -> list[str]:
    import tomllib

    from ..benchmarks.options import suites

    there = suites()
    if name not in there:
        return [name]
    return list(tomllib.loads(there[name].read_text(encoding="utf-8"))["tasks"])


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UserError(f"{path} cannot be read: {why}") from error
    if not _names(text):
        raise UserError(f"{path} has no board: mark its place by <!-- board: TASK --> and <!-- end board -->")
    return text


def _names(text: str) -> list[str]:
    return [match["name"] for match in _BOARD.finditer(text)]
