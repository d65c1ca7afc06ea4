"""Boards and tables inside of Markdown files: what stands between two marks is written anew from the records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.files import write_text
from .advice import Told

_BEGIN = re.compile(r"<!-- (?P<kind>board|tasks|reproduction|leaks|peers): (?P<words>.+?) -->\s*")
_END = re.compile(r"<!-- end (?P<kind>\w+) -->\s*")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
ALL = "all"
_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"board": ("best-per",), "tasks": ("pictures",), "reproduction": (), "leaks": (), "peers": ()}
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

    @property
    def text(self) -> str:
        """The mark as it is written, without what makes it a comment."""
        return " ".join([f"{self.kind}: {self.name}", *(f"{name}={value}" for name, value in self.options.items())])


@dataclass(frozen=True)
class Block:
    """A mark in a file: the places of its lines, and, between them, of what it asks for."""

    mark: Mark
    begin: int
    end: int


@dataclass(frozen=True)
class _File:
    """A Markdown file: its lines as they end, and its marks in their order."""

    path: Path
    lines: tuple[str, ...]
    blocks: tuple[Block, ...]

    @classmethod
    def read(cls, path: Path) -> _File:
        """Read a file; UserError where that cannot be, it has no mark, or a mark has no end."""
        try:
            lines = tuple(path.read_bytes().decode().splitlines(keepends=True))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise UserError(f"{path} cannot be read: {why}") from error
        if not (blocks := tuple(_blocks(path, lines))):
            raise UserError(f"{path} has no board: mark its place by <!-- board: TASK --> and <!-- end board -->")
        return cls(path, lines, blocks)

    def filled(self, told: Mapping[str, Told]) -> str:
        """Return the text with what each mark asks for, by its words, in its place."""
        parts, place = [], 0
        for block in self.blocks:
            newline = "\r\n" if self.lines[block.begin].endswith("\r\n") else "\n"
            parts += self.lines[place : block.begin + 1]
            parts.append(f"{told[block.mark.text].text}\n".replace("\n", newline))
            place = block.end
        return "".join([*parts, *self.lines[place:]])


def _blocks(path: Path, lines: Sequence[str]) -> Iterator[Block]:
    """Yield the marks of a file; those of a code block are an example."""
    fence, opened = "", None
    for number, line in enumerate(lines, start=1):
        if mark := _FENCE.match(line):
            fence = {"": mark[1][0], mark[1][0]: ""}.get(fence, fence)  # one of the other kind is text of this one
        elif fence:
            continue
        elif begin := _BEGIN.fullmatch(line):
            if opened:
                raise _endless(path, opened)
            opened = number, Mark.of(begin["kind"], begin["words"])
        elif end := _END.fullmatch(line):
            if opened is None or opened[1].kind != end["kind"]:
                raise UserError(
                    f"{path}, line {number}: {line.strip()} ends no mark: take it away, or begin one before it"
                )
            yield Block(opened[1], opened[0] - 1, number - 1)
            opened = None
    if opened:
        raise _endless(path, opened)


def _endless(path: Path, opened: tuple[int, Mark]) -> UserError:
    number, mark = opened
    return UserError(f"{path}, line {number}: <!-- {mark.text} --> has no end: put <!-- end {mark.kind} --> below it")


def write_tables(paths: list[Path], results: Path, tell: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Write what is marked in Markdown files anew, and return the files that changed, pictures among them.

    ``<!-- board: NAME [best-per=family|framework] -->`` … ``<!-- end board -->``
        A board, where NAME is a task, a suite (whose tasks are shown) or ``all``.
    ``<!-- tasks: all [pictures=FOLDER] -->`` … ``<!-- end tasks -->``
        Every task: the best of each family, quality against cost, and what to take. FOLDER is seen from the file's.
    ``<!-- reproduction: all -->``, ``<!-- leaks: all -->``
        The published numbers beside ours, and what three leaks are worth.
    ``<!-- peers: all -->``
        Systems of others on the same folds, and what the harness costs.

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
    files = [_File.read(path) for path in paths]
    marks = {block.mark.text: block.mark for file in files for block in file.blocks}
    drawn = {text: _told(mark, results, tell) for text, mark in marks.items()}
    changed = [picture for file in files for picture in _write_pictures(file, drawn)]
    for file in files:
        if (text := file.filled(drawn)) != "".join(file.lines):
            write_text(file.path, text)
            changed.append(file.path)
    return changed


def _told(mark: Mark, results: Path, tell: Callable[[str], None]) -> Told:
    tell(f"{mark.kind}: {mark.name}")
    if mark.kind == "tasks":
        from .advice import tasks_markdown

        return tasks_markdown(results, mark.options.get("pictures", ""), tell)
    if mark.kind == "board":
        return Told(board_of(mark.name, results, mark.options.get("best-per", "")))
    if mark.kind == "peers":
        from .peers_tables import peers_markdown

        return Told(peers_markdown(results))
    from .reproduction_tables import leaks_markdown, reproduction_markdown

    return Told((leaks_markdown if mark.kind == "leaks" else reproduction_markdown)(results))


def _write_pictures(file: _File, drawn: Mapping[str, Told]) -> list[Path]:
    """Draw the pictures that a file shows, from its folder on; return those that changed."""
    places = dict(each for block in file.blocks for each in drawn[block.mark.text].pictures)
    if not places:
        return []
    from .pareto import write_pareto

    folder = file.path.parent
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
