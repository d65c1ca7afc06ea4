"""What lies beside a record for people and spreadsheets: thresholds, metrics, configuration, history, pictures.

Each is derived from the record, which stays the one source of what a board shows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.core import Fold, TaskCard
from ..datasets.layout import SealedTest, load_test_inputs
from ..datasets.support.files import atomic_path, write_json
from ..zoo.core import missing_modules
from .store import CONFIGURATION, EXAMPLES, HISTORY, SCORES, THRESHOLDS
from .thresholds import Thresholds, apply_thresholds

if TYPE_CHECKING:
    from .record import Evaluation, Record

SHOWN = 16
"""Examples in the picture."""
_CONFIGURED = (
    *("task", "protocol", "task_version", "kind", "labels", "primary_metric", "data_fingerprint", "split_sha256"),
    *("model", "framework", "preset", "mode", "config", "settings", "seed", "source_sha256"),
    *("hardware_class", "device", "threads", "software", "zoobench", "revision"),
)
FIGURE_COLUMNS = ("fold", "part", "policy", "label", "metric", "value", "low", "high")

Row = dict[str, str | float | None]


def write_outputs(record: Record, folder: Path) -> None:
    """Write a record's configuration and history, and its thresholds and metrics where it has scores, into `folder`.

    ``thresholds.json``: by policy and label, all fitted on validation. ``metrics.csv``: one figure a row, by fold,
    part of the test fold, policy and label (empty: all of them). ``history.csv``: what the fit reported, by step.
    """
    write_json(folder / CONFIGURATION, record.model_dump(mode="json", include=set(_CONFIGURED)))
    if record.history:
        names = dict.fromkeys(name for entry in record.history for name in entry)
        write_rows(folder / HISTORY, tuple(names), record.history)
    if record.status != "ok":
        return
    write_rows(folder / SCORES, FIGURE_COLUMNS, figures(record))
    fitted = {
        policy: dict(zip(record.labels, evaluation.thresholds, strict=True))
        for policy, evaluation in record.test.items()
        if evaluation.thresholds
    }
    if fitted:
        write_json(folder / THRESHOLDS, {"policy": record.policy, "fitted_on": "validation", "thresholds": fitted})


def figures(record: Record) -> Iterator[Row]:
    """Yield every figure of a record, by fold, part of the test fold, policy and label (absent: all of them)."""
    for fold, evaluations in (("train", record.train), ("validation", record.validation), ("test", record.test)):
        for policy, evaluation in evaluations.items():
            yield from ({"fold": fold, "policy": policy, **figure} for figure in _evaluated(evaluation, record.labels))
    for part, scores in record.parts.items():
        where: Row = {"fold": "test", "part": part, "policy": record.policy}
        yield {**where, "metric": "rows", "value": scores.rows}
        yield from ({**where, "metric": metric, "value": value} for metric, value in scores.values.items())


def _evaluated(evaluation: Evaluation, labels: list[str]) -> Iterator[Row]:
    for metric, value in evaluation.values.items():
        low, high = evaluation.intervals.get(metric) or (None, None)
        yield {"metric": metric, "value": value, "low": low, "high": high}
    for metric, column in evaluation.per_label.items():
        for label, value in zip(labels, column, strict=True):
            yield {"label": label, "metric": metric, "value": value}


def write_rows(path: Path, names: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV; a column that a row has not is empty."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def picture_examples(
    folder: Path, card: TaskCard, public: Path, test: SealedTest, found: tuple[np.ndarray, Thresholds]
) -> tuple[str, ...]:
    """Draw test images with their true and predicted labels into `folder`; say why where that cannot be done.

    Parameters
    ----------
    public
        The ``public`` folder of the prepared task.
    test
        The test fold's ids and targets.
    found
        (n, labels) float32 probabilities of the test fold, and the thresholds that decide.
    """
    if card.modality != "image":
        return ()
    if missing_modules(("matplotlib",)):
        return ("no picture of examples: matplotlib is not installed: pip install 'zoobench[vision]'",)
    try:
        _picture(folder, card, public, test, found)
    except Exception as error:  # a finished fit is worth more than its picture
        return (f"no picture of examples: {type(error).__name__}: {error}",)
    return ()


def _picture(
    folder: Path, card: TaskCard, public: Path, test: SealedTest, found: tuple[np.ndarray, Thresholds]
) -> None:
    from .pictures import Picture, draw_examples

    probabilities, thresholds = found
    held = _indicator(test.targets, len(card.labels))
    chosen = _indicator(apply_thresholds(thresholds, card.kind, probabilities), len(card.labels))
    rows = np.arange(min(SHOWN, len(held)))  # the test fold's order tells nothing: its first rows are a fair draw
    pixels = load_test_inputs(public)[rows].load()
    names = np.array(card.labels, dtype=object)
    shown = [
        Picture(str(test.ids[row]), image, tuple(names[held[row]]), tuple(names[chosen[row]]))
        for image, row in zip(pixels, rows, strict=True)
    ]
    draw_examples(folder / EXAMPLES, shown)


def _indicator(labels: np.ndarray, count: int) -> np.ndarray:
    """Return (n, labels) bool of either kind of targets."""
    return labels.astype(bool) if labels.ndim == 2 else np.eye(count, dtype=bool)[labels]


def write_probabilities(path: Path, found: Mapping[Fold, np.ndarray], ids: np.ndarray, labels: Sequence[str]) -> None:
    """Write validation and then test probabilities: fold, id and one float32 column a label."""
    sizes = [len(found["validation"]), len(found["test"])]
    both = np.concatenate([found["validation"], found["test"]])
    columns = {f"p:{label}": both[:, index] for index, label in enumerate(labels)}
    write_columns(path, {"fold": np.repeat(["validation", "test"], sizes), "id": ids.astype(str), **columns})


def write_columns(path: Path, columns: Mapping[str, Any]) -> None:
    """Write arrays of one length as a Parquet file, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(dict(columns))
    # Hardly a probability occurs twice: a dictionary of them only adds its numbers (a quarter of the file).
    # Typed as pyarrow's stubs are not: they know no list of columns.
    words: Any = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", use_dictionary=words)
