"""Text from elsewhere, made fit for a line of a terminal."""

from __future__ import annotations

import re


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
