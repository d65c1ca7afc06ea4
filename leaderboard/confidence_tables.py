"""What `zoobench confidence` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..benchmarks.calibration import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE
from ..benchmarks.confidence import FIGURES, Confidence, Reading
from ..benchmarks.selective import USUAL_THRESHOLD, Kept

FORMATS = ("table", "json", "csv")
_NEAR = 1e-4  # of the ends of the searched range, relative: what a bounded search may stop short of them


def title(found: Confidence) -> str:
    """Say which cell it is."""
    record = found.record
    task = record.task_name
    preset = f"@{record.preset}" if record.preset not in {"", "default"} else ""
    settings = "".join(f", {name}={value}" for name, value in record.settings.items())
    return f"{record.model}{preset} on {task}{settings}, seed {record.seed}"


def about(found: Confidence) -> str:
    """Say what was measured, and by what it was mended."""
    record = found.record
    rows, labels = f"{record.rows['test']:,} test rows", f"{len(record.labels)} labels"
    fitted = "fitted now on the stored validation fold" if found.fitted_now else "fitted on the validation fold"
    told = f"temperature {found.temperature:.3f}, {fitted}: {_meaning(found.temperature)}"
    return f"{rows}, {labels}, decided by policy {record.policy}; {told}"


def _meaning(temperature: float) -> str:
    if temperature == 1:
        return "no other is better, nothing is changed"
    if not LOWEST_TEMPERATURE * (1 + _NEAR) < temperature < HIGHEST_TEMPERATURE * (1 - _NEAR):
        return "as far as is looked: that fold would have more"
    return f"the model is {'too sure' if temperature > 1 else 'not sure enough'} there"


def shares(found: Confidence) -> tuple[tuple[str, str], ...]:
    """Return attribute and name of what is told of the kept rows."""
    if found.record.kind == "multiclass":
        return (("coverage", "coverage"), ("exact", "accuracy"))
    return (("coverage", "coverage"), ("exact", "exact match"), ("labels", "labels right"))


def as_table(found: Confidence) -> RenderableType:
    """Return tables for a terminal."""
    figures = _table("lower is better", "before", "after")
    for name, words in FIGURES.items():
        figures.add_row(words, *(f"{each.figures[name]:.4f}" for each in (found.before, found.after)))
    told = shares(found)
    headings = [words.replace(" ", "\n") for _, words in told]
    kept = _table("confidence", *(f"{when}\n{words}" for when in ("before", "after") for words in headings))
    for before, after in _pairs(found):
        mark = "*" if before.threshold == USUAL_THRESHOLD else " "
        cells = [_share(getattr(each, name)) for each in (before, after) for name, _ in told]
        kept.add_row(f"{before.threshold:.2f}{mark}", *cells)
    asked = "" if found.record.kind == "multiclass" else f" --confidence {USUAL_THRESHOLD}"
    usual = f"* `zoobench predict{asked}` calls answers below it uncertain"
    return Group(
        Text(title(found), "bold"),
        Text(about(found)),
        "",
        figures,
        "",
        Text("Test rows whose answer has this confidence or more, and how many of them are right"),
        "",
        kept,
        Text(usual, "dim"),
    )


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for each in others:
        table.add_column(each, justify="right", vertical="bottom")
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _pairs(found: Confidence) -> Iterator[tuple[Kept, Kept]]:
    return zip(found.before.kept, found.after.kept, strict=True)


def as_json(found: Confidence) -> str:
    """Return everything as JSON; NaN (an empty bin) is null."""
    record = found.record
    names = ("task", "protocol", "model", "preset", "settings", "seed", "key", "kind", "labels", "policy")
    told: dict[str, Any] = {name: getattr(record, name) for name in names}
    told |= {"test_rows": record.rows["test"], "temperature": found.temperature, "fitted_now": found.fitted_now}
    told |= {"before": _reading(found, found.before), "after": _reading(found, found.after)}
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)


def _reading(found: Confidence, reading: Reading) -> dict[str, Any]:
    bins = reading.reliability
    columns = {
        "count": bins.counts.tolist(),
        "confidence": _plain(bins.confidence),
        "frequency": _plain(bins.frequency),
    }
    return {
        **reading.figures,
        "label_errors": dict(zip(found.record.labels, reading.label_errors.tolist(), strict=True)),
        "bins": columns,
        "kept": [
            {
                "threshold": each.threshold,
                **{words.replace(" ", "_"): getattr(each, name) for name, words in shares(found)},
            }
            for each in reading.kept
        ],
    }


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def as_csv(found: Confidence) -> str:
    """Return one figure a line: what it is, the threshold of confidence where it has one, before and after."""
    import pandas as pd

    rows: list[Sequence[Any]] = [("temperature", None, 1.0, found.temperature)]
    rows += [(name, None, found.before.figures[name], found.after.figures[name]) for name in FIGURES]
    for before, after in _pairs(found):
        for name, words in shares(found):
            rows.append((words.replace(" ", "_"), before.threshold, getattr(before, name), getattr(after, name)))
    return pd.DataFrame(rows, columns=["figure", "threshold", "before", "after"]).to_csv(index=False)
