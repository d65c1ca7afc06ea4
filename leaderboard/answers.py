"""`zoobench predict`: texts in, labels with probabilities out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.texts import Texts

if TYPE_CHECKING:
    from ..benchmarks.predict import Answer
    from ..benchmarks.record import Record

FORMATS = ("table", "csv", "json")
SHOWN = 5


def answer(
    task: str,
    model: str,
    given: tuple[Sequence[str], Path | None, str],
    results: Path,
    plugins: Sequence[Path],
    style: str,
) -> tuple[str, list[str]]:
    """Return the answers as text in the format `style`, and remarks: what answered, and texts without a word.

    Parameters
    ----------
    given
        Texts from the command line, or a table's file and the name of its column of texts.
    """
    if style not in FORMATS:
        raise unknown_name("format", style, FORMATS)
    texts = _texts(*given)
    from ..benchmarks.ensemble_predict import predictor_of
    from ..benchmarks.predict import best_cell

    stored = best_cell(task, model, results, plugins)
    answers = predictor_of(stored, plugins)(texts)
    remarks = [f"answered by {_in_words(stored.record)}", *_wordless(texts)]
    if style == "json":
        mapped = [_as_json(text, found) for text, found in zip(texts, answers, strict=True)]
        return json.dumps(mapped, indent=1, ensure_ascii=False), remarks
    if style == "csv":
        return _as_csv(texts, answers), remarks
    return "\n".join(as_lines(text, found) for text, found in zip(texts, answers, strict=True)), remarks


def _in_words(record: Record) -> str:
    preset = f"@{record.preset}" if record.preset not in {"", "default"} else ""
    settings = "".join(f", {name}={value}" for name, value in record.settings.items())
    value = record.validation[record.policy].values[record.primary_metric]
    score = f", {record.primary_metric} {value:.3f} on the validation fold" if value is not None else ""
    members = sum(share.weight > 0 for share in record.members)
    who = f"mean of {members} cells" if members else f"seed {record.seed}"
    return f"{record.model}{preset}{settings}, {who}{score}"


def _wordless(texts: Texts) -> list[str]:
    rows = [str(number) for number, text in enumerate(texts, start=1) if not any(map(str.isalnum, text))]
    if not rows:
        return []
    named = ", ".join(rows[:SHOWN]) + (", …" if len(rows) > SHOWN else "")
    return [f"no word in text {named}: the answer is what the model says of nothing"]


def _texts(texts: Sequence[str], file: Path | None, column: str) -> Texts:
    """Return the texts asked about; of a file with its other columns, from which a model takes those that it knows."""
    if bool(texts) == (file is not None):
        raise UserError(
            "nothing to predict: give --text TEXT, or --csv FILE" if file is None else "give --text or --csv, not both"
        )
    if file is None:
        return Texts(list(texts), {})
    from ..datasets.tables import read_table, short

    table = read_table(file)
    if column not in table.columns:
        raise unknown_name(f"column of {file.name}", column, table.columns)
    cells = ["" if cell is None else cell for cell in table.columns[column]]
    for row, cell in enumerate(cells):
        if not isinstance(cell, str):
            raise table.fault(row, column, f"{short(cell)} is no text")
    return Texts(cells, {name: _values(each) for name, each in table.columns.items() if name != column})


def _values(cells: np.ndarray) -> np.ndarray:
    """Return a column beside the texts as a task has it: (n,) float64, unknown ones NaN, or strings."""
    if all(cell is None or (isinstance(cell, (int, float)) and not isinstance(cell, bool)) for cell in cells):
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    return np.array(["" if cell is None else str(cell) for cell in cells], dtype=object)


def _as_json(text: str, found: Answer) -> dict[str, object]:
    return {"text": text, "labels": list(found.chosen), "probabilities": dict(found.probabilities)}


def _as_csv(texts: Texts, answers: Sequence[Answer]) -> str:
    import pandas as pd

    rows = [
        {"text": text, "labels": "|".join(found.chosen), **dict(sorted(found.probabilities))}
        for text, found in zip(texts, answers, strict=True)
    ]
    return pd.DataFrame(rows).to_csv(index=False)


def as_lines(text: str, found: Answer) -> str:
    """Return an answer as lines for a terminal: what was asked about, then labels with bars, the chosen ones marked."""
    short = " ".join(text.split())
    head = short if len(short) <= 90 else short[:89] + "…"
    rows = []
    for label, probability in found.probabilities[: max(SHOWN, len(found.chosen))]:
        mark = "*" if label in found.chosen else " "
        rows.append(f"  {mark} {label:<32} {probability:6.3f}  {'█' * round(20 * probability)}")
    hidden = len(found.probabilities) - len(rows)
    if hidden:
        rows.append(f"    … {hidden} less probable labels (--format json shows them)")
    return "\n".join([head, *rows])
