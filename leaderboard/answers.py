"""`zoobench predict`: texts in, labels with probabilities out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..benchmarks.selective import USUAL_THRESHOLD
from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.texts import Texts
from .console import preparing, working

if TYPE_CHECKING:
    from ..benchmarks.predict import Answer
    from ..benchmarks.record import Record
    from ..benchmarks.store import Stored

FORMATS = ("table", "csv", "json")
SHOWN = 5


@dataclass(frozen=True)
class Trust:
    """What is asked about confidence.

    Attributes
    ----------
    threshold
        Below this confidence an answer is called uncertain; 0 calls none so, None leaves it to the kind of task.
    calibrated
        Whether probabilities are scaled by the cell's temperature.
    """

    threshold: float | None = None
    calibrated: bool = False

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UserError(f"--confidence {self.threshold:g} is no probability: give 0 (marks none) to 1")

    def threshold_for(self, record: Record) -> float:
        """Return the threshold; by default the published one where an answer is one class, and none elsewhere."""
        if self.threshold is not None:
            return self.threshold
        return USUAL_THRESHOLD if record.kind == "multiclass" else 0.0


def answer(
    task: str,
    model: str,
    given: tuple[Sequence[str], Path | None, str],
    results: Path,
    plugins: Sequence[Path],
    style: str,
    trust: Trust = Trust(),
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
    from ..benchmarks.predict import best_cell

    stored = best_cell(task, model, results, plugins)
    temperature = _temperature(stored) if trust.calibrated else 1.0
    answers = _answers(stored, plugins, temperature, texts)
    threshold = trust.threshold_for(stored.record)
    scaled = f", probabilities scaled by temperature {temperature:.3f}" if trust.calibrated else ""
    remarks = [f"answered by {_in_words(stored.record)}{scaled}", *_wordless(texts), *_unsure(answers, threshold)]
    if style == "json":
        mapped = [_as_json(text, found, threshold) for text, found in zip(texts, answers, strict=True)]
        return json.dumps(mapped, indent=1, ensure_ascii=False), remarks
    if style == "csv":
        return _as_csv(texts, answers, threshold), remarks
    return "\n".join(as_lines(text, found, threshold) for text, found in zip(texts, answers, strict=True)), remarks


def _answers(stored: Stored, plugins: Sequence[Path], temperature: float, texts: Texts) -> list[Answer]:
    with working(f"loading {stored.record.model}") as tell:
        from ..benchmarks.ensemble_predict import predictor_of  # the framework itself may take seconds

        predictor = predictor_of(stored, plugins, temperature)
        tell(f"asking {stored.record.model} about {len(texts):,} text{'' if len(texts) == 1 else 's'}")
        return predictor(texts)


def _temperature(stored: Stored) -> float:
    from ..benchmarks.confidence import temperature_of
    from ..benchmarks.predict import task_of

    with preparing() as tell:
        return temperature_of(stored, task_of(stored.record), tell)


def _unsure(answers: Sequence[Answer], threshold: float) -> list[str]:
    count = sum(found.confidence < threshold for found in answers)
    told = f"{count} of {len(answers)} answers {'is' if count == 1 else 'are'} uncertain"
    return [f"{told}: confidence below {threshold:g} (--confidence 0 marks none)"] if count else []


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


def _as_json(text: str, found: Answer, threshold: float) -> dict[str, object]:
    return {
        "text": text,
        "labels": list(found.chosen),
        "confidence": found.confidence,
        "uncertain": found.confidence < threshold,
        "probabilities": dict(found.probabilities),
    }


def _as_csv(texts: Texts, answers: Sequence[Answer], threshold: float) -> str:
    """Return a line an answer; with a threshold also how sure it is, and "uncertain" where that is below."""
    import pandas as pd

    rows = []
    for text, found in zip(texts, answers, strict=True):
        sure = [found.confidence, "uncertain" if found.confidence < threshold else ""] if threshold else []
        rows.append([text, "|".join(found.chosen), *sure, *(value for _, value in sorted(found.probabilities))])
    labels = sorted(name for name, _ in answers[0].probabilities) if answers else []
    columns = ["text", "labels", *(["confidence", "uncertain"] if threshold else []), *labels]
    return pd.DataFrame(rows, columns=columns).to_csv(index=False)


def as_lines(text: str, found: Answer, threshold: float = 0.0) -> str:
    """Return an answer as lines for a terminal: what was asked about, then labels with bars, the chosen ones marked.

    One whose confidence is below `threshold` is called uncertain.
    """
    short = " ".join(text.split())
    head = [short if len(short) <= 90 else short[:89] + "…"]
    if found.confidence < threshold:
        head.append(f"  ? uncertain: confidence {found.confidence:.3f} is below {threshold:g}")
    rows = []
    for label, probability in found.probabilities[: max(SHOWN, len(found.chosen))]:
        mark = "*" if label in found.chosen else " "
        rows.append(f"  {mark} {label:<32} {probability:6.3f}  {'█' * round(20 * probability)}")
    hidden = len(found.probabilities) - len(rows)
    if hidden:
        rows.append(f"    … {hidden} less probable labels (--format json shows them)")
    return "\n".join([*head, *rows])
