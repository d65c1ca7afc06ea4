"""Which recorded cells an ensemble may take: what the board shows of a task, or what a person names."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..benchmarks.store import RECORD, Stored, read_record
from ..datasets.support.errors import UserError, unknown_name
from .frame import load_board

if TYPE_CHECKING:
    import pandas as pd

    from ..benchmarks.store import Results
    from ..datasets.prepare import Prepared

_KEY = re.compile(r"[0-9a-f]{4,20}")
NAMED = 3
"""Models that a row of the board names; of more it says how many, and a hash tells them apart."""


@dataclass(frozen=True)
class Wish:
    """Cells of some models and seeds, and single ones by the beginning of their keys; all cells where empty.

    Attributes
    ----------
    hardware
        The class of the machines that they ran on; this machine's where empty.
    trials
        Whether tuned cells stand for the trials of their studies.
    """

    models: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    cells: tuple[str, ...] = ()
    hardware: str = ""
    trials: bool = False

    def words(self, chosen: Sequence[Stored]) -> dict[str, str]:
        """Return what tells a board's row of these cells from one of others; nothing where all were asked for."""
        said: dict[str, str] = {}
        if self.models:
            models = sorted(set(self.models))
            said["of"] = "+".join(models) if len(models) <= NAMED else f"{len(models)} models {_short(models)}"
        if self.trials:
            said["trials"] = "all"
        if self.seeds:
            said["seeds"] = "+".join(map(str, sorted(set(self.seeds))))
        if self.cells:
            said["cells"] = f"{len(chosen)} {_short(sorted(stored.record.key for stored in chosen))}"
        return said


@dataclass(frozen=True)
class Choice:
    """The cells that an ensemble may take, and remarks on those that were left out."""

    cells: tuple[Stored, ...]
    remarks: tuple[str, ...]


class Offer:
    """The cells of a task that a person wants.

    Of a row of the board these are the seeds that finished, as the board pools them: no earlier code, no earlier
    attempt. Ensembles are left out, and so are cells of other data or folds than the task has now.

    Parameters
    ----------
    task
        With its protocol, as on the board.

    Raises
    ------
    UserError
        If the folder has no record of the task, or nothing answers to a name.
    """

    def __init__(self, results: Results, task: str, wish: Wish) -> None:
        self._results, self._task, self._wish = results, task, wish
        loaded = load_board(results.root, task=task)
        single = loaded.frame.loc[(loaded.frame["mode"] != "ensemble").to_numpy()]
        self._rows = _of_models(single, task, wish.models)
        self._problems = loaded.problems
        self._named = [_one(results, task, beginning) for beginning in wish.cells]

    def on(self, prepared: Prepared) -> Choice:
        """Return the cells to take of the task as it is prepared now.

        Raises
        ------
        UserError
            If fewer than two are left.
        """
        wish, found, remarks = self._wish, list(self._named), list(self._problems)
        if wish.models or wish.seeds or not wish.cells:
            rows, left_out = _comparable(self._rows, self._task, prepared, wish.hardware)
            remarks += left_out
            found += [
                each for each in _stored(self._results, rows) if each.record.seed in (wish.seeds or {each.record.seed})
            ]
        cells = {stored.path: stored for stored in found}
        if len(cells) < (1 if wish.trials else 2):
            there = ", ".join(f"{each.record.model}, seed {each.record.seed}" for each in cells.values()) or "none"
            raise UserError(
                f"an ensemble needs two finished cells of {self._task}, there is {there}: "
                f"`zoobench run --task {self._task}` makes more, of other models or seeds"
            )
        return Choice(tuple(cells.values()), tuple(remarks))


def _of_models(rows: pd.DataFrame, task: str, models: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the board of some models; of a model without a preset, those of all its presets."""
    known = {name for row in zip(rows["model"], rows["preset"], strict=True) for name in _names(*row)}
    for name in models:
        if name.startswith("ensemble-"):
            raise UserError(f"{name} is an ensemble: name the models that it is made of")
        if name not in known:
            raise unknown_name(f"model with a record of {task}", name, known)
    if not models:
        return rows
    pairs = zip(rows["model"], rows["preset"], strict=True)
    return rows.loc[[not set(models).isdisjoint(_names(*pair)) for pair in pairs]]


def _names(model: str, preset: str) -> set[str]:
    return {model, f"{model}@{preset}"} if preset else {model}


def _comparable(rows: pd.DataFrame, task: str, prepared: Prepared, hardware: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows on the data and folds of today and one class of hardware, and what was left out, in words."""
    here = (rows["fingerprint"] == prepared.fingerprint) & (rows["split"] == prepared.split_sha256)
    now = rows.loc[here.to_numpy()]
    if now.empty:
        raise UserError(f"every record of {task} asked for is of other data or folds than it has now: run it again")
    classes = sorted(set(now["hardware"]))
    wanted = [hardware] if hardware else _this_machine()
    found = next((each for each in wanted if each in classes), None)
    if found is None:
        where = f"hardware class {hardware}" if hardware else f"this machine's hardware class ({wanted[0]})"
        raise UserError(f"no record of {task} on {where}; name one that has, with --hardware: {', '.join(classes)}")
    kept = now.loc[(now["hardware"] == found).to_numpy()]
    counts = {"of other data or folds": len(rows) - len(now), "of another hardware class": len(now) - len(kept)}
    return kept, [f"left out: {count} row{'s' * (count > 1)} {what}" for what, count in counts.items() if count]


def _this_machine() -> list[str]:
    """Return the hardware classes of this machine: with its GPU, if it has one, and without."""
    from ..benchmarks.hardware import choose_device, measure

    return [measure(device).class_id for device in dict.fromkeys([choose_device("auto"), "cpu"])]


def _stored(results: Results, rows: pd.DataFrame) -> list[Stored]:
    """Return the finished cells behind rows of the board."""
    paths = [results.root / path for paths in rows["records"] for path in paths.split(";")]
    stored = [Stored(read_record(path), path) for path in paths]
    return [each for each in stored if each.record.status == "ok"]


def _one(results: Results, task: str, beginning: str) -> Stored:
    if not _KEY.fullmatch(beginning):
        raise UserError(f"--cell {beginning!r} begins no key: 4 to 20 hexadecimal digits, as below cells/{task}")
    folder = results.root / "cells" / glob.escape(task)
    paths = sorted(folder.parent.glob(f"{folder.name}/*/{beginning}*/{RECORD}"))
    if len(paths) != 1:
        found = ", ".join(f"{path.parts[-3]} {path.parts[-2]}" for path in paths) or "none"
        raise UserError(f"--cell {beginning} should be one cell of {task} in {results.root}, found {found}")
    try:
        return Stored(read_record(paths[0]), paths[0])
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{paths[0]} is no record that can be read: {' '.join(str(error).split())[:80]}") from error


def _short(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:6]
