"""`zoobench predict`: texts in, labels with probabilities out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.texts import Texts

if TYPE_CHECKING:
    from ..benchmarks.predict import Answer

FORMATS = ("table", "csv", "json")
SHOWN = 5


def answer(
    task: str,
    model: str,
    given: tuple[Sequence[str], Path | None, str],
    results: Path,
    plugins: Sequence[Path],
    style: str,
) -> str:
    """Return the answers as text in the format `style`.

    Parameters
    ----------
    given
        Texts from the command line, or a CSV file and the name of its column of texts.
    """
    if style not in FORMATS:
        raise unknown_name("format", style, FORMATS)
    texts = _texts(*given)
    from ..benchmarks.predict import Predictor, best_cell

    stored = best_cell(task, model, results, plugins)
    answers = Predictor(stored, plugins)(texts)
    if style == "json":
        return json.dumps(
            [_as_json(text, found) for text, found in zip(texts, answers, strict=True)],
            indent=1,
            ensure_ascii=False,
        )
    if style == "csv":
        return _as_csv(texts, answers)
    return "\n".join(as_lines(text, found) for text, found in zip(texts, answers, strict=True))


def _texts(texts: Sequence[str], csv: Path | None, column: str) -> Texts:
    """Return the texts asked about; of a file with its other columns, from which a model takes those that it knows."""
    if bool(texts) == (csv is not None):
        raise UserError(
            "nothing to predict: give --text TEXT, or --csv FILE" if csv is None else "give --text or --csv, not both"
        )
    if csv is None:
        return Texts(list(texts), {})
    import pandas as pd

    try:
        frame = pd.read_csv(csv, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except FileNotFoundError:
        raise UserError(f"{csv} is not there: give the path of a CSV file") from None
    except (
        OSError,
        ValueError,
    ) as error:  # pandas' parser errors are ValueErrors, and so is a wrong encoding
        raise UserError(f"{csv} cannot be read as UTF-8 CSV: {next(iter(str(error).splitlines()), '')}") from error
    if column not in frame:
        raise unknown_name(f"column of {csv}", column, map(str, frame.columns))
    if frame.empty:
        raise UserError(f"{csv} has a header and no rows")
    others = {str(name): frame[name].to_numpy(dtype=object) for name in frame if name != column}
    return Texts(frame[column].to_numpy(dtype=object), others)


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
