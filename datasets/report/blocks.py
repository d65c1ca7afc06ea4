"""What a report is made of: sections with tables, plots and pictures, each with what to see in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .describe import Values
from .plots import Figure

SEEN = "train and validation folds alone"
PLOTTED = 40
"""Labels in one plot at most; the tables hold them all."""
HEAD = ("count", "mean", "std", "min", "q25", "median", "q75", "max")
"""The columns of a table of `describe.summary`."""


class Share(float):
    """A part of a whole, 0 to 1: shown in per cent."""


class Exact(float):
    """A figure whose small differences matter: shown to four decimals."""


@dataclass(frozen=True)
class Table:
    """Rows of plain values (None is shown as a dash) under named columns; `folded` if a plot shows the same."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    folded: bool = False

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.title!r}: a row has not {len(self.columns)} cells")


@dataclass(frozen=True)
class Plot:
    """A figure for plotly.js; with `choices`, the reader swaps its traces for those of one of `variants`."""

    name: str
    title: str
    caption: str
    figure: Figure
    choices: Sequence[str] = ()
    variants: Sequence[Any] = ()


@dataclass(frozen=True)
class Pictures:
    """Rows of images, each with its title, as data addresses."""

    title: str
    caption: str
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Section:
    """A heading, what to know before reading on, and what stands below."""

    name: str
    title: str
    lead: str
    blocks: Sequence[Table | Plot | Pictures]


def by_count(facts: Values) -> list[int]:
    """Return the numbers of the labels, the most frequent first."""
    counts = facts["folds"]["all"]
    return sorted(range(len(counts)), key=lambda at: -counts[at])


def cut(facts: Values) -> str:
    """Return the sentence that a plot of the most frequent labels needs; "" where it holds them all."""
    total = len(facts["card"]["labels"])
    return f" Drawn: the {PLOTTED} most frequent of {total} labels." if total > PLOTTED else ""


def slug(name: str) -> str:
    """Return a name as a part of a page address."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
