"""`zoobench explain`: an image's labels, and a picture of where the model looked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.support.errors import UserError
from .answers import as_lines

if TYPE_CHECKING:
    from ..benchmarks.explain import Explanation


def explained(
    task: str,
    model: str,
    images: Sequence[str],
    labels: Sequence[str],
    results: Path,
    plugins: Sequence[Path],
    out: Path,
) -> str:
    """Write a picture for each image into the folder `out`, and return the answers with the pictures' paths as text.

    Raises
    ------
    UserError
        If no image is named, or the folder cannot be made; and as `zoobench.benchmarks.explain.explain` does.
    """
    if not images:
        raise UserError("nothing to explain: give --image ID, an id of the task as in probabilities.parquet")
    from ..benchmarks.explain import explain
    from ..benchmarks.predict import best_cell

    found = explain(best_cell(task, model, results, plugins, "image"), images, labels, plugins)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {out} cannot be made ({error.strerror or error}): name another with --out") from error
    return "\n".join(_shown(each, out) for each in found)


def _shown(found: Explanation, out: Path) -> str:
    from ..benchmarks.pictures import draw_maps

    # An id may be a path.
    path = out / (re.sub(r"[^\w.-]", "_", found.image).removesuffix(".png") + ".explained.png")
    probabilities = dict(found.answer.probabilities)
    draw_maps(path, found.pixels, {f"{label} {probabilities[label]:.2f}": heat for label, heat in found.maps.items()})
    return f"{as_lines(found.image, found.answer)}\n  {path}"
