"""Text from elsewhere, made fit for a line of a terminal."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 100
"""Characters of a line where no terminal says how many it has."""


def plain_width(width: int | None) -> int:
    """Return the width of text that goes to no terminal: as given, or what the variable COLUMNS says, or 100."""
    named = os.environ.get("COLUMNS", "")
    return width or (int(named) if named.isdigit() and int(named) else PLAIN_WIDTH)


def as_plain(draw: Callable[[Console], None], width: int | None) -> str:
    """Return what `draw` prints to a console, without colour and without spaces at the end of lines."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(), width=plain_width(width), color_system=None, force_terminal=False, highlight=False
    )
    with console.capture() as capture:
        draw(console)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def one_line(text: str) -> str:
    """Return a text in one line and without what a terminal would obey: such characters become spaces."""
    return text if text.isprintable() else " ".join("".join(c if c.isprintable() else " " for c in text).split())


def cut_name(name: str, width: int) -> str:
    """Cut a row's name where it tells least apart: in the model's own, before its preset, mode and settings."""
    told = re.search("[@,]", name)
    rest = name[told.start() :] if told else ""
    if len(name) <= width or not rest or len(rest) > width - 10:
        return cut(name, width)
    return cut(name[: -len(rest)], width - len(rest)) + rest


def cut(text: str, width: int, mark: str = "..") -> str:
    """Return a text of at most `width` characters, marked where it was longer."""
    return text if len(text) <= width else text[: width - len(mark)] + mark
