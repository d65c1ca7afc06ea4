"""Example images of each finding, for the report of an image task."""

from __future__ import annotations

import base64
import io

import numpy as np

from ..audit import hot_targets
from ..core import FOLDS, Examples, TaskCard
from .blocks import Pictures, Section

_EACH = 6
_SIDE = 128  # pixels: larger images are shown smaller


def example_pictures(card: TaskCard, examples: Examples, folds: np.ndarray) -> Section:
    """Return a section with a few training images of each label and of none; no block for a text task.

    Images are drawn at random with a fixed seed, at most one of a group in a row; rows of a label that stands
    alone come first, since they show it best.
    """
    lead = "From the training fold alone."
    if examples.pixels is None:
        return Section("pictures", "Pictures", lead, [])
    hot = hot_targets(examples.targets, len(card.labels))
    train = folds == FOLDS.index("train")
    wanted = [(label, hot[:, at]) for at, label in enumerate(card.labels)] + [("no label", ~hot.any(axis=1))]
    rows = [(label, _addresses(examples, _chosen(held & train, hot, examples.groups))) for label, held in wanted]
    pictures = Pictures(
        "Examples of each label",
        f"Up to {_EACH} images of the training fold for each label, each of another group, images with that label "
        "alone first. Look for marks that are no finding: letters, borders, tubes.",
        [row for row in rows if row[1]],
    )
    return Section("pictures", "Pictures", lead, [pictures])


def _chosen(held: np.ndarray, hot: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return a few of the (n,) bool rows `held`, one a group, those with the fewest labels first."""
    rows = np.random.default_rng(0).permutation(np.flatnonzero(held))
    rows = rows[np.argsort(hot[rows].sum(axis=1), kind="stable")]
    firsts = np.sort(np.unique(groups[rows], return_index=True)[1])
    return rows[firsts[:_EACH]]


def _addresses(examples: Examples, rows: np.ndarray) -> list[str]:
    """Return the images of `rows` as data addresses of PNG."""
    from PIL import Image

    assert examples.pixels is not None  # noqa: S101 - for the type checker
    found = []
    for pixels in examples.pixels.pixels[np.asarray(examples.inputs[rows], dtype=np.int64)]:
        image = Image.fromarray(np.asarray(pixels))
        image.thumbnail((_SIDE, _SIDE))
        stream = io.BytesIO()
        image.save(stream, "PNG", optimize=True)
        found.append("data:image/png;base64," + base64.b64encode(stream.getvalue()).decode())
    return found
