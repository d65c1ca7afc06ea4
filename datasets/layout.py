"""How a prepared task lies on disk, and how each side reads its part.

::

    public/train.parquet       id, input, target, columns
    public/validation.parquet  id, input, target, columns
    public/test.parquet        input and columns alone, in an order that tells nothing
    public/pixels.npy          image tasks: the store that `input` holds rows of
    sealed/test.masked         id, group, target and subsets of the test rows in the same order: for the parent
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .core import FOLDS, UNSEEN, UNSEEN_GROUP, Examples, Fold
from .images import PIXELS, Images
from .support.texts import Texts

if TYPE_CHECKING:
    import pyarrow as pa

PUBLIC = "public"
SEALED = Path("sealed") / "test.masked"
FILES = (*(Path(PUBLIC) / f"{fold}.parquet" for fold in FOLDS), SEALED)
# Keeps a column called "target" or "id" apart from the task's own.
_COLUMN = "column:"
_TABULAR = b"tabular"


@dataclass(frozen=True)
class SealedTest:
    """The test rows' other half, in the order of `load_test_inputs`; only the parent process opens it.

    Attributes
    ----------
    ids
        (n,) object array of strings.
    groups
        (n,) int64.
    targets
        (n, labels) uint8 for multi-label; (n,) int64 for multi-class.
    subsets
        (n,) bool by name: rows that are scored apart as well.
    """

    ids: np.ndarray
    groups: np.ndarray
    targets: np.ndarray
    subsets: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        object.__setattr__(self, "subsets", MappingProxyType(dict(self.subsets)))


def load_training(folder: Path, fold: Fold) -> tuple[Any, np.ndarray]:
    """Return inputs and targets of the train or validation fold.

    Parameters
    ----------
    folder
        The ``public`` folder of a prepared task.
    fold
        "train" or "validation".

    Returns
    -------
    (n,) `Texts` or `Images`, and (n, labels) uint8 (multi-label) or (n,) int64 (multi-class).
    """
    if fold not in ("train", "validation"):
        raise ValueError(f"fold {fold!r} has no public targets: ask for 'train' or 'validation'")
    table = _read_table(folder / f"{fold}.parquet")
    return _inputs(folder, table), targets_in(table)


def load_ids(folder: Path, fold: Fold) -> np.ndarray:
    """Return the (n,) object array of ids of the train or validation fold in a ``public`` folder."""
    return _read_table(folder / f"{fold}.parquet", ["id"])["id"].to_numpy()


def load_test_inputs(folder: Path) -> Any:
    """Return the (n,) `Texts`, or `Images`, of the test fold in a ``public`` folder."""
    return _inputs(folder, _read_table(folder / "test.parquet"))


def read_sealed(folder: Path) -> SealedTest:
    """Return ids, groups, targets and subsets of the test rows of the prepared task in `folder`."""
    content = mask((folder / SEALED).read_bytes())
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        subsets = {name.partition(":")[2]: kept[name] for name in kept.files if name.startswith("subset:")}
        return SealedTest(kept["id"].astype(object), kept["group"], kept["target"], subsets)


def write_layout(folder: Path, tabular: tuple[str, ...], examples: Examples, dealt: np.ndarray) -> None:
    """Write the files above into `folder`; `dealt` is (n,) int64 folds, -1 for rows that are left out."""
    import pyarrow.parquet as pq

    for file in FILES:
        (folder / file).parent.mkdir(exist_ok=True)
    table = _table(tabular, examples)
    shown = [name for name in table.column_names if name.startswith(_COLUMN)]
    # Shuffled, so that the order of a corpus sorted by class does not give test labels away.
    order = np.random.default_rng(0).permutation(len(examples))
    test = order[dealt[order] == FOLDS.index("test")]
    for fold in ("train", "validation"):
        rows = np.flatnonzero(dealt == FOLDS.index(fold))
        chosen = table.select(["id", "input", "target", *shown]).take(rows)
        pq.write_table(chosen, folder / PUBLIC / f"{fold}.parquet")
    pq.write_table(table.select(["input", *shown]).take(test), folder / PUBLIC / "test.parquet")
    if examples.pixels is not None:
        _link(examples.pixels.folder / PIXELS, folder / PUBLIC / PIXELS)
    _write_sealed(folder / SEALED, examples, dealt, test)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system knows no second names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_sealed(path: Path, examples: Examples, dealt: np.ndarray, test: np.ndarray) -> None:
    content = io.BytesIO()
    subsets = {name: mask[test] for name, mask in _subsets(examples, dealt).items()}
    np.savez(
        content,
        allow_pickle=False,
        id=examples.ids[test].astype(np.str_),
        group=examples.groups[test].astype(np.int64),
        target=examples.targets[test],
        **{f"subset:{name}": mask for name, mask in subsets.items() if 0 < mask.sum() < len(mask)},
    )
    path.write_bytes(mask(content.getvalue()))


def _subsets(examples: Examples, dealt: np.ndarray) -> dict[str, np.ndarray]:
    """Return the task's own subsets, and those of which input or group stand in neither train nor validation."""
    contents = examples.contents()
    offered = (dealt == FOLDS.index("train")) | (dealt == FOLDS.index("validation"))
    known = set(contents[offered])
    unseen = np.fromiter((content not in known for content in contents), bool, len(contents))
    strangers = ~np.isin(examples.groups, examples.groups[offered])
    return {**examples.subsets, UNSEEN: unseen, UNSEEN_GROUP: strangers}


def _table(tabular: tuple[str, ...], examples: Examples) -> pa.Table:
    import pyarrow as pa

    images = examples.pixels is not None
    columns = {
        "id": pa.array(examples.ids.astype(str).tolist(), pa.string()),
        "input": pa.array(examples.inputs.astype(np.int64)) if images else pa.array(examples.inputs, pa.string()),
        "target": target_column(examples.targets),
    }
    for name, values in examples.columns.items():
        columns[_COLUMN + name] = pa.array(values.tolist(), pa.string() if values.dtype == object else None)
    return pa.table(columns).replace_schema_metadata({_TABULAR: json.dumps(tabular)})


def _inputs(folder: Path, table: pa.Table) -> Any:
    if not (folder / PIXELS).exists():
        named = [name for name in table.column_names if name.startswith(_COLUMN)]
        return Texts(table["input"].to_numpy(), {name.removeprefix(_COLUMN): table[name].to_numpy() for name in named})
    names = tuple(json.loads((table.schema.metadata or {}).get(_TABULAR, b"[]")))
    numbers = [table[_COLUMN + name].to_numpy().astype(np.float32) for name in names]
    tabular = np.column_stack([np.zeros((len(table), 0), np.float32), *numbers])
    pixels = np.load(folder / PIXELS, mmap_mode="r", allow_pickle=False)
    return Images(pixels, table["input"].to_numpy(), tabular, names)


def mask(content: bytes) -> bytes:
    """Mask, or unmask, bytes: a model that comes by the file without Python's `open` still reads no label.

    It keeps out whoever looks around, not whoever takes this function: that would be fraud, and shows in its source.
    """
    stream = hashlib.shake_256(b"zoobench: test targets").digest(len(content))
    return (np.frombuffer(content, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()


def target_column(targets: np.ndarray) -> pa.Array:
    """Return targets, (n, labels) uint8 or (n,) int64, as a column of a Parquet file."""
    import pyarrow as pa

    if targets.ndim == 1:
        return pa.array(targets.astype(np.int64))
    flat = pa.array(np.ascontiguousarray(targets, dtype=np.uint8).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, targets.shape[1])


def targets_in(table: pa.Table) -> np.ndarray:
    """Return the targets that `target_column` made the column "target" of."""
    column = table["target"].combine_chunks()
    width = getattr(column.type, "list_size", 0)
    return column.flatten().to_numpy().reshape(-1, width) if width else column.to_numpy()


def _read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns, use_threads=False)  # starting threads takes longer than they save
