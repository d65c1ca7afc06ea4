"""ChestMNIST: NIH ChestX-ray14 at 28, 64, 128 and 224 pixels, with MedMNIST's split; one task a size."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..core import FOLDS, Examples, Protocol, TaskCard, task
from ..fetch import RawFile, compare_counts, fetch
from ..support.archives import open_member
from ..support.errors import UnavailableError, UserError

if TYPE_CHECKING:
    import numpy as np

SIZES = (28, 64, 128, 224)
PARTS = ("train", "val", "test")
"""MedMNIST's names of the folds, in the order of ``FOLDS``."""
_HOME = "https://zenodo.org/records/10519652"
_BATCH = 256
_log = logging.getLogger(__name__)


def card_of(size: int) -> TaskCard:
    """Return the card of the task with images of `size` pixels a side."""
    return TaskCard(
        name=f"chestmnist-{size}",
        title=f"ChestMNIST, {size} pixels",
        description=(
            f"Which of 14 findings did the radiologist's report of a chest X-ray name? The images of NIH "
            f"ChestX-ray14, scaled to {size} by {size} pixels and dealt to folds by MedMNIST; an image without a "
            "finding carries no label. Whether a patient stands in two folds, the file does not tell: MedMNIST calls "
            "its split the official one, but NIH's own has 25,596 test images."
        ),
        version=1,
        kind="multilabel",
        modality="image",
        labels=(
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ),
        primary_metric="roc_auc_macro",
        group="image: the file names no patients",
        licence="CC BY 4.0",
        source="MedMNIST v3, Zenodo record 10519652, through the package medmnist",
        citation=(
            "Yang J, Shi R, Wei D, Liu Z, Zhao L, Ke B, Pfister H, Ni B. MedMNIST v2 - A large-scale lightweight "
            "benchmark for 2D and 3D biomedical image classification. Scientific Data. 2023;10:41. "
            "doi:10.1038/s41597-022-01721-8"
        ),
        counts={"examples": 112120, "train images": 78468, "val images": 11219, "test images": 22433},
        requires=("medmnist",),
        extra="vision",
        image_size=size,
        protocols={
            "": Protocol(
                description="MedMNIST's own: 78,468 train, 11,219 validation, 22,433 test images",
                leaks={"exact": "the split is taken as MedMNIST published it, with any equal images that it parts"},
            )
        },
    )


def info() -> dict[str, Any]:
    """Return what the package medmnist says of ChestMNIST: addresses, MD5, labels.

    Its table is read and not imported: importing it starts torch and makes a folder in the home directory.

    Raises
    ------
    UnavailableError
        If the package is missing, or is one without such a table.
    """
    package = importlib.util.find_spec("medmnist")
    told = "pip install -U 'zoobench[vision]'"
    if package is None or package.origin is None:
        raise UnavailableError(f"the tasks chestmnist-* need medmnist: {told}")
    path = Path(package.origin).with_name("info.py")
    try:
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INFO":
                return ast.literal_eval(node.value)["chestmnist"]
    except (OSError, SyntaxError, ValueError, KeyError) as error:
        raise UnavailableError(f"{path} tells nothing of ChestMNIST ({error}): {told}") from error
    raise UnavailableError(f"{path} tells nothing of ChestMNIST: {told}")


def file_of(size: int) -> RawFile:
    """Return the published file with images of `size` pixels: ``<data folder>/chestmnist/chestmnist_64.npz``."""
    suffix = _suffix(size)
    return RawFile("chestmnist", f"chestmnist{suffix}.npz", info()[f"url{suffix}"], home=_HOME)


def examples_of(size: int) -> Examples:
    """Read the parts of the file in MedMNIST's order: train, val, test; pixels a batch at a time.

    Raises
    ------
    UserError
        If the file is not one of ChestMNIST at this size. One with another MD5 is taken, and said.
    """
    import numpy as np

    from ..pixels import keep_array

    card, path = card_of(size), fetch(file_of(size))
    labels = [np.concatenate([*_rows(path, f"{part}_labels", (len(card.labels),))]) for part in PARTS]
    counts = [len(part) for part in labels]
    _check(path, labels, size)
    compare_counts(card, dict(zip(card.counts, (sum(counts), *counts), strict=True)))
    store, rows = keep_array(partial(_images, path, size), sum(counts), size, _md5(path, size))
    names = [f"{part}-{row}" for part, count in zip(PARTS, counts, strict=True) for row in range(count)]
    return Examples(
        ids=np.array(names, dtype=object),
        inputs=rows,
        targets=np.concatenate(labels).astype(np.uint8),
        groups=np.arange(len(rows)),
        folds=np.repeat(np.arange(len(FOLDS)), counts),
        pixels=store,
    )


def _suffix(size: int) -> str:
    """Return what MedMNIST adds to names for a size: nothing for the first one."""
    return "" if size == SIZES[0] else f"_{size}"


def _md5(path: Path, size: int) -> str:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != (published := info()[f"MD5{_suffix(size)}"]):
        _log.warning("%s: another data set than the published one (MD5 %s, not %s)", path, found, published)
    return found


def _check(path: Path, labels: list[np.ndarray], size: int) -> None:
    import numpy as np

    for part, held in zip(PARTS, labels, strict=True):
        if not np.isin(held, (0, 1)).all():
            raise UserError(f"{path}: {part}_labels holds other values than 0 and 1: it is no ChestMNIST")
        with _member(path, f"{part}_images", (size, size)) as (_, kind, count):
            if kind != np.uint8 or count != len(held):
                raise UserError(f"{path}: {part}_images are {count:,} of {kind}, for {len(held):,} rows of labels")


def _images(path: Path, size: int) -> Iterator[np.ndarray]:
    for part in PARTS:
        yield from _rows(path, f"{part}_images", (size, size))


def _rows(path: Path, name: str, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yield (any, *shape) arrays, the rows of an array in an npz file, which is never in memory as a whole."""
    import numpy as np

    with _member(path, name, shape) as (stream, kind, count):
        for start in range(0, count, _BATCH):
            wanted = (min(_BATCH, count - start), *shape)
            content = stream.read(length := int(np.prod(wanted)) * kind.itemsize)
            if len(content) < length:
                raise UserError(f"{path}: {name} ends at row {start:,} of {count:,}: fetch it again")
            yield np.frombuffer(content, kind).reshape(wanted)


@contextmanager
def _member(path: Path, name: str, shape: tuple[int, ...]) -> Iterator[tuple[IO[bytes], np.dtype, int]]:
    """Open an array of an npz file: give its bytes from the first row on, its type and its number of rows."""
    from numpy.lib import format as npy

    with open_member(path, f"{name}.npy") as stream:
        try:
            version = npy.read_magic(stream)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            found, by_column, kind = header(stream)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path} is no ChestMNIST: {name} is no array ({reason}); fetch it again") from error
        if found[1:] != shape or found[0] < 1 or by_column or kind.kind not in "iub":
            wanted = ", ".join(("1 or more", *map(str, shape)))
            raise UserError(f"{path} is no ChestMNIST: {name} is {kind} {found}, and not ({wanted}) of integers by row")
        yield stream, kind, found[0]


def _define(size: int) -> None:
    @task(card_of(size), sources=lambda: (fetch(file_of(size)),))
    def read() -> Examples:
        return examples_of(size)


for _size in SIZES:
    _define(_size)
