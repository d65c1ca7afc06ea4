"""Pictures of what a model says of images: examples with their labels, and where it looked. Without a display."""

from __future__ import annotations

import math
import textwrap
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = 4
INCHES = 3.0
"""Of an image's side."""
_DPI = 100
_WIDTH = 46
"""Characters that a line of a title has room for."""
RIGHT, WRONG = "#006d2c", "#a50f15"
_DRAWING = threading.Lock()
"""Cells are scored side by side, and matplotlib is not made for threads."""


@dataclass(frozen=True)
class Picture:
    """An image, (side, side) uint8, by its id, with the labels that it has and those that a model gives it."""

    name: str
    pixels: np.ndarray
    true: tuple[str, ...]
    predicted: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.uint8:
            raise ValueError(f"a picture is (side, side) uint8, got {self.pixels.dtype} {self.pixels.shape}")


def draw_examples(path: Path, pictures: Sequence[Picture]) -> None:
    """Write a grid of images to the PNG file `path`, each below its id and its true and predicted labels."""
    figure, cells = _grid(len(pictures), lines=7)
    for cell, picture in zip(cells, pictures, strict=True):
        cell.imshow(picture.pixels, cmap="gray", vmin=0, vmax=255)
        labels = {"true": picture.true, "predicted": picture.predicted}
        lines = [_titled(picture.name)]
        lines += [_titled(f"{what}: {', '.join(names) or 'none'}", lines=3) for what, names in labels.items()]
        right = set(picture.true) == set(picture.predicted)
        cell.set_title("\n".join(lines), fontsize=8, loc="left", color=RIGHT if right else WRONG)
    figure.supxlabel("green: every label is right; red: one or more is not", fontsize=8)
    _write(figure, path)


def draw_maps(path: Path, pixels: np.ndarray, maps: Mapping[str, np.ndarray]) -> None:
    """Write an image, and over it each of the (side, side) `maps` from 0 to 1 under its title, to the PNG `path`."""
    figure, cells = _grid(1 + len(maps), lines=2)
    for cell, (title, heat) in zip(cells, {"image": np.zeros(pixels.shape), **maps}.items(), strict=True):
        cell.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        # What the map says nothing of stays the image as it is.
        cell.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.6 * heat)
        cell.set_title(_titled(title), fontsize=8, loc="left")
    _write(figure, path)


def _write(figure: Any, path: Path) -> None:
    with _DRAWING:
        figure.savefig(path, format="png", dpi=_DPI)


def _grid(count: int, lines: int) -> tuple[Any, list[Any]]:
    """Return a figure, and `count` axes in it with room for titles of some lines; no window and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = min(COLUMNS, count), math.ceil(count / COLUMNS)
    figure = Figure(figsize=(columns * INCHES, rows * (INCHES + 0.15 * lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for each in axes:
        each.set_axis_off()
    return figure, axes[:count]


def _titled(text: str, lines: int = 2) -> str:
    wrapped = textwrap.wrap(text, _WIDTH, max_lines=lines, placeholder=" …")
    # A dollar sign would begin mathematics.
    return "\n".join(wrapped).replace("$", r"\$")
