"""What a model would cost on hardware that never ran it: measured elsewhere, converted by the machines' calibrations.

Every record holds two short calibrations of its machine's processor (``benchmarks/hardware.py``). Their ratios convert
seconds and milliseconds; how well, is measured where a configuration ran on two classes of hardware.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..benchmarks.hardware import Hardware
from ..benchmarks.store import read_record
from ..datasets.support.errors import UserError
from .recommend import COSTS

Row = Mapping[str, Any]
CONFIGURATION = ("model", "preset", "mode", "settings")
COLUMNS = {"latency_ms": "latency_p50_ms", "memory_gb": "memory_gb", "train_s": "fit_s", "parameters": "parameters"}
"""Where the board has each cost; memory is the larger of the host's and the GPU's."""
_SAME_ROWS = ("task", "fingerprint", "split", *CONFIGURATION, "device")


@dataclass(frozen=True)
class Calibration:
    """How fast a machine's processor multiplies matrices (GFLOPS) and copies memory (GB/s)."""

    matmul_gflops: float
    memory_gb_per_s: float

    def __post_init__(self) -> None:
        if not (0 < self.matmul_gflops < math.inf and 0 < self.memory_gb_per_s < math.inf):
            raise ValueError("a calibration is more than 0, and finite")


def _arithmetic(there: Calibration, here: Calibration) -> float:
    return there.matmul_gflops / here.matmul_gflops


def _memory(there: Calibration, here: Calibration) -> float:
    return there.memory_gb_per_s / here.memory_gb_per_s


def _both(there: Calibration, here: Calibration) -> float:
    return math.sqrt(_arithmetic(there, here) * _memory(there, here))


def _neither(_there: Calibration, _here: Calibration) -> float:
    return 1.0


RULES: Mapping[str, Callable[[Calibration, Calibration], float]] = {
    "arithmetic and memory": _both,
    "arithmetic": _arithmetic,
    "memory": _memory,
    "none": _neither,
}
"""By what a time there is multiplied to say what it is here; the first where no pair tells which is best."""


@dataclass(frozen=True)
class Conversion:
    """How a cost is converted, and by how much such estimates were wrong.

    Attributes
    ----------
    rule
        A name of `RULES`.
    pairs
        How many times a configuration was measured on two classes of hardware.
    middle, worst
        The median and the largest factor between estimate and measurement, of models that the rule was not chosen by;
        None without pairs.
    """

    rule: str
    pairs: int = 0
    middle: float | None = None
    worst: float | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES or (self.pairs > 0) != (self.middle is not None) or (self.middle or 1) < 1:
            raise ValueError("a conversion has a rule, and errors of 1 or more exactly where it has pairs")


@dataclass(frozen=True)
class Elsewhere:
    """What is known of costs across classes of hardware: each class's calibration, and a conversion for each cost."""

    calibrations: Mapping[str, Calibration]
    conversions: Mapping[str, Conversion]

    def estimate(self, row: Row, here: str) -> tuple[float | None, ...] | None:
        """Return what a row's costs would be on the class `here`; None where nothing converts them.

        Times on a GPU are not converted: the calibrations are of processors.
        """
        there = row["hardware"]
        if row["device"] != "cpu" or not {here, there} <= set(self.calibrations):
            return None
        ends = self.calibrations[there], self.calibrations[here]
        costs = zip(COSTS, costs_of(row), strict=True)
        return tuple(cost and cost * RULES[self.conversions[name].rule](*ends) for name, cost in costs)


def costs_of(row: Row) -> tuple[float | None, ...]:
    """Return what a row of the board costs, in the order of `COSTS`; None where nobody measured it."""
    found = {name: _known(row[column]) for name, column in COLUMNS.items()}
    on_gpu = _known(row["memory_gpu_gb"])
    if on_gpu is not None:
        found["memory_gb"] = max(on_gpu, found["memory_gb"] or 0.0)
    return tuple(found.values())


def _known(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def look_elsewhere(root: Path, rows: Sequence[Row], here: Hardware | None = None) -> Elsewhere:
    """Return what the rows of a board tell of costs across classes of hardware.

    Parameters
    ----------
    root
        The results folder: calibrations stand in the records.
    rows
        Of all tasks.
    here
        This machine, where its own class is asked for.
    """
    calibrations = _calibrations(root, rows)
    if here is not None:
        calibrations.setdefault(here.class_id, Calibration(here.matmul_gflops, here.memory_gb_per_s))
    pairs = list(_pairs(rows, calibrations))
    return Elsewhere(calibrations, {name: _conversion(name, pairs, calibrations) for name in COSTS})


def _calibrations(root: Path, rows: Iterable[Row]) -> dict[str, Calibration]:
    """Return the calibration of each class by its newest record; classes whose records hold none are left out."""
    newest: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row["created"]):
        newest[row["hardware"]] = row
    found: dict[str, Calibration] = {}
    for hardware, row in newest.items():
        try:
            told = read_record(root / row["records"].split(";")[-1]).hardware
            found[hardware] = Calibration(float(told["matmul_gflops"]), float(told["memory_gb_per_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _pairs(rows: Iterable[Row], calibrations: Mapping[str, Calibration]) -> Iterable[tuple[Row, Row]]:
    """Yield what was measured on two classes of hardware with a calibration each, on the same rows of a task."""
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["status"] == "ok" and row["device"] == "cpu" and row["hardware"] in calibrations:
            alike.setdefault(tuple(row[name] for name in _SAME_ROWS), []).append(row)
    for found in alike.values():
        yield from itertools.combinations(found, 2)


def _conversion(name: str, pairs: Sequence[tuple[Row, Row]], calibrations: Mapping[str, Calibration]) -> Conversion:
    """Choose the rule that is least wrong on the pairs; its error is that of rules chosen without the model in hand."""
    place = COSTS.index(name)
    rules = tuple(RULES) if name.endswith(("_ms", "_s")) else ("none",)
    known = [(one, other) for one, other in pairs if costs_of(one)[place] and costs_of(other)[place]]
    if not known:
        return Conversion(rules[0])
    wrong = np.array([[_wrong(pair, place, rule, calibrations) for rule in rules] for pair in known])
    models = np.array([one["model"] for one, _ in known])
    errors = np.empty(len(known))
    for model in dict.fromkeys(models.tolist()):
        mine = models == model
        errors[mine] = wrong[mine, _least_wrong(wrong[~mine])]
    factors = np.exp(errors)
    return Conversion(rules[_least_wrong(wrong)], len(known), float(np.median(factors)), float(factors.max()))


def _least_wrong(wrong: np.ndarray) -> int:
    """Return which rule has the smallest median error; the first without pairs. `wrong` is (pairs, rules)."""
    return int(np.median(wrong, axis=0).argmin()) if len(wrong) else 0


def _wrong(pair: tuple[Row, Row], place: int, rule: str, calibrations: Mapping[str, Calibration]) -> float:
    """Return by how much a rule is wrong: the size of the logarithm of estimate / measured, the same both ways."""
    one, other = pair
    there, here = (costs_of(row)[place] or math.nan for row in pair)
    ratio = RULES[rule](calibrations[one["hardware"]], calibrations[other["hardware"]])
    return abs(math.log(there * ratio / here))


def class_in_question(rows: Sequence[Row], asked: str | None, everywhere: Sequence[Row]) -> str:
    """Return the class of hardware that a recommendation is for.

    Without one asked for: where most of the `rows` of the task were measured, of several the newest.

    Raises
    ------
    UserError
        If no record of the results folder (`everywhere`) is of the class that is asked for.
    """
    if asked is None:
        classes = [row["hardware"] for row in sorted(rows, key=lambda row: row["created"])]
        return max(reversed(classes), key=classes.count)
    known = sorted({row["hardware"] for row in everywhere})
    if asked not in known:
        raise UserError(
            f"hardware {asked!r} has no record here; classes that have: {', '.join(known)}; "
            "--hardware here takes this machine"
        )
    return asked
