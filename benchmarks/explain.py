"""What a stored model says of an image, and where it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.core import FOLDS
from ..datasets.images import Images
from ..datasets.layout import PUBLIC, load_ids, load_test_inputs, load_training
from ..datasets.prepare import Prepared, prepare
from ..datasets.support.errors import UnavailableError, UserError, unknown_name
from ..zoo.core import missing_modules
from .predict import Answer, Predictor, task_of
from .store import Stored

NEEDED = ("captum", "matplotlib")


@dataclass(frozen=True)
class Explanation:
    """An image with its answer, and a (side, side) map from 0 to 1 for each label that was asked about.

    `remarks` say what else a reader should know.
    """

    image: str
    pixels: np.ndarray
    answer: Answer
    maps: Mapping[str, np.ndarray]
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if strange := [name for name, heat in self.maps.items() if heat.shape != self.pixels.shape]:
            raise ValueError(f"the map of {strange[0]} is not as large as the image {self.pixels.shape}")


def explain(
    stored: Stored, images: Sequence[str], labels: Sequence[str] = (), plugins: Sequence[Path] = ()
) -> list[Explanation]:
    """Explain what a stored model says of images.

    Parameters
    ----------
    images
        Ids in the model's task, or image files; what stands beside an image is unknown of a file.
    labels
        What to draw maps for; without it the labels that the model gives an image, or else the most probable one. A
        model that cannot tell where it looked answers without a map, unless labels were asked for.

    Raises
    ------
    UserError
        For an image or a label that the task does not have, or a model that cannot be asked where it looked.
    UnavailableError
        If captum or matplotlib is not installed.
    """
    if missing := missing_modules(NEEDED):
        raise UnavailableError(f"{' and '.join(missing)}: not installed: pip install 'zoobench[vision]'")
    record = stored.record
    for name in labels:
        if name not in record.labels:
            raise unknown_name(f"label of {record.task}", name, record.labels)
    prepared = prepare(task_of(record), record.protocol)
    found = [_find(prepared, name) for name in images]
    predictor = Predictor(stored, plugins)
    return [_explained(predictor, name, image, labels) for name, image in zip(images, found, strict=True)]


def _find(prepared: Prepared, name: str) -> Images:
    """Return the one image called `name`, from whichever fold it is in, or from the file of that name."""
    public = prepared.folder / PUBLIC
    for fold in reversed(FOLDS):
        test = fold == "test"
        rows = np.flatnonzero((prepared.sealed_test().ids if test else load_ids(public, fold)) == name)
        if len(rows):
            return (load_test_inputs(public) if test else load_training(public, fold)[0])[rows]
    if Path(name).is_file():
        return _of_file(load_test_inputs(public), Path(name))
    raise UserError(
        f"task {prepared.task} has no image called {name!r}, and there is no such file: give a file, or an id as in "
        "probabilities.parquet"
    )


def _of_file(like: Images, path: Path) -> Images:
    """Return the image in a file as one row beside which nothing is known."""
    from ..datasets.pixels import read_image

    unknown = np.full((1, len(like.names)), np.nan, np.float32)
    return Images(read_image(path, like.side)[None], np.arange(1), unknown, like.names)


def _explained(predictor: Predictor, name: str, image: Images, labels: Sequence[str]) -> Explanation:
    (answer,) = predictor(image)
    asked = labels or answer.chosen or (answer.probabilities[0][0],)
    unknown = [column for column, value in zip(image.names, image.tabular[0], strict=True) if np.isnan(value)]
    remarks = [f"{', '.join(unknown)} of {name} is not known"] if unknown else []
    try:
        maps = {label: predictor.look(image, label)[0] for label in asked}
    except UserError as error:
        if labels:
            raise
        maps, remarks = {}, [*remarks, str(error)]
    return Explanation(name, image.load()[0], answer, maps, tuple(remarks))
