"""Text from elsewhere, made fit for a line of a terminal."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return a text in one line and without what a terminal would obey: such characters become spaces."""
    return text if text.isprintable() else " ".join("".join(c if c.isprintable() else " " for c in text).split())
