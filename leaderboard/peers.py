"""Systems of others on the folds of a task, as `tests/performance/peers.py` measures them, beside zoobench's models.

A peer's line on a task is a file, ``peers/TASK/PEER.json`` of a results folder; ``peers/harness.json`` says what the
harness costs over a plain script. The tables of the READMEs are made of both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..benchmarks.predict import best_of
from ..benchmarks.record import Record
from ..benchmarks.store import Stored, read_record
from ..datasets.support.errors import UserError
from ..datasets.support.files import read_json

FOLDER, HARNESS = "peers", "harness.json"


@dataclass(frozen=True)
class Said:
    """What one way to decide is worth on the test fold: the task's metric with its 95 % interval, and F1."""

    value: float
    low: float | None
    high: float | None
    f1_macro: float
    f1_micro: float

    @classmethod
    def of(cls, values: Mapping[str, float | None], primary: str, bounds: tuple[float, float] | None) -> Said:
        """Return what a metric's `values` say; UserError where one of the three is not defined."""
        value, macro, micro = (values[name] for name in (primary, "f1_macro", "f1_micro"))
        if value is None or macro is None or micro is None:
            raise UserError(f"{primary} or F1 is not defined on the test fold: choose another task")
        return cls(value, *(bounds or (None, None)), macro, micro)

    @property
    def text(self) -> str:
        """The metric, with its interval where it has one."""
        bounds = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{bounds}"


@dataclass(frozen=True)
class Line:
    """A peer or a model of zoobench on a task.

    Attributes
    ----------
    own, policy
        By the decisions that a peer makes itself (zoobench makes none but its policy's), and by the harness's
        default policy, whose thresholds are chosen on the validation fold.
    fit_s, wall_s
        Seconds of features, tuning and fit; of the whole process, or of the cell as the harness saw it.
    peak_gb
        Resident memory at its peak, the imported libraries included.
    """

    task: str
    who: str
    metric: str
    own: Said | None
    policy: Said
    fit_s: float
    wall_s: float
    peak_gb: float

    @property
    def best(self) -> Said:
        """By whichever decisions it scores higher."""
        return max(filter(None, (self.own, self.policy)), key=lambda said: said.value)

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Line:
        """Return the line that `dataclasses.asdict` made `kept` of."""
        said = {name: Said(**kept[name]) if kept[name] else None for name in ("own", "policy")}
        return cls(**{**kept, **said})


@dataclass(frozen=True)
class Rows:
    """The rows that a line was measured on."""

    data_fingerprint: str
    split_sha256: str

    def records(self, results: Path, task: str) -> Iterator[Stored]:
        """Yield finished cells of single models that were fitted on all training rows, and had seen no test row."""
        for path in sorted((results / "cells" / task).glob("*/*/record.json")):
            with contextlib.suppress(OSError, ValueError, RecursionError):  # what cannot be read is no best model
                stored = Stored(read_record(path), path)
                if self._are_of(stored.record):
                    yield stored

    def _are_of(self, record: Record) -> bool:
        same = (record.data_fingerprint, record.split_sha256) == (self.data_fingerprint, self.split_sha256)
        return same and record.status == "ok" and record.fraction == 1 and not record.members and not record.overlap


@dataclass(frozen=True)
class Kept:
    """A peer's line, and what it was measured on: rows, hardware, threads, and the load when it began."""

    line: Line
    rows: Rows
    hardware: str
    threads: int
    load: float

    @classmethod
    def read(cls, path: Path) -> Kept:
        """Read a file that the script has written; UserError where it is none."""
        try:
            kept = read_json(path)
            rows = Rows(kept["data_fingerprint"], kept["split_sha256"])
            return cls(Line.read(kept["line"]), rows, kept["hardware"], int(kept["threads"]), float(kept["load"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is no peer's line ({error!r}): delete it, and run python tests/performance/peers.py again"
            ) from error


@dataclass(frozen=True)
class Harness:
    """What the harness costs: seconds of one `zoobench run` of all `tasks`, over the plain scripts', turn by turn."""

    tasks: tuple[str, ...]
    ratios: tuple[float, ...]
    hardware: str
    threads: int

    @property
    def ratio(self) -> float:
        """The median turn."""
        return median(self.ratios)

    @classmethod
    def read(cls, path: Path) -> Harness:
        """Read what the script has written; UserError where it is something else."""
        try:
            kept = read_json(path)
            ratios = tuple(turn["whole"] / sum(turn["plain"]) for turn in kept["turns"])
            if not ratios:
                raise ValueError("no turns")
            return cls(tuple(kept["tasks"]), ratios, kept["hardware"], int(kept["threads"]))
        except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
            raise UserError(
                f"{path} does not say what the harness costs ({error!r}): delete it, and run "
                "python tests/performance/peers.py --only b again"
            ) from error


def kept_lines(results: Path) -> dict[str, list[Kept]]:
    """Return the lines of a results folder by task, of one set of rows a task; raises as `Kept.read` does."""
    found: dict[str, list[Kept]] = {}
    for path in sorted((results / FOLDER).glob("*/*.json")):
        found.setdefault(path.parent.name, []).append(Kept.read(path))
    for task, lines in found.items():
        if len({kept.rows for kept in lines}) > 1:
            raise UserError(f"{results / FOLDER / task}: its peers were measured on other rows: delete the older ones")
    return found


def line_of(record: Record, who: str) -> Line:
    """Return the line of a record of zoobench."""
    if record.memory is None:
        raise ValueError(f"record {record.key} is not of a finished cell")
    evaluation = record.test[record.policy]
    said = Said.of(evaluation.values, record.primary_metric, evaluation.intervals.get(record.primary_metric))
    peak, timings = record.memory.baseline_gb + record.memory.added_gb, record.timings
    return Line(record.task_name, who, record.primary_metric, None, said, timings.total, timings.wall, peak)


def own_lines(cells: Sequence[Stored]) -> list[Line]:
    """Return zoobench's lines: the cell that is best on the validation fold, then `tfidf-logreg` as it comes."""
    best = best_of(cells).record
    named = best.model + (f"@{best.preset}" if best.preset not in {"", "default"} else "")
    told = "".join(f" {name}={value}" for name, value in best.settings.items())
    lines = [line_of(best, f"zoobench {named}{' tuned' if best.mode == 'tuned' else ''}{told}")]
    plain = [each for each in cells if each.record.model == "tfidf-logreg" and not each.record.settings]
    plain = [each for each in plain if each.record.mode == "default" and each.record.preset in {"", "default"}]
    if plain and (logreg := best_of(plain).record).key != best.key:
        lines.append(line_of(logreg, "zoobench tfidf-logreg"))
    return lines
