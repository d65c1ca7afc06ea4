"""Boards and tables inside of Markdown files: what stands between two marks is written anew from the records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.files import write_text
from .advice import Told

_MARK = re.compile(
    r"(?P<begin><!-- (?P<kind>board|tasks|reproduction|leaks): (?P<words>[^\n]+?) -->\n)"
    r"(?P<told>.*?)(?P<end><!-- end (?P=kind) -->)",
    re.DOTALL,
)
ALL = "all"
_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"board": ("best-per",), "tasks": ("pictures",), "reproduction": (), "leaks": ()}
)
"""What a mark may say after its name, by its kind."""


@dataclass(frozen=True)
class Mark:
    """What a mark asks for: ``<!-- KIND: NAME OPTION=VALUE -->``."""

    kind: str
    name: str
    options: Mapping[str, str]

    @classmethod
    def of(cls, kind: str, words: str) -> Mark:
        """Read the words of a mark; UserError where they say what its kind does not know."""
        name, *rest = words.split()
        options = {option: value for option, _, value in (each.partition("=") for each in rest)}
        for option, value in options.items():
            if option not in _OPTIONS[kind] or not value:
                known = ", ".join(f"{each}=…" for each in _OPTIONS[kind]) or "nothing"
                raise UserError(f"<!-- {kind}: {words} -->: after the name stands {known}, not {option!r}")
        if kind != "board" and name != ALL:
            raise unknown_name(f"name of {kind}", name, [ALL])
        return cls(kind, name, MappingProxyType(options))


def write_tables(paths: list[Path], results: Path, tell: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Write what is marked in Markdown files anew, and return the files that changed, pictures among them.

    ``<!-- board: NAME [best-per=family|framework] -->`` … ``<!-- end board -->``
        A board, where NAME is a task, a suite (whose tasks are shown) or ``all``.
    ``<!-- tasks: all [pictures=FOLDER] -->`` … ``<!-- end tasks -->``
        Every task: the best of each family, quality against cost, and what to take. FOLDER is seen from the file's.
    ``<!-- reproduction: all -->``, ``<!-- leaks: all -->``
        The published numbers beside ours, and what three leaks are worth.

    Parameters
    ----------
    tell
        Called with what is done next.

    Raises
    ------
    UserError
        If a file cannot be read or has no such marks, or a name is that of no task with records; then none is written.
    UnavailableError
        If a picture is to be drawn and matplotlib is not installed.
    """
    found = {path: _read(path) for path in paths}
    marks = {_begin(match): Mark.of(match["kind"], match["words"]) for text in found.values() for match in _marks(text)}
    drawn = {begin: _told(mark, results, tell) for begin, mark in marks.items()}

    def put(match: re.Match[str]) -> str:
        return f"{match['begin']}{drawn[_begin(match)].text}\n{match['end']}"

    news = {path: _MARK.sub(put, text) for path, text in found.items()}
    changed = [picture for path, text in found.items() for picture in _write_pictures(path.parent, text, drawn)]
    for path in paths:
        if news[path] != found[path]:
            write_text(path, news[path])
            changed.append(path)
    return changed


def _begin(match: re.Match[str]) -> str:
    return match["begin"].strip()


def _told(mark: Mark, results: Path, tell: Callable[[str], None]) -> Told:
    tell(f"{mark.kind}: {mark.name}")
    if mark.kind == "tasks":
        from .advice import tasks_markdown

        return tasks_markdown(results, mark.options.get("pictures", ""), tell)
    if mark.kind == "board":
        return Told(board_of(mark.name, results, mark.options.get("best-per", "")))
    from .reproduction_tables import leaks_markdown, reproduction_markdown

    return Told((leaks_markdown if mark.kind == "leaks" else reproduction_markdown)(results))


def _write_pictures(folder: Path, text: str, drawn: Mapping[str, Told]) -> list[Path]:
    """Draw the pictures that a file in `folder` shows; return those that changed."""
    places = dict(each for match in _marks(text) for each in drawn[_begin(match)].pictures)
    if not places:
        return []
    from .pareto import write_pareto

    return [folder / place for place, shown in places.items() if write_pareto(folder / place, shown)]


def board_of(name: str, results: Path, best_per: str = "") -> str:
    """Return the boards of a task, of a suite's tasks or of ``all``, as Markdown; raises as `load_board` does.

    Parameters
    ----------
    best_per
        ``family`` or ``framework``: the best row of each alone.
    """
    import pandas as pd

    from . import families
    from .frame import load_board
    from .tables import render

    tasks = [None] if name == ALL else _tasks(name)
    frames = [load_board(results, task=task).frame for task in tasks]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    if not best_per:
        return render(frame, "md")
    thin = families.best_per(frame, best_per)
    return f"{render(thin, 'md')}- {families.thinned(len(frame), len(thin), best_per)}\n"


def _tasks(name: str) -> list[str]:
    from ..benchmarks.options import read_suite, suites

    return list(read_suite(name)["tasks"]) if name in suites() else [name]


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UserError(f"{path} cannot be read: {why}") from error
    if not _marks(text):
        raise UserError(f"{path} has no board: mark its place by <!-- board: TASK --> and <!-- end board -->")
    return text


def _marks(text: str) -> list[re.Match[str]]:
    return list(_MARK.finditer(text))
