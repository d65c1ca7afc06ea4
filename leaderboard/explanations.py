"""`zoobench explain`: an image's labels, and a picture of where the model looked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.support.errors import UserError
from .answers import as_lines
from .console import working

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
        raise UserError("nothing to explain: give --image, a file or an id of the task as in probabilities.parquet")
    from ..benchmarks.explain import explain
    from ..benchmarks.predict import best_cell

    stored = best_cell(task, model, results, plugins, "image")
    with working(f"asking {stored.record.model} about {len(images):,} image{'' if len(images) == 1 else 's'}"):
        found = explain(stored, images, labels, plugins)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {out} cannot be made ({error.strerror or error}): name another with --out") from error
    names = _distinct([each.image for each in found])
    return "\n".join(_shown(each, out / f"{name}.explained.png") for each, name in zip(found, names, strict=True))


def _distinct(images: Sequence[str]) -> list[str]:
    """Return a name for a file of each image: an id may be a path, and two ids may differ in what no name may hold."""
    names: list[str] = []
    for image in images:
        name = re.sub(r"[^\w.-]", "_", image).removesuffix(".png")
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names


def _shown(found: Explanation, path: Path) -> str:
    from ..benchmarks.pictures import draw_maps

    lines = [as_lines(found.image, found.answer), *(f"  {remark}" for remark in found.remarks)]
    if not found.maps:
        return "\n".join(lines)
    probabilities = dict(found.answer.probabilities)
    draw_maps(path, found.pixels, {f"{label} {probabilities[label]:.2f}": heat for label, heat in found.maps.items()})
    return "\n".join([*lines, f"  {path}"])
